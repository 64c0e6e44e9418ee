//! List: the eggs in the cache.

use serde::Serialize;

use crate::cache::Cache;
use crate::cache::query::{self, Narrow};
use crate::egg::cached_egg::CachedEgg;
use crate::error::Result;
use crate::util::suggest::Nearest;

#[derive(Debug, Serialize)]
pub struct Report {
    pub eggs: Vec<CachedEgg>,
    /// What may have been meant, if no egg matches.
    #[serde(skip)]
    pub nearest: Option<Nearest>,
    /// Bytes of content.
    pub bytes: u64,
    /// Bytes of the blobs.
    pub blob_bytes: u64,
}

/// Lists the eggs that `text` matches; all if it is absent.
pub fn list(cache: &Cache, text: Option<&str>, narrow: &Narrow) -> Result<Report> {
    let mut eggs = match text {
        Some(text) => query::matching(cache, text)?,
        None => cache.eggs()?,
    };
    eggs.retain(|egg| narrow.admits(egg));
    let nearest = match text.filter(|_| eggs.is_empty()) {
        Some(text) => query::nearest_to_part(cache, text, narrow)?,
        None => None,
    };
    Ok(Report {
        nearest,
        bytes: eggs.iter().map(|egg| egg.counts.bytes).sum(),
        blob_bytes: eggs.iter().map(|egg| egg.blob_bytes).sum(),
        eggs,
    })
}
