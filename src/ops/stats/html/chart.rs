//! Charts over time as SVG: hits, misses and hit rate, and the size of the cache.

use std::fmt::Write;

use super::axis::{top_of_counts, top_of_sizes};
use super::escape::text;
use super::slots::Slot;
use super::tables::hit_rate;
use crate::util::clock::shown_day;
use crate::util::units::{counted, shown_count, shown_size, shown_time};

/// The height of a chart, and the width of a bar with its gap. The browser stretches the chart.
const HEIGHT: f64 = 100.0;
const STEP: f64 = 10.0;
const GAP: f64 = 2.0;

/// The labels of a vertical axis: at its top with the unit, half-way, and at its bottom.
struct Axis {
    top: String,
    half: String,
    bottom: &'static str,
}

impl Axis {
    fn ticks(&self, class: &str) -> String {
        let Self { half, bottom, .. } = self;
        format!(
            "<p class=\"ticks {class}\"><span></span><span>{half}</span><span>{bottom}</span></p>"
        )
    }
}

/// Bars over time, and a line over them.
struct Chart<'a> {
    label: &'a str,
    /// The number at the top of the left axis.
    top: u64,
    left: Axis,
    right: Option<Axis>,
    line: String,
}

/// Hits, with misses on top of them, and the hit rate as a line.
pub fn hits_and_misses(slots: &[Slot]) -> String {
    let top = top_of_counts(slots.iter().map(Slot::requests).max().unwrap_or(0));
    let chart = Chart {
        label: "Hits, misses and hit rate over time",
        top,
        left: Axis { top: counted(top, "request"), half: shown_count(top / 2), bottom: "0" },
        right: Some(Axis { top: "100% hit rate".into(), half: "50%".into(), bottom: "0%" }),
        line: hit_rate_line(slots),
    };
    draw(&chart, slots, |slot| {
        let tally = &slot.tally;
        let title = format!(
            "{}: {}, {}, {} hit rate, {} saved",
            slot.name(),
            counted(tally.hits, "hit"),
            counted(tally.misses, "miss"),
            hit_rate(tally),
            shown_time(tally.saved_seconds)
        );
        let title =
            if slot.requests() > 0 { title } else { format!("{}: no requests", slot.name()) };
        (title, vec![("hit", tally.hits), ("miss", tally.misses)])
    })
}

/// The size of the cache.
pub fn size_over_time(slots: &[Slot]) -> String {
    let top = top_of_sizes(slots.iter().map(|slot| slot.blob_bytes).max().unwrap_or(0));
    let chart = Chart {
        label: "Size over time",
        top,
        left: Axis { top: shown_size(top), half: shown_size(top / 2), bottom: "0" },
        right: None,
        line: String::new(),
    };
    draw(&chart, slots, |slot| {
        let title = format!(
            "{}: {}, {} stored, {} evicted",
            slot.name(),
            shown_size(slot.blob_bytes),
            counted(slot.stored, "egg"),
            shown_count(slot.evicted)
        );
        (title, vec![("size", slot.blob_bytes)])
    })
}

/// The hit rate from the middle of each slot to that of the next. A slot without requests has none, and
/// interrupts the line; one between two gaps is a dot.
fn hit_rate_line(slots: &[Slot]) -> String {
    let point = |(number, slot): (usize, &Slot)| {
        let y = HEIGHT * (1.0 - slot.tally.hit_rate()?);
        Some(format!("{} {y:.2}", middle(number)))
    };
    let points: Vec<Option<String>> = slots.iter().enumerate().map(point).collect();
    let (mut line, mut dots) = (String::new(), String::new());
    for run in points.split(Option::is_none) {
        let run: Vec<&str> = run.iter().flatten().map(String::as_str).collect();
        let _ = match run[..] {
            [] => Ok(()),
            [point] => write!(dots, "M{point}h0"),
            _ => write!(line, "M{}", run.join("L")),
        };
    }
    // The wide paths below keep the line apart from the bars.
    let paths = [("under", &line), ("over", &line), ("under dots", &dots), ("over dots", &dots)];
    let paths = paths.into_iter().filter(|(_, path)| !path.is_empty());
    paths.fold(String::new(), |mut all, (class, path)| {
        let _ = write!(all, "<path class=\"rate {class}\" d=\"{path}\"/>");
        all
    })
}

#[expect(clippy::cast_precision_loss, reason = "a screen has fewer pixels")]
fn middle(slot: usize) -> f64 {
    (slot as f64 + 0.5) * STEP
}

