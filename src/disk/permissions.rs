//! Who may read and write a file: modes, the group of a shared cache, and what a file system keeps of them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::error::{IoContext, Result};

/// Whether the group shares what is in a directory: new entries get its group, which may write them.
#[must_use]
pub fn is_shared(dir: &Path) -> bool {
    dir.metadata().is_ok_and(|metadata| metadata.mode() & SHARED == SHARED)
}

/// Set-group-ID, and write permission for the group.
const SHARED: u32 = 0o2020;

/// Lets the group of the directory `of` write a file, or share a directory.
///
/// # Errors
/// If that has to be changed and this process does not own it.
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

/// Gives a file or directory the group of the directory `of`.
///
/// # Errors
/// If that has to be changed and this process does not own it.
pub fn join(path: &Path, of: &Path) -> Result<()> {
    let group = of.metadata().at("read", of)?.gid();
    if path.metadata().at("read", path)?.gid() == group {
        return Ok(());
    }
    std::os::unix::fs::chown(path, None, Some(group)).at("share", path)
}

/// Makes a directory and its parents where they are missing. One that is made in a shared directory
/// is shared as well, whatever the umask says.
///
/// # Errors
/// If one cannot be made.
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

/// Whether anybody may change a directory that belongs neither to this user nor to root.
#[must_use]
pub fn is_open_to_all(dir: &Path) -> bool {
    let owners = [0, rustix::process::geteuid().as_raw()];
    dir.metadata().is_ok_and(|it| it.mode() & 0o002 != 0 && !owners.contains(&it.uid()))
}

/// Whether this process may make files in `dir`.
#[must_use]
pub fn is_writable(dir: &Path) -> bool {
    rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).is_ok()
}

/// Mode bits that the process takes from files it makes; all bits where that cannot be told.
#[must_use]
pub fn umask() -> u32 {
    // umask(2) can only be read by setting it, which would race with other threads.
    fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
            u32::from_str_radix(line.trim(), 8).ok()
        })
        .unwrap_or(0o777)
}

/// Mode bits that a file or directory made in `dir` may lack, or have in excess: those of the umask,
/// or all if `dir` has a default ACL, which then rules in place of the umask.
#[must_use]
pub fn mode_mask(dir: &Path) -> u32 {
    let mut acl = [0; 4];
    match rustix::fs::getxattr(dir, "system.posix_acl_default", &mut acl) {
        Ok(_) | Err(rustix::io::Errno::RANGE) => 0o777,
        Err(_) => umask(),
    }
}
