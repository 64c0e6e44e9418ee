//! Adding eggs to the cache and removing them.
//!
//! # Order of writes
//! A crash is harmless because there is never a row without its blob.
//!
//! - To add: write the blob under `tmp/` and sync it; take the write lock; if it came from a remote,
//!   record that durably (`arrivals`); rename the blob into `blobs/`; insert the row; sync the
//!   directories; commit.
//! - To remove, batch by batch: take the write lock, delete the rows, mark the eggs as evicted, and
//!   commit durably. Take the lock again, check again that the digest has no row, rename the blob into
//!   `tmp/`, and commit; then unlink it there.
//!
//! A crash at any point leaves at worst a blob without a row: an orphan. It is harmless, and `verify`
//! reports it. `gc` removes an orphan that was evicted, is damaged, or is another build of an egg that
//! has a row. Otherwise its row was lost, and `gc` restores it.
//!
//! # Waiting
//! A long removal holds the lock for about `HOLD` at a time and then releases it for as long, so that
//! other processes get it in between (`benches/gc_wait.py`).

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use crate::cache::Cache;
use crate::cache::arrivals::{self, Arrivals, Record};
use crate::cache::blobs::{Blobs, Staged};
use crate::cache::index::{Tally, Writer};
use crate::cache::retention::plan::{EvictReason, Evicted};
use crate::cache::verdict::{Likeness, Verdict, verdict};
use crate::disk::dir::Dir;
use crate::egg::cached_egg::CachedEgg;
use crate::error::{OrLog, Result};
use crate::util::clock::now;
use crate::util::hash::digest::Digest;

/// How many eggs are evicted together.
const EVICT_BATCH: usize = 64;
/// How long a removal may hold the write lock before it yields.
const HOLD: Duration = Duration::from_millis(10);

/// The outcome of adding one egg.
#[derive(Debug, Clone, PartialEq)]
pub enum Commit {
    Stored(CachedEgg),
    /// The cache keeps its own egg.
    Kept {
        existing: CachedEgg,
        likeness: Likeness,
    },
    /// Stored in place of another build of its key, or of the same egg without its archive.
    Replaced {
        egg: CachedEgg,
        old: Digest,
    },
    /// Not stored, because this user cannot write the folder of its blob, or because it is refused.
    Refused {
        reason: String,
    },
}

impl Cache {
    /// Adds staged blobs under one hold of the write lock. The first build of a key wins, unless
    /// `replace` returns true for it or its blob is damaged. An egg whose content the cache has already is
    /// not stored again, and one whose archive becomes known takes the place of the one without. On failure
    /// no egg gets a row. An egg whose folder cannot be written is refused alone.
    pub fn commit(
        &mut self,
        staged: Vec<Staged>,
        replace: impl Fn(&CachedEgg) -> bool,
    ) -> Result<Vec<Commit>> {
        self.commit_admitted(staged, replace, || Ok(HashMap::new()))
    }

    /// As [`Cache::commit`], except for the eggs in `refused`, each with the reason. It is called under the
    /// write lock, so what it looks at is not older than what the next process sees that takes the lock.
    pub fn commit_admitted(
        &mut self,
        staged: Vec<Staged>,
        replace: impl Fn(&CachedEgg) -> bool,
        refused: impl FnOnce() -> Result<HashMap<Digest, String>>,
    ) -> Result<Vec<Commit>> {
        let (dir, blobs) = (&self.dir, &self.blobs);
        let (commits, dropped) = self.index.write(|writer| {
            let refused = refused()?;
            let admitted: Vec<&Staged> =
                staged.iter().filter(|it| !refused.contains_key(&it.written.digest)).collect();
            record_arrivals(dir, blobs, writer, &admitted, &replace)?;
            let mut changes = Changes::default();
            let commits = staged
                .into_iter()
                .map(|staged| match refused.get(&staged.written.digest) {
                    Some(reason) => Ok(Commit::Refused { reason: reason.clone() }),
                    None => commit_one(blobs, writer, staged, &replace, &mut changes),
                })
                .collect::<Result<Vec<_>>>()?;
            blobs.sync(&changes.folders)?;
            writer.tally(&stored(&commits), now())?;
            Ok((commits, changes.dropped))
        })?;
        for commit in &commits {
            log_commit(commit);
        }
        self.unlink_unreferenced(&dropped, |_| ())?;
        Ok(commits)
    }

