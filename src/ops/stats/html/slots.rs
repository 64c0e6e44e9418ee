//! Slots: the days or weeks that the charts over time show.

use super::super::growth::Growth;
use crate::cache::{DAY, Day, Tally, day_of};
use crate::util::clock::shown_day;

/// Most days for which each day has a slot. A longer time has a slot for each week.
const MOST_DAYS: i64 = 92;
/// The fewest days of a chart, and the most weeks.
const FEWEST_DAYS: i64 = 30;
const MOST_WEEKS: i64 = 104;

/// A day or a week.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slot {
    /// Its first and its last day, in seconds since the Unix epoch.
    pub first: i64,
    pub last: i64,
    pub tally: Tally,
    /// The size of the cache at its end.
    pub blob_bytes: u64,
    /// Eggs that were stored and evicted, as [`Growth`] counts them.
    pub stored: u64,
    pub evicted: u64,
}

impl Slot {
    pub fn name(&self) -> String {
        if self.is_day() {
            return shown_day(self.first);
        }
        format!("{} to {}", shown_day(self.first), shown_day(self.last))
    }

    pub fn is_day(&self) -> bool {
        self.first == self.last
    }

    /// Eggs that were requested.
    pub fn requests(&self) -> u64 {
        self.tally.hits + self.tally.misses
    }
}

/// Consecutive days or weeks up to today.
pub fn slots(days: &[Day], growth: &[Growth], at: i64) -> Vec<Slot> {
    let today = day_of(at);
    let days_of_growth = growth.iter().map(|growth| growth.day);
    let first = days.iter().map(|day| day.day).chain(days_of_growth).min();
    let length = first.map_or(0, |first| today.saturating_sub(first) / DAY + 1).max(FEWEST_DAYS);
    let (width, count) =
        if length <= MOST_DAYS { (1, length) } else { (7, ((length + 6) / 7).min(MOST_WEEKS)) };
    let slot = |number: i64| {
        let last = today - (count - 1 - number) * width * DAY;
        slot(days, growth, last - (width - 1) * DAY, last)
    };
    (0..count).map(slot).collect()
}

fn slot(days: &[Day], growth: &[Growth], first: i64, last: i64) -> Slot {
    let mut tally = Tally::default();
    let from = days.partition_point(|day| day.day < first);
    let until = days.partition_point(|day| day.day <= last);
    days[from..until].iter().for_each(|day| tally += day.tally);
    let from = growth.partition_point(|growth| growth.day < first);
    let until = growth.partition_point(|growth| growth.day <= last);
    let changes = &growth[from..until];
    Slot {
        first,
        last,
        tally,
        blob_bytes: size_at(growth, last),
        stored: changes.iter().map(|change| change.stored).sum(),
        evicted: changes.iter().map(|change| change.evicted).sum(),
    }
}

/// The size of the cache at the end of a day.
fn size_at(growth: &[Growth], day: i64) -> u64 {
    match growth[..growth.partition_point(|growth| growth.day <= day)].last() {
        Some(last) => last.blob_bytes,
        None => growth.first().map_or(0, |first| {
            (first.blob_bytes + first.evicted_bytes).saturating_sub(first.stored_bytes)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: i64, hits: u64) -> Day {
        Day { day: day * DAY, tally: Tally { hits, ..Tally::default() } }
    }

    #[test]
    fn a_short_time_has_a_slot_for_each_day_up_to_today() {
        let slots = slots(&[day(95, 3), day(100, 4)], &[], 100 * DAY + 5);
        assert_eq!(slots.len(), 30);
        let last = slots.last().unwrap();
        assert_eq!((last.first, last.last, last.tally.hits), (100 * DAY, 100 * DAY, 4));
        assert_eq!(slots[24].tally.hits, 3);
    }

    #[test]
    fn a_long_time_has_a_slot_for_each_week() {
        let days: Vec<Day> = (0..200).map(|number| day(number, 1)).collect();
        let change =
            |day: i64| Growth { day: day * DAY, stored: 1, evicted: 2, ..Growth::default() };
        let growth: Vec<Growth> = (0..200).map(change).collect();
        let slots = slots(&days, &growth, 199 * DAY);
        assert_eq!(slots.len(), 29);
        assert_eq!(slots.iter().map(|slot| slot.tally.hits).sum::<u64>(), 200);
        assert_eq!(slots.iter().map(|slot| slot.stored).sum::<u64>(), 200);
        assert_eq!(slots.iter().map(|slot| slot.evicted).sum::<u64>(), 400);
        assert!(slots.windows(2).all(|two| two[0].last + DAY == two[1].first));
        let ancient = super::slots(&[day(0, 1)], &[], 9999 * DAY);
        assert_eq!(ancient.len(), 104);
    }

    #[test]
    fn the_size_is_that_of_the_last_change() {
        let at = |day: i64, blob_bytes, stored_bytes| Growth {
            day: day * DAY,
            blob_bytes,
            stored_bytes,
            ..Growth::default()
        };
        let growth = [at(10, 50, 20), at(20, 80, 30)];
        let at_ends = [9, 10, 19, 20, 30].map(|day| size_at(&growth, day * DAY));
        assert_eq!(at_ends, [30, 50, 50, 80, 80]);
        assert_eq!(size_at(&[], 0), 0);
    }
}
