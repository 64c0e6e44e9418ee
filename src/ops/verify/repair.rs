//! Repairing a cache: each problem of a report is solved if possible.

use std::collections::{HashMap, HashSet};

use crate::cache::{BlobFile, Cache};
use crate::egg::cached_egg::CachedEgg;
use crate::error::Result;
use crate::util::hash::digest::Digest;

use super::{Problem, ProblemKind, Report, quarantined};

/// Solves the problems of a report, and notes the solutions there.
pub fn repair(
    cache: &mut Cache,
    report: &mut Report,
    blobs: &HashMap<Digest, BlobFile>,
    eggs: &HashMap<Digest, CachedEgg>,
) -> Result<()> {
    let mut moved = HashMap::new();
    for problem in &mut report.problems {
        problem.repair = solve(cache, problem, blobs, eggs, &mut moved)?;
    }
    let orphans = report.orphans.iter();
    let lost = orphans.filter_map(|&digest| cache.open_blob(digest).ok().flatten());
    let adopted = cache.adopt(lost.map(|blob| blob.cached_egg()).collect())?;
    let have_rows: HashSet<Digest> = adopted.iter().map(|egg| egg.digest).collect();
    report.orphans.retain(|orphan| !have_rows.contains(orphan));
    report.adopted = adopted.len();
    for digest in std::mem::take(&mut report.stale_rows) {
        let is_rewritten = match eggs.get(&digest) {
            Some(egg) => cache.rewrite_row(digest, egg)?,
            None => false,
        };
        if is_rewritten {
            report.corrected += 1;
        } else {
            report.stale_rows.push(digest);
        }
    }
    Ok(())
}

/// Solves one problem, and returns how. `moved` are the blobs that are already in quarantine.
fn solve(
    cache: &mut Cache,
    problem: &Problem,
    blobs: &HashMap<Digest, BlobFile>,
    eggs: &HashMap<Digest, CachedEgg>,
    moved: &mut HashMap<Digest, String>,
) -> Result<Option<String>> {
    if problem.kind == ProblemKind::Foreign {
        // It may have been removed in the meantime.
        return Ok(cache
            .quarantine_foreign(&problem.path)
            .ok()
            .flatten()
            .map(|to| quarantined(&to)));
    }
    let Some(digest) = problem.digest else { return Ok(None) };
    if let Some(done) = moved.get(&digest)
        && matches!(problem.kind, ProblemKind::Damaged | ProblemKind::Writable)
    {
        return Ok(Some(done.clone()));
    }
    Ok(match (problem.kind, blobs.get(&digest), eggs.get(&digest)) {
        (ProblemKind::Damaged, Some(&file), _) => {
            let to = cache.quarantine_blob(file)?.map(|to| quarantined(&to));
            if let Some(to) = &to {
                moved.insert(digest, to.clone());
            }
            to
        }
        (ProblemKind::Writable, ..) => {
            cache.restore_blob_mode(digest).is_ok().then(|| "made read-only".to_owned())
        }
        (ProblemKind::Missing, ..) => {
            cache.remove_row_without_blob(digest)?.then(|| "index entry removed".to_owned())
        }
        (ProblemKind::WrongRow, _, Some(egg)) => {
            cache.rewrite_row(digest, egg)?.then(|| "index entry rewritten".to_owned())
        }
        _ => None,
    })
}
