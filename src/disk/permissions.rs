//! Who may use a file: its owner and its mode.
//!
//! A directory of a cache decides for everything that is made in it ([`Rights`]), whatever the umask is:
//! its entries are as open as the directory itself, and they belong to its owner even if root makes them.
//!
//! Modes and groups are changed through an open handle, never by name: a name can have become that of
//! another file since somebody looked.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;

use crate::disk::system;

/// Set-group-ID, and write permission for the group.
pub const SHARED: u32 = 0o2020;
/// The bits of group and others, and set-group-ID.
const OPENNESS: u32 = 0o2077;

/// Whether these are mode bits of a directory that a group shares: new entries get its group, and the
/// group may write the directory.
#[must_use]
pub fn is_shared_mode(mode: u32) -> bool {
    mode & SHARED == SHARED
}

/// Whether all users may read a directory with these mode bits.
#[must_use]
pub fn is_readable_mode(mode: u32) -> bool {
    mode & 0o005 == 0o005
}

/// What an entry of a cache is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Directory,
    File,
    /// A file that nobody writes.
    Blob,
    /// A file that only its owner writes, in a shared cache too.
    Own,
    /// A file that nobody opens who may not write it: a reader could lock it.
    Lock,
}

/// Owner and mode of the entries of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// The owner of the directory.
    user: u32,
    group: u32,
    mode: u32,
}

impl Rights {
    /// The rights of entries in a directory with this metadata.
    #[must_use]
    pub fn like(dir: &fs::Metadata) -> Self {
        Self { user: dir.uid(), group: dir.gid(), mode: dir.mode() & 0o7777 }
    }

    fn is_shared(self) -> bool {
        is_shared_mode(self.mode)
    }

    /// The mode of a new entry.
    #[must_use]
    pub fn mode(self, kind: Kind) -> u32 {
        let of_group = if self.is_shared() { 0o020 } else { 0 };
        match kind {
            Kind::Directory => 0o700 | self.mode & (0o2055 | of_group),
            Kind::File => 0o600 | self.mode & (0o044 | of_group),
            Kind::Own => 0o600 | self.mode & 0o044,
            Kind::Lock if self.is_shared() => 0o660,
            Kind::Lock => 0o600,
            Kind::Blob => 0o400 | self.mode & 0o044,
        }
    }

    /// Gives a new entry its owner and mode.
    pub fn give(self, new: &File, kind: Kind) -> io::Result<()> {
        self.give_owner(new)?;
        Ok(system::set_mode(new.as_fd(), self.mode(kind))?)
    }

    /// Gives a new entry the owner of the directory, if this process is root, and its group if that
    /// shares it.
    pub fn give_owner(self, new: &File) -> io::Result<()> {
        let is_root = rustix::process::geteuid().is_root();
        if is_root && self.user != 0 {
            return match own(new, Some(self.user), self.group) {
                // An owner without a number in this user namespace.
                Err(Errno::INVAL) => Ok(()),
                given => Ok(given?),
            };
        }
        self.give_group(new)
    }

    fn give_group(self, entry: &File) -> io::Result<()> {
        if self.is_shared() && entry.metadata()?.gid() != self.group {
            own(entry, None, self.group)?;
        }
        Ok(())
    }

    /// Gives an existing entry the group of the directory, and its mode for group and others. What the
    /// owner may do stays. Fails if this needs a change and this process does not own the entry, or if
    /// it has another name, which may be outside the cache.
    pub fn conform(self, entry: &File, kind: Kind) -> io::Result<()> {
        let found = entry.metadata()?;
        // Another process may have replaced a directory with a file.
        let is_other = found.is_dir() != (kind == Kind::Directory);
        if is_other || self.fit(found.mode(), found.gid(), kind) {
            return Ok(());
        }
        check_sole(&found)?;
        self.check_owner(&found)?;
        self.give_group(entry)?;
        let mode = found.mode() & 0o700 | self.mode(kind) & OPENNESS;
        Ok(system::set_mode(entry.as_fd(), mode)?)
    }

    /// Whether [`Rights::conform`] leaves an entry as it is.
    #[must_use]
    pub fn fit(self, mode: u32, group: u32, kind: Kind) -> bool {
        mode & OPENNESS == self.mode(kind) & OPENNESS && (!self.is_shared() || group == self.group)
    }

    /// Refuses a file of somebody who does not own the directory: root could change it, but the file
    /// can have been moved there from anywhere.
    fn check_owner(self, found: &fs::Metadata) -> io::Result<()> {
        let is_root = rustix::process::geteuid().is_root();
        if is_root && found.is_file() && found.uid() != 0 && found.uid() != self.user {
            let reason = format!("it belongs to user {}", found.uid());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
        }
        Ok(())
    }
}

/// Sets owner and group of an open file, also of one that is only open for looking.
fn own(file: &File, user: Option<u32>, group: u32) -> rustix::io::Result<()> {
    system::own(file, user.map(Uid::from_raw), Gid::from_raw(group))
}

/// Sets the mode of a file or directory. Fails as [`Rights::conform`] does.
pub fn change_mode(file: &File, mode: u32) -> io::Result<()> {
    let found = file.metadata()?;
    if found.mode() & 0o7777 == mode {
        return Ok(());
    }
    check_sole(&found)?;
    Ok(system::set_mode(file.as_fd(), mode)?)
}

/// Refuses a file with a second name, and what is neither a file nor a directory.
pub fn check_sole(found: &fs::Metadata) -> io::Result<()> {
    let reason = if found.is_dir() || (found.is_file() && found.nlink() == 1) {
        return Ok(());
    } else if found.is_file() {
        "it has another name (a hard link)"
    } else {
        "it is not a file"
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, reason))
}

/// Whether this process may write a file, or make files in a directory.
#[must_use]
pub fn is_writable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
}

/// The umask of this process; all bits if it is unknown.
#[must_use]
pub fn umask() -> u32 {
    // umask(2) returns it only while setting it, which would race with other threads.
    fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
            u32::from_str_radix(line.trim(), 8).ok()
        })
        .unwrap_or(0o777)
}
