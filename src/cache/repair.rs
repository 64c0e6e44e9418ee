//! Mending one thing at a time: what `verify --repair` does with what it finds.
//!
//! Nothing is deleted: what is no blob goes to `quarantine/`. The order is that of every removal
//! (see [`crate::cache`]): first the row goes, durably, then the blob.

use std::path::PathBuf;

use crate::cache::Cache;
use crate::cache::blob_store::Stored;
use crate::egg::cached_egg::CachedEgg;
use crate::error::Result;
use crate::util::hash::digest::Digest;

/// Takes a blob that is not whole out of the cache and answers where it is now; `None` if it is no
/// longer the file that was looked at.
///
/// # Errors
/// If the index or the store cannot be written.
pub fn quarantine(cache: &mut Cache, stored: Stored) -> Result<Option<PathBuf>> {
    let store = &cache.store;
    let is_same = |now: Option<Stored>| now.is_some_and(|now| now.identity == stored.identity);
    cache.index.write(|writer| {
        if is_same(store.stored(stored.digest)?) { writer.delete(stored.digest) } else { Ok(()) }
    })?;
    cache.index.write(|writer| {
        if writer.has(stored.digest)? || !is_same(store.stored(stored.digest)?) {
            return Ok(None);
        }
        store.quarantine(&store.blob_path(stored.digest)).map(Some)
    })
}

/// Takes away the row of an egg whose blob is gone; answers whether it was still so.
///
/// # Errors
/// If the index cannot be written.
pub fn forget(cache: &mut Cache, digest: Digest) -> Result<bool> {
    let store = &cache.store;
    cache.index.write(|writer| {
        if store.stored(digest)?.is_some_and(|stored| stored.is_file) {
            return Ok(false);
        }
        writer.delete(digest).map(|()| true)
    })
}

/// Gives an egg the row that its blob tells, and keeps its last use; answers whether there is still
/// such a blob. If another egg has that key, this one has no row any more.
///
/// # Errors
/// If its blob cannot be read or the index not written.
pub fn rewrite(cache: &mut Cache, digest: Digest, old: &CachedEgg) -> Result<bool> {
    let Some(blob) = cache.store.open(digest)? else { return Ok(false) };
    let egg = CachedEgg { used_at: old.used_at, uses: old.uses, ..blob.cached_egg() };
    let store = &cache.store;
    cache.index.write(|writer| {
        if !writer.has(digest)? || store.stored(digest)?.is_none() {
            return Ok(false);
        }
        writer.delete(digest)?;
        if writer.of_key(&egg.key)?.is_none() {
            writer.insert(&egg)?;
        }
        Ok(true)
    })
}
