//! Operations on files that `std` does not have: durable names, exclusive renames, bounded reads.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::disk::dir::Dir;
use crate::disk::permissions::Kind;
use crate::disk::system;
use crate::error::{IoContext, OrLog, Result};

/// Serialises a path. Bytes that are not UTF-8 are replaced, so that every report can be serialised.
pub fn lossy<S: serde::Serializer>(
    path: &Path,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// Device and inode, which distinguish a file from another of the same name.
#[must_use]
pub fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Reads a file that other programs may have written. Fails if it has more than `most` bytes or is not
/// a regular file; does not block on a FIFO.
pub fn read_short(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    read_opened(open_file(path)?, most)
}

/// Opens a regular file that other programs may have put there, for reading; symlinks are followed.
/// Anything else is not even opened: to open a FIFO can wait for ever, and to open a device can act.
pub fn open_file(path: &Path) -> std::io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let looked = rustix::fs::open(path, system::LOOK | OFlags::CLOEXEC, Mode::empty())?;
    open_looked(&looked.into(), path)
}

/// Opens for reading what was opened as `looked` only to look at it, if it is a regular file.
pub fn open_looked(looked: &File, path: &Path) -> std::io::Result<File> {
    let found = looked.metadata()?;
    if !found.is_file() {
        return Err(not_a_file());
    }
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let open = |path: &Path| File::options().read(true).custom_flags(flags).open(path);
    match open(format!("/proc/self/fd/{}", looked.as_raw_fd()).as_ref()) {
        // There is no /proc.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let opened = open(path)?;
            if identity(&opened.metadata()?) == identity(&found) {
                Ok(opened)
            } else {
                Err(std::io::Error::other("it changes while it is read"))
            }
        }
        opened => opened,
    }
}

fn not_a_file() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is not a file")
}

/// Reads an open file, as [`read_short`].
pub fn read_opened(file: File, most: u64) -> std::io::Result<Vec<u8>> {
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(not_a_file());
    }
    // A sparse file takes no space, however long it is.
    if found.len() > most {
        return Err(too_long(most));
    }
    read_at_most(file, most)
}

/// Reads a text that the user names. It may be a FIFO, as from a shell's `<(command)`: this waits for
/// its writer. Fails if it has more than `most` bytes.
pub fn read_text(path: &Path, most: u64) -> std::io::Result<String> {
    let content = read_at_most(File::open(path)?, most)?;
    String::from_utf8(content)
        .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
}

fn read_at_most(file: File, most: u64) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > most { Err(too_long(most)) } else { Ok(content) }
}

fn too_long(most: u64) -> std::io::Error {
    let reason = format!("it has more than {most} bytes");
    std::io::Error::new(std::io::ErrorKind::FileTooLarge, reason)
}

/// Makes the names in a directory durable.
pub fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).at("sync", dir)
}

/// Makes a directory with this mode, and its parents if they are missing, which nobody else can write.
/// Makes their names durable: a file that is synced in it later cannot be lost with its directory.
/// Returns whether it was missing.
///
/// What root makes in the folder of another user belongs to that user.
pub fn make_dirs_durably(dir: &Path, mode: u32) -> std::io::Result<bool> {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    match fs::DirBuilder::new().mode(mode).create(dir) {
        Err(_) if dir.is_dir() => return Ok(false),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let parent = parent.ok_or(error)?;
            // If it were there, the next attempt would fail in the same way, for ever.
            if parent.is_dir() {
                return Err(takes_none(parent));
            }
            make_dirs_durably(parent, 0o755)?;
            return make_dirs_durably(dir, mode);
        }
        result => result?,
    }
    let parent = Dir::open(parent.unwrap_or(Path::new(".")))?;
    let opened = parent.look(dir.file_name().unwrap_or_default())?;
    parent.rights()?.give_owner(&opened)?;
    parent.sync()?;
    Ok(true)
}

/// The error for a directory that is no place for others, as in `/proc`.
fn takes_none(dir: &Path) -> std::io::Error {
    let reason = format!("{} takes no new directories", dir.display());
    std::io::Error::new(std::io::ErrorKind::Unsupported, reason)
}

