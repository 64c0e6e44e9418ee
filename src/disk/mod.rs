//! Safe files: temporary files, access that follows no symlink, durable writes.

pub mod boundary;
pub mod files;
pub mod filesystem;
pub mod json_file;
pub mod mmap;
pub mod nofollow;
pub mod permissions;
pub mod temp;

/// Length from which on Linux refuses a path, in bytes (`PATH_MAX`).
pub const MAX_PATH: usize = 4096;
