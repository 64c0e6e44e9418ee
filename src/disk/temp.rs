//! Temporary files and directories that a later run can remove if their process has died.
//!
//! Each is locked with `flock` as long as its process lives; the kernel releases the lock however the
//! process dies. A process that can take the lock may therefore remove the file. On a network file
//! system, locks may hold on one machine only: there, the file must also be older than
//! [`NETWORK_AGE`].

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::disk::files;
use crate::disk::filesystem;
use crate::disk::nofollow;
use crate::error::{IoContext, OrLog, Result};

/// The prefix of the names of temporary files and directories.
pub const TEMP_PREFIX: &str = ".eggcache-";

/// The age at which a temporary file that another machine may own counts as abandoned.
const NETWORK_AGE: Duration = Duration::from_hours(24);

/// A temporary file or directory of this process, removed when dropped.
#[derive(Debug)]
pub struct Temp {
    path: PathBuf,
    lock: File,
    keep: bool,
}

impl Temp {
    /// Makes an empty file in `dir`, with mode 0600.
    pub fn file(dir: &Path) -> Result<Self> {
        Self::create(dir, |builder| {
            let mut options = File::options();
            options.read(true).write(true).create_new(true).mode(0o600);
            let (file, path) = builder.make_in(dir, |path| options.open(path))?.keep()?;
            Ok(Some((path, file)))
        })
    }

    /// Makes an empty directory in `dir`, with mode 0700.
    pub fn dir(dir: &Path) -> Result<Self> {
        Self::create(dir, |builder| {
            let make = |path: &Path| DirBuilder::new().mode(0o700).create(path);
            let ((), path) = builder.make_in(dir, make)?.keep()?;
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
        // A sweep in another process can take the lock first and remove the new file: then try again.
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

    /// Gives the file its final name, replacing a file of that name. On failure, it is removed.
    pub fn persist(mut self, to: &Path) -> std::io::Result<()> {
        fs::rename(&self.path, to)?;
        self.keep = true;
        Ok(())
    }

    /// Gives the file or directory its final name. Fails if the name exists. On failure, it is removed.
    pub fn persist_new(mut self, to: &Path) -> std::io::Result<()> {
        files::rename_new(&self.path, to)?;
        self.keep = true;
        Ok(())
    }

    /// Replaces the file or directory `to`, which is removed. If the file system can exchange names,
    /// `to` always exists. On failure, this temporary file is removed.
    pub fn replace(self, to: &Path) -> std::io::Result<()> {
        // The old file now has the temporary name, and dropping `self` removes it.
        if files::exchange(&self.path, to)? {
            return Ok(());
        }
        let parent = to.parent().unwrap_or(to);
        let aside = Self::dir(parent).map_err(std::io::Error::other)?;
        let old = aside.path().join("removed");
        fs::rename(to, &old)?;
        self.persist_new(to).inspect_err(|_| drop(fs::rename(&old, to)))
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
    let identity = |metadata: fs::Metadata| files::identity(&metadata);
    matches!(
        (path.symlink_metadata().map(identity), file.metadata().map(identity)),
        (Ok(by_path), Ok(by_handle)) if by_path == by_handle
    )
}

/// Removes a temporary file or directory as far as possible. A later sweep finds the rest.
fn remove(path: &Path) {
    if !path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
        fs::remove_file(path).or_log();
    } else if fs::remove_dir_all(path).is_err() {
        open_up(path);
        fs::remove_dir_all(path).or_log();
    }
}

/// Gives the owner all permissions on a directory and its subdirectories: some eggs contain directories
/// that cannot be written or read.
fn open_up(dir: &Path) {
    let _ = fs::set_permissions(dir, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

/// The temporary files and directories in `dir` whose process has died. A missing `dir` has none.
pub fn abandoned(dir: &Path) -> Result<Vec<Abandoned>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.at("read", dir)?,
    };
    let is_network = filesystem::is_network(dir);
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.at("read", dir)?.path();
        let is_temp = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(TEMP_PREFIX.as_bytes()));
        if is_temp
            && let Ok(lock) = open_to_lock(&path)
            && match lock.try_lock() {
                Ok(()) => !is_network || is_older(&lock, NETWORK_AGE),
                Err(TryLockError::WouldBlock) => false,
                // NFS locks only files that are open for writing.
                Err(TryLockError::Error(_)) => is_network && is_older(&lock, NETWORK_AGE),
            }
        {
            found.push(Abandoned { path, _lock: lock });
        }
    }
    Ok(found)
}

fn is_older(file: &File, age: Duration) -> bool {
    let modified = file.metadata().and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|elapsed| elapsed > age))
}

