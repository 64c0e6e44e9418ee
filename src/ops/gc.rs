//! Garbage collection: which eggs go, and their going.
//!
//! The plan is pure ([`crate::cache::retention::plan`]), so a dry run prints what a run does. The order of removals is
//! described in [`crate::cache`]; a buildout never waits for more than one batch of it, and one that
//! has opened a blob keeps it until it has copied it. Roots are forgotten before eggs go, so a crash
//! in between leaves eggs that the next run evicts.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cache::retention::pins;
use crate::cache::retention::plan::{Evicted, Kept, Plan, Rules, Stay, plan};
use crate::cache::retention::protected::protected;
use crate::cache::retention::roots::{self, GRACE};
use crate::cache::{BlobFile, Cache, Regrets};
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::EggKey;
use crate::error::{Error, Result};
use crate::util::clock::now;
use crate::util::hash::digest::Digest;
use crate::util::progress::{Progress, Unit};

#[derive(Debug, Clone, Default)]
pub struct Options {
    pub rules: Rules,
    /// For how long a root is kept whose folder is gone, in seconds; [`GRACE`] if absent.
    pub grace: Option<i64>,
    /// Evict also what buildouts use.
    pub ignore_roots: bool,
    /// For how long eggs are evicted.
    pub time_limit: Option<Duration>,
    pub dry_run: bool,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub dry_run: bool,
    pub rules: Rules,
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
    pub kept_eggs: Vec<Kept>,
    /// How many eggs would have gone, and there was no time.
    pub postponed: usize,
    /// Folders of buildouts that are gone for so long that they are forgotten.
    pub forgotten_roots: Vec<PathBuf>,
    /// What earlier runs have evicted, and what of it was asked for again.
    pub regrets: Regrets,
    /// What is wrong with the records of roots that cannot be read.
    pub unreadable: Vec<String>,
}

impl Report {
    /// By how many bytes what is kept is more than it should be.
    #[must_use]
    pub fn excess(&self) -> Option<u64> {
        self.kept_bytes.checked_sub(self.rules.max_size?).filter(|&excess| excess > 0)
    }
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
    let blobs = cache.blobs().list()?;
    let mut eggs = cache.eggs()?;
    let mut orphans = orphans(&blobs, &eggs);
    let mut adopted = Vec::new();
    let evicted_before = cache.evicted()?;
    if !orphans.is_empty() {
        let mut lost = Vec::new();
        orphans.retain(|orphan| {
            if evicted_before.contains(&orphan.digest) {
                return true;
            }
            match cache.open_blob(orphan.digest) {
                Ok(Some(blob)) => lost.push(blob.cached_egg()),
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
    let grace = options.grace.unwrap_or(GRACE);
    let (roots, unreadable) = roots::all(cache.root(), now())?;
    let (kept, gone_roots): (Vec<_>, Vec<_>) =
        roots.into_iter().partition(|root| root.is_kept(grace, now()));
    let held =
        protected(&pins::all(cache.root())?, &eggs, if options.ignore_roots { &[] } else { &kept });
    let Plan { mut evicted, kept: mut kept_eggs } = plan(eggs, &options.rules, &held, now());
    let regrets = cache.regrets(now())?;
    let mut postponed = 0;
    let temporary_files =
        if options.dry_run { cache.blobs().abandoned()? } else { cache.sweep()? };
    if !options.dry_run {
        pins::sweep(cache.root())?;
        roots::note_gone(cache.root(), &kept)?;
        gone_roots.iter().try_for_each(roots::forget)?;
        progress.begin("removing", (evicted.len() + orphans.len()) as u64, Unit::Eggs);
        let of_orphans: Vec<Digest> = orphans.iter().map(|orphan| orphan.digest).collect();
        cache.unlink_unreferenced(&of_orphans, |_| progress.advance(1))?;
        // Noted as evicted by a process that died after it had removed the blob.
        let blobs: HashSet<Digest> = blobs.iter().map(|blob| blob.digest).collect();
        let noted: Vec<Digest> = evicted_before.difference(&blobs).copied().collect();
        cache.unlink_unreferenced(&noted, |_| ())?;
        let until = options.time_limit.and_then(|limit| Instant::now().checked_add(limit));
        let done = cache.evict(&evicted, until, |_| progress.advance(1))?;
        let left = evicted.split_off(done);
        postponed = left.len();
        kept_eggs.extend(left.into_iter().map(|it| Kept { egg: it.egg, reason: Stay::Postponed }));
        progress.end();
        cache.forget_old_records()?;
        cache.take_ballast();
    }
    let evicted_bytes: u64 = evicted.iter().map(|evicted| evicted.egg.blob_bytes).sum();
    let orphan_bytes: u64 = orphans.iter().map(|orphan| orphan.bytes).sum();
    Ok(Report {
        dry_run: options.dry_run,
        rules: options.rules,
        kept: total - evicted.len(),
        kept_bytes: total_bytes - evicted_bytes,
        freed_bytes: evicted_bytes + orphan_bytes,
        evicted,
        adopted: adopted_count,
        orphans: orphans.into_iter().map(|orphan| orphan.digest).collect(),
        orphan_bytes,
        temporary_files,
        kept_eggs,
        postponed,
        regrets,
        forgotten_roots: gone_roots.into_iter().map(|known| known.root.directory).collect(),
        unreadable: unreadable.iter().map(Error::to_string).collect(),
    })
}

fn orphans(blobs: &[BlobFile], eggs: &[CachedEgg]) -> Vec<BlobFile> {
    let known: HashSet<Digest> = eggs.iter().map(|egg| egg.digest).collect();
    blobs.iter().filter(|blob| !known.contains(&blob.digest)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::add;
    use crate::util::progress::Silent;

    /// A cache with one egg.
    fn cache(dir: &std::path::Path) -> Cache {
        let egg = dir.join("foo-1.0-py3.11.egg");
        std::fs::create_dir_all(egg.join("EGG-INFO")).unwrap();
        std::fs::write(egg.join("EGG-INFO/PKG-INFO"), "Name: foo\nVersion: 1.0\n").unwrap();
        let mut cache = Cache::open(&dir.join("cache")).unwrap();
        add::add(&mut cache, &[egg], &add::Options::default(), &Silent).unwrap();
        cache
    }

    #[test]
    fn eggs_that_there_is_no_time_for_stay() {
        let dir = tempfile::tempdir().unwrap();
        let mut cache = cache(dir.path());
        let rules = Rules { max_size: Some(0), ..Rules::default() };
        let mut options = Options { rules, time_limit: Some(Duration::ZERO), ..Options::default() };
        let report = gc(&mut cache, &options, &Silent).unwrap();
        assert_eq!((report.evicted.len(), report.postponed, report.kept), (0, 1, 1));
        assert_eq!(report.kept_eggs[0].reason, Stay::Postponed);
        assert_eq!(cache.eggs().unwrap().len(), 1);
        options.time_limit = None;
        assert_eq!(gc(&mut cache, &options, &Silent).unwrap().evicted.len(), 1);
        assert_eq!(cache.eggs().unwrap(), []);
    }
}
