//! Garbage collection: which eggs go, and their going.
//!
//! The plan is pure, so a dry run prints what a run does. The order of removals is described in
//! [`crate::cache`]; a buildout never waits for more than one batch of it, and one that has opened
//! a blob keeps it until it has copied it.

use std::collections::{HashMap, HashSet};

use pep440_rs::Version;
use serde::Serialize;

use crate::cache::Cache;
use crate::clock::now;
use crate::copies;
use crate::digest::Digest;
use crate::egg::Egg;
use crate::egg_key::EggKey;
use crate::error::{Error, Result};
use crate::progress::{Progress, Unit};
use crate::store::Stored;

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Evict what was not used for longer than this, in seconds.
    pub max_age: Option<i64>,
    /// Evict the least recently used until the blobs have no more than this, in bytes.
    pub max_size: Option<u64>,
    /// Evict all but this many newest versions of each project, Python, ABI, platform, generation
    /// and environment.
    pub keep_versions: Option<usize>,
    pub dry_run: bool,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub dry_run: bool,
    pub evicted: Vec<Evicted>,
    /// Eggs whose row was lost, and that have one again.
    pub adopted: usize,
    /// Other blobs without a row in the index.
    pub orphans: Vec<Digest>,
    pub orphan_bytes: u64,
    /// Temporary files of processes that are gone.
    pub temporary_files: usize,
    pub freed_bytes: u64,
    pub kept: usize,
    pub kept_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evicted {
    #[serde(flatten)]
    pub egg: Egg,
    pub reason: Reason,
}

/// Why an egg goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    MaxAge,
    KeepVersions,
    MaxSize,
}

/// Collects garbage, or tells what it would collect.
///
/// # Errors
/// If the index or the store cannot be read or written.
pub fn gc(cache: &mut Cache, options: &Options, progress: &dyn Progress) -> Result<Report> {
    if !options.dry_run {
        cache.check_writable()?;
    }
    // Blobs first: one that is added after this is no orphan of this list.
    let blobs = cache.store.list()?;
    let mut eggs = cache.index.all()?;
    let mut orphans = orphans(&blobs, &eggs);
    let mut adopted = Vec::new();
    let gone = cache.index.evicted()?;
    if !orphans.is_empty() {
        let mut lost = Vec::new();
        orphans.retain(|orphan| {
            if gone.contains(&orphan.digest) {
                return true;
            }
            match cache.store.open(orphan.digest) {
                Ok(Some(blob)) => lost.push(Egg::of_blob(&blob)),
                Ok(None) | Err(Error::DamagedBlob { .. }) => {}
                // What another eggcache has written, or this user cannot read, is not garbage.
                Err(_) => return false,
            }
            true
        });
        adopted = if options.dry_run {
            let keys: HashSet<&EggKey> = eggs.iter().map(|egg| &egg.key).collect();
            lost.retain(|egg| !keys.contains(&egg.key));
            lost
        } else {
            cache.adopt(lost)?
        };
        let have_rows: HashSet<Digest> = adopted.iter().map(|egg| egg.digest).collect();
        orphans.retain(|orphan| !have_rows.contains(&orphan.digest));
    }
    let adopted_count = adopted.len();
    eggs.extend(adopted);
    let total = eggs.len();
    let total_bytes: u64 = eggs.iter().map(|egg| egg.blob_bytes).sum();
    let evicted = plan(eggs, options, now());
    let temporary_files = if options.dry_run { cache.store.abandoned()? } else { cache.sweep()? };
    if !options.dry_run {
        progress.begin("removing", (evicted.len() + orphans.len()) as u64, Unit::Eggs);
        let of_orphans: Vec<Digest> = orphans.iter().map(|orphan| orphan.digest).collect();
        let of_eggs: Vec<&Egg> = evicted.iter().map(|evicted| &evicted.egg).collect();
        cache.unlink_unreferenced(&of_orphans, |_| progress.advance(1))?;
        // Noted as evicted by a process that died after it had removed the blob.
        let blobs: HashSet<Digest> = blobs.iter().map(|blob| blob.digest).collect();
        let noted: Vec<Digest> = gone.difference(&blobs).copied().collect();
        cache.unlink_unreferenced(&noted, |_| ())?;
        cache.evict(&of_eggs, |_| progress.advance(1))?;
        progress.end();
        copies::forget_gone(cache.root())?;
        cache.take_ballast();
    }
    let evicted_bytes: u64 = evicted.iter().map(|evicted| evicted.egg.blob_bytes).sum();
    let orphan_bytes: u64 = orphans.iter().map(|orphan| orphan.bytes).sum();
    Ok(Report {
        dry_run: options.dry_run,
        kept: total - evicted.len(),
        kept_bytes: total_bytes - evicted_bytes,
        freed_bytes: evicted_bytes + orphan_bytes,
        evicted,
        adopted: adopted_count,
        orphans: orphans.into_iter().map(|orphan| orphan.digest).collect(),
        orphan_bytes,
        temporary_files,
    })
}

