//! The tables of the page: projects, days, and the eggs that the next gc would evict.

use std::fmt::Write;

use super::super::{NextGc, Sizes};
use super::chart::Slot;
use super::escape::text;
use crate::cache::Tally;
use crate::cache::retention::plan::Evicted;
use crate::util::clock::shown_day;
use crate::util::units::{counted, shown_count, shown_percent, shown_size, shown_time};

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
    rows
}

/// A row for each day or week with requests, the last first.
pub fn days(slots: &[Slot]) -> String {
    let mut rows = String::new();
    for slot in slots.iter().rev() {
        let Tally { hits, misses, saved_seconds, .. } = slot.tally;
        if hits + misses > 0 {
            let _ = write!(
                rows,
                "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td></tr>",
                shown_day(slot.first),
                shown_count(hits),
                shown_count(misses),
                shown_time(saved_seconds)
            );
        }
    }
    rows
}

/// The first eggs that the next gc would evict, with reasons.
pub fn evicted(next: &NextGc) -> String {
    let mut page = String::from(
        "<table class=\"names\"><thead><tr><th scope=\"col\">egg</th><th scope=\"col\">size</th>\
         <th scope=\"col\">last used</th><th scope=\"col\" class=\"rare\">reason</th></tr></thead><tbody>",
    );
    for Evicted { egg, reason, .. } in &next.first {
        let why = reason.text(&next.rules);
        let _ = write!(
            page,
            "<tr><th scope=\"row\">{}<small>{why}</small></th><td>{}</td><td>{}</td>\
             <td class=\"rare\">{why}</td></tr>",
            text(&egg.file_name),
            shown_size(egg.blob_bytes),
            shown_day(egg.used_at)
        );
    }
    page.push_str("</tbody></table>");
    let more = next.eggs - next.first.len();
    if more > 0 {
        let _ = write!(
            page,
            "<p class=\"quiet\">And {} more; <code>eggcache gc --dry-run</code> lists all.</p>",
            counted(more, "egg")
        );
    }
    page
}
