//! Resolving a path from an open directory.

use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::{DIRECTORY, Dir, Stat};
use crate::disk::system;

/// Opens a path below `top`. Fails if a component is a symlink, or if the path leads out of `top`.
pub fn open_beneath(
    top: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    mode: Mode,
) -> rustix::io::Result<OwnedFd> {
    let opened = system::open_beneath(top, path, flags | OFlags::CLOEXEC, mode);
    opened.unwrap_or_else(|| walk(top, path, flags, mode))
}

/// As [`open_beneath`], one name at a time.
pub(super) fn walk(
    top: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    mode: Mode,
) -> rustix::io::Result<OwnedFd> {
    let mut names: Vec<&OsStr> = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::CurDir => {}
            _ => return Err(Errno::XDEV),
        }
    }
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let Some((last, above)) = names.split_last() else { return openat(top, ".", flags, mode) };
    let mut directory: Option<OwnedFd> = None;
    for name in above {
        let at = directory.as_ref().map_or(top, AsFd::as_fd);
        let opened =
            openat(at, *name, DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?;
        directory = Some(opened);
    }
    openat(directory.as_ref().map_or(top, AsFd::as_fd), *last, flags, mode)
}

/// Names the component because of which a path was not resolved.
pub fn explain(dir: &Dir, path: &Path, error: Errno) -> io::Error {
    match error {
        Errno::LOOP | Errno::NOTDIR | Errno::XDEV => obstacle(dir, path).unwrap_or(error.into()),
        // A socket.
        Errno::NXIO => not_a_file(),
        error => error.into(),
    }
}

/// The first component of a path that is a symlink, or that should be a directory.
fn obstacle(dir: &Dir, path: &Path) -> Option<io::Error> {
    let mut at: Option<OwnedFd> = None;
    let mut here = PathBuf::new();
    for component in path.components() {
        here.push(component);
        let top = at.as_ref().map_or(dir.handle.as_fd(), AsFd::as_fd);
        let name = component.as_os_str();
        let found = Stat::from(statat(top, name, AtFlags::SYMLINK_NOFOLLOW).ok()?);
        if !found.is_dir() {
            let (kind, what) = if found.is_symlink() {
                (ErrorKind::InvalidInput, "a symbolic link")
            } else {
                (ErrorKind::NotADirectory, "not a directory")
            };
            let what = if here == path {
                format!("it is {what}")
            } else {
                format!("{} is {what}", dir.join(here).display())
            };
            return Some(io::Error::new(kind, what));
        }
        at = Some(walk(top, Path::new(name), DIRECTORY, Mode::empty()).ok()?);
    }
    None
}

pub fn is_link() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, "it is a symbolic link")
}

pub fn not_a_file() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, "it is not a file")
}
