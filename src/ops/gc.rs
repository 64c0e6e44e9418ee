//! Garbage collection: evict eggs by policy, and delete unreferenced files.
//!
//! The plan is pure ([`crate::cache::retention::plan`]), so a dry run prints the same plan.
//! [`crate::cache`] describes the order of removals. A buildout waits for one batch of them at most, and
//! keeps a blob that it has opened until it has copied it. Roots are forgotten before eggs are evicted,
//! so a crash in between leaves eggs that the next run evicts.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;
use tracing::{debug, info, trace};

use crate::cache::retention::pins;
use crate::cache::retention::plan::{
    Evicted, KeepReason, Kept, Plan, Protected, Rules, plan, without_withdrawn,
};
use crate::cache::retention::protected::protected;
use crate::cache::retention::roots::{self, GRACE, KnownRoot};
use crate::cache::retention::signed_by;
use crate::cache::{Arrivals, BlobFile, Cache, Regrets};
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::EggKey;
use crate::error::{Error, OrLog, Result};
use crate::remote::withdrawals::contents;
use crate::remote::withdrawals::record::Withdrawals;
use crate::util::clock::now;
use crate::util::hash::digest::Digest;
use crate::util::progress::{Progress, Unit};

#[derive(Debug, Clone, Default)]
pub struct Options {
    pub rules: Rules,
    /// How long a root is kept after its folder is gone, in seconds; [`GRACE`] if absent.
    pub grace: Option<i64>,
    /// Evict eggs that came from a remote and that a key with one of these ids has signed, even if they
    /// are pinned or used by a buildout.
    pub signed_by: Vec<String>,
    /// Evict eggs that buildouts use, too.
    pub ignore_roots: bool,
    /// How long to evict eggs before the rest is postponed.
    pub time_limit: Option<Duration>,
    pub dry_run: bool,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub dry_run: bool,
    pub rules: Rules,
    pub evicted: Vec<Evicted>,
    /// Eggs whose lost row was restored.
    pub adopted: usize,
    /// Other blobs without a row in the index.
    pub orphans: Vec<Digest>,
    pub orphan_bytes: u64,
    /// Temporary files of dead processes.
    pub temporary_files: usize,
    pub freed_bytes: u64,
    pub kept: usize,
    pub kept_bytes: u64,
    pub kept_eggs: Vec<Kept>,
    /// How many eggs were not evicted for lack of time.
    pub postponed: usize,
    /// Folders of forgotten buildouts: they are gone for longer than the grace period.
    pub forgotten_roots: Vec<PathBuf>,
    /// Eggs that earlier runs have evicted, and how many of them were requested again.
    pub regrets: Regrets,
    /// Why records of roots cannot be read.
    pub unreadable: Vec<String>,
    /// What could not be removed or written, because this user may not.
    pub locked: Vec<String>,
    /// Keys of [`Options::signed_by`] by which no egg came.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown_keys: Vec<String>,
    /// Why it is not certain which keys have signed which eggs, if that matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damaged_arrivals: Option<String>,
}

impl Report {
    /// By how many bytes the kept eggs exceed the size limit.
    #[must_use]
    pub fn excess(&self) -> Option<u64> {
        self.kept_bytes.checked_sub(self.rules.max_size?).filter(|&excess| excess > 0)
    }
}

