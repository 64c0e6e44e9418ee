//! When blobs were verified, so that a verification that has little time goes on where the last one
//! stopped.
//!
//! One small file, which only a verification reads and writes. It has a line for each blob that exists, and
//! loses nothing but time if it is lost or damaged: all blobs are verified again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::disk::dir::Dir;
use crate::disk::json_file;
use crate::error::{OrLog, Result};
use crate::util::hash::digest::Digest;

/// The name of the file. It is part of the cache's format.
pub(super) const FILE_NAME: &str = "verified.json";

/// When blobs were verified, in seconds since the Unix epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// The last run that has written this.
    pub run_at: Option<i64>,
    /// Blobs without damage.
    pub blobs: BTreeMap<Digest, i64>,
}

impl Verified {
    /// What the cache in this directory remembers. A time in the future counts as never.
    #[must_use]
    pub fn of(cache: &Dir, now: i64) -> Self {
        let mut found: Self =
            json_file::read(cache, FILE_NAME).or_log().flatten().unwrap_or_default();
        found.run_at = found.run_at.filter(|&at| at <= now);
        found.blobs.retain(|_, at| *at <= now);
        found
    }
}

impl Cache {
    /// Remembers when blobs were verified.
    pub fn remember_verified(&self, verified: &Verified) -> Result<()> {
        self.check_writable()?;
        json_file::write(&self.dir, FILE_NAME, verified)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_read_again_unless_it_is_damaged_or_later() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("cache")).unwrap();
        let of = |now| Verified::of(cache.dir(), now);
        assert_eq!(of(9), Verified::default());
        let blobs = BTreeMap::from([(Digest::of(b"a"), 5), (Digest::of(b"b"), 8)]);
        let verified = Verified { run_at: Some(8), blobs };
        cache.remember_verified(&verified).unwrap();
        assert_eq!(of(9), verified);
        assert_eq!((of(5).run_at, of(5).blobs.len()), (None, 1));
        std::fs::write(cache.root().join(FILE_NAME), "{").unwrap();
        assert_eq!(of(9), Verified::default());
    }
}
