//! Modes of files, and sharing a cache with a group.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::error::{IoContext, Result};

/// Whether a group shares a directory: new entries get its group, and the group may write the
/// directory.
#[must_use]
pub fn is_shared(dir: &Path) -> bool {
    dir.metadata().is_ok_and(|metadata| metadata.mode() & SHARED == SHARED)
}

/// Set-group-ID, and write permission for the group.
const SHARED: u32 = 0o2020;

/// Lets the group of the directory `of` write a file or share a directory. Fails if that needs a change
/// and this process does not own the file.
pub fn share(path: &Path, of: &Path) -> Result<()> {
    let metadata = path.metadata().at("read", path)?;
    join(path, of)?;
    let group = if metadata.is_dir() { SHARED | 0o070 } else { 0o060 };
    if metadata.mode() & group == group {
        return Ok(());
    }
    let mode = (metadata.mode() | group) & 0o7777;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).at("share", path)
}

/// Gives a file or directory the group of the directory `of`. Fails if that needs a change and this
/// process does not own the file.
pub fn join(path: &Path, of: &Path) -> Result<()> {
    let group = of.metadata().at("read", of)?.gid();
    if path.metadata().at("read", path)?.gid() == group {
        return Ok(());
    }
    std::os::unix::fs::chown(path, None, Some(group)).at("share", path)
}

/// Makes a directory and its parents if they are missing. A directory made in a shared directory is
/// shared too, regardless of the umask.
pub fn make_dir(dir: &Path) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().unwrap_or(dir);
    fs::create_dir_all(parent).at("make directory", parent)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && dir.is_dir() => {
            return Ok(());
        }
        made => made.at("make directory", dir)?,
    }
    if is_shared(parent) { share(dir, parent) } else { Ok(()) }
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
        Ok(_) | Err(rustix::io::Errno::RANGE) => 0o777,
        Err(_) => umask(),
    }
}
