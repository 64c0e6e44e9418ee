//! What a directory has under a name.

use std::fs::File;
use std::io;

use rustix::fs::FileType;

use crate::disk::system;

/// The metadata of an entry of a directory; of a symlink, its own.
#[derive(Debug, Clone, Copy)]
pub struct Stat(rustix::fs::Stat);

impl From<rustix::fs::Stat> for Stat {
    fn from(stat: rustix::fs::Stat) -> Self {
        Self(stat)
    }
}

impl Stat {
    /// The metadata of an open file or directory.
    pub fn of(file: &File) -> io::Result<Self> {
        Ok(rustix::fs::fstat(file)?.into())
    }

    #[must_use]
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.0.st_mode)
    }

    /// Whether it is a regular file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.kind() == FileType::RegularFile
    }

    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.kind() == FileType::Directory
    }

    /// Whether it has another name, a hard link.
    #[must_use]
    pub fn has_other_names(&self) -> bool {
        self.0.st_nlink > 1
    }

    #[must_use]
    pub fn is_symlink(&self) -> bool {
        self.kind() == FileType::Symlink
    }

    /// In bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        u64::try_from(self.0.st_size).unwrap_or(0)
    }

    /// Its type and permission bits.
    #[must_use]
    pub fn mode(&self) -> u32 {
        system::mode_of(&self.0)
    }

    #[must_use]
    pub fn user(&self) -> u32 {
        self.0.st_uid
    }

    #[must_use]
    pub fn group(&self) -> u32 {
        self.0.st_gid
    }

    /// When it was last written, in seconds since the Unix epoch.
    #[must_use]
    pub fn modified(&self) -> i64 {
        self.0.st_mtime
    }

    /// As [`Stat::modified`], and nanoseconds.
    #[must_use]
    pub fn modified_exactly(&self) -> (i64, u32) {
        (self.0.st_mtime, u32::try_from(self.0.st_mtime_nsec).unwrap_or(0))
    }

    /// When its content, its names or its permissions were last changed, in seconds and nanoseconds since
    /// the Unix epoch. Unlike the other times, no program can set it.
    #[must_use]
    pub fn changed(&self) -> (i64, u32) {
        (self.0.st_ctime, u32::try_from(self.0.st_ctime_nsec).unwrap_or(0))
    }

    /// How many names it has.
    #[must_use]
    pub fn links(&self) -> u64 {
        system::links_of(&self.0)
    }

    /// Device and inode; see [`crate::disk::files::identity`].
    #[must_use]
    pub fn identity(&self) -> (u64, u64) {
        (system::device_of(&self.0), self.0.st_ino)
    }
}
