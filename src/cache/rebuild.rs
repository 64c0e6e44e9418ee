//! Rebuilding the index from the blobs, for `reindex` and for opening a cache without an index. Last use
//! is kept if the old index can be read.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;
use serde::Serialize;
use tracing::{debug, warn};

use crate::cache::Cache;
use crate::cache::blobs::Blobs;
use crate::cache::index::Index;
use crate::cache::trust;
use crate::egg::blob::reader::Blob;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::EggKey;
use crate::error::{Error, Result};
use crate::util::hash::digest::Digest;
use crate::util::progress::{Progress, Unit};
use crate::util::threads;

#[derive(Debug, Default, Serialize)]
pub struct Rebuilt {
    pub eggs: usize,
    /// New rows.
    pub found: usize,
    /// Removed rows, whose blob is gone.
    pub lost: usize,
    /// Blobs that could not be read.
    pub unreadable: Vec<Unreadable>,
    /// Blobs without a row because another egg has the same key.
    pub shadowed: Vec<Digest>,
}

#[derive(Debug, Serialize)]
pub struct Unreadable {
    pub digest: Digest,
    pub reason: String,
}

impl Cache {
    /// Rebuilds the index from the blobs, in one transaction: afterwards it has a row for each egg and
    /// no other. An egg that has a row keeps it, even if another blob has its key, and evicted eggs
    /// stay evicted.
    pub fn rebuild(&mut self, progress: &dyn Progress) -> Result<Rebuilt> {
        trust::check_shards(self.root(), &self.trust)?;
        rebuild(&self.blobs, &mut self.index, progress)
    }
}

/// As [`Cache::rebuild`].
pub(super) fn rebuild(
    blobs: &Blobs,
    index: &mut Index,
    progress: &dyn Progress,
) -> Result<Rebuilt> {
    let files = blobs.list()?;
    threads::start_pool()?;
    progress.begin("reading", files.len() as u64, Unit::Eggs);
    let read: Vec<(Digest, Result<Option<CachedEgg>>)> = files
        .par_iter()
        .map(|file| {
            let egg = blobs.open(file.digest).map(|blob| blob.as_ref().map(Blob::cached_egg));
            progress.advance(1);
            (file.digest, egg)
        })
        .collect();
    progress.end();
    let mut unreadable = Vec::new();
    let mut eggs = HashMap::new();
    for (digest, egg) in read {
        match egg {
            Ok(egg) => eggs.extend(egg.map(|egg| (digest, egg))),
            Err(error) => {
                debug!(%error, "cannot index a blob");
                unreadable.push(Unreadable { digest, reason: error.to_string() });
            }
        }
    }
    // Other processes may have added, replaced or evicted eggs since the blobs were listed.
    index.write(|writer| {
        let rows = writer.all()?;
        let mut kept = Vec::new();
        for row in &rows {
            let egg = eggs.remove(&row.digest).or_else(|| egg_of_row(blobs, row));
            let egg = if is_there(blobs, row.digest)? { egg } else { None };
            kept.extend(egg.map(|egg| CachedEgg { used_at: row.used_at, uses: row.uses, ..egg }));
        }
        let mut found = Vec::new();
        for egg in eggs.into_values() {
            if !writer.is_evicted(egg.digest)? && blobs.file(egg.digest)?.is_some() {
                found.push(egg);
            }
        }
        let (chosen, shadowed) = one_of_each_key(kept, found);
        writer.replace_all(&chosen)?;
        let before: HashSet<Digest> = rows.iter().map(|row| row.digest).collect();
        let stayed = chosen.iter().filter(|egg| before.contains(&egg.digest)).count();
        let (eggs, found, lost) = (chosen.len(), chosen.len() - stayed, rows.len() - stayed);
        if eggs + lost > 0 {
            warn!(eggs, found, lost, unreadable = unreadable.len(), "rebuilt the index");
        }
        Ok(Rebuilt { eggs, found, lost, unreadable, shadowed })
    })
}

/// Whether there may be a blob: a folder that this user cannot read may have it.
fn is_there(blobs: &Blobs, digest: Digest) -> Result<bool> {
    match blobs.file(digest) {
        Err(error) if error.is_forbidden() => Ok(true),
        file => Ok(file?.is_some()),
    }
}

/// The egg of a row whose blob was not read: it was stored since, or is not readable.
fn egg_of_row(blobs: &Blobs, row: &CachedEgg) -> Option<CachedEgg> {
    match blobs.open(row.digest) {
        Ok(blob) => blob.as_ref().map(Blob::cached_egg),
        Err(Error::DamagedBlob { .. }) => None,
        // Not gone, but of a newer eggcache, or not readable by this user or at this time.
        Err(_) => Some(row.clone()),
    }
}

/// Chooses one of several eggs of a key: preferably one with a row, then one that no other replaces, then
/// the oldest. Also returns the digests of the others.
fn one_of_each_key(
    kept: Vec<CachedEgg>,
    mut found: Vec<CachedEgg>,
) -> (Vec<CachedEgg>, Vec<Digest>) {
    let replaced: HashSet<Digest> =
        kept.iter().chain(&found).filter_map(|egg| egg.provenance.replaces).collect();
    found.sort_by_key(|egg| (replaced.contains(&egg.digest), egg.provenance.added_at, egg.digest));
    let mut chosen: HashMap<EggKey, CachedEgg> = HashMap::new();
    let mut shadowed = Vec::new();
    for egg in kept.into_iter().chain(found) {
        if chosen.contains_key(&egg.key) {
            shadowed.push(egg.digest);
        } else {
            chosen.insert(egg.key.clone(), egg);
        }
    }
    (chosen.into_values().collect(), shadowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egg::manifest::tests::manifest;
    use crate::egg::provenance::Provenance;

    fn egg(name: &str, added_at: i64, replaces: Option<Digest>) -> CachedEgg {
        let provenance = Provenance { added_at, replaces, ..Provenance::default() };
        CachedEgg::new(Digest::of(name.as_bytes()), &manifest(Vec::new()), 1, provenance)
    }

    #[test]
    fn the_first_build_of_a_key_wins_unless_it_was_replaced() {
        let (first, second) = (egg("first", 1, None), egg("second", 2, None));
        let (chosen, shadowed) = one_of_each_key(vec![], vec![second.clone(), first.clone()]);
        assert_eq!((chosen, shadowed), (vec![first.clone()], vec![second.digest]));
        let (chosen, shadowed) = one_of_each_key(vec![second.clone()], vec![first.clone()]);
        assert_eq!((chosen, shadowed), (vec![second], vec![first.digest]));

        let replacement = egg("third", 3, Some(first.digest));
        let (chosen, shadowed) = one_of_each_key(vec![], vec![replacement.clone(), first.clone()]);
        assert_eq!((chosen, shadowed), (vec![replacement], vec![first.digest]));
    }
}
