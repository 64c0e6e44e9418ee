//! Verify: every frame of every blob, and that blobs and index agree. Reports every problem, and
//! mends what it finds if that is asked for.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use crate::cache::{self, BlobFile, Blobs, Cache, describes_same_egg};
use crate::disk::filesystem;
use crate::egg::blob::BadBlob;
use crate::egg::blob::frame_layout::FrameGroup;
use crate::egg::blob::reader::{Blob, Decoder};
use crate::egg::cached_egg::CachedEgg;
use crate::error::{Error, Result};
use crate::util::hash::blake3_subtree;
use crate::util::hash::digest::Digest;
use crate::util::progress::{self, Progress};

#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub blobs: usize,
    pub frames: usize,
    /// Bytes of content that were decoded and checked.
    pub bytes: u64,
    pub blob_bytes: u64,
    pub problems: Vec<Problem>,
    /// Blobs without a row in the index that are whole: harmless, `gc` keeps or removes them.
    pub orphans: Vec<Digest>,
    /// Eggs whose row was lost, and that have one again.
    pub adopted: usize,
    /// Temporary files of processes that are gone: harmless, `gc` removes them.
    pub temporary_files: usize,
    /// What was quarantined, now or before, and is still there.
    pub quarantined: usize,
}

impl Report {
    /// Problems that are still there.
    pub fn unsolved(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|problem| problem.repair.is_none())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub kind: ProblemKind,
    /// The egg's, if it is the problem of one.
    pub digest: Option<Digest>,
    /// The egg's file name, where it is known.
    pub file_name: Option<String>,
    #[serde(serialize_with = "crate::disk::files::lossy")]
    pub path: PathBuf,
    pub what: String,
    /// What was done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// A blob whose bytes are not those of its name.
    Damaged,
    /// A blob that this eggcache or this user cannot read.
    Unreadable,
    /// A blob that somebody may write.
    Writable,
    /// A row without a blob.
    Missing,
    /// A row that says something else than its blob.
    WrongRow,
    /// What stands in the store and is no blob.
    Foreign,
    /// The index itself.
    Index,
}

/// What is wrong with one blob.
type Finding = (ProblemKind, String);

/// What one blob was found to be.
#[derive(Default)]
struct Checked {
    frames: usize,
    bytes: u64,
    findings: Vec<Finding>,
}

/// Reads the whole store. Never stops at a problem, and mends what can be mended if `repair` says
/// so. An index that is damaged is a problem like others.
///
/// # Errors
/// If the index or the store cannot be listed, or with `repair` not written.
pub fn verify(root: &Path, repair: bool, progress: &dyn Progress) -> Result<Report> {
    let damage = match Cache::open(root) {
        Ok(cache) => match cache.damage() {
            None => return verify_cache(cache, repair, progress),
            Some(damage) => format!("the index is damaged: {damage}"),
        },
        Err(error @ (Error::NotAnIndex { .. } | Error::DamagedIndex { .. })) => error.to_string(),
        Err(error) => return Err(error),
    };
    let mut problem = Problem {
        kind: ProblemKind::Index,
        digest: None,
        file_name: None,
        path: root.join(cache::INDEX_FILE_NAME),
        what: damage,
        repair: None,
    };
    let mut report = if repair {
        let (cache, aside) = Cache::open_or_rebuild(root, progress)?;
        let aside = aside.unwrap_or_default();
        problem.repair = Some(format!("rebuilt from the blobs; it was {}", aside.display()));
        verify_cache(cache, repair, progress)?
    } else {
        verify_blobs(&Blobs::new(root), &HashMap::new(), progress)?.0
    };
    report.problems.insert(0, problem);
    Ok(report)
}

