//! Abilities of a file system, and its free space.

use std::path::Path;

use crate::disk::dir::Dir;
use crate::disk::system;
use crate::disk::temp;
use crate::error::{IoContext, Result};

/// Whether the file system at `path` is served by another machine. SQLite's write-ahead log does not
/// work there, because its index is in shared memory.
#[must_use]
pub fn is_network(path: &Path) -> bool {
    system::is_network(path)
}

/// Whether a file at `path` keeps the mode that it is given. The file systems of DOS and Windows do not.
#[must_use]
pub fn keeps_modes(path: &Path) -> bool {
    !is_network(path) && !system::is_without_modes(path)
}

/// Whether files in `dir` can share blocks, so that a copy writes no bytes.
#[must_use]
pub fn clones(dir: &Dir) -> bool {
    // Empty files have no blocks, but a file system without clones fails all the same.
    let try_clone = || {
        let (from, to) = (temp::unnamed(dir)?, temp::unnamed(dir)?);
        system::clone(&from, &to)
    };
    try_clone().is_ok()
}

/// Free bytes in the file system at `path`, including those reserved for root; `None` if unknown.
#[must_use]
pub fn free_bytes(path: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(path).ok()?;
    (found.f_blocks > 0).then(|| found.f_bfree.saturating_mul(found.f_frsize))
}

/// The space of a file system that this user can use.
#[derive(Debug, Clone, Copy)]
pub struct Space {
    /// The unit of allocation, in bytes.
    pub block: u64,
    pub free_bytes: Option<u64>,
    /// `None` if the number is unlimited.
    pub free_inodes: Option<u64>,
}

/// The space of the file system at `path` that this user can use. Only root can use what is reserved
/// for root.
pub fn space(path: &Path) -> Result<Space> {
    let found = rustix::fs::statvfs(path).at("look at the file system of", path)?;
    let is_root = rustix::process::geteuid().is_root();
    let blocks = if is_root { found.f_bfree } else { found.f_bavail };
    let inodes = if is_root { found.f_ffree } else { found.f_favail };
    Ok(Space {
        block: found.f_frsize.max(1),
        free_bytes: (found.f_blocks > 0).then(|| blocks.saturating_mul(found.f_frsize)),
        free_inodes: (found.f_files > 0).then_some(inodes),
    })
}
