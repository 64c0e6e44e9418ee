//! An open directory, and everything below it by relative paths.
//!
//! All files of a cache are used through one such handle of its root. The path of the root is resolved
//! once, and may be a symlink. Below it, no symlink is followed, and no path leads out, whatever other
//! processes rename meanwhile: the kernel resolves each path from the handle (`resolve`).

mod resolve;
mod sharing;
mod stat;
mod tree;
mod walk;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags};

pub use resolve::open_beneath;
pub use stat::Stat;

use crate::disk::files;
use crate::disk::permissions::{self, Kind};
use crate::disk::system;

/// Do not block on a FIFO.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK);
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);
const LOCK: OFlags = OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::NONBLOCK);
const WRITE: OFlags = OFlags::RDWR.union(OFlags::NONBLOCK);
const CREATE: OFlags = OFlags::RDWR.union(OFlags::CREATE).union(OFlags::EXCL);

/// An open directory. It is cheap to clone.
#[derive(Debug, Clone)]
pub struct Dir {
    handle: Arc<File>,
    path: Arc<Path>,
}

impl Dir {
    /// Opens a directory; symlinks in `path` are followed.
    pub fn open(path: &Path) -> io::Result<Self> {
        let handle = rustix::fs::open(path, DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { handle: Arc::new(handle.into()), path: path.into() })
    }

    /// Opens the directory of a canonical path. Fails if a part of the path is a symlink by now.
    pub fn open_canonical(path: &Path) -> io::Result<Self> {
        let top = Self::open(Path::new("/"))?;
        match path.strip_prefix("/") {
            Ok(below) if !below.as_os_str().is_empty() => top.subdir(below),
            _ => Ok(top),
        }
    }

    /// A file or directory that is open only to look at it. What is below a directory can be opened.
    #[must_use]
    pub fn looked_at(handle: File, path: &Path) -> Self {
        Self { handle: Arc::new(handle), path: path.into() }
    }

    /// A directory without entries, with the path of one that is not there: it was removed.
    pub fn without_entries(path: &Path) -> io::Result<Self> {
        let default = std::env::temp_dir();
        let places = [&*default, Path::new("/tmp"), Path::new("/var/tmp"), Path::new("/dev/shm")];
        let mut made = tempfile::tempdir();
        for place in places {
            if made.is_err() {
                made = tempfile::tempdir_in(place);
            }
        }
        Ok(Self { path: path.into(), ..Self::open(made?.path())? })
    }

    /// Its path, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory, opened for reading.
    #[must_use]
    pub fn handle(&self) -> &File {
        &self.handle
    }

    /// The path of what is below it, for messages.
    #[must_use]
    pub fn join(&self, below: impl AsRef<Path>) -> PathBuf {
        self.path.join(below)
    }

    /// Opens a directory below this one.
    pub fn subdir(&self, below: impl AsRef<Path>) -> io::Result<Self> {
        let below = below.as_ref();
        let handle = self.open_with(below, DIRECTORY, Mode::empty())?;
        Ok(Self { handle: Arc::new(handle.into()), path: self.join(below).into() })
    }

    /// Opens a file for reading, without blocking on a FIFO. It can be anything but a symlink.
    pub fn read(&self, below: impl AsRef<Path>) -> io::Result<File> {
        Ok(self.open_with(below.as_ref(), READ, Mode::empty())?.into())
    }

    /// As [`Dir::read`]. Fails if it is not a regular file.
    pub fn read_file(&self, below: impl AsRef<Path>) -> io::Result<File> {
        let file = self.read(below)?;
        if Stat::of(&file)?.is_file() { Ok(file) } else { Err(resolve::not_a_file()) }
    }

    /// The target of a symlink.
    pub fn read_link(&self, below: impl AsRef<Path>) -> io::Result<OsString> {
        let target =
            self.at(below.as_ref(), |at, name| rustix::fs::readlinkat(at, name, Vec::new()))?;
        Ok(OsString::from_vec(target.into_bytes()))
    }

    /// The target of the symlink that was opened as this one; see [`Dir::looked_at`].
    pub fn own_target(&self) -> io::Result<OsString> {
        Ok(OsString::from_vec(system::read_opened_link(&self.handle, &self.path)?))
    }

