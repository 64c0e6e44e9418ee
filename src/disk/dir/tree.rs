//! Removing a directory with everything in it.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, unlinkat};
use rustix::io::{Errno, Result};

use super::DIRECTORY;
use crate::disk::permissions;

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
    let flags = DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let opened = match openat(at, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            open_up(at, name)?;
            openat(at, name, flags, Mode::empty())?
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
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(at, name, flags, Mode::empty())?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&directory)?.st_mode);
    if kind != FileType::Directory {
        return Err(Errno::NOTDIR);
    }
    permissions::set_mode(directory.as_fd(), 0o700)
}
