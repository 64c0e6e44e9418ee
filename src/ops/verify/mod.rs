//! Verify: check every frame of every blob, and that blobs and index agree. Every problem is reported
//! and, on request, repaired.

mod access;
mod blob;
mod due;
mod records;
mod repair;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rayon::prelude::*;
use serde::Serialize;

use crate::cache::trust::Trust;
use crate::cache::{self, BlobFile, Blobs, Cache, Verified};
use crate::disk::dir::Dir;
use crate::egg::cached_egg::CachedEgg;
use crate::error::{Error, IoContext, Result};
use crate::util::clock::now;
use crate::util::hash::digest::Digest;
use crate::util::progress::{self, Progress};
use crate::util::threads;

use blob::{Checked, check};
pub use due::{Due, Left};

#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub blobs: usize,
    pub frames: usize,
    /// Bytes of content that were decoded and checked.
    pub bytes: u64,
    pub blob_bytes: u64,
    pub problems: Vec<Problem>,
    /// Undamaged blobs without a row in the index. They are harmless: `gc` adopts or removes them.
    pub orphans: Vec<Digest>,
    /// Eggs whose lost row was restored.
    pub adopted: usize,
    /// Eggs whose row has the size of an older blob, which `--repair` corrects: an `add` died while it
    /// stored the same egg again. They are harmless: only sums of sizes are wrong.
    pub stale_rows: Vec<Digest>,
    /// Eggs whose stale row was corrected.
    pub corrected: usize,
    /// Temporary files of dead processes. They are harmless: `gc` removes them.
    pub temporary_files: usize,
    /// Files in quarantine, from this run or an earlier one.
    pub quarantined: usize,
    /// What was not checked, if not everything was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<Left>,
}

impl Report {
    /// Problems that were not repaired.
    pub fn unsolved(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|problem| problem.repair.is_none())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub kind: ProblemKind,
    /// The digest of the egg that it concerns.
    pub digest: Option<Digest>,
    /// The file name of that egg, if known.
    pub file_name: Option<String>,
    #[serde(serialize_with = "crate::disk::files::lossy")]
    pub path: PathBuf,
    pub what: String,
    /// How it was repaired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// A blob whose bytes do not match its name.
    Damaged,
    /// A blob that this eggcache or this user cannot read.
    Unreadable,
    /// A blob with write permission.
    Writable,
    /// A row without a blob.
    Missing,
    /// A row that does not match its blob.
    WrongRow,
    /// A path among the blobs that is not a blob.
    Foreign,
    /// A pin, a root or what a remote has withdrawn, if its record is damaged.
    Record,
    /// The index itself.
    Index,
    /// A cache that others can read or change, and that is not open to them on purpose.
    Exposed,
    /// Entries that keep the owner of the cache, or the members of its group, from writing it.
    Owner,
}

impl Problem {
    fn new(kind: ProblemKind, path: PathBuf, what: impl Into<String>) -> Self {
        Self { kind, digest: None, file_name: None, path, what: what.into(), repair: None }
    }

    /// A problem with the egg of this digest.
    fn of_egg(self, digest: Digest, egg: Option<&CachedEgg>) -> Self {
        let file_name = egg.map(|egg| egg.file_name.clone());
        Self { digest: Some(digest), file_name, ..self }
    }
}

/// How many blobs are verified at once if there is no time for all: after them, a run may end.
const BATCH: usize = 16;

/// The eggs in the index, by digest.
type Eggs = HashMap<Digest, CachedEgg>;

/// The blobs of a cache, by digest.
type BlobsByDigest = HashMap<Digest, BlobFile>;

/// Reads the whole cache, to the end whatever the problems are. A damaged index is a problem, not an
/// error. Without `repair`, nothing in the cache is changed, and none is made.
pub fn verify(root: &Path, repair: bool, trust: &Trust, progress: &dyn Progress) -> Result<Report> {
    verify_opened(root, repair, None, trust, progress)
}

/// As [`verify()`], for the blobs that are due. The cache remembers which ones were verified.
pub fn verify_due(
    root: &Path,
    repair: bool,
    due: Due,
    trust: &Trust,
    progress: &dyn Progress,
) -> Result<Report> {
    verify_opened(root, repair, Some(due), trust, progress)
}