    /// Sets times in the index that are in the future to `now`, in seconds since the Unix epoch: a clock was
    /// wrong, or somebody wants an egg to stay for ever.
    pub fn mend_times(&mut self, now: i64) -> Result<()> {
        self.index.write(|writer| writer.mend_times(now))
    }

    /// Forgets how the cache was used, and which evicted eggs were needed again.
    pub fn forget_usage(&mut self) -> Result<()> {
        self.index.write(|writer| writer.forget_usage())
    }

    /// Evicts eggs, rows first, then their blobs, until the time is up. Returns how many of them, from
    /// the first, are done.
    pub fn evict(
        &mut self,
        evicted: &[Evicted],
        until: Option<Instant>,
        done_with: impl Fn(Digest),
    ) -> Result<usize> {
        let mut done = 0;
        for batch in evicted.chunks(EVICT_BATCH) {
            let begin = Instant::now();
            if until.is_some_and(|until| begin >= until) {
                break;
            }
            let now = now();
            self.index.write(|writer| {
                writer.forget_regrets(now)?;
                for evicted in batch {
                    let egg = &evicted.egg;
                    // Unless another process has used it since, or stored it again. Neither makes an
                    // egg good that came by the wrong key, or that the user has named.
                    let row = writer.of_digest(egg.digest)?;
                    let is_final =
                        matches!(evicted.reason, EvictReason::SignedBy | EvictReason::Named);
                    if row.is_some_and(|row| is_final || row.used_at == egg.used_at) {
                        debug!(file_name = egg.file_name, digest = %egg.digest, "evicted");
                        writer.evict(egg.digest, now)?;
                        writer.remember(evicted, now)?;
                    } else {
                        debug!(file_name = egg.file_name, "not evicted: it was used since");
                    }
                }
                Ok(())
            })?;
            std::thread::sleep(begin.elapsed().min(HOLD));
            let digests: Vec<Digest> = batch.iter().map(|it| it.egg.digest).collect();
            self.unlink_unreferenced(&digests, &done_with)?;
            done += batch.len();
        }
        Ok(done)
    }

    /// Removes those of the blobs that have no row, batch by batch. Removes nothing as long as the
    /// index does not have a row for every egg.
    pub fn unlink_unreferenced(
        &mut self,
        digests: &[Digest],
        unlinked: impl Fn(Digest),
    ) -> Result<()> {
        let mut rest = digests;
        while !rest.is_empty() {
            let begin = Instant::now();
            let blobs = &self.blobs;
            // The files are unlinked after the lock is released: that takes longer than a rename.
            let taken = self.index.write(|writer| {
                let mut taken = Vec::new();
                while let Some((&digest, after)) = rest.split_first() {
                    if writer.is_complete()? && !writer.has(digest)? {
                        match blobs.take(writer, digest) {
                            // It stays evicted, and the next `gc` tries again.
                            Err(error) if error.is_forbidden() => warn!(%error, "not removed"),
                            removed => {
                                taken.extend(removed?);
                                writer.forget_evicted(digest)?;
                                unlinked(digest);
                            }
                        }
                    }
                    rest = after;
                    if begin.elapsed() > HOLD {
                        break;
                    }
                }
                Ok(taken)
            })?;
            drop(taken);
            std::thread::sleep(begin.elapsed().min(HOLD));
        }
        Ok(())
    }

    /// Whether a user who can write the cache can remove a blob from it.
    ///
    /// # Errors
    /// [`LockedFolder`](crate::error::Error::LockedFolder) if not.
    pub fn check_removable(&self, digest: Digest) -> Result<()> {
        if self.is_read_only() { Ok(()) } else { self.blobs.check_folder(digest) }
    }

    /// Drops the records of arrivals that are of no use any more, if these are most of them.
    pub fn compact_arrivals(&mut self) -> Result<()> {
        let (dir, blobs) = (&self.dir, &self.blobs);
        self.index.write(|writer| {
            let is_here = |egg| Ok(writer.has(egg)? || blobs.file(egg)?.is_some());
            arrivals::compact(dir, writer, now(), is_here)
        })
    }

    /// Removes unfinished blobs of processes that died, and returns how many.
    pub fn sweep(&self) -> Result<usize> {
        self.blobs.sweep()
    }
}

