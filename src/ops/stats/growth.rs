//! Growth: what the cache held at the end of each day.
//!
//! What it holds now is known, and on most days what came and what went. So it is told backwards: a
//! day began with what it ended with, less what came, and what went. Before evictions were counted,
//! only what is still there is known to have come.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cache::{Day, day_of};
use crate::egg::cached_egg::CachedEgg;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Growth {
    /// When it begins in UTC, in seconds since the Unix epoch.
    pub day: i64,
    /// What there was at its end.
    pub eggs: u64,
    pub blob_bytes: u64,
    /// What came and went on it.
    pub stored: u64,
    pub stored_bytes: u64,
    pub evicted: u64,
    pub evicted_bytes: u64,
}

/// The days on which eggs came or went, the first first.
pub fn growth(eggs: &[CachedEgg], days: &[Day]) -> Vec<Growth> {
    let mut changes: BTreeMap<i64, Growth> = BTreeMap::new();
    for egg in eggs {
        let day = day_of(egg.provenance.added_at);
        let change = changes.entry(day).or_default();
        change.stored += 1;
        change.stored_bytes += egg.blob_bytes;
    }
    for Day { day, tally } in days.iter().filter(|it| it.tally.stored + it.tally.evicted > 0) {
        let change = changes.entry(*day).or_default();
        // What came that day and is still there came at the least.
        change.stored = change.stored.max(tally.stored);
        change.stored_bytes = change.stored_bytes.max(tally.stored_bytes);
        (change.evicted, change.evicted_bytes) = (tally.evicted, tally.evicted_bytes);
    }
    let mut count = eggs.len() as u64;
    let mut bytes: u64 = eggs.iter().map(|egg| egg.blob_bytes).sum();
    let mut growth = Vec::new();
    for (day, change) in changes.into_iter().rev() {
        growth.push(Growth { day, eggs: count, blob_bytes: bytes, ..change });
        count = (count + change.evicted).saturating_sub(change.stored);
        bytes = (bytes + change.evicted_bytes).saturating_sub(change.stored_bytes);
    }
    growth.reverse();
    growth
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{DAY, Tally};
    use crate::egg::manifest::tests::manifest;
    use crate::egg::provenance::Provenance;
    use crate::util::hash::digest::Digest;

    fn egg(day: i64, blob_bytes: u64) -> CachedEgg {
        let provenance = Provenance { added_at: day * DAY + 7, ..Provenance::default() };
        CachedEgg::new(Digest::of(b"egg"), &manifest(Vec::new()), blob_bytes, provenance)
    }

    #[test]
    fn what_was_evicted_was_there_before() {
        let stored = Tally { stored: 2, stored_bytes: 50, ..Tally::default() };
        let evicted = Tally { evicted: 1, evicted_bytes: 20, ..Tally::default() };
        let hits = Tally { hits: 9, ..Tally::default() };
        let days = [(5, stored), (6, hits), (8, evicted)];
        let days = days.map(|(day, tally)| Day { day: day * DAY, tally });
        let growth = growth(&[egg(2, 100), egg(5, 30)], &days);
        let told: Vec<_> = growth.iter().map(|it| (it.day / DAY, it.eggs, it.blob_bytes)).collect();
        assert_eq!(told, [(2, 1, 100), (5, 3, 150), (8, 2, 130)]);
    }

    #[test]
    fn what_was_never_counted_takes_nothing_below_zero() {
        let days =
            [Day { day: DAY, tally: Tally { stored: 9, stored_bytes: 9, ..Tally::default() } }];
        let growth = growth(&[egg(0, 4)], &days);
        assert_eq!(growth.iter().map(|it| it.blob_bytes).collect::<Vec<_>>(), [0, 4]);
    }
}