fn verify_opened(
    root: &Path,
    repair: bool,
    due: Option<Due>,
    trust: &Trust,
    progress: &dyn Progress,
) -> Result<Report> {
    threads::start_pool()?;
    let opened = if repair || due.is_some() {
        Cache::open_existing(root, trust, progress)
    } else {
        Cache::open_to_read_with(root, trust, progress)
    };
    let damage = match opened {
        Ok(cache) => match cache.damage() {
            None => return verify_cache(cache, repair, due, progress),
            Some(damage) => format!("the index is damaged: {damage}"),
        },
        Err(error @ (Error::NotAnIndex { .. } | Error::DamagedIndex { .. })) => error.to_string(),
        Err(error) => return Err(error),
    };
    let mut problem = Problem::new(ProblemKind::Index, root.join(cache::INDEX_FILE_NAME), damage);
    let mut report = if repair {
        let (cache, aside) = Cache::open_or_rebuild(root, trust, progress)?;
        let aside = aside.unwrap_or_default();
        let repair = format!("rebuilt from the blobs; the old index is now {}", aside.display());
        problem.repair = Some(repair);
        verify_cache(cache, true, due, progress)?
    } else {
        let dir = Dir::open(root).at("open the cache directory", root)?;
        let plan = BlobPlan::new(&Blobs::new(&dir), due, &Verified::of(&dir, now()))?;
        verify_blobs(&Blobs::new(&dir), &Eggs::new(), plan, progress)?.0
    };
    report.problems.insert(0, problem);
    Ok(report)
}

fn verify_cache(
    mut cache: Cache,
    repair: bool,
    due: Option<Due>,
    progress: &dyn Progress,
) -> Result<Report> {
    if repair || due.is_some() {
        cache.check_writable()?;
    }
    let access = access::check(&mut cache, repair)?;
    let records = records::check(&mut cache, repair)?;
    let eggs: Eggs = cache.eggs()?.into_iter().map(|egg| (egg.digest, egg)).collect();
    let verified = Verified::of(cache.dir(), now());
    let plan = BlobPlan::new(cache.blobs(), due, &verified)?;
    let (mut report, blobs, done) = verify_blobs(cache.blobs(), &eggs, plan, progress)?;
    if repair || due.is_some() {
        cache.remember_verified(&remembered(verified, &report, &blobs, &done))?;
    }
    report.orphans = orphans(&cache, &report, &blobs, &eggs)?;
    drop_solved(&mut cache, &mut report)?;
    let missing = missing_blobs(&cache, &blobs, &eggs)?;
    report.problems.extend(missing);
    if repair {
        repair::repair(&mut cache, &mut report, &blobs, &eggs)?;
        report.quarantined = cache.blobs().quarantined().len();
    }
    report.problems.extend(access);
    report.problems.extend(records);
    report
        .problems
        .sort_by(|a, b| (&a.file_name, a.digest, &a.path).cmp(&(&b.file_name, b.digest, &b.path)));
    Ok(report)
}

/// Undamaged blobs without a row, sorted. Other processes may have added one in the meantime.
fn orphans(
    cache: &Cache,
    report: &Report,
    blobs: &BlobsByDigest,
    eggs: &Eggs,
) -> Result<Vec<Digest>> {
    let damaged = report.problems.iter().filter(|problem| problem.kind == ProblemKind::Damaged);
    let damaged: HashSet<Digest> = damaged.filter_map(|problem| problem.digest).collect();
    let mut orphans = Vec::new();
    for &digest in blobs.keys() {
        if !eggs.contains_key(&digest) && !damaged.contains(&digest) && cache.egg(digest)?.is_none()
        {
            orphans.push(digest);
        }
    }
    orphans.sort_unstable();
    Ok(orphans)
}

/// How a problem was repaired: its file is there now.
fn quarantined(to: &Path) -> String {
    format!("moved to {}", to.display())
}

/// Drops the problems with rows that match their blobs now: another process has replaced the egg.
fn drop_solved(cache: &mut Cache, report: &mut Report) -> Result<()> {
    for problem in std::mem::take(&mut report.problems) {
        let is_solved = problem.kind == ProblemKind::WrongRow
            && match problem.digest {
                Some(digest) => cache.row_matches_blob(digest)?,
                None => false,
            };
        if !is_solved {
            report.problems.push(problem);
        }
    }
    Ok(())
}

/// Problems with rows that have no blob. If gc has removed a blob in the meantime, its row is gone, too.
fn missing_blobs(cache: &Cache, blobs: &BlobsByDigest, eggs: &Eggs) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for (&digest, egg) in eggs.iter().filter(|(digest, _)| !blobs.contains_key(digest)) {
        let stored = match cache.blobs().file(digest) {
            Err(error) if error.is_forbidden() => {
                let path = cache.blobs().path(digest);
                let problem = Problem::new(ProblemKind::Unreadable, path, error.to_string());
                problems.push(problem.of_egg(digest, Some(egg)));
                continue;
            }
            stored => stored?,
        };
        let is_file = stored.is_some_and(|stored| stored.is_file);
        if !is_file && cache.egg(digest)?.is_some() {
            let what =
                if stored.is_some() { "its blob is not a file" } else { "its blob is missing" };
            let problem = Problem::new(ProblemKind::Missing, cache.blobs().path(digest), what);
            problems.push(problem.of_egg(digest, Some(egg)));
        }
    }
    Ok(problems)
}

