//! Restoring: an egg that has drifted is copied from the cache, next to the old one, and takes its
//! place in one step. Nothing outside the eggs directories is touched.
//!
//! What somebody has added to an egg is moved to the folder `set-aside` first, so a crash at any
//! moment loses nothing: either it is still in the egg, or it is there.

use std::path::{Path, PathBuf};

use crate::buildout::SET_ASIDE;
use crate::cache::Blobs;
use crate::cache::extract::extract;
use crate::disk::boundary::Boundary;
use crate::disk::files;
use crate::disk::permissions;
use crate::egg::bytecode::is_bytecode;
use crate::egg::diff::{What, differences};
use crate::egg::manifest::EntryKind;
use crate::egg::scan;
use crate::error::{Error, IoContext, Result};
use crate::util::hash::digest::Digest;
use crate::util::progress::Silent;

/// Restores the egg at `path` and answers what was set aside.
///
/// # Errors
/// [`Error::Miss`] if its blob is gone, or what the file system says. The old egg then stays.
pub fn restore(blobs: &Blobs, digest: Digest, path: &Path) -> Result<Vec<PathBuf>> {
    let blob = blobs.open(digest)?.ok_or_else(|| Error::miss(&digest))?;
    let folder = path.parent().unwrap_or(path);
    let temp = extract(blobs, &blob, folder, permissions::mode_mask(folder), &Silent)?;
    let mut aside = Vec::new();
    if path.symlink_metadata().is_err() {
        temp.persist_new(path).at("write", path)?;
        return Ok(aside);
    }
    let is_link = path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
    if !is_link {
        // An egg that cannot be listed is kept as a whole: nobody knows what is in it.
        match scan::list(path) {
            Err(_) => aside.push(set_aside(path, folder, path)?),
            Ok(found) => {
                let added = differences(&blob.manifest, &found);
                let added = added.iter().filter(|it| it.what == What::Added);
                for entry in
                    added.filter_map(|it| found.iter().find(|entry| entry.path == *it.path))
                {
                    if entry.kind != EntryKind::Directory && !is_bytecode(entry.path.as_str()) {
                        aside.push(set_aside(&scan::path_of(path, entry), folder, path)?);
                    }
                }
            }
        }
    }
    if path.symlink_metadata().is_ok() {
        temp.replace(path).at("replace", path)?;
    } else {
        temp.persist_new(path).at("write", path)?;
    }
    Ok(aside)
}

/// Moves what is at `path`, in an egg of `folder`, to where people find it, which no symlink leads to.
fn set_aside(path: &Path, folder: &Path, egg: &Path) -> Result<PathBuf> {
    let name = egg.file_name().unwrap_or_default();
    let within = path.strip_prefix(egg).unwrap_or(path);
    for n in 0.. {
        let number = if n == 0 { String::new() } else { format!("-{n}") };
        let mut top = name.to_owned();
        top.push(number);
        // Buildout takes what is named like an egg for one, also there.
        top.push(".added");
        let to = folder.join(SET_ASIDE).join(top);
        let to = if within.as_os_str().is_empty() { to } else { to.join(within) };
        let above = to.parent().unwrap_or(folder);
        if !Boundary::new(folder)?.holds(above) {
            let source = std::io::Error::other("a symlink leads out of the eggs directory");
            return Err(Error::Io { action: "set aside in", path: above.to_owned(), source });
        }
        std::fs::create_dir_all(above).at("make directory", above)?;
        match files::rename_new(path, &to) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            renamed => return renamed.at("set aside", path).map(|()| to),
        }
    }
    unreachable!("there is always another name")
}
