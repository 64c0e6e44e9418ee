//! Making files and directories beneath a directory without ever following a symlink: a directory
//! of a temporary egg that somebody swaps for a symlink leads nowhere.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use crate::egg_path::EggPath;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// A directory, and the one beneath it that was used last: entries come in the order of their
/// paths, so most are in the same directory as the one before.
#[derive(Debug)]
pub struct Beneath<'a> {
    top: BorrowedFd<'a>,
    last: Option<(String, OwnedFd)>,
}

impl<'a> Beneath<'a> {
    #[must_use]
    pub fn new(top: &'a File) -> Self {
        Self { top: top.as_fd(), last: None }
    }

    /// The open directory that an entry is in, and the entry's name there.
    ///
    /// # Errors
    /// As `openat2(2)`; `ELOOP` or `ENOTDIR` if a symlink is on the way.
    pub fn parent<'p>(&mut self, path: &'p EggPath) -> io::Result<(BorrowedFd<'_>, &'p str)> {
        let (parent, name) = path.as_str().rsplit_once('/').unwrap_or(("", path.as_str()));
        if parent.is_empty() {
            return Ok((self.top, name));
        }
        if self.last.as_ref().is_none_or(|(last, _)| last != parent) {
            let opened = open(self.top, parent)?;
            self.last = Some((parent.to_owned(), opened));
        }
        let (_, directory) = self.last.as_ref().expect("just opened");
        Ok((directory.as_fd(), name))
    }

    /// Opens a directory itself.
    ///
    /// # Errors
    /// As [`Beneath::parent`].
    pub fn directory(&mut self, path: &EggPath) -> io::Result<OwnedFd> {
        let (parent, name) = self.parent(path)?;
        Ok(openat(parent, name, DIRECTORY, Mode::empty())?)
    }
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
    fn a_directory_that_became_a_symlink_is_not_entered() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("top/a")).unwrap();
        std::fs::create_dir(dir.path().join("elsewhere")).unwrap();
        let top = File::open(dir.path().join("top")).unwrap();
        let path = EggPath::new("a/file").unwrap();
        assert!(Beneath::new(&top).parent(&path).is_ok());
        std::fs::remove_dir(dir.path().join("top/a")).unwrap();
        std::os::unix::fs::symlink("../elsewhere", dir.path().join("top/a")).unwrap();
        assert!(Beneath::new(&top).parent(&path).is_err());
        assert!(Beneath::new(&top).directory(&EggPath::new("a").unwrap()).is_err());
    }
}
