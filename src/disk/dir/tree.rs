//! Removing a directory with everything in it, except file systems and directories that are mounted there.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, openat, statat, unlinkat};
use rustix::io::{Errno, Result};

use super::DIRECTORY;
use crate::disk::system;

/// The most directories below each other: as many as fit into the longest path.
const DEPTH: usize = crate::disk::MAX_PATH / 2;

/// Removes an entry of a directory, with everything in it.
pub fn remove(at: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    remove_tree(at, name, DEPTH)
}

fn remove_tree(at: BorrowedFd<'_>, name: &OsStr, depth: usize) -> Result<()> {
    match unlinkat(at, name, AtFlags::empty()) {
        // Linux and POSIX disagree on the error for a directory.
        Err(Errno::ISDIR | Errno::PERM) => {}
        removed => return removed,
    }
    if depth == 0 {
        return Err(Errno::NAMETOOLONG);
    }
    let opened = match open_here(at, name, DIRECTORY) {
        Err(Errno::ACCESS) => {
            open_up(at, name)?;
            open_here(at, name, DIRECTORY)?
        }
        opened => opened?,
    };
    let mut failed = Ok(());
    let mut is_open = false;
    let mut entries = rustix::fs::Dir::new(opened)?;
    while let Some(entry) = entries.read() {
        let entry = entry?;
        let below = OsStr::from_bytes(entry.file_name().to_bytes());
        if below == "." || below == ".." {
            continue;
        }
        let mut removed = remove_tree(entries.fd()?, below, depth - 1);
        if removed == Err(Errno::ACCESS) && !is_open {
            is_open = true;
            open_up(at, name)?;
            removed = remove_tree(entries.fd()?, below, depth - 1);
        }
        failed = failed.and(removed);
    }
    failed.and_then(|()| unlinkat(at, name, AtFlags::REMOVEDIR))
}

/// Gives the owner all permissions on a directory: some eggs contain directories that cannot be
/// written or read.
pub fn open_up(at: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    let found = statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
        return Err(Errno::NOTDIR);
    }
    system::set_mode_at(at, name, 0o700).unwrap_or_else(|| {
        let directory = open_here(at, name, system::LOOK | OFlags::DIRECTORY)?;
        system::set_mode(directory.as_fd(), 0o700)
    })
}

/// Opens an entry that is not a symlink. Fails with `EXDEV` if something is mounted there.
fn open_here(at: BorrowedFd<'_>, name: &OsStr, flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    system::open_here(at, name, flags).unwrap_or_else(|| walk_here(at, name, flags))
}

/// As [`open_here`], where the system has no call for it: this does not notice a directory of the same file system
/// that is mounted there.
fn walk_here(at: BorrowedFd<'_>, name: &OsStr, flags: OFlags) -> Result<OwnedFd> {
    let opened = openat(at, name, flags, Mode::empty())?;
    if fstat(&opened)?.st_dev == fstat(at)?.st_dev { Ok(opened) } else { Err(Errno::XDEV) }
}
