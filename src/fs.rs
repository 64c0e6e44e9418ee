//! What eggcache needs of a file system beyond `std`: temporary files and directories that a later
//! run can tell from living ones, durable renames, and the facts that decisions depend on.
//!
//! A temporary file or directory is locked (`flock`) as long as its process lives, and the kernel
//! lets go of the lock however the process dies. Whoever can take the lock may therefore remove it.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::error::{IoContext, Result};

/// Beginning of the names of temporary files and directories.
pub const TEMP_PREFIX: &str = ".eggcache-";

/// A temporary file or directory of this process, removed when dropped.
#[derive(Debug)]
pub struct Temp {
    path: PathBuf,
    lock: File,
    keep: bool,
}

impl Temp {
    /// An empty file in `dir`, with mode 0600.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn file(dir: &Path) -> Result<Self> {
        Self::create(dir, |builder| {
            let file = builder.tempfile_in(dir)?;
            let (file, path) = file.keep()?;
            Ok(Some((path, file)))
        })
    }

    /// An empty directory in `dir`, with mode 0700.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn dir(dir: &Path) -> Result<Self> {
        Self::create(dir, |builder| {
            let path = builder.tempdir_in(dir)?.keep();
            match File::open(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                file => Ok(Some((path, file?))),
            }
        })
    }

    fn create(
        dir: &Path,
        make: impl Fn(&tempfile::Builder<'_, '_>) -> std::io::Result<Option<(PathBuf, File)>>,
    ) -> Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(TEMP_PREFIX);
        // A sweep in another process can take the lock between the making and the locking, and
        // remove what was made: then the next try makes another.
        loop {
            let Some((path, lock)) = make(&builder).at("make a temporary file in", dir)? else {
                continue;
            };
            lock.lock().at("lock", &path)?;
            if is_same_file(&path, &lock) {
                return Ok(Self { path, lock, keep: false });
            }
        }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open file, or the directory opened for reading.
    #[must_use]
    pub fn handle(&self) -> &File {
        &self.lock
    }

    /// Gives the file its final name, replacing a file of that name.
    ///
    /// # Errors
    /// If it cannot be renamed; it is then removed.
    pub fn persist(mut self, to: &Path) -> std::io::Result<()> {
        fs::rename(&self.path, to)?;
        self.keep = true;
        Ok(())
    }

    /// Gives the file or directory its final name, which nothing has.
    ///
    /// # Errors
    /// If there is something of that name, or if it cannot be renamed; it is then removed.
    pub fn persist_new(mut self, to: &Path) -> std::io::Result<()> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, &self.path, CWD, to, RenameFlags::NOREPLACE) {
            // A file system or kernel without that flag.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                if to.symlink_metadata().is_ok() {
                    return Err(std::io::ErrorKind::AlreadyExists.into());
                }
                fs::rename(&self.path, to)?;
            }
            renamed => renamed?,
        }
        self.keep = true;
        Ok(())
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if !self.keep {
            remove(&self.path);
        }
    }
}

fn is_same_file(path: &Path, file: &File) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    matches!(
        (path.symlink_metadata().map(identity), file.metadata().map(identity)),
        (Ok(by_path), Ok(by_handle)) if by_path == by_handle
    )
}

/// Removes a temporary file or directory as far as that is possible: what stays, a later sweep
/// finds again.
fn remove(path: &Path) {
    if !path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
        let _ = fs::remove_file(path);
    } else if fs::remove_dir_all(path).is_err() {
        open_up(path);
        let _ = fs::remove_dir_all(path);
    }
}

/// Gives the owner every permission on a directory and those below it: some eggs hold directories
/// that cannot be written or read.
fn open_up(dir: &Path) {
    let _ = fs::set_permissions(dir, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

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

/// Temporary files and directories in `dir` whose process is gone. A missing `dir` has none.
///
/// # Errors
/// If `dir` cannot be read.
pub fn abandoned(dir: &Path) -> Result<Vec<Abandoned>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.at("read", dir)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.at("read", dir)?.path();
        let is_temp = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(TEMP_PREFIX.as_bytes()));
        if is_temp
            && let Ok(lock) = open_to_lock(&path)
            && lock.try_lock().is_ok()
        {
            found.push(Abandoned { path, _lock: lock });
        }
    }
    Ok(found)
}

/// Opens a file or a directory, and nothing else that may stand there.
fn open_to_lock(path: &Path) -> std::io::Result<File> {
    let kind = path.symlink_metadata()?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let open = || File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    open().or_else(|error| {
        if kind.is_dir() && error.kind() == std::io::ErrorKind::PermissionDenied {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
            return open();
        }
        Err(error)
    })
}

/// A temporary file or directory that nobody owns any more, locked so that it stays so.
#[derive(Debug)]
pub struct Abandoned {
    pub path: PathBuf,
    _lock: File,
}

impl Abandoned {
    pub fn remove(self) {
        remove(&self.path);
    }
}

/// Makes the names in a directory durable.
///
/// # Errors
/// If the directory cannot be synced.
pub fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).at("sync", dir)
}

/// Makes a file that occupies `bytes` on the disk, if there is room and it is not there already.
pub fn reserve(path: &Path, bytes: u64) {
    if path.exists() {
        return;
    }
    let made = File::create(path).and_then(|file| {
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
        Ok(())
    });
    if made.is_err() {
        let _ = fs::remove_file(path);
    }
}

/// Whether the file system at `path` is served by another machine, where SQLite's write-ahead log
/// does not work (its index is in shared memory).
#[must_use]
pub fn is_remote(path: &Path) -> bool {
    /// `f_type` of statfs(2).
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
    #[cfg(target_os = "linux")]
    if let Ok(file_system) = rustix::fs::statfs(path) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a magic number"
        )]
        return REMOTE.contains(&(file_system.f_type as u32));
    }
    let _ = (path, REMOTE);
    false
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_living_process_owns_is_not_abandoned() {
        let dir = tempfile::tempdir().unwrap();
        let (file, directory) = (Temp::file(dir.path()).unwrap(), Temp::dir(dir.path()).unwrap());
        assert!(abandoned(dir.path()).unwrap().is_empty());
        let kept = file.path().to_owned();
        drop(directory);
        file.persist(&dir.path().join("final")).unwrap();
        assert!(!kept.exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_dead_process_left_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".eggcache-file"), "half").unwrap();
        fs::create_dir_all(dir.path().join(".eggcache-dir/a/b")).unwrap();
        fs::write(dir.path().join("other"), "").unwrap();
        let found = abandoned(dir.path()).unwrap();
        assert_eq!(found.len(), 2);
        found.into_iter().for_each(Abandoned::remove);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_directory_has_nothing_abandoned() {
        assert!(abandoned(Path::new("/no/such/directory")).unwrap().is_empty());
    }
}
