//! Safe files: open directories, temporary files, access without following symlinks, durable writes, and modes.

pub mod acl;
pub mod boundary;
pub mod dir;
pub mod files;
pub mod filesystem;
pub mod json_file;
pub mod mmap;
pub mod nofollow;
pub mod permissions;
pub mod private_group;
pub mod system;
pub mod temp;

/// The length of a path, in bytes, from which on Linux rejects it (`PATH_MAX`).
pub const MAX_PATH: usize = 4096;
