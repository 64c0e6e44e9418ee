//! Growth: the size of the cache at the end of each day.
//!
//! The present size is known, and the eggs that were stored and evicted on most days. So the sizes are
//! calculated backwards: a day began with its final size, minus what was stored, plus what was evicted.
//! For days before evictions were counted, only eggs that still exist are known to have been stored.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cache::{Day, day_of};
use crate::egg::cached_egg::CachedEgg;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Growth {
    /// When it begins in UTC, in seconds since the Unix epoch.
    pub day: i64,
    /// At the end of the day.
    pub eggs: u64,
    pub blob_bytes: u64,
    /// On that day.
    pub stored: u64,
    pub stored_bytes: u64,
    pub evicted: u64,
    pub evicted_bytes: u64,
}

/// The days on which eggs were stored or evicted, the oldest first.
pub fn growth(eggs: &[CachedEgg], days: &[Day]) -> Vec<Growth> {
    let mut changes: BTreeMap<i64, Growth> = BTreeMap::new();
    for egg in eggs {
        let day = day_of(egg.provenance.added_at);
        let change = changes.entry(day).or_default();
        change.stored += 1;
        change.stored_bytes += egg.blob_bytes;
    }
    for Day { day, tally } in days.iter().filter(|day| day.tally.stored + day.tally.evicted > 0) {
        let change = changes.entry(*day).or_default();
        // At least the eggs that still exist were stored that day.
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
    fn an_evicted_egg_counts_until_its_eviction() {
        let stored = Tally { stored: 2, stored_bytes: 50, ..Tally::default() };
        let evicted = Tally { evicted: 1, evicted_bytes: 20, ..Tally::default() };
        let hits = Tally { hits: 9, ..Tally::default() };
        let days = [(5, stored), (6, hits), (8, evicted)];
        let days = days.map(|(day, tally)| Day { day: day * DAY, tally });
        let growth = growth(&[egg(2, 100), egg(5, 30)], &days);
        let sizes: Vec<_> =
            growth.iter().map(|day| (day.day / DAY, day.eggs, day.blob_bytes)).collect();
        assert_eq!(sizes, [(2, 1, 100), (5, 3, 150), (8, 2, 130)]);
    }

    #[test]
    fn uncounted_days_do_not_make_sizes_negative() {
        let days =
            [Day { day: DAY, tally: Tally { stored: 9, stored_bytes: 9, ..Tally::default() } }];
        let growth = growth(&[egg(0, 4)], &days);
        assert_eq!(growth.iter().map(|day| day.blob_bytes).collect::<Vec<_>>(), [0, 4]);
    }
}
