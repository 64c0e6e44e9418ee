//! Making and reading files beneath a directory without ever following a symlink: a directory of a
//! temporary egg that somebody swaps for a symlink leads nowhere, and neither does a file of a buildout.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// Most directories that are kept open at once.
const MAX_OPEN: usize = 8;

/// A directory, and those beneath it that lead to the one that was used last: entries come in the
/// order of their paths, so most are in one of them.
#[derive(Debug)]
pub struct Beneath<'a> {
    top: BorrowedFd<'a>,
    /// Each is beneath the one before.
    open: Vec<(String, OwnedFd)>,
}

impl<'a> Beneath<'a> {
    #[must_use]
    pub fn new(top: &'a File) -> Self {
        Self { top: top.as_fd(), open: Vec::new() }
    }

    /// The open directory that an entry is in, and the entry's name there.
    ///
    /// # Errors
    /// As `openat2(2)`; `ELOOP` or `ENOTDIR` if a symlink is on the way.
    pub fn parent<'p>(&mut self, path: &'p str) -> io::Result<(BorrowedFd<'_>, &'p str)> {
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
            let opened = open(from, rest)?;
            if self.open.len() == MAX_OPEN {
                self.open.remove(0);
            }
            self.open.push((parent.to_owned(), opened));
        }
        let (_, directory) = self.open.last().expect("just opened");
        Ok((directory.as_fd(), name))
    }

    /// Opens a directory itself.
    ///
    /// # Errors
    /// As [`Beneath::parent`].
    pub fn directory(&mut self, path: &str) -> io::Result<OwnedFd> {
        let (parent, name) = self.parent(path)?;
        Ok(openat(parent, name, DIRECTORY, Mode::empty())?)
    }
}

/// Opens what should be a file for reading, and does not wait where it is something else.
///
/// # Errors
/// As `openat2(2)`; `ELOOP` or `ENOTDIR` if a symlink is on the way, or if it is one.
pub fn open_file(top: &Path, path: &str) -> io::Result<File> {
    let top = File::open(top)?;
    let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    Ok(openat(open(top.as_fd(), parent)?, name, flags, Mode::empty())?.into())
}

/// The rest of a path below a directory; empty if it is the directory itself.
fn below<'p>(path: &'p str, directory: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(directory)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

fn open(top: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(top, path, DIRECTORY, Mode::empty(), resolve) {
        // A kernel before 5.6, or a sandbox that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => walk(top, path),
        opened => Ok(opened?),
    }
}

/// The same, one name at a time.
fn walk(top: BorrowedFd<'_>, path: &str) -> io::Result<OwnedFd> {
    let mut names = path.split('/');
    let first = names.next().unwrap_or(".");
    let mut directory = openat(top, first, DIRECTORY, Mode::empty())?;
    for name in names {
        directory = openat(&directory, name, DIRECTORY, Mode::empty())?;
    }
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_symlink_is_followed_on_the_way() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("top/a/b")).unwrap();
        std::fs::create_dir_all(dir.path().join("elsewhere/b")).unwrap();
        let top = File::open(dir.path().join("top")).unwrap();
        for open in [open, walk] {
            assert!(open(top.as_fd(), "a/b").is_ok());
        }
        for (link, target) in [("l", "a"), ("up", ".."), ("out", "../elsewhere")] {
            std::os::unix::fs::symlink(target, dir.path().join("top").join(link)).unwrap();
            for open in [open, walk] {
                assert!(open(top.as_fd(), link).is_err(), "{link}");
                assert!(open(top.as_fd(), &format!("{link}/b")).is_err(), "{link}/b");
            }
        }
    }

    #[test]
    fn every_entry_is_in_its_own_directory() {
        let dir = tempfile::tempdir().unwrap();
        let deep: Vec<String> = (0..12).map(|depth| vec!["d"; depth + 1].join("/")).collect();
        let mut directories: Vec<&str> = deep.iter().map(String::as_str).collect();
        directories.extend(["d-e", "de", "d/d-e", "d/de/d", "e/d"]);
        for directory in &directories {
            std::fs::create_dir_all(dir.path().join(directory)).unwrap();
            std::fs::write(dir.path().join(directory).join("name"), directory).unwrap();
        }
        let top = File::open(dir.path()).unwrap();
        let mut beneath = Beneath::new(&top);
        directories.sort_unstable();
        let again: Vec<&str> = directories.iter().rev().copied().collect();
        for directory in directories.into_iter().chain(again) {
            let path = format!("{directory}/file");
            let (parent, name) = beneath.parent(&path).unwrap();
            assert_eq!(name, "file");
            let found = openat(parent, "name", OFlags::RDONLY, Mode::empty()).unwrap();
            assert_eq!(io::read_to_string(File::from(found)).unwrap(), directory);
            assert!(beneath.open.len() <= MAX_OPEN);
        }
    }

    #[test]
    fn a_directory_that_became_a_symlink_is_not_entered() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("top/a")).unwrap();
        std::fs::create_dir(dir.path().join("elsewhere")).unwrap();
        let top = File::open(dir.path().join("top")).unwrap();
        let path = "a/file";
        assert!(Beneath::new(&top).parent(path).is_ok());
        std::fs::remove_dir(dir.path().join("top/a")).unwrap();
        std::os::unix::fs::symlink("../elsewhere", dir.path().join("top/a")).unwrap();
        assert!(Beneath::new(&top).parent(path).is_err());
        assert!(Beneath::new(&top).directory("a").is_err());
    }
}
