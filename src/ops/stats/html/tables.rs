//! The tables of the page: projects, days, and the eggs that the next gc would evict.

use std::fmt::Write;

use super::super::{NextGc, Sizes};
use super::escape::text;
use super::slots::Slot;
use super::totals::NONE;
use crate::cache::Tally;
use crate::cache::retention::plan::Evicted;
use crate::util::clock::shown_day;
use crate::util::units::{counted, shown_count, shown_percent, shown_size, shown_time};

/// A table with these heads, which are text and class of each column.
pub fn table(class: &str, heads: &[(&str, &str)], rows: &str) -> String {
    let heads = heads.iter().fold(String::new(), |mut all, (head, class)| {
        let _ = write!(all, "<th scope=\"col\"{}>{head}</th>", attribute(class));
        all
    });
    let class = attribute(class);
    format!("<table{class}><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>")
}

fn attribute(class: &str) -> String {
    if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") }
}

/// A paragraph that explains what is below it.
pub fn quiet(html: &str) -> String {
    format!("<p class=\"quiet\">{html}</p>")
}

/// What a chart shows, as a table that opens on demand.
pub fn folded(table: &str) -> String {
    format!(
        "<details><summary>Show as a table</summary><div class=\"scroll\">{table}</div></details>"
    )
}

/// For people: "92.3%".
pub fn hit_rate(tally: &Tally) -> String {
    tally.hit_rate().map_or_else(|| NONE.into(), |rate| format!("{:.1}%", rate * 100.0))
}

/// A row for each project, and one for all that are not listed.
pub fn projects(sizes: &Sizes) -> String {
    let mut rows = String::new();
    for project in &sizes.projects {
        let _ = write!(
            rows,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td>\
             <td class=\"rare\">{}</td><td class=\"rare\">{}</td></tr>",
            text(&project.project),
            shown_size(project.blob_bytes),
            shown_percent(project.blob_bytes, sizes.blob_bytes),
            shown_count(project.version_count as u64),
            shown_count(project.eggs as u64),
            shown_day(project.used_at)
        );
    }
    let others = sizes.project_count - sizes.projects.len();
    if others > 0 {
        let _ = write!(
            rows,
            "<tr><th scope=\"row\">{} others</th><td>{}</td><td>{}</td><td></td>\
             <td class=\"rare\"></td><td class=\"rare\"></td></tr>",
            shown_count(others as u64),
            shown_size(sizes.other_bytes),
            shown_percent(sizes.other_bytes, sizes.blob_bytes)
        );
    }
    let heads = [
        ("project", ""),
        ("size", ""),
        ("share", ""),
        ("versions", ""),
        ("eggs", "rare"),
        ("last used", "rare"),
    ];
    table("names", &heads, &rows)
}

/// A row for each day or week with requests, the last first.
pub fn hits(slots: &[Slot]) -> String {
    let mut rows = String::new();
    for slot in slots.iter().rev().filter(|slot| slot.requests() > 0) {
        let Tally { hits, misses, saved_seconds, .. } = slot.tally;
        let _ = write!(
            rows,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td class=\"rare\">{}</td></tr>",
            shown_day(slot.first),
            shown_count(hits),
            shown_count(misses),
            hit_rate(&slot.tally),
            shown_time(saved_seconds)
        );
    }
    let heads = [
        (period(slots), ""),
        ("hits", ""),
        ("misses", ""),
        ("hit rate", ""),
        ("time saved", "rare"),
    ];
    table("", &heads, &rows)
}

/// A row for each day or week on which the size changed, the last first.
pub fn growth(slots: &[Slot]) -> String {
    let mut rows = String::new();
    for slot in slots.iter().rev().filter(|slot| slot.stored + slot.evicted > 0) {
        let _ = write!(
            rows,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td></tr>",
            shown_day(slot.first),
            shown_size(slot.blob_bytes),
            shown_count(slot.stored),
            shown_count(slot.evicted)
        );
    }
    let heads = [(period(slots), ""), ("size", ""), ("eggs stored", ""), ("evicted", "")];
    table("", &heads, &rows)
}

/// The period of a slot, as the head of a column.
pub fn period(slots: &[Slot]) -> &'static str {
    if slots.first().is_none_or(Slot::is_day) { "day" } else { "week" }
}

/// The first eggs that the next gc would evict, with reasons.
pub fn evicted(next: &NextGc) -> String {
    let mut rows = String::new();
    for Evicted { egg, reason, .. } in &next.first {
        let why = reason.text(&next.rules);
        let _ = write!(
            rows,
            "<tr><th scope=\"row\">{}<small>{why}</small></th><td>{}</td><td>{}</td>\
             <td class=\"rare\">{why}</td></tr>",
            text(&egg.file_name),
            shown_size(egg.blob_bytes),
            shown_day(egg.used_at)
        );
    }
    let heads = [("egg", ""), ("size", ""), ("last used", ""), ("reason", "rare")];
    let mut page = table("names", &heads, &rows);
    page.push_str(&more(next.eggs - next.first.len(), "egg", "gc --dry-run"));
    page
}

/// How many items a list leaves out, and the command that lists all; empty if it has all.
pub fn more(count: usize, noun: &str, command: &str) -> String {
    if count == 0 {
        return String::new();
    }
    let count = counted(count, noun);
    quiet(&format!("And {count} more; <code>eggcache {command}</code> lists all."))
}
