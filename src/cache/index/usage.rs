//! The usage of the cache, day by day.

use std::ops::AddAssign;

use rusqlite::{Row, params};
use serde::Serialize;

use super::row::{bounded, count, seconds, signed, time};
use super::{Index, Writer};
use crate::error::Result;
use crate::util::clock::now;
use crate::util::hash::digest::Digest;

/// The length of a day, in seconds.
pub const DAY: i64 = 86_400;

/// The columns of `days` after the day.
const COLUMNS: [&str; 11] = [
    "runs",
    "hits",
    "misses",
    "copied_bytes",
    "saved_seconds",
    "untimed_hits",
    "build_seconds",
    "stored",
    "stored_bytes",
    "evicted",
    "evicted_bytes",
];

/// The longest build time that counts, in seconds: a blob can claim any.
const LONGEST: f64 = 30.0 * 86_400.0;

/// The use of the cache by one process, before it is recorded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Usage {
    /// Eggs that were copied from the cache.
    pub hits: Vec<Digest>,
    /// Eggs that were requested and already installed: used, but without time saved.
    pub present: Vec<Digest>,
    /// How many requested eggs the cache does not have.
    pub misses: u64,
    pub copied_bytes: u64,
    /// How long the builds of the misses took, in seconds.
    pub build_seconds: f64,
    /// Whether this is a run of a buildout.
    pub is_run: bool,
}

/// The usage of one day, or the sum of several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Tally {
    /// Runs of buildouts that got an egg from the cache or built one.
    pub runs: u64,
    /// Eggs that were copied from the cache.
    pub hits: u64,
    /// Eggs that were requested and not cached.
    pub misses: u64,
    pub copied_bytes: u64,
    /// How long the builds of the hits took, as far as known.
    pub saved_seconds: f64,
    /// Hits of eggs with an unknown build time.
    pub untimed_hits: u64,
    /// How long the builds of the misses took.
    pub build_seconds: f64,
    /// Stored eggs, and the size of their blobs.
    pub stored: u64,
    pub stored_bytes: u64,
    /// Evicted or replaced eggs, and the size of their blobs.
    pub evicted: u64,
    pub evicted_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Day {
    /// The beginning of the day in UTC, in seconds since the Unix epoch.
    pub day: i64,
    #[serde(flatten)]
    pub tally: Tally,
}

/// The beginning of the day of a time, both in seconds since the Unix epoch. Any time is valid: a blob can
/// claim any.
#[must_use]
pub fn day_of(time: i64) -> i64 {
    time.saturating_sub(time.rem_euclid(DAY))
}

impl Usage {
    fn is_empty(&self) -> bool {
        self.hits.is_empty() && self.present.is_empty() && self.misses == 0
    }
}

impl Tally {
    /// The fraction of requested eggs that were cached; `None` if none was requested.
    #[must_use]
    pub fn hit_rate(&self) -> Option<f64> {
        let asked = self.hits + self.misses;
        #[expect(clippy::cast_precision_loss, reason = "a rate is shown with three digits")]
        (asked > 0).then(|| self.hits as f64 / asked as f64)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.runs += other.runs;
        self.hits += other.hits;
        self.misses += other.misses;
        self.copied_bytes += other.copied_bytes;
        self.saved_seconds += other.saved_seconds;
        self.untimed_hits += other.untimed_hits;
        self.build_seconds += other.build_seconds;
        self.stored += other.stored;
        self.stored_bytes += other.stored_bytes;
        self.evicted += other.evicted;
        self.evicted_bytes += other.evicted_bytes;
    }
}

impl Index {
    /// The days with any usage, oldest first.
    pub fn days(&self) -> Result<Vec<Day>> {
        self.read(|open| {
            let mut statement = open.connection.prepare_cached(&format!(
                "SELECT day, {} FROM days ORDER BY day",
                COLUMNS.join(", ")
            ))?;
            statement.query_map([], day)?.collect()
        })
    }

    /// Records a use, in one transaction. It is not worth waiting or failing for, so this gives up quietly
    /// after a short while.
    pub fn record(&mut self, usage: &Usage, now: i64) {
        if !usage.is_empty() {
            self.write_briefly(|writer| writer.record(usage, now));
        }
    }
}

