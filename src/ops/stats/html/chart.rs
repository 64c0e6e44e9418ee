//! Charts: hits, misses and size over time as SVG, and ages as bars.

use std::fmt::Write;

use super::super::growth::Growth;
use super::super::sizes::Bucket;
use super::escape::text;
use crate::cache::{DAY, Day, Tally, day_of};
use crate::util::clock::shown_day;
use crate::util::units::{shown_count, shown_size, shown_time};

/// Most days for which each day has a bar. A longer time has a bar for each week.
const MOST_DAYS: i64 = 92;
/// The fewest days of a chart, and the most weeks.
const FEWEST_DAYS: i64 = 30;
const MOST_WEEKS: i64 = 104;

/// The height of a chart, and the width of a bar with its gap. The browser stretches the chart.
const HEIGHT: f64 = 100.0;
const STEP: f64 = 10.0;
const GAP: f64 = 2.0;

/// A day or a week.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slot {
    /// Its first and its last day, in seconds since the Unix epoch.
    pub first: i64,
    pub last: i64,
    pub tally: Tally,
    /// The size of the cache at its end.
    pub blob_bytes: u64,
}

impl Slot {
    pub fn name(&self) -> String {
        if self.first == self.last {
            return shown_day(self.first);
        }
        format!("{} to {}", shown_day(self.first), shown_day(self.last))
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
        let first = last - (width - 1) * DAY;
        let mut tally = Tally::default();
        let from = days.partition_point(|day| day.day < first);
        let until = days.partition_point(|day| day.day <= last);
        days[from..until].iter().for_each(|day| tally += day.tally);
        Slot { first, last, tally, blob_bytes: size_at(growth, last) }
    };
    (0..count).map(slot).collect()
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

/// Hits, with misses on top of them.
pub fn hits_and_misses(slots: &[Slot]) -> String {
    let most = slots.iter().map(|slot| slot.tally.hits + slot.tally.misses).max().unwrap_or(0);
    let bars = |slot: &Slot| {
        let Tally { hits, misses, saved_seconds, .. } = slot.tally;
        let title = format!(
            "{}: {} hits, {} misses, {} saved",
            slot.name(),
            shown_count(hits),
            shown_count(misses),
            shown_time(saved_seconds)
        );
        (title, vec![("hit", hits), ("miss", misses)])
    };
    chart("Hits and misses over time", slots, most, &shown_count(most), bars)
}

/// The size of the cache.
pub fn size_over_time(slots: &[Slot]) -> String {
    let most = slots.iter().map(|slot| slot.blob_bytes).max().unwrap_or(0);
    let bars = |slot: &Slot| {
        let Tally { stored, evicted, .. } = slot.tally;
        let title = format!(
            "{}: {}, {} stored, {} evicted",
            slot.name(),
            shown_size(slot.blob_bytes),
            shown_count(stored),
            shown_count(evicted)
        );
        (title, vec![("size", slot.blob_bytes)])
    };
    chart("Size over time", slots, most, &shown_size(most), bars)
}

/// A bar for each slot, of parts on top of each other.
fn chart(
    label: &str,
    slots: &[Slot],
    most: u64,
    most_label: &str,
    bars: impl Fn(&Slot) -> (String, Vec<(&'static str, u64)>),
) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a screen has fewer pixels")]
    let scaled = |count: u64| count as f64 * HEIGHT / most.max(1) as f64;
    let mut marks = String::new();
    let mut x = 0.0;
    for slot in slots {
        let (title, parts) = bars(slot);
        let _ = write!(
            marks,
            "<g class=\"t\" role=\"img\"><title>{}</title><rect class=\"all\" x=\"{x}\" y=\"0\" \
             width=\"{STEP}\" height=\"{HEIGHT}\"/>",
            text(&title)
        );
        let mut top = HEIGHT;
        for (class, count) in parts.into_iter().filter(|(_, count)| *count > 0) {
            let height = scaled(count);
            top -= height;
            let _ = write!(
                marks,
                "<rect class=\"{class}\" x=\"{}\" y=\"{top:.2}\" width=\"{}\" \
                 height=\"{height:.2}\"/>",
                x + GAP / 2.0,
                STEP - GAP
            );
        }
        marks.push_str("</g>");
        x += STEP;
    }
    let day = |slot: Option<&Slot>| slot.map(|slot| shown_day(slot.first)).unwrap_or_default();
    format!(
        "<div class=\"chart\" role=\"group\" aria-label=\"{}\" data-roving><p class=\"most\">{}</p>\
         <svg viewBox=\"0 0 {x} {HEIGHT}\" preserveAspectRatio=\"none\">{marks}</svg>\
         <p class=\"axis\"><span>{}</span><span>{}</span><span>today</span></p></div>",
        text(label),
        text(most_label),
        day(slots.first()),
        day(slots.get(slots.len() / 2)),
    )
}

/// Ages as horizontal bars, each with its numbers beside it.
pub fn ages(buckets: &[Bucket]) -> String {
    let most = buckets.iter().map(|bucket| bucket.blob_bytes).max().unwrap_or(0).max(1);
    let mut rows = String::new();
    let mut before = None;
    for bucket in buckets {
        let name = match (before, bucket.below_days) {
            (_, Some(1)) => "today".into(),
            (_, Some(below)) => format!("under {below} days"),
            (before, None) => format!("{} days or more", before.unwrap_or(0)),
        };
        before = bucket.below_days;
        #[expect(clippy::cast_precision_loss, reason = "a screen has fewer pixels")]
        let width = bucket.blob_bytes as f64 * 100.0 / most as f64;
        let _ = write!(
            rows,
            "<tr><th scope=\"row\">{name}</th><td class=\"bar\"><i style=\"width:{width:.1}%\"></i></td>\
             <td>{}</td><td>{}</td></tr>",
            shown_count(bucket.eggs as u64),
            shown_size(bucket.blob_bytes)
        );
    }
    format!(
        "<table class=\"ages\"><thead><tr><td></td><td></td><th scope=\"col\">eggs</th>\
         <th scope=\"col\">size</th></tr></thead><tbody>{rows}</tbody></table>"
    )
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
        let slots = slots(&days, &[], 199 * DAY);
        assert_eq!(slots.len(), 29);
        assert_eq!(slots.iter().map(|slot| slot.tally.hits).sum::<u64>(), 200);
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
