//! The numbers at the top of the page.

use std::fmt::Write;

use super::super::Report;
use super::tables::hit_rate;
use crate::util::units::{counted, shown_count, shown_percent, shown_size, shown_time};

/// Stands for a number that does not exist.
pub const NONE: &str = "–";

pub fn totals(report: &Report) -> String {
    let (sizes, usage) = (&report.sizes, &report.usage);
    let month = &usage.last_30_days;
    let saved = sizes.saved_bytes().unwrap_or(0);
    let compression =
        if sizes.bytes > 0 { shown_percent(saved, sizes.bytes) } else { NONE.to_owned() };
    let tiles = [
        (
            "On disk",
            shown_size(sizes.blob_bytes),
            format!("for {} of content", shown_size(sizes.bytes)),
        ),
        ("Compression", compression, format!("{} saved", shown_size(saved))),
        (
            "Eggs",
            shown_count(sizes.eggs as u64),
            format!(
                "{}, {}",
                counted(sizes.project_count, "project"),
                counted(sizes.version_count, "version")
            ),
        ),
        (
            "Hit rate, 30 days",
            hit_rate(month),
            format!("{}, {}", counted(month.hits, "hit"), counted(month.misses, "miss")),
        ),
        (
            "Time saved, 30 days",
            shown_time(month.saved_seconds),
            format!("{} in total", shown_time(usage.all.saved_seconds)),
        ),
        (
            "Buildout runs",
            shown_count(month.runs),
            format!("in 30 days, {} copied", shown_size(month.copied_bytes)),
        ),
    ];
    tiles.iter().fold(String::new(), |mut page, (name, value, more)| {
        let _ = write!(
            page,
            "<div><dt>{name}</dt><dd class=\"value\">{value}</dd><dd class=\"more\">{more}</dd></div>"
        );
        page
    })
}
