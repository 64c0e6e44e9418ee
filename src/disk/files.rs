//! What eggcache needs of a file system beyond `std`: durable names, modes for a group, and the
//! facts that decisions depend on.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
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
