//! Init: create a cache and, on request, share it with a group or let all users read it.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cache::Cache;
use crate::cache::trust::Trust;
use crate::error::Result;
use crate::util::progress::Silent;

/// Who else may use a cache. Without any of these, it is private.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Everybody in the group of the directory uses it.
    pub shared: bool,
    /// All users read it.
    pub readable: bool,
}

#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(serialize_with = "crate::disk::files::lossy")]
    pub cache: PathBuf,
    /// Whether it is new.
    pub made: bool,
    /// Whether the group of its directory shares it.
    pub shared: bool,
    /// Whether all users may read it.
    pub readable: bool,
}

/// Creates the cache at `root` if it does not exist. A new cache is private, whatever the umask is. With
/// `shared`, everybody in the group of the directory can use it: directories have set-group-ID and are
/// writable for the group, as is the index; blobs are readable. With `readable`, all users can read it.
///
/// # Errors
/// As [`Cache::open`]. To open an existing cache to others, everything in it must belong to this user.
pub fn init(root: &Path, options: Options, trust: &Trust) -> Result<Report> {
    let made = !root.join(crate::cache::INDEX_FILE_NAME).exists();
    let mut cache = Cache::open_with(root, trust, &Silent)?;
    cache.take_ballast();
    if options.shared {
        cache.share()?;
    }
    if options.readable {
        cache.make_readable()?;
    }
    let (shared, readable) = (cache.dir().is_shared(), cache.dir().is_readable());
    Ok(Report { cache: cache.root().to_owned(), made, shared, readable })
}
