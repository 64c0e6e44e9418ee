//! Restoring one egg: it is copied from the cache next to the old one and takes its place in one step.
//! Nothing outside the eggs directory is touched.
//!
//! Files that were added to the egg are moved to the folder `set-aside` first, so a crash at any moment
//! loses nothing: each is still in the egg, or already there.

use std::path::{Path, PathBuf};

use crate::buildout::SET_ASIDE;
use crate::cache::Blobs;
use crate::cache::extract::extract;
use crate::disk::boundary::Boundary;
use crate::disk::files;
use crate::disk::permissions;
use crate::egg::bytecode::is_bytecode;
use crate::egg::diff::{DifferenceKind, differences};
use crate::egg::manifest::{EntryKind, Manifest};
use crate::egg::scan;
use crate::error::{Error, IoContext, Result};
use crate::util::hash::digest::Digest;
use crate::util::progress::Silent;

/// Restores the egg at `path`, and returns the new paths of files that were moved out of it.
///
/// # Errors
/// [`Error::Miss`] if its blob is gone. The old egg stays after every error.
pub fn restore(blobs: &Blobs, digest: Digest, path: &Path) -> Result<Vec<PathBuf>> {
    let blob = blobs.open(digest)?.ok_or_else(|| Error::miss(&digest))?;
    let folder = path.parent().unwrap_or(path);
    let temp = extract(blobs, &blob, folder, permissions::mode_mask(folder), &Silent)?;
    let moved = match path.symlink_metadata() {
        Ok(metadata) if !metadata.is_symlink() => move_added_files(path, folder, &blob.manifest)?,
        _ => Vec::new(),
    };
    if path.symlink_metadata().is_ok() {
        temp.replace(path).at("replace", path)?;
    } else {
        temp.persist_new(path).at("write", path)?;
    }
    Ok(moved)
}

/// Moves the files of an egg aside that are not in the manifest, except bytecode.
fn move_added_files(egg: &Path, folder: &Path, manifest: &Manifest) -> Result<Vec<PathBuf>> {
    // An egg that cannot be listed is moved as a whole, since its content is unknown.
    let Ok(found) = scan::list(egg) else { return Ok(vec![set_aside(egg, folder, egg)?]) };
    let mut moved = Vec::new();
    for difference in differences(manifest, &found) {
        let entry = found.iter().find(|entry| entry.path == *difference.path);
        if difference.kind == DifferenceKind::Added
            && let Some(entry) = entry
            && entry.kind != EntryKind::Directory
            && !is_bytecode(entry.path.as_str())
        {
            moved.push(set_aside(&scan::path_of(egg, entry), folder, egg)?);
        }
    }
    Ok(moved)
}

/// Moves a path in an egg of `folder` to the folder `set-aside`, through no symlink.
fn set_aside(path: &Path, folder: &Path, egg: &Path) -> Result<PathBuf> {
    let within = path.strip_prefix(egg).unwrap_or(path);
    for number in 0.. {
        let mut to = folder.join(SET_ASIDE).join(aside_name(egg, number));
        if !within.as_os_str().is_empty() {
            to.push(within);
        }
        let parent = to.parent().unwrap_or(folder);
        if !Boundary::new(folder)?.holds(parent) {
            let source = std::io::Error::other("a symlink points outside the eggs directory");
            return Err(Error::Io { action: "set aside in", path: parent.to_owned(), source });
        }
        std::fs::create_dir_all(parent).at("make directory", parent)?;
        match files::rename_new(path, &to) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            renamed => return renamed.at("set aside", path).map(|()| to),
        }
    }
    unreachable!("there is always another name")
}

/// The folder for the added files of an egg: `foo-1.0.egg.added`, `foo-1.0.egg-1.added`. Buildout
/// would take a folder with the name of an egg for one.
fn aside_name(egg: &Path, number: usize) -> std::ffi::OsString {
    let mut name = egg.file_name().unwrap_or_default().to_owned();
    if number > 0 {
        name.push(format!("-{number}"));
    }
    name.push(".added");
    name
}
