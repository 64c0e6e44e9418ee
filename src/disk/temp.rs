//! Temporary files and directories that a later run can remove if their process has died.
//!
//! Each is locked with `flock` as long as its process lives; the kernel releases the lock however the
//! process dies. A process that can take the lock may therefore remove the file. On a network file
//! system, locks may hold on one machine only: there, the file must also be older than
//! [`NETWORK_AGE`].

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::CWD;

use crate::disk::dir::Dir;
use crate::disk::files;
use crate::disk::filesystem;
use crate::disk::permissions::Kind;
use crate::disk::system;
use crate::error::{Error, IoContext, OrLog, Result};

/// The prefix of the names of temporary files and directories.
pub const TEMP_PREFIX: &str = ".eggcache-";

/// The age at which a temporary file that another machine may own counts as abandoned.
const NETWORK_AGE: Duration = Duration::from_hours(24);

/// How many temporary files are made until one is not locked by another process.
const MOST_TRIES: usize = 100;

/// A temporary file or directory of this process, removed when dropped.
#[derive(Debug)]
pub struct Temp {
    dir: Dir,
    name: OsString,
    /// For messages, and to look at it.
    path: PathBuf,
    lock: File,
    keep: bool,
}

impl Temp {
    /// Makes an empty file in `dir`, with mode 0600.
    pub fn file(dir: &Dir) -> Result<Self> {
        Self::file_with_mode(dir, 0o600)
    }

    /// Makes an empty file in `dir`, with this mode except for what the umask removes.
    pub fn file_with_mode(dir: &Dir, mode: u32) -> Result<Self> {
        Self::create(dir, |name| dir.create(name, mode).map(Some))
    }

    /// As [`Temp::file`], in the directory of this path.
    pub fn file_at(dir: &Path) -> Result<Self> {
        Self::file(&Dir::open(dir).at(MAKE, dir)?)
    }

    /// Makes an empty directory with mode 0700 in the directory of this path.
    pub fn dir_at(dir: &Path) -> Result<Self> {
        Self::dir(&Dir::open(dir).at(MAKE, dir)?)
    }

    /// Makes an empty directory with mode 0700 in `dir`.
    pub fn dir(dir: &Dir) -> Result<Self> {
        Self::dir_with_mode(dir, 0o700)
    }

    /// Makes an empty directory in `dir`, with this mode except for what the umask removes.
    pub fn dir_with_mode(dir: &Dir, mode: u32) -> Result<Self> {
        Self::create(dir, |name| {
            rustix::fs::mkdirat(dir.handle(), name, system::mode(mode))?;
            match dir.read(name) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                opened => opened.map(Some),
            }
        })
    }

    fn create(dir: &Dir, make: impl Fn(&OsStr) -> io::Result<Option<File>>) -> Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(TEMP_PREFIX);
        // A sweep in another process can take the lock first. Then this makes another file, because to
        // wait for that lock could take for ever.
        for _ in 0..MOST_TRIES {
            let (lock, path) = builder
                .make_in(dir.path(), |path| make(path.file_name().unwrap_or_default()))
                .and_then(|temp| Ok(temp.keep()?))
                .at(MAKE, dir.path())?;
            let Some(lock) = lock else { continue };
            let name = path.file_name().unwrap_or_default().to_owned();
            match lock.try_lock() {
                Ok(()) if is_same_file(dir, &name, &lock) => {
                    return Ok(Self { dir: dir.clone(), name, path, lock, keep: false });
                }
                Ok(()) | Err(TryLockError::WouldBlock) => drop(dir.remove_all(&name).or_log()),
                Err(TryLockError::Error(source)) => {
                    return Err(Error::Io { action: "lock", path, source });
                }
            }
        }
        let source = io::Error::other("another process locks every new file there");
        Err(Error::Io { action: MAKE, path: dir.path().to_owned(), source })
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

    /// Gives the file its final name below `dir`, replacing a file of that name. On failure, it is
    /// removed.
    pub fn persist(mut self, dir: &Dir, to: impl AsRef<Path>) -> io::Result<()> {
        self.dir.rename(&self.name, dir, to)?;
        self.keep = true;
        Ok(())
    }

    /// As [`Temp::persist`], with any path as the final name. Replaces a file or a symlink, and nothing else: a
    /// device or a FIFO has a name that others use.
    pub fn persist_at(mut self, to: &Path) -> io::Result<()> {
        if to.symlink_metadata().is_ok_and(|found| !found.is_file() && !found.is_symlink()) {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "it exists and is not a file"));
        }
        rustix::fs::renameat(self.dir.handle(), &self.name, CWD, to)?;
        self.keep = true;
        Ok(())
    }

    /// Gives the file or directory its final name in its directory. Fails if the name exists. On failure,
    /// it is removed.
    pub fn persist_new(mut self, name: &OsStr) -> io::Result<()> {
        self.dir.rename_new(&self.name, &self.dir, name)?;
        self.keep = true;
        Ok(())
    }

    /// Replaces the file or directory `name` in the same directory, which is removed. If the file system
    /// can exchange names, `name` always exists. On failure, this temporary file is removed.
    pub fn replace(self, name: &OsStr) -> io::Result<()> {
        // The old file now has the temporary name, and dropping `self` removes it.
        if self.dir.exchange(&self.name, name)? {
            return Ok(());
        }
        let dir = self.dir.clone();
        let aside = Self::dir(&dir).map_err(io::Error::other)?;
        let old = Path::new(&aside.name).join("removed");
        dir.rename(name, &dir, &old)?;
        self.persist_new(name).inspect_err(|_| drop(dir.rename(&old, &dir, name)))
    }
}

