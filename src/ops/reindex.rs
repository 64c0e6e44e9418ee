//! Reindex: rebuild the index from the blobs, even if it can no longer be read.

use std::path::Path;

use serde::Serialize;

use crate::cache::trust::Trust;
use crate::cache::{Cache, Rebuilt};
use crate::error::Result;
use crate::util::progress::Progress;

#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub rebuilt: Rebuilt,
    /// The new path of an index that could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<String>,
}

/// Rebuilds the index of the cache at `root`. A damaged index is renamed first, never removed.
pub fn reindex(root: &Path, trust: &Trust, progress: &dyn Progress) -> Result<Report> {
    let (mut cache, aside) = Cache::open_or_rebuild(root, trust, progress)?;
    cache.check_writable()?;
    let rebuilt = match cache.take_rebuilt() {
        Some(rebuilt) => rebuilt,
        None => cache.rebuild(progress)?,
    };
    Ok(Report { rebuilt, set_aside: aside.map(|path| path.display().to_string()) })
}
