//! Repairs of single eggs, for `verify --repair` and `gc`.
//!
//! Nothing is deleted: a file that is not a blob moves to `quarantine/`. The order is that of every
//! removal (see `cache::write`): the row is deleted first, durably, and then the blob is moved.

use std::path::{Path, PathBuf};

use tracing::debug;

use crate::cache::Cache;
use crate::cache::blobs::BlobFile;
use crate::cache::trust;
use crate::egg::cached_egg::CachedEgg;
use crate::error::{IoContext, Result};
use crate::util::clock::now;
use crate::util::hash::digest::Digest;

impl Cache {
    /// Moves a damaged blob out of the cache and returns its new path; `None` if it is no longer the
    /// file that was examined.
    pub fn quarantine_blob(&mut self, examined: BlobFile) -> Result<Option<PathBuf>> {
        let blobs = &self.blobs;
        let digest = examined.digest;
        let is_same =
            |now: Option<BlobFile>| now.is_some_and(|it| it.identity == examined.identity);
        self.index.write(|writer| {
            if !is_same(blobs.file(digest)?) {
                return Ok(());
            }
            writer.remember_damaged(digest, now())?;
            writer.delete(digest)
        })?;
        self.index.write(|writer| {
            if writer.has(digest)? || !is_same(blobs.file(digest)?) {
                return Ok(None);
            }
            blobs.quarantine_blob(writer, digest).map(Some)
        })
    }

    /// Moves a path of [`super::Blobs::scan`] that is not a blob out of the cache and returns its new
    /// path; `None` if a blob has taken its place.
    pub fn quarantine_foreign(&mut self, path: &Path) -> Result<Option<PathBuf>> {
        let (blobs, root) = (&self.blobs, self.dir.path());
        let path = path.strip_prefix(root).map_err(std::io::Error::other).at("quarantine", path)?;
        self.index.write(|writer| {
            if blobs.is_blob(path) { Ok(None) } else { blobs.quarantine(writer, path).map(Some) }
        })
    }

    /// Moves a damaged record out of the cache and returns its new path.
    pub fn quarantine_record(&mut self, path: &Path) -> Result<PathBuf> {
        let (blobs, root) = (&self.blobs, self.dir.path());
        let path = path.strip_prefix(root).map_err(std::io::Error::other).at("quarantine", path)?;
        self.index.write(|writer| blobs.quarantine(writer, path))
    }

    /// Makes a blob read-only. Fails if this process does not own it.
    pub fn restore_blob_mode(&mut self, digest: Digest) -> Result<()> {
        self.blobs.restore_mode(digest)
    }

    /// Removes the row of an egg whose blob is missing; returns false if the blob is back.
    pub fn remove_row_without_blob(&mut self, digest: Digest) -> Result<bool> {
        let blobs = &self.blobs;
        self.index.write(|writer| {
            if blobs.file(digest)?.is_some_and(|file| file.is_file) {
                return Ok(false);
            }
            debug!(%digest, "removed a row without a blob");
            writer.remember_damaged(digest, now())?;
            writer.delete(digest).map(|()| true)
        })
    }

    /// Rewrites the row of an egg from its blob and keeps its last use; returns false if the blob is
    /// gone. If another egg has that key, this one loses its row.
    pub fn rewrite_row(&mut self, digest: Digest, old: &CachedEgg) -> Result<bool> {
        let Some(blob) = self.blobs.open(digest)? else { return Ok(false) };
        let egg = CachedEgg { used_at: old.used_at, uses: old.uses, ..blob.cached_egg() };
        let blobs = &self.blobs;
        self.index.write(|writer| {
            if !writer.has(digest)? || blobs.file(digest)?.is_none() {
                return Ok(false);
            }
            debug!(%digest, file_name = egg.file_name, "rewrote a row from its blob");
            writer.delete(digest)?;
            if writer.of_key(&egg.key)?.is_none() {
                writer.insert(&egg)?;
            }
            Ok(true)
        })
    }

    /// Restores the rows of eggs whose blobs have none, and returns which. Skips eggs whose blob is
    /// gone or evicted, and those of a key that another egg has.
    pub fn adopt(&mut self, eggs: Vec<CachedEgg>) -> Result<Vec<CachedEgg>> {
        if eggs.is_empty() {
            return Ok(eggs);
        }
        trust::check_shards(self.root(), &self.trust)?;
        let blobs = &self.blobs;
        self.index.write(|writer| {
            let mut adopted = Vec::new();
            for egg in eggs {
                let is_free = !writer.has(egg.digest)?
                    && !writer.is_evicted(egg.digest)?
                    && writer.of_key(&egg.key)?.is_none();
                if is_free && blobs.file(egg.digest)?.is_some() {
                    debug!(digest = %egg.digest, file_name = egg.file_name, "restored a lost row");
                    writer.insert(&egg)?;
                    adopted.push(egg);
                }
            }
            Ok(adopted)
        })
    }

    /// Whether the row and the blob of an egg agree, or one of them is missing. Holds the write lock
    /// meanwhile if this process can write the cache.
    pub fn row_matches_blob(&mut self, digest: Digest) -> Result<bool> {
        let blobs = &self.blobs;
        let agree = |egg: Option<CachedEgg>| match (egg, blobs.open(digest)) {
            (Some(egg), Ok(Some(blob))) => describes_same_egg(&egg, &blob.cached_egg()),
            (None, _) | (_, Ok(None)) => true,
            (Some(_), Err(_)) => false,
        };
        if self.index.is_read_only() {
            return Ok(agree(self.index.of_digest(digest)?));
        }
        self.index.write(|writer| Ok(agree(writer.of_digest(digest)?)))
    }
}

/// Whether a row describes the egg in a blob. The provenance may differ, and with it the size of the
/// blob: an `add` that dies while it stores the same egg again leaves the new blob with the old row.
#[must_use]
pub fn describes_same_egg(row: &CachedEgg, blob: &CachedEgg) -> bool {
    row.key == blob.key && row.file_name == blob.file_name && row.counts == blob.counts
}