fn log_commit(commit: &Commit) {
    match commit {
        Commit::Stored(egg) => debug!(file_name = egg.file_name, digest = %egg.digest, "stored"),
        Commit::Kept { existing, likeness: Likeness::Same | Likeness::Known } => {
            debug!(file_name = existing.file_name, digest = %existing.digest, "already stored");
        }
        Commit::Kept { existing, likeness: Likeness::Other } => {
            let (file_name, kept) = (&existing.file_name, existing.digest);
            debug!(file_name, %kept, "not stored: the cache has another build");
        }
        Commit::Refused { reason } => warn!(reason, "not stored"),
        Commit::Replaced { egg, old } => {
            debug!(file_name = egg.file_name, digest = %egg.digest, %old, "replaced");
        }
    }
}

/// The stored eggs of one commit.
fn stored(commits: &[Commit]) -> Tally {
    let mut tally = Tally::default();
    for commit in commits {
        if let Commit::Stored(egg) | Commit::Replaced { egg, .. } = commit {
            tally.stored += 1;
            tally.stored_bytes += egg.blob_bytes;
        }
    }
    tally
}

/// Records how staged blobs came from remotes. An egg that the cache has under the same digest keeps its
/// origin: what was built here first stays built here.
fn record_arrivals(
    cache: &Dir,
    blobs: &Blobs,
    writer: &Writer<'_>,
    staged: &[&Staged],
    replace: impl Fn(&CachedEgg) -> bool,
) -> Result<()> {
    let mut records = Vec::new();
    // Read when an egg of unknown origin is added.
    let mut known: Option<Arrivals> = None;
    for it in staged {
        let Staged { arrival, written, manifest, provenance, .. } = it;
        if arrival.is_none() && provenance.build_seconds.is_some() {
            // It was built just now.
            continue;
        }
        let (egg, content) = (written.digest, manifest.content());
        let mut of_original = || {
            let read = || Arrivals::of(cache).or_log().unwrap_or_default();
            let known = known.get_or_insert_with(read);
            known.of_content(content).filter(|_| known.of_egg(egg).is_none()).cloned()
        };
        let Some(arrival) = arrival.clone().or_else(&mut of_original) else { continue };
        let is_kept = matches!(verdict(blobs, writer, it, &replace)?, Verdict::Kept { .. });
        if !is_kept && !writer.has(egg)? {
            records.push(Record { egg, content: Some(content), arrival });
        }
    }
    arrivals::append(cache, writer, &records)
}

/// What a transaction changes besides the rows.
#[derive(Debug, Default)]
struct Changes {
    /// The directories of blobs that need a sync.
    folders: BTreeSet<PathBuf>,
    /// Eggs that have lost their rows, and whose blobs are to be removed.
    dropped: Vec<Digest>,
}

fn commit_one(
    blobs: &Blobs,
    writer: &Writer<'_>,
    mut staged: Staged,
    replace: impl Fn(&CachedEgg) -> bool,
    changes: &mut Changes,
) -> Result<Commit> {
    let digest = staged.written.digest;
    let (replaced, forgotten, before) = match verdict(blobs, writer, &staged, replace)? {
        Verdict::Kept { existing, likeness } => return Ok(Commit::Kept { existing, likeness }),
        Verdict::Stored { replaced, forgotten, before } => (replaced, forgotten, before),
    };
    // Before any row changes, so that an egg that is refused changes nothing.
    if let Err(error) = blobs.check_folder(digest) {
        return Ok(Commit::Refused { reason: error.to_string() });
    }
    for forgotten in forgotten {
        writer.delete(forgotten)?;
    }
    let replaced: Vec<Digest> = replaced.iter().map(|egg| egg.digest).collect();
    let same = before.iter().map(|egg| egg.digest).find(|it| *it == digest);
    for &old in replaced.iter().chain(&same) {
        writer.evict(old, now())?;
    }
    // A row with the wrong key can have this digest.
    writer.delete(digest)?;
    let provenance = std::mem::take(&mut staged.provenance);
    let mut egg = CachedEgg::new(digest, &staged.manifest, staged.written.len, provenance);
    // An egg from elsewhere may have been added there long ago, or by a wrong clock.
    egg.used_at = now();
    if let Some(before) = before {
        (egg.used_at, egg.uses) = (before.used_at, before.uses);
    }
    writer.regret(&egg.key, now())?;
    blobs.persist(writer, staged, &mut changes.folders)?;
    writer.insert(&egg)?;
    let first = replaced.first().copied();
    changes.dropped.extend(replaced);
    Ok(match first {
        Some(old) => Commit::Replaced { egg, old },
        None => Commit::Stored(egg),
    })
}