fn verify_cache(mut cache: Cache, repair: bool, progress: &dyn Progress) -> Result<Report> {
    if repair {
        cache.check_writable()?;
    }
    let eggs: HashMap<Digest, CachedEgg> =
        cache.eggs()?.into_iter().map(|egg| (egg.digest, egg)).collect();
    let (mut report, blobs) = verify_blobs(cache.blobs(), &eggs, progress)?;
    let damaged = report.problems.iter().filter(|problem| problem.kind == ProblemKind::Damaged);
    let damaged: HashSet<Digest> = damaged.filter_map(|problem| problem.digest).collect();
    let orphans = blobs.keys().filter(|digest| !eggs.contains_key(digest));
    let mut orphans: Vec<Digest> =
        orphans.filter(|digest| !damaged.contains(digest)).copied().collect();
    orphans.sort_unstable();
    // Others add and replace eggs meanwhile: what is odd is looked at again.
    for digest in orphans {
        if cache.egg(digest)?.is_none() {
            report.orphans.push(digest);
        }
    }
    let mut problems = std::mem::take(&mut report.problems);
    for problem in problems.extract_if(.., |problem| problem.kind == ProblemKind::WrongRow) {
        if let Some(digest) = problem.digest
            && !cache.row_matches_blob(digest)?
        {
            report.problems.push(problem);
        }
    }
    report.problems.append(&mut problems);
    for (digest, egg) in eggs.iter().filter(|(digest, _)| !blobs.contains_key(digest)) {
        // A blob that gc removes meanwhile is no problem: its row is gone as well.
        let path = cache.blobs().path(*digest);
        let stored = cache.blobs().file(*digest)?;
        let is_file = stored.is_some_and(|stored| stored.is_file);
        if !is_file && cache.egg(*digest)?.is_some() {
            let what =
                if stored.is_some() { "its blob is not a file" } else { "its blob is missing" };
            report.problems.push(Problem {
                kind: ProblemKind::Missing,
                digest: Some(*digest),
                file_name: Some(egg.file_name.clone()),
                path,
                what: what.to_owned(),
                repair: None,
            });
        }
    }
    if repair {
        mend(&mut cache, &mut report, &blobs, &eggs)?;
    }
    report
        .problems
        .sort_by(|a, b| (&a.file_name, a.digest, &a.path).cmp(&(&b.file_name, b.digest, &b.path)));
    Ok(report)
}

/// Does about every problem what can be done, and notes it there.
fn mend(
    cache: &mut Cache,
    report: &mut Report,
    blobs: &HashMap<Digest, BlobFile>,
    eggs: &HashMap<Digest, CachedEgg>,
) -> Result<()> {
    let mut moved: HashMap<Digest, String> = HashMap::new();
    for problem in &mut report.problems {
        let of_egg = problem.digest.map(|it| (it, blobs.get(&it), eggs.get(&it)));
        problem.repair = match (problem.kind, of_egg) {
            // What has gone meanwhile is no reason to stop.
            (ProblemKind::Foreign, _) => {
                cache.quarantine_foreign(&problem.path).ok().flatten().map(|to| quarantined(&to))
            }
            (ProblemKind::Damaged, Some((digest, Some(&stored), _))) => match moved.get(&digest) {
                Some(done) => Some(done.clone()),
                None => cache
                    .quarantine_blob(stored)?
                    .map(|to| moved.entry(digest).or_insert(quarantined(&to)).clone()),
            },
            (ProblemKind::Writable, Some((digest, ..))) => {
                moved.get(&digest).cloned().or_else(|| {
                    let restored = cache.restore_blob_mode(digest);
                    restored.is_ok().then(|| "made read-only".to_owned())
                })
            }
            (ProblemKind::Missing, Some((digest, ..))) => {
                cache.remove_row_without_blob(digest)?.then(|| "row removed".to_owned())
            }
            (ProblemKind::WrongRow, Some((digest, _, Some(old)))) => {
                cache.rewrite_row(digest, old)?.then(|| "row rewritten".to_owned())
            }
            _ => None,
        };
    }
    let lost = report.orphans.iter().filter_map(|&digest| cache.open_blob(digest).ok().flatten());
    let adopted = cache.adopt(lost.map(|blob| blob.cached_egg()).collect())?;
    let have_rows: HashSet<Digest> = adopted.iter().map(|egg| egg.digest).collect();
    report.orphans.retain(|orphan| !have_rows.contains(orphan));
    report.adopted = adopted.len();
    report.quarantined = cache.blobs().quarantined().len();
    Ok(())
}

fn quarantined(to: &Path) -> String {
    format!("moved to {}", to.display())
}

