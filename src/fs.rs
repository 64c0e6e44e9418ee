//! What eggcache needs of a file system beyond `std`: durable names, modes for a group, and the
//! facts that decisions depend on.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::error::{IoContext, Result};

/// Serialises a path; bytes that are not UTF-8 are replaced, so that a report can always be told.
///
/// # Errors
/// What the serializer says.
pub fn lossy<S: serde::Serializer>(
    path: &Path,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// Device and inode: what tells a file from another of the same name.
#[must_use]
pub fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Reads a file that somebody else has written: no more than `most` bytes, and neither a FIFO, which
/// would be waited for, nor a device.
///
/// # Errors
/// If it cannot be read, is longer or is no file.
pub fn read_short(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is not a file"));
    }
    let mut content = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > most {
        let reason = format!("it has more than {most} bytes");
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, reason));
    }
    Ok(content)
}

/// Makes the names in a directory durable.
///
/// # Errors
/// If the directory cannot be synced.
pub fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).at("sync", dir)
}

/// Whether the group shares what is in a directory: new entries get its group, which may write them.
#[must_use]
pub fn is_shared(dir: &Path) -> bool {
    dir.metadata().is_ok_and(|metadata| metadata.mode() & SHARED == SHARED)
}

/// Set-group-ID, and write permission for the group.
const SHARED: u32 = 0o2020;

/// Makes a directory and its parents where they are missing, durably: what is synced in it later is
/// not lost for want of its name.
///
/// # Errors
/// If one cannot be made or its name not synced.
pub fn make_dirs_durably(dir: &Path) -> std::io::Result<()> {
    match fs::create_dir(dir) {
        Err(_) if dir.is_dir() => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
            make_dirs_durably(parent.ok_or(error)?)?;
            return make_dirs_durably(dir);
        }
        made => made?,
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
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

/// Whether anybody may change a directory that belongs neither to this user nor to root.
#[must_use]
pub fn is_open_to_all(dir: &Path) -> bool {
    let owners = [0, rustix::process::geteuid().as_raw()];
    dir.metadata().is_ok_and(|it| it.mode() & 0o002 != 0 && !owners.contains(&it.uid()))
}

/// Gives a file or directory another name, which nothing has.
///
/// # Errors
/// If there is something of that name, or if it cannot be renamed.
pub fn rename_new(from: &Path, to: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system or kernel without that flag.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            if to.symlink_metadata().is_ok() {
                return Err(std::io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(from, to)
        }
        renamed => Ok(renamed?),
    }
}

/// Whether files in `dir` can share blocks: then a copy writes no bytes.
#[must_use]
pub fn clones(dir: &Path) -> bool {
    // Empty files have no blocks to share, but a file system that cannot says so all the same.
    #[cfg(target_os = "linux")]
    let try_clone = || {
        let (from, to) = (tempfile::tempfile_in(dir)?, tempfile::tempfile_in(dir)?);
        std::io::Result::Ok(rustix::fs::ioctl_ficlone(to, from)?)
    };
    #[cfg(not(target_os = "linux"))]
    let try_clone = || {
        let _ = dir;
        Err::<(), _>(std::io::Error::from(std::io::ErrorKind::Unsupported))
    };
    try_clone().is_ok()
}

/// Copies bytes at `offset` of a file to the beginning of another, if the kernel can: a file system
/// that clones whole blocks then writes none. Answers whether it could; if not, the other file may
/// have a part of them.
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

/// Lets two files or directories swap their names, in one step; answers whether the file system can.
///
/// # Errors
/// If it can and does not.
pub fn exchange(one: &Path, other: &Path) -> std::io::Result<bool> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
        // A file system or kernel without that flag.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Ok(false),
        renamed => Ok(renamed.map(|()| true)?),
    }
}

/// Makes a file that occupies `bytes` on the disk, if there is room and it is not there already.
pub fn reserve(path: &Path, bytes: u64) {
    // A process that died may have left it empty; what has anything in it is not this file.
    if path.symlink_metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() == 0) {
        let _ = fs::remove_file(path);
    }
    let Ok(file) = File::create_new(path) else { return };
    if rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes).is_err() {
        let _ = fs::remove_file(path);
    }
}

/// Whether the file system at `path` is served by another machine, where SQLite's write-ahead log
/// does not work (its index is in shared memory).
#[must_use]
pub fn is_remote(path: &Path) -> bool {
    /// `f_type` of statfs(2) of what another machine serves.
    const REMOTE: [u32; 10] = [
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
    file_system(path).is_some_and(|magic| REMOTE.contains(&magic))
}

/// Whether a file at `path` keeps the mode that it is given.
#[must_use]
pub fn keeps_modes(path: &Path) -> bool {
    /// `f_type` of statfs(2) of what DOS and Windows made.
    const WITHOUT: [u32; 4] = [0x4d44, 0x2011_bab0, 0x5346_544e, 0x7366_746e];
    !is_remote(path) && !file_system(path).is_some_and(|magic| WITHOUT.contains(&magic))
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

/// Bytes that are free in the file system at `path`, those kept for root included; `None` if it does
/// not tell.
#[must_use]
pub fn free_bytes(path: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(path).ok()?;
    (found.f_blocks > 0).then(|| found.f_bfree.saturating_mul(found.f_frsize))
}

/// What a file system has left for this user.
#[derive(Debug, Clone, Copy)]
pub struct Space {
    /// What it gives to files at a time, in bytes.
    pub block: u64,
    pub free_bytes: Option<u64>,
    /// `None` where there are as many as are wanted.
    pub free_inodes: Option<u64>,
}

/// What the file system at `path` has left; what is kept for root is for root only.
///
/// # Errors
/// As statvfs(3).
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

/// What tells this start of the machine from every other; `None` where that cannot be told.
#[must_use]
pub fn boot_id() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

/// The name of this machine; empty where that cannot be told.
#[must_use]
pub fn machine() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
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

/// Sets mtime, and atime to the same, of a file that is open or of an entry below a directory. In
/// seconds since the Unix epoch, and nanoseconds into that second.
///
/// # Errors
/// As `utimensat(2)`.
pub fn set_mtime(
    at: impl AsFd,
    path: Option<&str>,
    (seconds, nanos): (i64, u32),
) -> rustix::io::Result<()> {
    use rustix::fs::{AtFlags, Timespec, Timestamps, futimens, utimensat};
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    match path {
        None => futimens(at, &times),
        Some(path) => utimensat(at, path, &times, AtFlags::SYMLINK_NOFOLLOW),
    }
}
