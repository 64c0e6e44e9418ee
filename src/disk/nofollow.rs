//! Opening and making files without following a symlink.
//!
//! If somebody replaces a directory of a temporary egg, or a file of a buildout, with a symlink, the
//! call fails; nothing outside is read or written.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, openat};

use crate::disk::dir::open_beneath;
use crate::disk::files;
use crate::disk::system;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);
const CREATE: OFlags = OFlags::CREATE
    .union(OFlags::EXCL)
    .union(OFlags::RDWR)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW);

/// How many directories are kept open at once.
const MAX_OPEN: usize = 8;

/// Opens a file for reading. Fails with `ELOOP` if it is a symlink; symlinks above it are followed.
/// Does not block on a FIFO.
pub fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
    File::options().read(true).custom_flags(flags).open(path)
}

/// A directory and everything below it, by paths that are `/`-separated and relative to it. Every
/// method fails with `ELOOP` or `ENOTDIR` if a directory on the way is a symlink.
///
/// It keeps the directories of the last path open: entries come sorted by path, so most of them are in
/// one of these.
#[derive(Debug)]
pub struct NoFollowDir<'a> {
    top: BorrowedFd<'a>,
    /// Each is below the one before.
    open: Vec<(String, OwnedFd)>,
}

impl<'a> NoFollowDir<'a> {
    #[must_use]
    pub fn new(top: &'a File) -> Self {
        Self { top: top.as_fd(), open: Vec::new() }
    }

    /// The open directory that holds an entry, and the entry's name in it.
    fn parent<'p>(&mut self, path: &'p str) -> io::Result<(BorrowedFd<'_>, &'p str)> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        if parent.is_empty() {
            return Ok((self.top, name));
        }
        while let Some((last, _)) = self.open.last()
            && below(parent, last).is_none()
        {
            self.open.pop();
        }
        let (from, rest) = match self.open.last() {
            Some((last, directory)) => (directory.as_fd(), below(parent, last).unwrap_or(parent)),
            None => (self.top, parent),
        };
        if !rest.is_empty() {
            let opened = open_directory(from, rest)?;
            if self.open.len() == MAX_OPEN {
                self.open.remove(0);
            }
            self.open.push((parent.to_owned(), opened));
        }
        let (_, directory) = self.open.last().expect("just opened");
        Ok((directory.as_fd(), name))
    }

    /// Makes a directory.
    pub fn make_dir(&mut self, path: &str, mode: u32) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        Ok(rustix::fs::mkdirat(parent, name, system::mode(mode))?)
    }

    /// Makes a file that does not exist yet, for writing and reading.
    pub fn make_file(&mut self, path: &str, mode: u32) -> io::Result<File> {
        let (parent, name) = self.parent(path)?;
        Ok(openat(parent, name, CREATE, system::mode(mode))?.into())
    }

    /// Makes a symlink.
    pub fn make_symlink(&mut self, path: &str, target: &str) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        Ok(rustix::fs::symlinkat(target, parent, name)?)
    }

    /// Sets the mtime of an entry, of a symlink its own; see [`files::set_mtime`].
    pub fn set_mtime(&mut self, path: &str, mtime: (i64, u32)) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        files::set_mtime(parent, Some(name), mtime)
    }
}

/// The rest of a path below a directory; empty if it is the directory itself.
fn below<'p>(path: &'p str, directory: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(directory)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

fn open_directory(top: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    Ok(open_beneath(top, Path::new(path), DIRECTORY, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symlink_in_place_of_a_file_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        std::fs::write(dir.path().join("a/file"), "").unwrap();
        std::os::unix::fs::symlink("file", dir.path().join("a/link")).unwrap();
        assert!(open(&dir.path().join("a/file")).is_ok());
        assert!(open(&dir.path().join("a/link")).is_err());
    }

    #[test]
    fn every_entry_is_found_in_its_own_directory() {
        let dir = tempfile::tempdir().unwrap();
        let deep: Vec<String> = (0..12).map(|depth| vec!["d"; depth + 1].join("/")).collect();
        let mut directories: Vec<&str> = deep.iter().map(String::as_str).collect();
        directories.extend(["d-e", "de", "d/d-e", "d/de/d", "e/d"]);
        for directory in &directories {
            std::fs::create_dir_all(dir.path().join(directory)).unwrap();
            std::fs::write(dir.path().join(directory).join("name"), directory).unwrap();
        }
        let top = File::open(dir.path()).unwrap();
        let mut tree = NoFollowDir::new(&top);
        directories.sort_unstable();
        let again: Vec<&str> = directories.iter().rev().copied().collect();
        for directory in directories.into_iter().chain(again) {
            let path = format!("{directory}/file");
            let (parent, name) = tree.parent(&path).unwrap();
            assert_eq!(name, "file");
            let found = openat(parent, "name", OFlags::RDONLY, Mode::empty()).unwrap();
            assert_eq!(io::read_to_string(File::from(found)).unwrap(), directory);
            assert!(tree.open.len() <= MAX_OPEN);
        }
    }

    #[test]
    fn a_directory_that_became_a_symlink_is_not_entered() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("top/a")).unwrap();
        std::fs::create_dir(dir.path().join("elsewhere")).unwrap();
        let top = File::open(dir.path().join("top")).unwrap();
        let path = "a/file";
        assert!(NoFollowDir::new(&top).parent(path).is_ok());
        std::fs::remove_dir(dir.path().join("top/a")).unwrap();
        std::os::unix::fs::symlink("../elsewhere", dir.path().join("top/a")).unwrap();
        assert!(NoFollowDir::new(&top).parent(path).is_err());
        assert!(NoFollowDir::new(&top).make_dir("a/b", 0o700).is_err());
    }
}