/// The blobs of a cache, and which of them are verified.
struct BlobPlan {
    /// The largest first, or the least recently verified first if there is no time for all.
    verified: Vec<BlobFile>,
    others: Vec<BlobFile>,
    foreign: Vec<PathBuf>,
    due: Option<Due>,
    /// When the run before this one was.
    before: Option<i64>,
}

impl BlobPlan {
    fn new(blobs: &Blobs, due: Option<Due>, remembered: &Verified) -> Result<Self> {
        let (mut files, foreign) = blobs.scan()?;
        let before = remembered.run_at;
        let (verified, others) = match due {
            None => {
                files.sort_unstable_by_key(|file| std::cmp::Reverse(file.bytes));
                (files, Vec::new())
            }
            Some(due) => due::select(files, remembered, due.max_age, now()),
        };
        Ok(Self { verified, others, foreign, due, before })
    }
}

/// Verifies the blobs alone, and returns all of them, and the digests of those that were verified.
fn verify_blobs(
    blobs: &Blobs,
    eggs: &Eggs,
    plan: BlobPlan,
    progress: &dyn Progress,
) -> Result<(Report, BlobsByDigest, Vec<Digest>)> {
    let BlobPlan { verified: mut files, others, foreign, due, before } = plan;
    progress.begin("verifying", files.iter().map(|file| file.bytes).sum(), progress::Unit::Bytes);
    let end = due::end(due.as_ref());
    // Without an end, all of them are one batch.
    let batch = if end.is_some() { BATCH } else { files.len().max(1) };
    let mut checked: Vec<(BlobFile, Checked)> = Vec::with_capacity(files.len());
    while !files.is_empty() && (checked.is_empty() || end.is_none_or(|end| Instant::now() < end)) {
        let rest = files.split_off(batch.min(files.len()));
        let batch = std::mem::replace(&mut files, rest).into_par_iter().map(|file| {
            let checked = check(blobs, file, eggs.get(&file.digest));
            progress.advance(file.bytes);
            (file, checked)
        });
        checked.extend(batch.collect::<Vec<_>>());
    }
    progress.end();
    let blob_bytes = checked.iter().map(|(file, _)| file.bytes).sum();
    let left = due.map(|_| Left::new(others.len(), &files, blob_bytes, before, now()));
    let mut report = Report {
        blobs: checked.len(),
        frames: checked.iter().map(|(_, checked)| checked.frames).sum(),
        bytes: checked.iter().map(|(_, checked)| checked.bytes).sum(),
        blob_bytes,
        temporary_files: blobs.abandoned()?,
        quarantined: blobs.quarantined().len(),
        left,
        ..Report::default()
    };
    let unchecked = others.into_iter().chain(files).map(|file| (file.digest, file));
    let mut by_digest: BlobsByDigest = unchecked.collect();
    let mut done = Vec::with_capacity(checked.len());
    for (file, checked) in checked {
        let digest = file.digest;
        report.problems.extend(checked.problems.into_iter().map(|(kind, what)| {
            Problem::new(kind, blobs.path(digest), what).of_egg(digest, eggs.get(&digest))
        }));
        if checked.has_stale_row {
            report.stale_rows.push(digest);
        }
        by_digest.insert(digest, file);
        done.push(digest);
    }
    report.stale_rows.sort_unstable();
    let foreign = foreign.into_iter();
    let foreign = foreign.map(|path| Problem::new(ProblemKind::Foreign, path, "not a blob"));
    report.problems.extend(foreign);
    Ok((report, by_digest, done))
}

/// What the cache remembers after a run. Blobs with a problem are the first of the next run again.
fn remembered(
    before: Verified,
    report: &Report,
    blobs: &BlobsByDigest,
    done: &[Digest],
) -> Verified {
    let now = now();
    let bad: HashSet<Digest> = report.problems.iter().filter_map(|it| it.digest).collect();
    let mut all = before.blobs;
    all.extend(done.iter().map(|&digest| (digest, now)));
    all.retain(|digest, _| blobs.contains_key(digest) && !bad.contains(digest));
    Verified { run_at: Some(now), blobs: all }
}