const MAKE: &str = "make a temporary file in";

impl Drop for Temp {
    fn drop(&mut self) {
        if !self.keep {
            self.dir.remove_all(&self.name).or_log();
        }
    }
}

fn is_same_file(dir: &Dir, name: &OsStr, file: &File) -> bool {
    matches!(
        (dir.stat(name), file.metadata()),
        (Ok(by_name), Ok(by_handle)) if by_name.identity() == files::identity(&by_handle)
    )
}

/// A file without a name, for content that this process alone needs.
pub fn unnamed(dir: &Dir) -> io::Result<File> {
    if let Some(file) = dir.unnamed()? {
        return Ok(file);
    }
    // Dropping this removes the name, and the file remains as long as it is open.
    Temp::file(dir).map_err(io::Error::other)?.lock.try_clone()
}

/// Locks the temporary file or directory of this name in `dir`, if its process has died.
fn abandoned(dir: &Dir, name: &OsStr, is_network: bool) -> Option<File> {
    if !name.as_encoded_bytes().starts_with(TEMP_PREFIX.as_bytes()) {
        return None;
    }
    let lock = open_to_lock(dir, name).ok()?;
    let is_over = match lock.try_lock() {
        Ok(()) => !is_network || is_older(&lock, NETWORK_AGE),
        Err(TryLockError::WouldBlock) => false,
        // NFS locks only files that are open for writing.
        Err(TryLockError::Error(_)) => is_network && is_older(&lock, NETWORK_AGE),
    };
    is_over.then_some(lock)
}

fn is_older(file: &File, age: Duration) -> bool {
    let modified = file.metadata().and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|elapsed| elapsed > age))
}

/// Opens a file or directory to lock it. Fails for anything else, such as a symlink.
fn open_to_lock(dir: &Dir, name: &OsStr) -> io::Result<File> {
    let found = dir.stat(name)?;
    if !found.is_file() && !found.is_dir() {
        return Err(ErrorKind::InvalidInput.into());
    }
    dir.read(name).or_else(|error| {
        if found.is_dir() && error.kind() == ErrorKind::PermissionDenied {
            dir.open_up(name)?;
            return dir.read(name);
        }
        Err(error)
    })
}

/// How many temporary files and directories in `dir` have a process that has died.
pub fn count_abandoned(dir: &Dir) -> Result<usize> {
    for_each_abandoned(dir, |_| true)
}

/// Removes the temporary files and directories in `dir` whose process has died, and returns how many.
pub fn sweep(dir: &Dir) -> Result<usize> {
    for_each_abandoned(dir, |name| {
        // The rest of it, if there is any, is left to a later sweep.
        dir.remove_all(name).or_log();
        dir.stat(name).is_err()
    })
}