impl Writer<'_> {
    fn record(&self, usage: &Usage, now: i64) -> Result<()> {
        let mut tally = Tally {
            runs: (usage.is_run && usage.hits.len() as u64 + usage.misses > 0).into(),
            misses: usage.misses,
            copied_bytes: usage.copied_bytes,
            build_seconds: usage.build_seconds,
            ..Tally::default()
        };
        usage.present.iter().try_for_each(|&digest| self.use_once(digest, now).map(drop))?;
        for &digest in &usage.hits {
            tally.hits += 1;
            match self.use_once(digest, now)?.filter(|seconds| (0.0..LONGEST).contains(seconds)) {
                Some(seconds) => tally.saved_seconds += seconds,
                None => tally.untimed_hits += 1,
            }
        }
        self.tally(&tally, now)
    }

    /// Forgets the usage of all days, and which evicted eggs were needed again.
    pub fn forget_usage(&self) -> Result<()> {
        self.execute("DELETE FROM days", [])?;
        self.execute("DELETE FROM regrets", [])
    }

    /// Adds to the usage of today.
    pub fn tally(&self, tally: &Tally, now: i64) -> Result<()> {
        if *tally == Tally::default() {
            return Ok(());
        }
        self.execute("INSERT OR IGNORE INTO days (day) VALUES (?)", [day_of(now)])?;
        let add =
            |(at, column): (usize, &str)| format!("{column} = {} + ?{}", bounded(column), at + 2);
        let columns: Vec<String> = COLUMNS.into_iter().enumerate().map(add).collect();
        self.execute(
            &format!("UPDATE days SET {} WHERE day = ?1", columns.join(", ")),
            params![
                day_of(now),
                signed(tally.runs),
                signed(tally.hits),
                signed(tally.misses),
                signed(tally.copied_bytes),
                tally.saved_seconds,
                signed(tally.untimed_hits),
                tally.build_seconds,
                signed(tally.stored),
                signed(tally.stored_bytes),
                signed(tally.evicted),
                signed(tally.evicted_bytes),
            ],
        )
    }
}

fn day(row: &Row<'_>) -> rusqlite::Result<Day> {
    let tally = Tally {
        runs: count(row, 1)?,
        hits: count(row, 2)?,
        misses: count(row, 3)?,
        copied_bytes: count(row, 4)?,
        saved_seconds: seconds(row, 5)?.unwrap_or_default(),
        untimed_hits: count(row, 6)?,
        build_seconds: seconds(row, 7)?.unwrap_or_default(),
        stored: count(row, 8)?,
        stored_bytes: count(row, 9)?,
        evicted: count(row, 10)?,
        evicted_bytes: count(row, 11)?,
    };
    Ok(Day { day: day_of(time(row, 0, now())?), tally })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight_utc() {
        assert_eq!(day_of(0), 0);
        assert_eq!(day_of(DAY + 1), DAY);
        assert_eq!(day_of(2 * DAY - 1), DAY);
        assert_eq!(day_of(-1), -DAY);
    }

    #[test]
    fn usage_is_summed_by_day() {
        let dir = tempfile::tempdir().unwrap();
        let mut index = Index::open(&crate::disk::dir::Dir::open(dir.path()).unwrap()).unwrap();
        let missed = Usage { misses: 2, build_seconds: 1.5, is_run: true, ..Usage::default() };
        index.record(&missed, DAY + 5);
        index.record(&missed, DAY + 6);
        index.record(&Usage { hits: vec![Digest::of(b"gone")], ..missed.clone() }, 3 * DAY);
        index.record(&Usage { is_run: true, ..Usage::default() }, 9 * DAY);
        let days = index.days().unwrap();
        let of_two = Tally { runs: 2, misses: 4, build_seconds: 3.0, ..Tally::default() };
        assert_eq!(days[0], Day { day: DAY, tally: of_two });
        let last = days[1].tally;
        assert_eq!((days.len(), last.hits, last.untimed_hits), (2, 1, 1));
        assert_eq!(last.hit_rate(), Some(1.0 / 3.0));
        assert_eq!(Tally::default().hit_rate(), None);
    }
}
