//! The mode and the group of a directory, and of files below it.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Dir;
use crate::disk::permissions;

impl Dir {
    /// Whether a group shares it: new entries get its group, and the group may write it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.handle.metadata().is_ok_and(|found| permissions::is_shared_mode(found.mode()))
    }

    /// Shares it with the group of the directory `of`.
    pub fn share(&self, of: &File) -> io::Result<()> {
        permissions::share(&self.handle, of)
    }

    /// Shares a directory or a file below with the group of this directory.
    pub fn share_below(&self, below: impl AsRef<Path>) -> io::Result<()> {
        permissions::share(&self.look(below)?, &self.handle)
    }

    /// Whether this process may write a file, or make files in a directory; `None` if it is missing.
    #[must_use]
    pub fn is_writable(&self, below: impl AsRef<Path>) -> bool {
        rustix::fs::accessat(
            &self.handle,
            below.as_ref(),
            rustix::fs::Access::WRITE_OK,
            rustix::fs::AtFlags::empty(),
        )
        .is_ok()
    }
}
