//! Verifying one blob: every frame, its mode, and its row in the index.

use rayon::prelude::*;

use crate::cache::{BlobFile, Blobs, describes_same_egg};
use crate::disk::filesystem;
use crate::egg::blob::BadBlob;
use crate::egg::blob::frame_layout::FrameGroup;
use crate::egg::blob::reader::{Blob, Decoder};
use crate::egg::cached_egg::CachedEgg;
use crate::error::Error;
use crate::util::hash::blake3_subtree;

use super::ProblemKind;

/// A problem with one blob.
pub type BlobProblem = (ProblemKind, String);

/// The result for one blob.
#[derive(Debug, Default)]
pub struct Checked {
    pub frames: usize,
    pub bytes: u64,
    pub problems: Vec<BlobProblem>,
    /// Whether its row has the size of an older blob.
    pub has_stale_row: bool,
}

/// Checks a blob, and its row if there is one.
pub fn check(blobs: &Blobs, file: BlobFile, egg: Option<&CachedEgg>) -> Checked {
    let blob = match blobs.open(file.digest) {
        Ok(Some(blob)) => blob,
        Ok(None) => return Checked::default(), // removed since it was listed
        Err(error) => {
            let problem = match error {
                Error::DamagedBlob { reason, .. } => damaged(&reason),
                error => (ProblemKind::Unreadable, error.to_string()),
            };
            return Checked { problems: vec![problem], ..Checked::default() };
        }
    };
    let mut problems: Vec<BlobProblem> = damages(&blob).iter().map(|bad| damaged(bad)).collect();
    let found = blob.cached_egg();
    let is_same = egg.is_none_or(|egg| describes_same_egg(egg, &found));
    if !is_same {
        problems
            .push((ProblemKind::WrongRow, "its index entry does not match its blob".to_owned()));
    }
    let has_stale_row = is_same && egg.is_some_and(|egg| egg.blob_bytes != found.blob_bytes);
    if file.mode & 0o222 != 0 && filesystem::keeps_modes(&blobs.path(file.digest)) {
        problems.push((ProblemKind::Writable, "its blob is writable".to_owned()));
    }
    Checked { frames: blob.frame_count(), bytes: found.counts.bytes, problems, has_stale_row }
}

fn damaged(reason: &str) -> BlobProblem {
    (ProblemKind::Damaged, format!("its blob is damaged: {reason}"))
}

/// Everything that is wrong with the frames of a blob.
fn damages<B: std::ops::Deref<Target = [u8]> + Sync>(blob: &Blob<B>) -> Vec<String> {
    let groups = blob.layout.groups.par_iter();
    let bad = groups.map_init(Decoder::new, |decoder, group| bad_frames(blob, decoder, group));
    let mut damages: Vec<String> = bad.flatten_iter().map(|bad| bad.to_string()).collect();
    damages.extend(blob.check_gaps().err().map(|bad| bad.to_string()));
    damages
}

fn bad_frames<B: std::ops::Deref<Target = [u8]> + Sync>(
    blob: &Blob<B>,
    decoder: &mut Decoder,
    group: &FrameGroup,
) -> Vec<BadBlob> {
    match group {
        FrameGroup::Small { frame, entries } => {
            let checked = blob
                .check_stored(*frame)
                .and_then(|()| blob.small_files(*frame, entries, decoder).map(drop));
            checked.err().into_iter().collect()
        }
        FrameGroup::Large { entry, frames } => {
            let first = frames.start;
            let parts: Vec<_> = (0..frames.len())
                .into_par_iter()
                .map_init(Decoder::new, |decoder, part| {
                    blob.check_stored(first + part)?;
                    let content = blob.decode(first + part, decoder)?;
                    Ok(blake3_subtree::of_frame(part, blob.frame_size(), content))
                })
                .collect();
            let (mut subtrees, mut bad) = (Vec::new(), Vec::new());
            for part in parts {
                match part {
                    Ok(subtree) => subtrees.push(subtree),
                    Err(error) => bad.push(error),
                }
            }
            if bad.is_empty() {
                bad.extend(blob.check_large(*entry, &subtrees).err());
            }
            bad
        }
    }
}