/// Collects garbage, or only plans to.
pub fn gc(cache: &mut Cache, options: &Options, progress: &dyn Progress) -> Result<Report> {
    if !options.dry_run {
        cache.check_writable()?;
        cache.mend_times(now())?;
    }
    // Blobs first: a blob that is added after this is not an orphan of this list.
    let blobs = cache.blobs().list()?;
    let mut eggs = cache.eggs()?;
    let evicted_before = cache.evicted()?;
    let Lost { adopted, mut orphans } =
        lost(cache, &blobs, &eggs, &evicted_before, options.dry_run)?;
    let adopted_count = adopted.len();
    eggs.extend(adopted);
    let total = eggs.len();
    let total_bytes: u64 = eggs.iter().map(|egg| egg.blob_bytes).sum();
    let withdrawals = Withdrawals::of(cache.root())?;
    let (withdrawn, eggs) = without_withdrawn(eggs, |egg| withdrawals.has(egg.digest));
    if !options.dry_run && !withdrawn.is_empty() {
        // For copies in buildouts.
        contents::note(cache.root(), withdrawn.iter().map(|it| it.egg.digest)).or_log();
    }
    let grace = options.grace.unwrap_or(GRACE);
    let (roots, unreadable) = roots::all(cache.dir(), now())?;
    let (kept_roots, gone_roots): (Vec<_>, Vec<_>) =
        roots.into_iter().partition(|root| root.is_kept(grace, now()));
    let roots: &[KnownRoot] = if options.ignore_roots { &[] } else { &kept_roots };
    let protected = protected(&pins::all(cache.dir())?, &eggs, roots);
    let Planned { mut evicted, kept: mut kept_eggs, unknown_keys, damaged_arrivals } =
        planned(cache, eggs, options, &protected)?;
    evicted.splice(..0, withdrawn);
    let mut locked = keep_locked(cache, &mut evicted, &mut kept_eggs);
    orphans.retain(|orphan| match cache.check_removable(orphan.digest) {
        Ok(()) => true,
        Err(error) => {
            locked.push(format!("orphaned blob {}: not removed: {error}", orphan.digest.short()));
            false
        }
    });
    for Evicted { egg, reason, .. } in &evicted {
        debug!(file_name = egg.file_name, ?reason, "to be evicted");
    }
    for Kept { egg, reason } in &kept_eggs {
        trace!(file_name = egg.file_name, ?reason, "kept");
    }
    let (going, staying, dry_run) = (evicted.len(), kept_eggs.len(), options.dry_run);
    info!(rules = ?options.rules, going, staying, orphans = orphans.len(), dry_run, "planned gc");
    let regrets = cache.regrets(now())?;
    let temporary_files =
        if options.dry_run { cache.blobs().abandoned()? } else { cache.sweep()? };
    let mut postponed = Vec::new();
    if !options.dry_run {
        let records = [
            pins::sweep(cache.dir()),
            roots::note_gone(cache.dir(), &kept_roots),
            gone_roots.iter().try_for_each(|root| roots::forget(cache.dir(), root)),
            cache.forget_old_records(),
        ];
        for written in records {
            match written {
                Err(error) if error.is_forbidden() => locked.push(error.to_string()),
                written => written?,
            }
        }
        progress.begin("removing", (evicted.len() + orphans.len()) as u64, Unit::Eggs);
        remove_orphans(cache, &orphans, &blobs, &evicted_before, progress)?;
        let until = options.time_limit.and_then(|limit| Instant::now().checked_add(limit));
        let done = cache.evict(&evicted, until, |_| progress.advance(1))?;
        postponed = evicted.split_off(done);
        progress.end();
        match cache.compact_arrivals() {
            Err(error) if error.is_forbidden() => locked.push(error.to_string()),
            compacted => compacted?,
        }
        cache.take_ballast();
    }
    let postponed_count = postponed.len();
    let kept =
        postponed.into_iter().map(|egg| Kept { egg: egg.egg, reason: KeepReason::Postponed });
    kept_eggs.extend(kept);
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
        postponed: postponed_count,
        regrets,
        forgotten_roots: gone_roots.into_iter().map(|known| known.root.directory).collect(),
        unreadable: unreadable.iter().map(Error::to_string).collect(),
        locked,
        unknown_keys,
        damaged_arrivals,
    })
}

/// Keeps eggs whose folders this process cannot write, and returns why, a line for each.
fn keep_locked(cache: &Cache, evicted: &mut Vec<Evicted>, kept: &mut Vec<Kept>) -> Vec<String> {
    let mut locked = Vec::new();
    evicted.retain(|Evicted { egg, .. }| match cache.check_removable(egg.digest) {
        Ok(()) => true,
        Err(error) => {
            locked.push(format!("{}: not evicted: {error}", egg.file_name));
            kept.push(Kept { egg: egg.clone(), reason: KeepReason::Locked });
            false
        }
    });
    locked
}

