//! The page: everything that [`Report`] tells, in one file that needs no other.
//!
//! What is drawn is drawn here; the script of the page only shows what a mark says and moves the focus.
//! No text gets into it but by way of `html`.

use std::fmt::Write;

use super::super::sizes::{Project, bucket_of};
use super::super::{NextGc, Report, Sizes};
use super::chart::{self, Slot};
use super::escape::{fill, json, text};
use super::treemap::{Rect, squarify};
use crate::cache::retention::plan::{Evicted, Rules};
use crate::cache::{DAY, Regrets, Tally};
use crate::util::clock::{shown_day, shown_minute};
use crate::util::units::{counted, shown_count, shown_percent, shown_size, shown_time};

const TEMPLATE: &str = include_str!("page.html");

/// The shapes of the treemap, of which the page shows the one that suits its width.
const SHAPES: [(&str, f64, f64); 2] = [("wide", 1000.0, 520.0), ("tall", 360.0, 560.0)];

/// The page of a report.
pub fn page(report: &Report) -> String {
    let slots = chart::slots(&report.days, &report.growth, report.at);
    let is_by_day = slots.first().is_none_or(|slot| slot.first == slot.last);
    let sizes = &report.sizes;
    fill(
        TEMPLATE,
        &[
            ("cache", text(&report.cache.display().to_string())),
            ("at", shown_minute(report.at)),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("totals", totals(report)),
            ("sizes", of_sizes(sizes)),
            ("map", SHAPES.map(|shape| map(report, shape)).concat()),
            ("projects", projects(sizes)),
            ("hits", hits(report)),
            ("hits-chart", chart::hits_and_misses(&slots)),
            ("slot", if is_by_day { "day" } else { "week" }.to_owned()),
            ("days", days(&slots)),
            ("growth", growth(report)),
            ("growth-chart", chart::size_over_time(&slots)),
            ("used", never_used(sizes)),
            ("used-chart", chart::ages(&sizes.last_uses)),
            ("age-chart", chart::ages(&sizes.ages)),
            ("gc", gc(&report.next_gc, &report.regrets)),
            ("data", json(report)),
        ],
    )
}

fn totals(report: &Report) -> String {
    let (sizes, usage) = (&report.sizes, &report.usage);
    let month = &usage.last_30_days;
    let saved = sizes.saved_bytes();
    let rate = month.hit_rate().map(|rate| format!("{:.1}%", rate * 100.0));
    let tiles = [
        (
            "On disk",
            shown_size(sizes.blob_bytes),
            format!("for {} of content", shown_size(sizes.bytes)),
        ),
        (
            "Compression saves",
            shown_percent(saved.unwrap_or(0), sizes.bytes),
            shown_size(saved.unwrap_or(0)),
        ),
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
            rate.unwrap_or_else(|| "–".into()),
            format!("{}, {}", counted(month.hits, "hit"), counted(month.misses, "miss")),
        ),
        (
            "Time saved, 30 days",
            shown_time(month.saved_seconds),
            format!("{} of builds in all", shown_time(usage.all.saved_seconds)),
        ),
        (
            "Buildouts, 30 days",
            shown_count(month.runs),
            format!("{} copied", shown_size(month.copied_bytes)),
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

fn of_sizes(sizes: &Sizes) -> String {
    if sizes.eggs == 0 {
        return "The cache is empty.".into();
    }
    let others = sizes.project_count - sizes.projects.len();
    let of = match others {
        0 => String::new(),
        _ => format!(" of the {} largest projects", sizes.projects.len()),
    };
    format!("Each area{of} is what its eggs take on disk; its colour tells of its last use.")
}

/// A rectangle of the treemap and what is in it.
struct Tile<'a> {
    name: &'a str,
    /// What else is written on it.
    version: String,
    /// What it says to who points at it.
    says: String,
    bytes: u64,
    /// Which colour it has, by last use.
    shade: usize,
}

fn map(report: &Report, (class, width, height): (&str, f64, f64)) -> String {
    let (sizes, at) = (&report.sizes, report.at);
    let mut groups: Vec<Vec<Tile<'_>>> =
        sizes.projects.iter().map(|project| tiles(project, at)).collect();
    if sizes.other_bytes > 0 {
        let others = sizes.project_count - sizes.projects.len();
        groups.push(vec![Tile {
            name: "others",
            version: counted(others, "project"),
            says: format!(
                "{} in {} other projects",
                shown_size(sizes.other_bytes),
                shown_count(others as u64)
            ),
            bytes: sizes.other_bytes,
            shade: 3,
        }]);
    }
    let weight = |tiles: &Vec<Tile<'_>>| weight(tiles.iter().map(|tile| tile.bytes).sum());
    groups.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
    let bounds = Rect { x: 0.0, y: 0.0, width, height };
    let weights: Vec<f64> = groups.iter().map(weight).collect();
    let mut page = format!(
        "<div class=\"map {class}\" role=\"group\" data-roving aria-label=\"Size by project and version; \
         the table below says the same\">"
    );
    for (group, rect) in groups.iter().zip(squarify(&weights, bounds)) {
        let _ = write!(page, "<div class=\"p\" {}>", place(rect, bounds));
        let inside = Rect { x: 0.0, y: 0.0, ..rect };
        let weights: Vec<f64> = group.iter().map(|tile| self::weight(tile.bytes)).collect();
        for (tile, rect) in group.iter().zip(squarify(&weights, inside)) {
            let Tile { name, version, says, bytes, shade } = tile;
            let _ = write!(
                page,
                "<div class=\"t u{shade} w{}\" role=\"img\" data-bytes=\"{bytes}\" title=\"{}\" {}>\
                 <span class=\"n\">{}</span><span class=\"v\">{}</span>\
                 <span class=\"s\">{}</span></div>",
                room(name),
                text(says),
                place(rect, inside),
                text(name),
                text(version),
                shown_size(*bytes)
            );
        }
        page.push_str("</div>");
    }
    page.push_str("</div>");
    page
}

#[expect(clippy::cast_precision_loss, reason = "a screen has fewer pixels")]
fn weight(bytes: u64) -> f64 {
    bytes as f64
}

/// The versions of a project, and what they are together that are not told of.
fn tiles(project: &Project, at: i64) -> Vec<Tile<'_>> {
    let Project { name, version_count, versions, other_bytes, .. } = project;
    let tile = |version: &super::super::Version| {
        let eggs =
            if version.eggs > 1 { format!(" in {} eggs", version.eggs) } else { String::new() };
        let size = shown_size(version.blob_bytes);
        let day = shown_day(version.used_at);
        Tile {
            name,
            version: version.version.clone(),
            says: format!("{name} {}: {size}{eggs}, last used {day}", version.version),
            bytes: version.blob_bytes,
            shade: shade(at.saturating_sub(version.used_at)),
        }
    };
    let mut tiles: Vec<Tile<'_>> = versions.iter().map(tile).collect();
    if *other_bytes > 0 {
        let others = version_count - versions.len();
        tiles.push(Tile {
            name,
            version: format!("{} others", shown_count(others as u64)),
            says: format!("{name}: {} in {others} other versions", shown_size(*other_bytes)),
            bytes: *other_bytes,
            shade: shade(at.saturating_sub(project.used_at)),
        });
        tiles.sort_by_key(|tile| std::cmp::Reverse(tile.bytes));
    }
    tiles
}

