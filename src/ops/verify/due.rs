//! Which blobs to verify if there is no time for all: the least recently verified ones first.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cache::{BlobFile, Verified};

/// How far a verification goes.
#[derive(Debug, Clone, Copy)]
pub struct Due {
    /// Verify blobs that were not verified for this long, in seconds.
    pub max_age: i64,
    /// Begin with no further blob after this time.
    pub max_duration: Option<Duration>,
}

/// What a verification has left for the next one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Left {
    /// Blobs that were verified recently enough.
    pub recent: usize,
    /// Blobs that were not, and for which there was no time.
    pub blobs: usize,
    pub bytes: u64,
    /// How many runs like this one verify them; absent if this one has verified nothing.
    pub runs: Option<u64>,
    /// When the last of these runs will be, in seconds since the Unix epoch, if they are as far apart as
    /// this one and the one before it.
    pub done_at: Option<i64>,
}

/// The blobs to verify, in their order, and the others.
pub fn select(
    files: Vec<BlobFile>,
    verified: &Verified,
    max_age: i64,
    now: i64,
) -> (Vec<BlobFile>, Vec<BlobFile>) {
    let at = |file: &BlobFile| verified.blobs.get(&file.digest).copied();
    let is_due = |file: &BlobFile| at(file).is_none_or(|at| now.saturating_sub(at) > max_age);
    let (mut due, recent): (Vec<_>, Vec<_>) = files.into_iter().partition(is_due);
    due.sort_by_cached_key(|file| (at(file), Reverse(file.bytes), file.digest));
    (due, recent)
}

impl Left {
    /// `done` are the bytes that this run has verified; `before` is the time of the run before it.
    #[must_use]
    pub fn new(recent: usize, left: &[BlobFile], done: u64, before: Option<i64>, now: i64) -> Self {
        let bytes: u64 = left.iter().map(|file| file.bytes).sum();
        let runs = (!left.is_empty() && done > 0).then(|| bytes.div_ceil(done).max(1));
        let done_at = runs.zip(before).map(|(runs, before)| {
            let runs = i64::try_from(runs).unwrap_or(i64::MAX);
            now.saturating_add(now.saturating_sub(before).saturating_mul(runs))
        });
        Self { recent, blobs: left.len(), bytes, runs, done_at }
    }
}

/// The end of a run; `None` if it has as much time as it needs.
pub fn end(due: Option<&Due>) -> Option<Instant> {
    due.and_then(|due| due.max_duration).and_then(|most| Instant::now().checked_add(most))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::util::hash::digest::Digest;

    fn file(name: &str, bytes: u64) -> BlobFile {
        let digest = Digest::of(name.as_bytes());
        BlobFile { digest, bytes, mode: 0o444, identity: (0, 0), is_file: true }
    }

    #[test]
    fn the_least_recently_verified_blobs_are_first() {
        let files = [file("a", 1), file("b", 2), file("c", 3), file("d", 4), file("e", 5)];
        let at = [("a", 50), ("b", 90), ("c", 40)];
        let blobs = at.map(|(name, at)| (Digest::of(name.as_bytes()), at));
        let verified = Verified { run_at: None, blobs: BTreeMap::from(blobs) };
        let (due, recent) = select(files.to_vec(), &verified, 20, 100);
        let sizes: Vec<u64> = due.iter().map(|file| file.bytes).collect();
        assert_eq!((sizes, recent[0].bytes), (vec![5, 4, 3, 1], 2));
        let (due, recent) = select(files.to_vec(), &verified, 10, 100);
        assert_eq!((due.len(), recent.len()), (4, 1), "at the limit");
        assert_eq!(select(files.to_vec(), &verified, 9, 100).0.len(), 5);
    }

    #[test]
    fn the_end_is_estimated_from_the_last_two_runs() {
        let left = [file("a", 250), file("b", 250)];
        let of = |done, before| Left::new(7, &left, done, before, 1000);
        let Left { recent, blobs, bytes, runs, done_at } = of(200, Some(900));
        assert_eq!((recent, blobs, bytes, runs, done_at), (7, 2, 500, Some(3), Some(1300)));
        assert_eq!((of(200, None).runs, of(200, None).done_at), (Some(3), None));
        assert_eq!((of(0, Some(1)).runs, of(u64::MAX, Some(999)).done_at), (None, Some(1001)));
        let nothing = Left { recent: 7, ..Left::default() };
        assert_eq!(Left::new(7, &[], 200, Some(900), 1000), nothing);
    }
}