/// Everything that the blobs themselves tell, and all blobs.
fn verify_blobs(
    blobs: &Blobs,
    eggs: &HashMap<Digest, CachedEgg>,
    progress: &dyn Progress,
) -> Result<(Report, HashMap<Digest, BlobFile>)> {
    let (mut files, foreign) = blobs.scan()?;
    progress.begin("verifying", files.iter().map(|file| file.bytes).sum(), progress::Unit::Bytes);
    files.sort_unstable_by_key(|file| std::cmp::Reverse(file.bytes));
    let checked: Vec<(BlobFile, Checked)> = files
        .into_par_iter()
        .map(|file| {
            let checked = check(blobs, file, eggs.get(&file.digest));
            progress.advance(file.bytes);
            (file, checked)
        })
        .collect();
    progress.end();
    let mut report = Report {
        blobs: checked.len(),
        frames: checked.iter().map(|(_, checked)| checked.frames).sum(),
        bytes: checked.iter().map(|(_, checked)| checked.bytes).sum(),
        blob_bytes: checked.iter().map(|(file, _)| file.bytes).sum(),
        temporary_files: blobs.abandoned()?,
        quarantined: blobs.quarantined().len(),
        ..Report::default()
    };
    for (file, checked) in &checked {
        report.problems.extend(checked.findings.iter().cloned().map(|(kind, what)| Problem {
            kind,
            digest: Some(file.digest),
            file_name: eggs.get(&file.digest).map(|egg| egg.file_name.clone()),
            path: blobs.path(file.digest),
            what,
            repair: None,
        }));
    }
    report.problems.extend(foreign.into_iter().map(|path| Problem {
        kind: ProblemKind::Foreign,
        digest: None,
        file_name: None,
        path,
        what: "it is no blob and does not belong there".to_owned(),
        repair: None,
    }));
    Ok((report, checked.into_iter().map(|(file, _)| (file.digest, file)).collect()))
}

fn check(blobs: &Blobs, file: BlobFile, egg: Option<&CachedEgg>) -> Checked {
    let blob = match blobs.open(file.digest) {
        Ok(Some(blob)) => blob,
        Ok(None) => return Checked::default(), // removed since it was listed
        Err(error) => {
            let finding = match error {
                Error::DamagedBlob { reason, .. } => {
                    (ProblemKind::Damaged, format!("its blob is damaged: {reason}"))
                }
                error => (ProblemKind::Unreadable, error.to_string()),
            };
            return Checked { findings: vec![finding], ..Checked::default() };
        }
    };
    let mut findings: Vec<Finding> = problems(&blob)
        .into_iter()
        .map(|what| (ProblemKind::Damaged, format!("its blob is damaged: {what}")))
        .collect();
    let found = blob.cached_egg();
    if egg.is_some_and(|egg| !describes_same_egg(egg, &found)) {
        findings.push((ProblemKind::WrongRow, "the index says something else of it".to_owned()));
    }
    if file.mode & 0o222 != 0 && filesystem::keeps_modes(&blobs.path(file.digest)) {
        findings.push((ProblemKind::Writable, "its blob can be written".to_owned()));
    }
    Checked { frames: blob.frame_count(), bytes: found.counts.bytes, findings }
}

/// Everything that is wrong with the frames of a blob.
fn problems<B: std::ops::Deref<Target = [u8]> + Sync>(blob: &Blob<B>) -> Vec<String> {
    let unit = |decoder: &mut Decoder, unit: &FrameGroup| match unit {
        FrameGroup::Small { frame, entries } => blob
            .check_stored(*frame)
            .and_then(|()| blob.small_files(*frame, entries, decoder).map(drop))
            .err()
            .into_iter()
            .collect::<Vec<BadBlob>>(),
        FrameGroup::Large { entry, frames } => {
            let (first, count) = (frames.start, frames.len());
            let frames: Vec<_> = (0..count)
                .into_par_iter()
                .map_init(Decoder::new, |decoder, part| {
                    blob.check_stored(first + part)?;
                    let content = blob.decode(first + part, decoder)?;
                    Ok(blake3_subtree::of_frame(part, blob.frame_size(), content))
                })
                .collect();
            let (subtrees, mut bad): (Vec<_>, Vec<BadBlob>) =
                frames.into_iter().fold((Vec::new(), Vec::new()), |(mut good, mut bad), frame| {
                    match frame {
                        Ok(subtree) => good.push(subtree),
                        Err(error) => bad.push(error),
                    }
                    (good, bad)
                });
            if bad.is_empty() {
                bad.extend(blob.check_large(*entry, &subtrees).err());
            }
            bad
        }
    };
    let units = blob.layout.groups.par_iter().map_init(Decoder::new, unit).flatten_iter();
    let mut problems: Vec<String> = units.map(|bad| bad.to_string()).collect();
    problems.extend(blob.check_gaps().err().map(|bad| bad.to_string()));
    problems
}