/// As [`sweep`], in the directory `below` a cache, which may be missing.
pub fn sweep_below(root: &Dir, below: &str) -> Result<usize> {
    match root.subdir(below) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        dir => sweep(&dir.at("read", &root.join(below))?),
    }
}

/// Calls `act` for each, while it is locked, and returns how often that was true. One after another: a
/// directory may have more of them than this process may have open files.
fn for_each_abandoned(dir: &Dir, act: impl Fn(&OsStr) -> bool) -> Result<usize> {
    let is_network = filesystem::is_network(dir.path());
    let mut count = 0;
    for name in dir.names().at("read", dir.path())? {
        let name = name.at("read", dir.path())?;
        if let Some(_lock) = abandoned(dir, &name, is_network)
            && act(&name)
        {
            count += 1;
        }
    }
    Ok(count)
}

/// Removes a file or directory if it still is the one that is open as `examined`, and returns whether it
/// was removed. Nobody ever sees a part of it under its name. Fails if it cannot be renamed; a later
/// sweep finds what could not be removed.
pub fn remove_whole_if(path: &Path, examined: &File) -> Result<bool> {
    let parent = path.parent().unwrap_or(path);
    let dir = Dir::open(parent).at("open", parent)?;
    let (name, removed) = (path.file_name().unwrap_or_default(), OsStr::new("removed"));
    if !is_same_file(&dir, name, examined) {
        return Ok(false);
    }
    let aside = Temp::dir(&dir)?;
    let set_aside = dir.subdir(&aside.name).at("open", aside.path())?;
    dir.rename(name, &set_aside, removed).at("remove", path)?;
    if is_same_file(&set_aside, removed, examined) {
        return Ok(true);
    }
    // Another process has removed the examined one and put a new one in its place just now.
    set_aside.rename_new(removed, &dir, name).at("restore", path)?;
    Ok(false)
}

/// Writes a small file of a cache durably: after a crash it has the old content or the new. It gets the
/// rights of its directory.
pub fn write_durably(dir: &Dir, name: &str, content: &[u8], kind: Kind) -> Result<()> {
    write_synced(dir, content, |file| dir.rights()?.give(file, kind))
        .and_then(|temp| temp.persist(dir, name).at("write", &dir.join(name)))?;
    dir.sync().at("sync", dir.path())
}

/// As [`write_durably`], without waiting for the disk: after a crash, the file may have any content.
pub fn write_briefly(dir: &Dir, name: &str, content: &[u8], kind: Kind) -> Result<()> {
    let temp = write(dir, content, |file| dir.rights()?.give(file, kind))?;
    temp.persist(dir, name).at("write", &dir.join(name))
}

/// Writes a small file durably, which everybody may read.
pub fn write_durably_at(path: &Path, content: &[u8]) -> Result<()> {
    let parent = path.parent().unwrap_or(path);
    let dir = Dir::open(parent).at("write", path)?;
    let give = |file: &File| file.set_permissions(Permissions::from_mode(0o644));
    write_synced(&dir, content, give).and_then(|temp| temp.persist_at(path).at("write", path))?;
    dir.sync().at("sync", parent)
}

fn write_synced(
    dir: &Dir,
    content: &[u8],
    give: impl FnOnce(&File) -> io::Result<()>,
) -> Result<Temp> {
    let temp = write(dir, content, give)?;
    temp.lock.sync_all().at("write", &temp.path)?;
    Ok(temp)
}