    /// As [`files::read_short`], following no symlink.
    pub fn read_short(&self, below: impl AsRef<Path>, most: u64) -> io::Result<Vec<u8>> {
        files::read_opened(self.read(below)?, most)
    }

    /// Makes a file that does not exist yet, for reading and writing.
    pub fn create(&self, below: impl AsRef<Path>, mode: u32) -> io::Result<File> {
        Ok(self.open_with(below.as_ref(), CREATE, system::mode(mode))?.into())
    }

    /// Opens a file to lock it, and makes it if it is missing. Others can neither read nor write the file,
    /// so they cannot open and lock it.
    pub fn open_lock(&self, below: impl AsRef<Path>) -> io::Result<File> {
        let mode = system::mode(0o600);
        Ok(self.open_with(below.as_ref(), LOCK, mode)?.into())
    }

    /// Opens a file for reading and writing, and makes it with the rights of the directory if it is missing.
    /// Fails if it is not a file, or if it has another name, which may be outside.
    pub fn write(&self, below: impl AsRef<Path>) -> io::Result<File> {
        let below = below.as_ref();
        let open = || self.open_with(below, WRITE, Mode::empty()).map(File::from);
        let opened = match open() {
            Err(error) if error.kind() == ErrorKind::NotFound => match self.create(below, 0o600) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => open(),
                created => {
                    let created = created?;
                    self.rights()?.give(&created, Kind::File)?;
                    Ok(created)
                }
            },
            opened => opened,
        }?;
        permissions::check_sole(&opened.metadata()?)?;
        Ok(opened)
    }

    /// An open file or directory that is only used to look at it or to change its mode or group. Opening
    /// it has no effect, not even on the locks of SQLite.
    pub fn look(&self, below: impl AsRef<Path>) -> io::Result<File> {
        let file: File =
            self.open_with(below.as_ref(), system::LOOK | OFlags::NOFOLLOW, Mode::empty())?.into();
        if file.metadata()?.is_symlink() {
            return Err(resolve::is_link());
        }
        Ok(file)
    }

    /// A file without a name in this directory; `None` if the file system does not have such files.
    pub fn unnamed(&self) -> io::Result<Option<File>> {
        Ok(system::open_unnamed(self.handle.as_fd())?.map(File::from))
    }

    fn open_with(&self, below: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        open_beneath(self.handle.as_fd(), below, flags, mode)
            .map_err(|error| resolve::explain(self, below, error))
    }

    /// Runs `act` with the open directory that holds an entry, and the name of the entry in it.
    fn at<T>(
        &self,
        below: &Path,
        act: impl FnOnce(BorrowedFd<'_>, &OsStr) -> rustix::io::Result<T>,
    ) -> io::Result<T> {
        let Some(Component::Normal(name)) = below.components().next_back() else {
            return Err(ErrorKind::InvalidInput.into());
        };
        let parent = below.parent().filter(|parent| !parent.as_os_str().is_empty());
        let done = match parent {
            None => act(self.handle.as_fd(), name),
            Some(parent) => open_beneath(self.handle.as_fd(), parent, DIRECTORY, Mode::empty())
                .and_then(|parent| act(parent.as_fd(), name)),
        };
        done.map_err(|error| resolve::explain(self, below, error))
    }

    /// What has this name, without following it.
    pub fn stat(&self, below: impl AsRef<Path>) -> io::Result<Stat> {
        let below = below.as_ref();
        if below == "." {
            return Ok(rustix::fs::fstat(&self.handle)?.into());
        }
        let look = |at: BorrowedFd<'_>, name: &OsStr| {
            rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW)
        };
        self.at(below, look).map(Stat::from)
    }

    /// As [`Dir::stat`]; `None` if there is nothing of this name.
    pub fn find(&self, below: impl AsRef<Path>) -> io::Result<Option<Stat>> {
        match self.stat(below) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            found => found.map(Some),
        }
    }

    /// Makes a directory with the rights of this one, if it is missing, and opens it. Also returns
    /// whether it is new.
    pub fn make_dir(&self, below: impl AsRef<Path>) -> io::Result<(Self, bool)> {
        let below = below.as_ref();
        match self.subdir(below) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            found => return Ok((found?, false)),
        }
        let private = system::mode(0o700);
        let is_new = match self.at(below, |at, name| rustix::fs::mkdirat(at, name, private)) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
            result => result.map(|()| true)?,
        };
        let opened = self.subdir(below)?;
        if is_new {
            self.rights()?.give(opened.handle(), Kind::Directory)?;
        }
        Ok((opened, is_new))
    }

    /// Makes a directory and those above it, as far as they are missing, with the mode of new ones of this
    /// user.
    pub fn make_dirs(&self, below: impl AsRef<Path>) -> io::Result<()> {
        let mut path = PathBuf::new();
        for name in below.as_ref() {
            path.push(name);
            let mode = system::mode(0o777);
            match self.at(&path, |at, name| rustix::fs::mkdirat(at, name, mode)) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                result => result?,
            }
        }
        Ok(())
    }

    /// Swaps the names of an entry and another one in this directory, as [`files::exchange`].
    pub fn exchange(&self, one: &OsStr, other: &OsStr) -> io::Result<bool> {
        files::exchange(self.handle.as_fd(), one, other)
    }

    /// Renames an entry, replacing a file of that name.
    pub fn rename(
        &self,
        from: impl AsRef<Path>,
        other: &Self,
        to: impl AsRef<Path>,
    ) -> io::Result<()> {
        self.rename_with(from.as_ref(), other, to.as_ref(), |from, old, to, new| {
            rustix::fs::renameat(from, old, to, new)
        })
    }

    /// Renames an entry. Fails if the new name exists.
    pub fn rename_new(
        &self,
        from: impl AsRef<Path>,
        other: &Self,
        to: impl AsRef<Path>,
    ) -> io::Result<()> {
        self.rename_with(from.as_ref(), other, to.as_ref(), |from, old, to, new| {
            files::rename_new(from, old, to, new)
        })
    }

    /// Gives a file or a symlink a second name. Fails if the name exists.
    pub fn link_new(
        &self,
        from: impl AsRef<Path>,
        other: &Self,
        to: impl AsRef<Path>,
    ) -> io::Result<()> {
        self.rename_with(from.as_ref(), other, to.as_ref(), |from, old, to, new| {
            rustix::fs::linkat(from, old, to, new, AtFlags::empty())
        })
    }

    fn rename_with(
        &self,
        from: &Path,
        other: &Self,
        to: &Path,
        rename: impl Fn(BorrowedFd<'_>, &OsStr, BorrowedFd<'_>, &OsStr) -> rustix::io::Result<()>,
    ) -> io::Result<()> {
        self.at(from, |from, old| {
            // What is wrong with the new name has a message of its own.
            Ok(other.at(to, |to, new| rename(from, old, to, new)))
        })?
    }

    /// Unlinks a file, or anything else that is not a directory.
    pub fn remove_file(&self, below: impl AsRef<Path>) -> io::Result<()> {
        self.at(below.as_ref(), |at, name| rustix::fs::unlinkat(at, name, AtFlags::empty()))
    }

    /// Removes a file, or a directory with everything in it, as far as possible. Directories that
    /// cannot be read or written are made so first.
    pub fn remove_all(&self, below: impl AsRef<Path>) -> io::Result<()> {
        self.at(below.as_ref(), tree::remove)
    }

    /// Gives the owner all permissions on a directory below.
    pub fn open_up(&self, below: impl AsRef<Path>) -> io::Result<()> {
        self.at(below.as_ref(), tree::open_up)
    }

    /// The names in this directory, in no order, as they are read.
    pub fn names(&self) -> io::Result<impl Iterator<Item = io::Result<OsString>> + use<>> {
        let again = open_beneath(self.handle.as_fd(), Path::new("."), DIRECTORY, Mode::empty())?;
        let entries = rustix::fs::Dir::new(again)?;
        Ok(entries.filter_map(|entry| match entry {
            Err(error) => Some(Err(error.into())),
            Ok(entry) => {
                let name = entry.file_name().to_bytes();
                (name != b"." && name != b"..").then(|| Ok(OsStr::from_bytes(name).to_owned()))
            }
        }))
    }

    /// Makes the names in this directory durable.
    pub fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
}

#[cfg(test)]
mod tests;