fn orphans(blobs: &[Stored], eggs: &[Egg]) -> Vec<Stored> {
    let known: HashSet<Digest> = eggs.iter().map(|egg| egg.digest).collect();
    blobs.iter().filter(|blob| !known.contains(&blob.digest)).copied().collect()
}

/// Which eggs go, and why: the first rule that applies of age, versions and size. `now` is in
/// seconds since the Unix epoch.
#[must_use]
pub fn plan(eggs: Vec<Egg>, options: &Options, now: i64) -> Vec<Evicted> {
    let mut evicted = Vec::new();
    let mut evict = |eggs: Vec<Egg>, reason| {
        evicted.extend(eggs.into_iter().map(|egg| Evicted { egg, reason }));
    };
    let mut kept = eggs;
    if let Some(max_age) = options.max_age {
        let (old, young) =
            kept.into_iter().partition(|egg| now.saturating_sub(egg.used_at) > max_age);
        evict(old, Reason::MaxAge);
        kept = young;
    }
    if let Some(keep) = options.keep_versions {
        let superseded = superseded(&kept, keep);
        let (old, new) = kept.into_iter().partition(|egg| superseded.contains(&egg.digest));
        evict(old, Reason::KeepVersions);
        kept = new;
    }
    if let Some(max_size) = options.max_size {
        // Of eggs that were used at the same time, the larger goes first.
        kept.sort_by_key(|egg| (egg.used_at, std::cmp::Reverse(egg.blob_bytes), egg.digest));
        let mut size: u64 = kept.iter().map(|egg| egg.blob_bytes).sum();
        let fits = kept.iter().position(|egg| {
            let fits = size <= max_size;
            size -= if fits { 0 } else { egg.blob_bytes };
            fits
        });
        let rest = kept.split_off(fits.unwrap_or(kept.len()));
        evict(kept, Reason::MaxSize);
        kept = rest;
    }
    drop(kept);
    evicted
}

