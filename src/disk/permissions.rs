//! Modes of files, and sharing a cache with a group.
//!
//! Modes and groups are changed through an open handle, never by name: a name can have become that of
//! another file since somebody looked.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::Mode;
use rustix::io::Errno;

/// Set-group-ID, and write permission for the group.
const SHARED: u32 = 0o2020;

/// Whether these are mode bits of a directory that a group shares: new entries get its group, and the
/// group may write the directory.
#[must_use]
pub fn is_shared_mode(mode: u32) -> bool {
    mode & SHARED == SHARED
}

/// Lets the group of the directory `of` write a file or share a directory. Fails if that needs a change
/// and this process does not own the file, or if the file has another name, which may be outside the
/// cache.
pub fn share(file: &File, of: &File) -> io::Result<()> {
    join(file, of)?;
    let found = file.metadata()?;
    let mode = (found.mode() | if found.is_dir() { SHARED | 0o070 } else { 0o060 }) & 0o7777;
    if found.mode() & 0o7777 == mode {
        return Ok(());
    }
    check_owner(&found, &of.metadata()?)?;
    change_mode(file, mode)
}

/// Gives a file or directory the group of the directory `of`. Fails as [`share`] does.
pub fn join(file: &File, of: &File) -> io::Result<()> {
    let (found, of) = (file.metadata()?, of.metadata()?);
    let group = of.gid();
    if found.gid() == group {
        return Ok(());
    }
    check_sole(&found)?;
    check_owner(&found, &of)?;
    // With an empty path this acts on the handle, also if it is only for looking.
    let group = rustix::process::Gid::from_raw(group);
    Ok(rustix::fs::chownat(file, "", None, Some(group), rustix::fs::AtFlags::EMPTY_PATH)?)
}

/// Sets the mode of a file or directory. Fails as [`share`] does.
pub fn change_mode(file: &File, mode: u32) -> io::Result<()> {
    let found = file.metadata()?;
    if found.mode() & 0o7777 == mode {
        return Ok(());
    }
    check_sole(&found)?;
    Ok(set_mode(file.as_fd(), mode)?)
}

/// Refuses a file with a second name, and what is neither a file nor a directory.
fn check_sole(found: &fs::Metadata) -> io::Result<()> {
    let reason = if found.is_dir() || (found.is_file() && found.nlink() == 1) {
        return Ok(());
    } else if found.is_file() {
        "it has another name (a hard link)"
    } else {
        "it is not a file"
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, reason))
}

/// Refuses a file of somebody who does not own the directory `of`: root could change it, but the file
/// can have been moved there from anywhere.
fn check_owner(found: &fs::Metadata, of: &fs::Metadata) -> io::Result<()> {
    let is_root = rustix::process::geteuid().is_root();
    if is_root && found.is_file() && found.uid() != 0 && found.uid() != of.uid() {
        let reason = format!("it belongs to user {}", found.uid());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    Ok(())
}

/// Sets the mode of an open file, also of one that is only open for looking.
pub fn set_mode(file: BorrowedFd<'_>, mode: u32) -> rustix::io::Result<()> {
    match rustix::fs::fchmod(file, Mode::from_raw_mode(mode)) {
        Err(Errno::BADF) => {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            let set = fs::set_permissions(path, Permissions::from_mode(mode));
            set.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
        }
        set => set,
    }
}

/// Whether everybody may write a directory that belongs neither to this user nor to root.
#[must_use]
pub fn is_open_to_all(dir: &Path) -> bool {
    let owners = [0, rustix::process::geteuid().as_raw()];
    dir.metadata().is_ok_and(|it| it.mode() & 0o002 != 0 && !owners.contains(&it.uid()))
}

/// Whether this process may write a file, or make files in a directory.
#[must_use]
pub fn is_writable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
}

/// The umask of this process; all bits if it is unknown.
#[must_use]
pub fn umask() -> u32 {
    // umask(2) returns it only while setting it, which would race with other threads.
    fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
            u32::from_str_radix(line.trim(), 8).ok()
        })
        .unwrap_or(0o777)
}

/// Mode bits that may be wrong in a file or directory made in `dir`: those of the umask, or all bits if
/// `dir` has a default ACL, which replaces the umask.
#[must_use]
pub fn mode_mask(dir: &Path) -> u32 {
    let mut acl = [0; 4];
    match rustix::fs::getxattr(dir, "system.posix_acl_default", &mut acl) {
        Ok(_) | Err(Errno::RANGE) => 0o777,
        Err(_) => umask(),
    }
}
