//! An egg in the cache: what is known of it without reading its blob.

use serde::Serialize;

use crate::egg::key::EggKey;
use crate::egg::manifest::{Counts, Manifest};
use crate::egg::provenance::Provenance;
use crate::util::hash::digest::Digest;

/// One egg, as the index has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CachedEgg {
    pub digest: Digest,
    pub file_name: String,
    #[serde(flatten)]
    pub key: EggKey,
    #[serde(flatten)]
    pub counts: Counts,
    /// Length of the blob.
    pub blob_bytes: u64,
    #[serde(flatten)]
    pub provenance: Provenance,
    /// Seconds since the Unix epoch; when it was added if it was not used since.
    pub used_at: i64,
    pub uses: u64,
}

impl CachedEgg {
    /// The row for a blob that was just written or read.
    #[must_use]
    pub fn new(
        digest: Digest,
        manifest: &Manifest,
        blob_bytes: u64,
        provenance: Provenance,
    ) -> Self {
        Self {
            digest,
            file_name: manifest.file_name.clone(),
            key: manifest.key.clone(),
            counts: manifest.counts(),
            blob_bytes,
            used_at: provenance.added_at,
            provenance,
            uses: 0,
        }
    }
}