/// Removes the temporary files and directories in `dir` whose process has died, and returns how many.
pub fn sweep(dir: &Path) -> Result<usize> {
    Ok(abandoned(dir)?.into_iter().filter(Abandoned::remove).count())
}

/// Opens a file or directory to lock it. Fails for anything else, such as a symlink.
fn open_to_lock(path: &Path) -> std::io::Result<File> {
    let kind = path.symlink_metadata()?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    nofollow::open(path).or_else(|error| {
        if kind.is_dir() && error.kind() == std::io::ErrorKind::PermissionDenied {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
            return nofollow::open(path);
        }
        Err(error)
    })
}

/// A temporary file or directory whose process has died. It is locked, so no other process removes it.
#[derive(Debug)]
pub struct Abandoned {
    path: PathBuf,
    _lock: File,
}

impl Abandoned {
    /// Removes it as far as possible, and returns whether nothing is left.
    fn remove(&self) -> bool {
        remove(&self.path);
        self.path.symlink_metadata().is_err()
    }
}

/// Removes a file or directory so that nobody ever sees a part of it under its name. Fails if it cannot
/// be renamed; a later sweep finds what could not be removed.
pub fn remove_whole(path: &Path) -> Result<()> {
    let aside = Temp::dir(path.parent().unwrap_or(path))?;
    fs::rename(path, aside.path().join("removed")).at("remove", path)
}

/// Writes a small file durably: after a crash it has the old content or the new.
pub fn write_durably(path: &Path, content: &[u8]) -> Result<()> {
    let dir = path.parent().unwrap_or(path);
    let temp = Temp::file(dir)?;
    (&temp.lock)
        .write_all(content)
        .and_then(|()| temp.lock.set_permissions(fs::Permissions::from_mode(0o644)))
        .and_then(|()| temp.lock.sync_all())
        .and_then(|()| temp.persist(path))
        .at("write", path)?;
    files::sync_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_living_process_are_not_abandoned() {
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
    fn files_of_a_dead_process_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".eggcache-file"), "half").unwrap();
        fs::create_dir_all(dir.path().join(".eggcache-dir/a/b")).unwrap();
        fs::write(dir.path().join("other"), "").unwrap();
        let found = abandoned(dir.path()).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(sweep(dir.path()).unwrap(), 0, "they are locked");
        drop(found);
        assert_eq!(sweep(dir.path()).unwrap(), 2);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_replaced_file_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let egg = dir.path().join("a.egg");
        fs::create_dir(&egg).unwrap();
        fs::write(egg.join("old"), "").unwrap();
        let temp = Temp::dir(dir.path()).unwrap();
        fs::write(temp.path().join("new"), "").unwrap();
        temp.replace(&egg).unwrap();
        assert!(egg.join("new").exists() && !egg.join("old").exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        // A file takes the place of a directory.
        Temp::file(dir.path()).unwrap().replace(&egg).unwrap();
        assert!(egg.is_file());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_error_names_the_directory_and_no_random_name() {
        let error = Temp::file(Path::new("/no/such/directory")).unwrap_err().to_string();
        let says = "cannot make a temporary file in /no/such/directory: No such file or directory";
        assert!(error.starts_with(says) && !error.contains(TEMP_PREFIX), "{error}");
    }

    #[test]
    fn a_missing_directory_has_nothing_abandoned() {
        assert!(abandoned(Path::new("/no/such/directory")).unwrap().is_empty());
    }
}
