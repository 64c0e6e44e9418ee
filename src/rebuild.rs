//! Rebuilding the index from the blobs: what `reindex` does, and what opening a cache does whose index
//! is gone. Last use is kept where the old index can be read.

use std::collections::HashMap;

use rayon::prelude::*;
use serde::Serialize;

use crate::digest::Digest;
use crate::egg::Egg;
use crate::egg_key::EggKey;
use crate::error::{Error, Result};
use crate::index::Index;
use crate::progress::{Progress, Unit};
use crate::store::Store;

#[derive(Debug, Default, Serialize)]
pub struct Rebuilt {
    pub eggs: usize,
    /// Rows that the index did not have before.
    pub found: usize,
    /// Rows whose blob is gone.
    pub lost: usize,
    /// Blobs that could not be read, and why.
    pub unreadable: Vec<Unreadable>,
    /// Blobs of a key that another blob has as well, which stays the egg of that key.
    pub shadowed: Vec<Digest>,
}

#[derive(Debug, Serialize)]
pub struct Unreadable {
    pub digest: Digest,
    pub reason: String,
}

/// Gives the index a row for each egg in the store, and no other, in one transaction.
///
/// # Errors
/// If the store cannot be listed, or the index not written.
pub fn rebuild(store: &Store, index: &mut Index, progress: &dyn Progress) -> Result<Rebuilt> {
    let old: HashMap<Digest, Egg> = index.all()?.into_iter().map(|egg| (egg.digest, egg)).collect();
    let blobs = store.list()?;
    progress.begin("reading", blobs.len() as u64, Unit::Eggs);
    let read: Vec<(Digest, Result<Option<Egg>>)> = blobs
        .par_iter()
        .map(|stored| {
            let egg = store.open(stored.digest).map(|blob| blob.as_ref().map(Egg::of_blob));
            progress.advance(1);
            (stored.digest, egg)
        })
        .collect();
    progress.end();
    let mut unreadable = Vec::new();
    let mut eggs = Vec::new();
    for (digest, egg) in read {
        match egg {
            Ok(egg) => eggs.extend(egg),
            Err(error) => {
                if !matches!(error, Error::DamagedBlob { .. }) {
                    // Of a newer eggcache, or not readable for this user or now: not gone.
                    eggs.extend(old.get(&digest).cloned());
                }
                unreadable.push(Unreadable { digest, reason: error.to_string() });
            }
        }
    }
    let (mut eggs, shadowed) = one_of_each_key(eggs);
    for egg in &mut eggs {
        if let Some(old) = old.get(&egg.digest) {
            (egg.used_at, egg.uses) = (old.used_at, old.uses);
        }
    }
    // What was added or removed since the store was listed is looked at under the lock.
    index.write(|writer| {
        let later: Vec<Egg> =
            writer.all()?.into_iter().filter(|egg| !old.contains_key(&egg.digest)).collect();
        eggs.retain(|egg| store.blob_path(egg.digest).exists());
        eggs.retain(|egg| later.iter().all(|later| later.key != egg.key));
        eggs.extend(later);
        writer.replace_all(&eggs)
    })?;
    let kept = eggs.iter().filter(|egg| old.contains_key(&egg.digest)).count();
    Ok(Rebuilt {
        eggs: eggs.len(),
        found: eggs.len() - kept,
        lost: old.len() - kept,
        unreadable,
        shadowed,
    })
}

/// Of several blobs of one key: not one that another says it replaces, then the first added.
fn one_of_each_key(mut eggs: Vec<Egg>) -> (Vec<Egg>, Vec<Digest>) {
    let replaced: Vec<Digest> = eggs.iter().filter_map(|egg| egg.provenance.replaces).collect();
    eggs.sort_by_key(|egg| (replaced.contains(&egg.digest), egg.provenance.added_at, egg.digest));
    let mut chosen: HashMap<EggKey, Egg> = HashMap::new();
    let mut shadowed = Vec::new();
    for egg in eggs {
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
    use crate::blob::Provenance;
    use crate::manifest::tests::manifest;

    fn egg(name: &str, added_at: i64, replaces: Option<Digest>) -> Egg {
        let provenance = Provenance { added_at, replaces, ..Provenance::default() };
        Egg::new(Digest::of(name.as_bytes()), &manifest(Vec::new()), 1, provenance)
    }

    #[test]
    fn the_first_build_of_a_key_stays_unless_it_was_replaced() {
        let (first, second) = (egg("first", 1, None), egg("second", 2, None));
        let (chosen, shadowed) = one_of_each_key(vec![second.clone(), first.clone()]);
        assert_eq!((chosen, shadowed), (vec![first.clone()], vec![second.digest]));

        let replacement = egg("third", 3, Some(first.digest));
        let (chosen, shadowed) = one_of_each_key(vec![replacement.clone(), first.clone()]);
        assert_eq!((chosen, shadowed), (vec![replacement], vec![first.digest]));
    }
}
