//! Init: create a cache and, on request, share it with a group.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cache::Cache;
use crate::disk::dir::Dir;
use crate::disk::files;
use crate::error::{IoContext, Result};

#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(serialize_with = "crate::disk::files::lossy")]
    pub cache: PathBuf,
    /// Whether it is new.
    pub made: bool,
    /// Whether the group of its directory shares it.
    pub shared: bool,
}

/// Creates the cache at `root` if it does not exist. With `shared`, everybody in the group of the
/// directory can use it, whatever their umask: directories have set-group-ID and are writable for the
/// group, as is the index; blobs are readable.
///
/// # Errors
/// As [`Cache::open`]. With `shared`, everything in the cache must belong to this user.
pub fn init(root: &Path, shared: bool) -> Result<Report> {
    let made = !root.join(crate::cache::INDEX_FILE_NAME).exists();
    if shared {
        Cache::check_place(root)?;
        // First, so that everything that is created in it belongs to its group.
        files::make_dirs_durably(root).at("make the cache directory", root)?;
        let dir = Dir::open(root).at("open the cache directory", root)?;
        dir.share(dir.handle()).at("share", root)?;
    }
    let mut cache = Cache::open(root)?;
    if shared {
        cache.share()?;
    }
    cache.take_ballast();
    let shared = cache.dir().is_shared();
    Ok(Report { cache: cache.root().to_owned(), made, shared })
}