/// A bar for each slot, of parts on top of each other.
fn draw(
    chart: &Chart<'_>,
    slots: &[Slot],
    bars: impl Fn(&Slot) -> (String, Vec<(&'static str, u64)>),
) -> String {
    let mut marks = String::new();
    for (number, slot) in slots.iter().enumerate() {
        let (title, parts) = bars(slot);
        write_bar(&mut marks, middle(number) - STEP / 2.0, &title, &parts, chart.top);
    }
    let Chart { label, left, right, line, .. } = chart;
    let units = right.as_ref().map(|axis| format!("<span>{}</span>", axis.top)).unwrap_or_default();
    let right = right.as_ref().map(|axis| axis.ticks("right")).unwrap_or_default();
    let day = |slot: Option<&Slot>| slot.map(|slot| shown_day(slot.first)).unwrap_or_default();
    let (first, half) = (day(slots.first()), day(slots.get(slots.len() / 2)));
    let (end, left_ticks) = (middle(slots.len()) - STEP / 2.0, left.ticks("left"));
    format!(
        "<div class=\"chart\" role=\"group\" aria-label=\"{label}; the table below has the same data\" \
         data-roving><p class=\"units\"><span>{}</span>{units}</p><div class=\"plot\">{left_ticks}\
         <div><svg viewBox=\"0 0 {end} {HEIGHT}\" preserveAspectRatio=\"none\">\
         <path class=\"grid\" d=\"M0 0H{end}M0 50H{end}\"/>{marks}{line}</svg>\
         <p class=\"axis\"><span>{first}</span><span>{half}</span><span>today</span></p></div>\
         {right}</div></div>",
        left.top
    )
}

fn write_bar(marks: &mut String, x: f64, title: &str, parts: &[(&str, u64)], top: u64) {
    let _ = write!(
        marks,
        "<g class=\"t\" role=\"img\"><title>{}</title><rect class=\"all\" x=\"{x}\" y=\"0\" \
         width=\"{STEP}\" height=\"{HEIGHT}\"/>",
        text(title)
    );
    #[expect(clippy::cast_precision_loss, reason = "a screen has fewer pixels")]
    let scaled = |count: u64| count as f64 * HEIGHT / top.max(1) as f64;
    let mut y = HEIGHT;
    for (class, count) in parts.iter().filter(|(_, count)| *count > 0) {
        let height = scaled(*count);
        y -= height;
        let _ = write!(
            marks,
            "<rect class=\"{class}\" x=\"{}\" y=\"{y:.2}\" width=\"{}\" height=\"{height:.2}\"/>",
            x + GAP / 2.0,
            STEP - GAP
        );
    }
    marks.push_str("</g>");
}

#[cfg(test)]
mod tests {
    use super::super::slots::slots;
    use super::*;
    use crate::cache::{DAY, Day, Tally};

    /// A chart of these hits and misses on consecutive days, the last of which is today.
    fn chart(days: &[(u64, u64)]) -> String {
        let day = |(number, &(hits, misses)): (usize, &(u64, u64))| Day {
            day: i64::try_from(number).unwrap() * DAY,
            tally: Tally { hits, misses, ..Tally::default() },
        };
        let days: Vec<Day> = days.iter().enumerate().map(day).collect();
        hits_and_misses(&slots(&days, &[], i64::try_from(days.len() - 1).unwrap() * DAY))
    }

    #[test]
    fn the_hit_rate_has_a_gap_where_nothing_was_requested() {
        let mut days = vec![(1, 1); 30];
        days[3] = (0, 0);
        days[5] = (0, 0);
        (days[4], days[29]) = ((3, 1), (4, 0));
        let chart = chart(&days);
        let line = chart.split("rate over\" d=\"").nth(1).unwrap().split('"').next().unwrap();
        assert!(line.starts_with("M5 50.00L15 50.00L25 50.00M65 50.00L75 50.00L"), "{line}");
        assert!(line.ends_with("L285 50.00L295 0.00"), "{line}");
        assert!(chart.contains("rate over dots\" d=\"M45 25.00h0\""), "{chart}");
        assert!(chart.contains(": no requests<") && chart.contains(", 75.0% hit rate, "));
    }

    #[test]
    fn the_axes_have_units_and_a_half_way_mark() {
        let chart = chart(&[(9, 2); 30]);
        for label in ["20 requests", "100% hit rate", ">10<", ">50%<", ">0<", ">0%<"] {
            assert!(chart.contains(label), "{label}: {chart}");
        }
        // A bar is as high as its part of the axis.
        assert!(chart.contains("class=\"hit\" x=\"1\" y=\"55.00\" width=\"8\" height=\"45.00\""));
        let at = Slot { blob_bytes: 3 << 30, ..slots(&[], &[], 0)[0] };
        let size = size_over_time(&[at]);
        assert!(size.contains("3.0 GiB<") && size.contains(">1.5 GiB<"), "{size}");
        assert!(!size.contains("rate"), "{size}");
    }
}
