//! Restoring one egg: it is copied from the cache next to the old one and takes its place in one step.
//! Nothing outside the eggs directory is touched: everything is done below one handle of it, and if another
//! egg has taken the place of the examined one, nothing is done.
//!
//! Files that were added to the egg are moved to the folder `set-aside` first, and those that were changed get
//! a second name there. So a crash at any moment loses nothing: the egg is the old or the new one, and every
//! file is still in it, or already aside.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::buildout::SET_ASIDE;
use crate::cache::Blobs;
use crate::cache::extract::extract;
use crate::disk::dir::Dir;
use crate::egg::bytecode::is_bytecode;
use crate::egg::files::{EggFiles, Identity, Listing};
use crate::egg::manifest::{Entry, EntryKind, Manifest};
use crate::error::{Error, IoContext, Result};
use crate::util::hash::digest::Digest;
use crate::util::progress::Silent;

/// Restores the egg of this name in an eggs directory, and returns the new paths of its own files,
/// which were set aside. `examined` is the identity of the egg that was examined, if there was one.
///
/// # Errors
/// [`Error::Miss`] if its blob is gone, [`Error::Changing`] if another egg has taken the place of the
/// examined one. The old egg stays after every error, apart from files that were added to it.
pub fn restore(
    blobs: &Blobs,
    digest: Digest,
    folder: &Dir,
    name: &OsStr,
    examined: Option<Identity>,
) -> Result<Vec<PathBuf>> {
    let path = folder.join(name);
    let blob = blobs.open(digest)?.ok_or_else(|| Error::miss(&digest))?;
    let temp = extract(blobs, &blob, folder, &Silent)?;
    let found = folder.find(name).at("read", &path)?;
    if found.map(|found| found.identity()) != examined {
        return Err(Error::Changing { path });
    }
    let moved = match found {
        Some(found) if found.is_symlink() => vec![set_aside(folder, name, None, keep)?],
        Some(_) => set_aside_own_files(folder, name, &blob.manifest)?,
        None => Vec::new(),
    };
    if folder.find(name).at("read", &path)?.is_some() {
        temp.replace(name).at("replace", &path)?;
    } else {
        temp.persist_new(name).at("write", &path)?;
    }
    Ok(moved)
}

/// Sets the files of an egg aside that the manifest does not have with this content, except bytecode.
fn set_aside_own_files(folder: &Dir, name: &OsStr, manifest: &Manifest) -> Result<Vec<PathBuf>> {
    let egg = EggFiles::open_in(folder, name)?;
    // An egg that cannot be listed is moved as a whole, since its content is unknown.
    let Ok(Listing { entries: found, .. }) = egg.list() else {
        return Ok(vec![set_aside(folder, name, None, move_away)?]);
    };
    let expected = manifest.entries.iter().map(|entry| (entry.path.as_str(), &entry.kind));
    let expected: HashMap<&str, &EntryKind> = expected.collect();
    let mut aside = Vec::new();
    for entry in found {
        let path = entry.path.as_str();
        let expected = expected.get(path).copied();
        if is_bytecode(path) || is_as_expected(&egg, &entry, expected) {
            continue;
        }
        let file = egg.directory().map(|directory| (directory, Path::new(path)));
        let step: Step = if expected.is_some() { keep } else { move_away };
        aside.push(set_aside(folder, name, file, step)?);
    }
    Ok(aside)
}

/// Whether an entry of an egg has the content of the manifest. A directory has none of its own.
fn is_as_expected(egg: &EggFiles, entry: &Entry, expected: Option<&EntryKind>) -> bool {
    match (&entry.kind, expected) {
        (EntryKind::Directory, _) => true,
        (EntryKind::File { size, .. }, Some(EntryKind::File { size: expected, digest })) => {
            size == expected && digest_of(egg, entry).is_ok_and(|found| found == *digest)
        }
        (found, expected) => Some(found) == expected,
    }
}

fn digest_of(egg: &EggFiles, entry: &Entry) -> Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(egg.read(entry)?).at("read", &egg.path_of(entry))?;
    Ok(hasher.finalize().into())
}

/// Puts a file of one directory into another, under a name that does not exist there.
type Step = fn(&Dir, &Path, &Dir, &Path) -> io::Result<()>;

fn move_away(from: &Dir, path: &Path, folder: &Dir, to: &Path) -> io::Result<()> {
    from.rename_new(path, folder, to)
}

/// Gives a file a second name, so that the egg still has it. Some file systems have no such names; there the
/// file is moved.
fn keep(from: &Dir, path: &Path, folder: &Dir, to: &Path) -> io::Result<()> {
    match from.link_new(path, folder, to) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => move_away(from, path, folder, to),
        linked => linked,
    }
}

/// Puts an egg of `folder`, or one file of its open directory, into the folder `set-aside`, through no
/// symlink.
fn set_aside(
    folder: &Dir,
    egg: &OsStr,
    file: Option<(&Dir, &Path)>,
    step: Step,
) -> Result<PathBuf> {
    let (from, path) = file.unwrap_or((folder, Path::new(egg)));
    for number in 0.. {
        let mut to = Path::new(SET_ASIDE).join(aside_name(egg, number));
        if file.is_some() {
            to.push(path);
        }
        let parent = to.parent().unwrap_or(&to);
        folder.make_dirs(parent).at("make directory", &folder.join(parent))?;
        match step(from, path, folder, &to) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            renamed => {
                return renamed.at("set aside", &from.join(path)).map(|()| folder.join(to));
            }
        }
    }
    unreachable!("there is always another name")
}

/// The folder for the own files of an egg: `foo-1.0.egg.added`, `foo-1.0.egg-1.added`. Buildout
/// would take a folder with the name of an egg for one.
fn aside_name(egg: &OsStr, number: usize) -> OsString {
    let mut name = egg.to_owned();
    if number > 0 {
        name.push(format!("-{number}"));
    }
    name.push(".added");
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_set_aside_below_the_examined_directory_only() {
        let temp = tempfile::tempdir().unwrap();
        let at = |path: &str| temp.path().join(path);
        for path in ["eggs/a.egg", "private/a.egg"] {
            std::fs::create_dir_all(at(path)).unwrap();
            std::fs::write(at(path).join("added"), path).unwrap();
        }
        let folder =
            Dir::open_canonical(&temp.path().canonicalize().unwrap().join("eggs")).unwrap();
        let name = OsStr::new("a.egg");
        let egg = EggFiles::open_in(&folder, name).unwrap();
        // The eggs directory becomes a symlink after it was examined.
        std::fs::rename(at("eggs"), at("moved")).unwrap();
        std::os::unix::fs::symlink("private", at("eggs")).unwrap();
        set_aside(&folder, name, Some((egg.directory().unwrap(), Path::new("added"))), move_away)
            .unwrap();
        assert!(at("private/a.egg/added").exists());
        assert!(at("moved/set-aside/a.egg.added/added").exists());
        assert!(Dir::open_canonical(&temp.path().canonicalize().unwrap().join("eggs")).is_err());
        // A symlink in the place of the folder for such files is not followed.
        std::os::unix::fs::symlink("../../private", at("moved/set-aside/b.egg.added")).unwrap();
        std::fs::rename(at("moved/a.egg"), at("moved/b.egg")).unwrap();
        std::fs::write(at("moved/b.egg/more"), "").unwrap();
        let egg = EggFiles::open_in(&folder, "b.egg").unwrap();
        let file = Some((egg.directory().unwrap(), Path::new("more")));
        assert!(set_aside(&folder, OsStr::new("b.egg"), file, move_away).is_err());
        assert!(!at("private/more").exists());
    }
}
