//! What adding an egg does to the eggs that the cache has: one egg content is one egg.

use crate::cache::blobs::{Blobs, Staged};
use crate::cache::index::Writer;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::manifest::Manifest;
use crate::egg::sameness::{is_same_content, knows_less};
use crate::error::{Error, Result};
use crate::util::hash::digest::Digest;

/// What happens to an egg that is added.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// The cache keeps its own egg of the same key.
    Kept { existing: CachedEgg, likeness: Likeness },
    /// It is stored, and takes the place of these. `before` has its digest, or the same content.
    Stored { replaced: Vec<CachedEgg>, forgotten: Vec<Digest>, before: Option<CachedEgg> },
}

/// How an egg that is not stored relates to the one that the cache keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likeness {
    /// It is exactly the same.
    Same,
    /// It has the same content, with other times or bytecode, or with less known about its origin.
    Known,
    /// It is another build.
    Other,
}

/// What the cache has of an existing row.
enum Found {
    Intact(Box<Manifest>),
    /// The blob is gone or damaged.
    Damaged,
    /// The row has the key of another egg than the blob.
    WrongKey,
    /// This process cannot read it, or a newer eggcache has written it.
    Unknown,
}

fn found(blobs: &Blobs, existing: &CachedEgg) -> Found {
    match blobs.open(existing.digest) {
        Ok(Some(blob)) if blob.manifest.key != existing.key => Found::WrongKey,
        Ok(Some(blob)) => Found::Intact(Box::new(blob.manifest)),
        Ok(None) | Err(Error::DamagedBlob { .. }) => Found::Damaged,
        Err(_) => Found::Unknown,
    }
}

/// Decides about a staged egg. The first build of a key wins, unless `replace` returns true for it or its
/// blob is damaged. An egg that says less about its origin than one with the same content is that one, and
/// an egg that says more completes it.
pub(super) fn verdict(
    blobs: &Blobs,
    writer: &Writer<'_>,
    staged: &Staged,
    replace: impl Fn(&CachedEgg) -> bool,
) -> Result<Verdict> {
    let (digest, manifest) = (staged.written.digest, &staged.manifest);
    let key = &manifest.key;
    let (mut replaced, mut forgotten, mut before) = (Vec::new(), Vec::new(), None);
    let (same_key, others): (Vec<CachedEgg>, Vec<CachedEgg>) =
        writer.of_version(&key.name, &key.version)?.into_iter().partition(|it| it.key == *key);
    for existing in same_key {
        let is_same = existing.digest == digest;
        match found(blobs, &existing) {
            Found::WrongKey => forgotten.push(existing.digest),
            Found::Damaged if is_same => before = Some(existing),
            Found::Damaged => replaced.push(existing),
            _ if replace(&existing) && is_same => before = Some(existing),
            _ if replace(&existing) => replaced.push(existing),
            _ if is_same => return Ok(Verdict::Kept { existing, likeness: Likeness::Same }),
            Found::Intact(of_existing) if is_same_content(&of_existing, manifest) => {
                return Ok(Verdict::Kept { existing, likeness: Likeness::Known });
            }
            _ => return Ok(Verdict::Kept { existing, likeness: Likeness::Other }),
        }
    }
    for existing in others {
        let is_completed = knows_less(&existing.key, key);
        if !is_completed && !knows_less(key, &existing.key) {
            continue;
        }
        match found(blobs, &existing) {
            Found::Intact(of_existing) if is_same_content(&of_existing, manifest) => {
                if !is_completed {
                    return Ok(Verdict::Kept { existing, likeness: Likeness::Known });
                }
                before.get_or_insert_with(|| existing.clone());
                replaced.push(existing);
            }
            Found::Damaged if is_completed => replaced.push(existing),
            Found::Intact(_) if is_completed && replace(&existing) => replaced.push(existing),
            _ => {}
        }
    }
    Ok(Verdict::Stored { replaced, forgotten, before })
}
