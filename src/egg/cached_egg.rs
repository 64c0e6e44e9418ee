//! An egg in the cache, as described by its row in the index.

use serde::Serialize;

use crate::egg::key::{EggKey, Host, Mismatch};
use crate::egg::layout;
use crate::egg::manifest::{Counts, Manifest};
use crate::egg::name::{EggName, normalize_name};
use crate::egg::provenance::Provenance;
use crate::util::hash::digest::Digest;

/// One row of the index.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CachedEgg {
    pub digest: Digest,
    pub file_name: String,
    #[serde(flatten)]
    pub key: EggKey,
    #[serde(flatten)]
    pub counts: Counts,
    /// Length of the blob, in bytes.
    pub blob_bytes: u64,
    #[serde(flatten)]
    pub provenance: Provenance,
    /// Last use, in seconds since the Unix epoch; the time it was added if it has not been used.
    pub used_at: i64,
    pub uses: u64,
}

impl CachedEgg {
    /// The row for a blob.
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
            provenance: provenance.within_limits(),
            uses: 0,
        }
    }

    /// The name of the project, for people: as the file name spells it, with `-` for `_`. Authors write
    /// `zope.interface` and `PyYAML`; the normalized name does not show that.
    #[must_use]
    pub fn project(&self) -> String {
        let name = self.file_name.parse::<EggName>().map(|name| name.name.replace('_', "-"));
        let name = name.ok().filter(|name| normalize_name(name) == self.key.name);
        name.unwrap_or_else(|| self.key.name.clone())
    }

    /// The first part of its key that keeps it from working on a host.
    #[must_use]
    pub fn mismatch(&self, host: &Host) -> Option<Mismatch> {
        host.mismatch(&layout::key_of(&self.key, &self.provenance))
    }

    /// Whether it works on a host.
    #[must_use]
    pub fn works_on(&self, host: &Host) -> bool {
        self.mismatch(host).is_none()
    }

    /// Whether it works on a host, and has the name that a buildout there with this setuptools gives it.
    #[must_use]
    pub fn is_equal_on(&self, host: &Host, setuptools: Option<&str>) -> bool {
        let Self { file_name, key, provenance, .. } = self;
        self.works_on(host) && !layout::is_named_otherwise(file_name, key, provenance, setuptools)
    }
}
