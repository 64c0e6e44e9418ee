//! How many requests and transfers of one process run at the same time.

/// Small objects, for operations on a whole remote.
pub const REQUESTS: usize = 16;
/// Lists of projects that buildout is going to ask for.
pub const LISTS: usize = 8;
/// Blobs from remotes into the cache.
pub const DOWNLOADS: usize = 8;
/// Eggs from the cache to a remote.
pub const UPLOADS: usize = 4;