/// The plan for all eggs.
struct Planned {
    evicted: Vec<Evicted>,
    kept: Vec<Kept>,
    /// As in [`Report`].
    unknown_keys: Vec<String>,
    damaged_arrivals: Option<String>,
}

/// Plans for the keys first, which nothing protects from, and then for the rules.
fn planned(
    cache: &Cache,
    eggs: Vec<CachedEgg>,
    options: &Options,
    protected: &Protected,
) -> Result<Planned> {
    let keys = &options.signed_by;
    let arrivals = if keys.is_empty() { Arrivals::default() } else { cache.arrivals()? };
    let arrival_of = |egg: &CachedEgg| arrivals.of_egg(egg.digest);
    let unknown_keys = signed_by::unknown(&eggs, keys, arrival_of);
    let (mut evicted, eggs) = signed_by::split(eggs, keys, arrival_of, protected);
    let Plan { evicted: by_rules, kept } = plan(eggs, &options.rules, protected, now());
    evicted.extend(by_rules);
    let damaged_arrivals = arrivals.complete().err().map(|error| error.to_string());
    Ok(Planned { evicted, kept, unknown_keys, damaged_arrivals })
}

/// Blobs that had no row in the index.
#[derive(Default)]
struct Lost {
    /// Eggs whose row was restored, or would be.
    adopted: Vec<CachedEgg>,
    /// The other blobs. Nothing needs them.
    orphans: Vec<BlobFile>,
}

/// Restores the rows of blobs that were never evicted, unless this is a dry run.
fn lost(
    cache: &mut Cache,
    blobs: &[BlobFile],
    eggs: &[CachedEgg],
    evicted_before: &HashSet<Digest>,
    dry_run: bool,
) -> Result<Lost> {
    let known: HashSet<Digest> = eggs.iter().map(|egg| egg.digest).collect();
    let mut orphans = Vec::new();
    let mut candidates = Vec::new();
    for &blob in blobs.iter().filter(|blob| !known.contains(&blob.digest)) {
        if !evicted_before.contains(&blob.digest) {
            match cache.open_blob(blob.digest) {
                Ok(Some(opened)) => candidates.push(opened.cached_egg()),
                Ok(None) | Err(Error::DamagedBlob { .. }) => {}
                // A blob of a newer format, or one that this user cannot read, is not garbage.
                Err(_) => continue,
            }
        }
        orphans.push(blob);
    }
    let adopted = if dry_run {
        let keys: HashSet<&EggKey> = eggs.iter().map(|egg| &egg.key).collect();
        candidates.retain(|egg| !keys.contains(&egg.key));
        candidates
    } else if candidates.is_empty() {
        Vec::new()
    } else {
        cache.adopt(candidates)?
    };
    let have_rows: HashSet<Digest> = adopted.iter().map(|egg| egg.digest).collect();
    orphans.retain(|orphan| !have_rows.contains(&orphan.digest));
    Ok(Lost { adopted, orphans })
}

/// Removes orphans, and the notes about blobs that a process had evicted before it died.
fn remove_orphans(
    cache: &mut Cache,
    orphans: &[BlobFile],
    blobs: &[BlobFile],
    evicted_before: &HashSet<Digest>,
    progress: &dyn Progress,
) -> Result<()> {
    let orphans: Vec<Digest> = orphans.iter().map(|orphan| orphan.digest).collect();
    cache.unlink_unreferenced(&orphans, |_| progress.advance(1))?;
    let blobs: HashSet<Digest> = blobs.iter().map(|blob| blob.digest).collect();
    let noted: Vec<Digest> = evicted_before.difference(&blobs).copied().collect();
    cache.unlink_unreferenced(&noted, |_| ())?;
    Ok(())
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
        assert_eq!(report.kept_eggs[0].reason, KeepReason::Postponed);
        assert_eq!(cache.eggs().unwrap().len(), 1);
        options.time_limit = None;
        assert_eq!(gc(&mut cache, &options, &Silent).unwrap().evicted.len(), 1);
        assert_eq!(cache.eggs().unwrap(), []);
    }
}
