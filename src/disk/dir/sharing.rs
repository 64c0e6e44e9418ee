//! The rights of a directory, and of files below it.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Access, AtFlags, accessat};

use super::Dir;
use crate::disk::permissions::{self, Kind, Rights};
use crate::disk::system;

impl Dir {
    /// Owner and mode of what is made in it.
    pub fn rights(&self) -> io::Result<Rights> {
        Ok(Rights::like(&self.handle.metadata()?))
    }

    /// Whether a group shares it: new entries get its group, and the group may write it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.handle.metadata().is_ok_and(|found| permissions::is_shared_mode(found.mode()))
    }

    /// Whether all users may read it.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.handle.metadata().is_ok_and(|found| permissions::is_readable_mode(found.mode()))
    }

    /// Sets its own mode.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(system::set_mode(self.handle.as_fd(), mode)?)
    }

    /// Gives an entry below these rights, as [`Rights::conform`] does.
    pub fn conform(&self, below: impl AsRef<Path>, rights: Rights, kind: Kind) -> io::Result<()> {
        rights.conform(&self.look(below)?, kind)
    }

    /// Checks that this process may write a file, or make files in a directory.
    pub fn check_writable(&self, below: impl AsRef<Path>) -> io::Result<()> {
        Ok(accessat(&self.handle, below.as_ref(), Access::WRITE_OK, AtFlags::empty())?)
    }

    /// As [`Dir::check_writable`].
    #[must_use]
    pub fn is_writable(&self, below: impl AsRef<Path>) -> bool {
        self.check_writable(below).is_ok()
    }
}