/// Renames a file or directory below open directories. Fails if the new name exists.
pub fn rename_new(
    old_dir: BorrowedFd<'_>,
    old: impl rustix::path::Arg + Copy,
    new_dir: BorrowedFd<'_>,
    new: impl rustix::path::Arg + Copy,
) -> rustix::io::Result<()> {
    use rustix::fs::{AtFlags, RenameFlags, renameat, renameat_with, statat};
    use rustix::io::Errno;
    match renameat_with(old_dir, old, new_dir, new, RenameFlags::NOREPLACE) {
        // The file system or the kernel does not have this flag.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            match statat(new_dir, new, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => renameat(old_dir, old, new_dir, new),
                found => found.and(Err(Errno::EXIST)),
            }
        }
        renamed => renamed,
    }
}

/// Swaps the names of two files or directories of an open directory in one step. Returns false if the file
/// system does not support this.
pub fn exchange(dir: BorrowedFd<'_>, one: &OsStr, other: &OsStr) -> std::io::Result<bool> {
    use rustix::fs::{RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(dir, one, dir, other, RenameFlags::EXCHANGE) {
        // The file system or the kernel does not have this flag.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Ok(false),
        renamed => Ok(renamed.map(|()| true)?),
    }
}

/// Makes a file that occupies `bytes` on the disk, if it is missing and there is space. It gets the
/// rights of its directory.
pub fn reserve(dir: &Dir, name: &str, bytes: u64) {
    // A process that died can have left it empty. A file with content stays.
    if dir.stat(name).is_ok_and(|found| found.is_file() && found.len() == 0) {
        dir.remove_file(name).or_log();
    }
    let Ok(file) = dir.create(name, 0o600) else { return };
    dir.rights().and_then(|rights| rights.give(&file, Kind::File)).or_log();
    if rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes).is_err() {
        dir.remove_file(name).or_log();
    }
}

/// Sets the mtime and atime of an open file, or of the entry `path` in an open directory without
/// following a symlink. In seconds since the Unix epoch, and nanoseconds.
///
/// Fails if the file system does not have this time, such as one after January 2038: it would set
/// another one silently, and Python would not use bytecode that was compiled from a file of that time.
pub fn set_mtime(
    at: impl AsFd,
    path: Option<&str>,
    (seconds, nanos): (i64, u32),
) -> std::io::Result<()> {
    use rustix::fs::{AtFlags, Timespec, Timestamps, fstat, futimens, statat, utimensat};
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    match path {
        None => futimens(&at, &times),
        Some(path) => utimensat(&at, path, &times, AtFlags::SYMLINK_NOFOLLOW),
    }?;
    if i32::try_from(seconds).is_ok() {
        return Ok(());
    }
    let set = match path {
        None => fstat(&at),
        Some(path) => statat(&at, path, AtFlags::SYMLINK_NOFOLLOW),
    }?;
    if set.st_mtime == seconds {
        return Ok(());
    }
    let reason = "the file system cannot store its mtime";
    Err(std::io::Error::new(std::io::ErrorKind::Unsupported, reason))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_directory_that_takes_no_others_is_an_error() {
        for (dir, above) in [("/proc/eggs", "/proc"), ("/proc/self/eggs/cache", "/proc/self")] {
            let refused = make_dirs_durably(Path::new(dir), 0o700).unwrap_err();
            assert_eq!(refused.to_string(), format!("{above} takes no new directories"));
        }
    }

    #[test]
    fn only_a_regular_file_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("file"), "text").unwrap();
        std::os::unix::fs::symlink("file", path("link")).unwrap();
        assert_eq!(read_short(&path("link"), 4).unwrap(), b"text");
        assert_eq!(
            read_short(&path("link"), 3).unwrap_err().kind(),
            std::io::ErrorKind::FileTooLarge
        );
        // To open a socket fails with another error, so it was not opened; nor is a device.
        let _socket = UnixListener::bind(path("socket")).unwrap();
        std::os::unix::fs::symlink("socket", path("to-socket")).unwrap();
        for name in ["socket", "to-socket"] {
            let error = read_short(&path(name), 4).unwrap_err();
            assert_eq!(error.to_string(), "it is not a file", "{name}");
        }
    }
}