fn write(dir: &Dir, content: &[u8], give: impl FnOnce(&File) -> io::Result<()>) -> Result<Temp> {
    let temp = Temp::file(dir)?;
    (&temp.lock).write_all(content).and_then(|()| give(&temp.lock)).at("write", &temp.path)?;
    Ok(temp)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_of_a_living_process_are_not_abandoned() {
        let dir = tempfile::tempdir().unwrap();
        let (file, directory) =
            (Temp::file_at(dir.path()).unwrap(), Temp::dir_at(dir.path()).unwrap());
        let opened = Dir::open(dir.path()).unwrap();
        assert_eq!(count_abandoned(&opened).unwrap(), 0);
        let kept = file.path().to_owned();
        drop(directory);
        file.persist(&opened, "final").unwrap();
        assert!(!kept.exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn files_of_a_dead_process_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".eggcache-file"), "half").unwrap();
        fs::create_dir_all(dir.path().join(".eggcache-dir/a/b")).unwrap();
        fs::write(dir.path().join("other"), "").unwrap();
        let opened = Dir::open(dir.path()).unwrap();
        assert_eq!(count_abandoned(&opened).unwrap(), 2);
        let names = [".eggcache-file", ".eggcache-dir"].map(OsStr::new);
        let locks = names.map(|name| abandoned(&opened, name, false).unwrap());
        assert_eq!(sweep(&opened).unwrap(), 0, "they are locked");
        drop(locks);
        assert_eq!(sweep(&opened).unwrap(), 2);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_new_file_that_another_process_locks_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let opened = Dir::open(dir.path()).unwrap();
        let locks = std::cell::RefCell::new(Vec::new());
        let make = |name: &OsStr, most: usize| {
            let file = opened.create(name, 0o600)?;
            if locks.borrow().len() < most {
                let other = opened.read(name)?;
                other.lock_shared()?;
                locks.borrow_mut().push(other);
            }
            Ok(Some(file))
        };
        let temp = Temp::create(&opened, |name| make(name, 3)).unwrap();
        assert!(temp.path().exists());
        let all = Temp::create(&opened, |name| make(name, usize::MAX));
        let error = all.unwrap_err().to_string();
        assert!(error.contains("another process locks"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "the others are removed");
    }

    #[test]
    fn only_the_examined_egg_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let egg = dir.path().join("a.egg");
        fs::create_dir(&egg).unwrap();
        let examined = File::open(&egg).unwrap();
        fs::remove_dir(&egg).unwrap();
        fs::create_dir(&egg).unwrap();
        assert!(!remove_whole_if(&egg, &examined).unwrap());
        assert!(egg.exists());
        assert!(remove_whole_if(&egg, &File::open(&egg).unwrap()).unwrap());
        assert!(!remove_whole_if(&egg, &examined).unwrap(), "it is gone");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_replaced_file_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let egg = dir.path().join("a.egg");
        fs::create_dir(&egg).unwrap();
        fs::write(egg.join("old"), "").unwrap();
        let temp = Temp::dir_at(dir.path()).unwrap();
        fs::write(temp.path().join("new"), "").unwrap();
        temp.replace(OsStr::new("a.egg")).unwrap();
        assert!(egg.join("new").exists() && !egg.join("old").exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        // A file takes the place of a directory.
        Temp::file_at(dir.path()).unwrap().replace(OsStr::new("a.egg")).unwrap();
        assert!(egg.is_file());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_error_names_the_directory_and_no_random_name() {
        let error = Temp::file_at(Path::new("/no/such/directory")).unwrap_err().to_string();
        let says = "cannot make a temporary file in /no/such/directory: No such file or directory";
        assert!(error.starts_with(says) && !error.contains(TEMP_PREFIX), "{error}");
    }

    #[test]
    fn a_missing_directory_has_nothing_abandoned() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(sweep_below(&Dir::open(dir.path()).unwrap(), "tmp").unwrap(), 0);
    }

    #[test]
    fn a_sweep_follows_no_symlink() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("outside/.eggcache-a/b")).unwrap();
        fs::create_dir_all(dir.path().join("top/.eggcache-c")).unwrap();
        let link =
            |to: &str, at: &str| std::os::unix::fs::symlink(to, dir.path().join(at)).unwrap();
        link("../outside", "top/tmp");
        link("../outside/.eggcache-a", "top/.eggcache-l");
        link("../../outside/.eggcache-a", "top/.eggcache-c/l");
        let top = Dir::open(&dir.path().join("top")).unwrap();
        assert!(sweep_below(&top, "tmp").is_err());
        assert_eq!(sweep(&top).unwrap(), 1);
        assert!(dir.path().join("outside/.eggcache-a/b").exists());
        assert!(dir.path().join("top/.eggcache-l").is_symlink());
    }
}
