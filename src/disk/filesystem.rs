//! Abilities of a file system, and its free space.

use std::fs::File;
use std::path::Path;

use crate::disk::dir::Dir;
use crate::disk::temp;
use crate::error::{IoContext, Result};

/// Whether the file system at `path` is served by another machine. SQLite's write-ahead log does not
/// work there, because its index is in shared memory.
#[must_use]
pub fn is_network(path: &Path) -> bool {
    /// `f_type` of statfs(2).
    const NETWORK: [u32; 10] = [
        0x6969,      // NFS
        0x517b,      // SMB
        0xff53_4d42, // CIFS
        0xfe53_4d42, // SMB2
        0x0102_1997, // 9P
        0x5346_414f, // AFS
        0x00c3_6400, // Ceph
        0x0bd0_0bd0, // Lustre
        0x4750_4653, // GPFS
        0x6573_5546, // FUSE: sshfs, s3fs and others
    ];
    file_system(path).is_some_and(|magic| NETWORK.contains(&magic))
}

/// Whether a file at `path` keeps the mode that it is given. The file systems of DOS and Windows do not.
#[must_use]
pub fn keeps_modes(path: &Path) -> bool {
    /// `f_type` of statfs(2).
    const WITHOUT: [u32; 4] = [0x4d44, 0x2011_bab0, 0x5346_544e, 0x7366_746e];
    !is_network(path) && !file_system(path).is_some_and(|magic| WITHOUT.contains(&magic))
}

/// `f_type` of statfs(2).
fn file_system(path: &Path) -> Option<u32> {
    #[cfg(target_os = "linux")]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a magic number")]
    return rustix::fs::statfs(path).ok().map(|file_system| file_system.f_type as u32);
    #[cfg(not(target_os = "linux"))]
    return {
        let _ = path;
        None
    };
}

/// Whether files in `dir` can share blocks, so that a copy writes no bytes.
#[must_use]
pub fn clones(dir: &Dir) -> bool {
    // Empty files have no blocks, but a file system without clones fails all the same.
    #[cfg(target_os = "linux")]
    let try_clone = || {
        let (from, to) = (temp::unnamed(dir)?, temp::unnamed(dir)?);
        std::io::Result::Ok(rustix::fs::ioctl_ficlone(to, from)?)
    };
    #[cfg(not(target_os = "linux"))]
    let try_clone = || {
        let _ = dir;
        Err::<(), _>(std::io::Error::from(std::io::ErrorKind::Unsupported))
    };
    try_clone().is_ok()
}

/// Copies bytes at `offset` of one file to the beginning of another with `copy_file_range(2)`. A file
/// system that clones blocks then writes none. Returns false if that fails; the other file may then
/// have a part of the bytes.
#[must_use]
pub fn copy_range(from: &File, offset: u64, to: &File, len: u64) -> bool {
    #[cfg(target_os = "linux")]
    {
        let (mut at, mut done) = (offset, 0);
        while done < len {
            let left = usize::try_from(len - done).unwrap_or(usize::MAX);
            match rustix::fs::copy_file_range(from, Some(&mut at), to, Some(&mut done), left) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return false,
            }
        }
        true
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (from, offset, to, len);
        false
    }
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