/// Four steps: a week, a month, a quarter, longer.
fn shade(age: i64) -> usize {
    bucket_of(age).saturating_sub(1).min(3)
}

/// How many characters wide a place must be for this text, as the style sheet counts them.
fn room(text: &str) -> usize {
    text.chars().count().next_multiple_of(2).clamp(4, 10)
}

fn place(rect: Rect, of: Rect) -> String {
    let part = |part: f64, whole: f64| if whole > 0.0 { part * 100.0 / whole } else { 0.0 };
    format!(
        "style=\"left:{:.3}%;top:{:.3}%;width:{:.3}%;height:{:.3}%\"",
        part(rect.x, of.width),
        part(rect.y, of.height),
        part(rect.width, of.width),
        part(rect.height, of.height)
    )
}

fn projects(sizes: &Sizes) -> String {
    let mut rows = String::new();
    for project in &sizes.projects {
        let _ = write!(
            rows,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td>\
             <td class=\"rare\">{}</td><td class=\"rare\">{}</td></tr>",
            text(&project.name),
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

fn hits(report: &Report) -> String {
    let Some(since) = report.usage.since else { return "Nothing was asked for yet.".into() };
    let Tally { hits, untimed_hits, .. } = report.usage.all;
    let mut says = format!("Counted since {}.", shown_day(since));
    if untimed_hits > 0 {
        let _ = write!(
            says,
            " The build time of {} of {} is not known and not in the time saved.",
            shown_count(untimed_hits),
            counted(hits, "hit")
        );
    }
    says
}

fn days(slots: &[Slot]) -> String {
    let is_told = |slot: &&Slot| slot.tally.hits + slot.tally.misses > 0;
    slots.iter().rev().filter(is_told).fold(String::new(), |mut rows, slot| {
        let Tally { hits, misses, saved_seconds, .. } = slot.tally;
        let _ = write!(
            rows,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td></tr>",
            shown_day(slot.first),
            shown_count(hits),
            shown_count(misses),
            shown_time(saved_seconds)
        );
        rows
    })
}

fn growth(report: &Report) -> String {
    let recent = || report.growth.iter().filter(|it| it.day > report.at - 30 * DAY);
    format!(
        "In 30 days, {} came and {} went.",
        shown_size(recent().map(|it| it.stored_bytes).sum()),
        shown_size(recent().map(|it| it.evicted_bytes).sum())
    )
}

fn never_used(sizes: &Sizes) -> String {
    let never = shown_count(sizes.never_used as u64);
    match sizes.never_used {
        0 => "Since the egg was copied to a buildout.".into(),
        _ => {
            format!("Since the egg was copied to a buildout, or stored: {never} never were copied.")
        }
    }
}

fn gc(next: &NextGc, regrets: &Regrets) -> String {
    let rules = &next.rules;
    let mut page = String::new();
    if *rules == Rules::default() {
        page.push_str(
            "<p class=\"quiet\">No egg: <code>eggcache.toml</code> in the cache has no rule.</p>",
        );
    } else if next.eggs == 0 {
        let _ = write!(
            page,
            "<p class=\"quiet\">No egg. All {}, {}, stay.</p>",
            shown_count(next.kept as u64),
            shown_size(next.kept_bytes)
        );
    } else {
        let _ = write!(
            page,
            "<p class=\"quiet\">{}, {}; {} stay, {}.</p>",
            counted(next.eggs, "egg"),
            shown_size(next.bytes),
            shown_count(next.kept as u64),
            shown_size(next.kept_bytes)
        );
        page.push_str(&going(next));
    }
    if regrets.asked > 0 {
        let _ = write!(
            page,
            "<p class=\"quiet\">Within a year, {} evicted and {} asked for again; a size limit of {} keeps such.</p>",
            counted(regrets.evicted, "egg"),
            shown_count(regrets.asked),
            shown_size(regrets.limit_bytes)
        );
    }
    page
}

fn going(next: &NextGc) -> String {
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
