//! Verify: every frame of every blob, and that blobs and index agree. Reports every problem.

use std::collections::HashMap;

use rayon::prelude::*;
use serde::Serialize;

use crate::blob::{BadBlob, Blob, Decoder};
use crate::cache::Cache;
use crate::digest::Digest;
use crate::egg::Egg;
use crate::error::{Error, Result};
use crate::layout::Unit;
use crate::progress::{self, Progress};
use crate::store::{Store, Stored};
use crate::subtree;

#[derive(Debug, Serialize)]
pub struct Report {
    pub blobs: usize,
    pub frames: usize,
    /// Bytes of content that were decoded and checked.
    pub bytes: u64,
    pub blob_bytes: u64,
    pub problems: Vec<Problem>,
    /// Blobs without a row in the index: harmless, `gc` removes them.
    pub orphans: Vec<Digest>,
    /// Temporary files of processes that are gone: harmless, `gc` removes them.
    pub temporary_files: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub digest: Digest,
    /// The egg's file name, where it is known.
    pub file_name: Option<String>,
    pub what: String,
}

/// What one blob was found to be.
#[derive(Default)]
struct Checked {
    frames: usize,
    bytes: u64,
    problems: Vec<String>,
}

/// Reads the whole store. Never stops at a problem.
///
/// # Errors
/// If the index or the store cannot be listed.
pub fn verify(cache: &Cache, progress: &dyn Progress) -> Result<Report> {
    let eggs: HashMap<Digest, Egg> =
        cache.index.all()?.into_iter().map(|egg| (egg.digest, egg)).collect();
    let mut blobs = cache.store.list()?;
    progress.begin("verifying", blobs.iter().map(|blob| blob.bytes).sum(), progress::Unit::Bytes);
    blobs.sort_unstable_by_key(|blob| std::cmp::Reverse(blob.bytes));
    let store = &cache.store;
    let checked: Vec<(Stored, Checked)> = blobs
        .into_par_iter()
        .map(|stored| {
            let checked = check(store, stored, eggs.get(&stored.digest));
            progress.advance(stored.bytes);
            (stored, checked)
        })
        .collect();
    progress.end();
    let problem = |digest: Digest, what: String| Problem {
        digest,
        file_name: eggs.get(&digest).map(|egg| egg.file_name.clone()),
        what,
    };
    let mut report = Report {
        blobs: checked.len(),
        frames: checked.iter().map(|(_, checked)| checked.frames).sum(),
        bytes: checked.iter().map(|(_, checked)| checked.bytes).sum(),
        blob_bytes: checked.iter().map(|(stored, _)| stored.bytes).sum(),
        problems: Vec::new(),
        orphans: Vec::new(),
        temporary_files: cache.store.abandoned()?.len(),
    };
    let mut missing = eggs.clone();
    for (stored, checked) in checked {
        if missing.remove(&stored.digest).is_none() {
            report.orphans.push(stored.digest);
        }
        report.problems.extend(checked.problems.into_iter().map(|it| problem(stored.digest, it)));
    }
    // A blob that gc removes meanwhile is no problem: its row is gone as well.
    for digest in missing.into_keys() {
        let path = cache.store.blob_path(digest);
        if cache.index.of_digest(digest)?.is_some() && !path.is_file() {
            let what = if path.exists() { "its blob is not a file" } else { "its blob is missing" };
            report.problems.push(problem(digest, what.into()));
        }
    }
    report.orphans.sort_unstable();
    report.problems.sort_by(|a, b| (&a.file_name, a.digest).cmp(&(&b.file_name, b.digest)));
    Ok(report)
}

fn check(store: &Store, stored: Stored, egg: Option<&Egg>) -> Checked {
    let blob = match store.open(stored.digest) {
        Ok(Some(blob)) => blob,
        Ok(None) => return Checked::default(), // removed since it was listed
        Err(error) => {
            let what = match error {
                Error::DamagedBlob { reason, .. } => format!("its blob is damaged: {reason}"),
                error => error.to_string(),
            };
            return Checked { problems: vec![what], ..Checked::default() };
        }
    };
    let mut problems = problems(&blob);
    if let Some(egg) = egg {
        let found = Egg::of_blob(&blob);
        if found.key != egg.key || found.counts != egg.counts || found.file_name != egg.file_name {
            problems.push("the index says something else of it; run `eggcache reindex`".into());
        }
    }
    Checked { frames: blob.frame_count(), bytes: blob.manifest.counts().bytes, problems }
}

/// Everything that is wrong with the frames of a blob.
fn problems<B: std::ops::Deref<Target = [u8]> + Sync>(blob: &Blob<B>) -> Vec<String> {
    let unit = |decoder: &mut Decoder, unit: &Unit| match unit {
        Unit::Small { frame, entries } => blob
            .check_stored(*frame)
            .and_then(|()| blob.small_files(*frame, entries, decoder).map(drop))
            .err()
            .into_iter()
            .collect::<Vec<BadBlob>>(),
        Unit::Large { entry, frames } => {
            let (first, count) = (frames.start, frames.len());
            let frames: Vec<_> = (0..count)
                .into_par_iter()
                .map_init(Decoder::new, |decoder, part| {
                    blob.check_stored(first + part)?;
                    let content = blob.decode(first + part, decoder)?;
                    Ok(subtree::of_frame(part, blob.frame_size(), content))
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
    let units = blob.layout.units.par_iter().map_init(Decoder::new, unit).flatten_iter();
    let mut problems: Vec<String> = units.map(|bad| bad.to_string()).collect();
    problems.extend(blob.check_gaps().err().map(|bad| bad.to_string()));
    problems
}