/// Eggs of versions that are older than the newest `keep` of their project and tags. A version that
/// is not PEP 440 is older than all that are.
fn superseded(eggs: &[Egg], keep: usize) -> HashSet<Digest> {
    let mut groups: HashMap<_, Vec<&Egg>> = HashMap::new();
    for egg in eggs {
        let key = &egg.key;
        let tags =
            (&key.name, &key.python, &key.abi, &key.platform, key.generation, &key.environment);
        groups.entry(tags).or_default().push(egg);
    }
    let mut superseded = HashSet::new();
    for group in groups.into_values() {
        let version =
            |egg: &Egg| (egg.key.version.parse::<Version>().ok(), egg.key.version.clone());
        let mut versions: Vec<_> = group.iter().map(|egg| version(egg)).collect();
        versions.sort_unstable();
        versions.dedup_by(|a, b| if a.0.is_some() { a.0 == b.0 } else { a == b });
        let Some(cut) = versions.len().checked_sub(keep).filter(|&cut| cut > 0) else { continue };
        let newest_that_goes = &versions[cut - 1];
        superseded.extend(
            group
                .iter()
                .filter(|egg| {
                    let version = version(egg);
                    version <= *newest_that_goes
                        || version.0.is_some() && version.0 == newest_that_goes.0
                })
                .map(|egg| egg.digest),
        );
    }
    superseded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::blob::Provenance;
    use crate::manifest::tests::manifest;

    fn egg(version: &str, used_at: i64, blob_bytes: u64) -> Egg {
        let digest = Digest::of(format!("{version} {used_at} {blob_bytes}").as_bytes());
        let mut egg = Egg::new(digest, &manifest(Vec::new()), blob_bytes, Provenance::default());
        egg.key.version = version.to_owned();
        egg.used_at = used_at;
        egg
    }

    fn planned(eggs: &[Egg], options: &Options, now: i64) -> Vec<(String, Reason)> {
        plan(eggs.to_vec(), options, now)
            .into_iter()
            .map(|evicted| (evicted.egg.key.version, evicted.reason))
            .collect()
    }

    #[test]
    fn without_a_rule_everything_stays() {
        assert_eq!(planned(&[egg("1", 0, 10)], &Options::default(), i64::MAX), []);
    }

    #[test]
    fn what_was_not_used_for_too_long_goes() {
        let options = Options { max_age: Some(100), ..Options::default() };
        let eggs = [egg("1", 0, 1), egg("2", 900, 1), egg("3", 899, 1)];
        assert_eq!(
            planned(&eggs, &options, 1000),
            [("1".into(), Reason::MaxAge), ("3".into(), Reason::MaxAge)]
        );
    }

    #[test]
    fn the_least_recently_used_go_until_the_rest_fits() {
        let options = Options { max_size: Some(25), ..Options::default() };
        let eggs = [egg("1", 3, 10), egg("2", 1, 10), egg("3", 2, 10), egg("4", 4, 10)];
        assert_eq!(
            planned(&eggs, &options, 0),
            [("2".into(), Reason::MaxSize), ("3".into(), Reason::MaxSize)]
        );
    }

    #[test]
    fn the_newest_versions_stay_in_the_order_of_pep_440() {
        let options = Options { keep_versions: Some(2), ..Options::default() };
        let eggs = ["1.9", "1.10", "1.10rc1", "1.2", "oldest!"].map(|version| egg(version, 0, 1));
        let gone: Vec<_> = planned(&eggs, &options, 0).into_iter().map(|gone| gone.0).collect();
        assert_eq!(gone, ["1.9", "1.2", "oldest!"]);
    }

    #[test]
    fn builds_of_one_version_go_and_stay_together() {
        let options = Options { keep_versions: Some(1), ..Options::default() };
        let mut other_source = egg("1.0.0", 1, 1);
        other_source.key.source_sha256 = "other".into();
        let eggs = [egg("1.0", 0, 1), other_source, egg("0.9", 0, 1)];
        let gone: Vec<_> = planned(&eggs, &options, 0).into_iter().map(|gone| gone.0).collect();
        assert_eq!(gone, ["0.9"]);
    }

    #[test]
    fn another_python_is_counted_apart() {
        let options = Options { keep_versions: Some(1), ..Options::default() };
        let mut other = egg("0.9", 0, 1);
        other.key.python = "cp312".into();
        assert_eq!(planned(&[egg("1.0", 0, 1), other], &options, 0), []);
    }

    proptest! {
        #[test]
        fn a_plan_never_evicts_more_than_its_rules_ask(
            eggs in prop::collection::vec((0_i64..50, 1_u64..50), 0..20),
            max_size in 0_u64..500,
        ) {
            let eggs: Vec<Egg> = eggs
                .iter()
                .enumerate()
                .map(|(n, &(used_at, bytes))| egg(&format!("{n}"), used_at, bytes))
                .collect();
            let total: u64 = eggs.iter().map(|egg| egg.blob_bytes).sum();
            let options = Options { max_size: Some(max_size), ..Options::default() };
            let evicted = plan(eggs, &options, 0);
            let freed: u64 = evicted.iter().map(|evicted| evicted.egg.blob_bytes).sum();
            prop_assert!(total - freed <= max_size);
            if let Some(last) = evicted.last() {
                prop_assert!(total - freed + last.egg.blob_bytes > max_size);
            }
        }
    }
}
