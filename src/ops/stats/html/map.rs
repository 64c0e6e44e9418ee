//! The treemap of projects and versions, as HTML.

use std::fmt::Write;

use super::super::sizes::{Project, Version, bucket_of};
use super::super::{Report, Sizes};
use super::escape::text;
use super::treemap::{Rect, squarify};
use crate::util::clock::shown_day;
use crate::util::units::{counted, shown_count, shown_size};

/// The shapes of the map. The page shows the one that suits its width.
const SHAPES: [(&str, f64, f64); 2] = [("wide", 1000.0, 520.0), ("tall", 360.0, 560.0)];

/// A rectangle of the map.
struct Tile<'a> {
    name: &'a str,
    /// The second line of its text.
    version: String,
    /// Its description, as a tooltip.
    title: String,
    bytes: u64,
    /// The step of its colour, by last use.
    shade: usize,
}

/// The map in each shape.
pub fn maps(report: &Report) -> String {
    let groups = groups(&report.sizes, report.at);
    SHAPES.map(|(class, width, height)| map(&groups, class, width, height)).concat()
}

/// The tiles of each project, and one for all projects that are not listed. The largest come first.
fn groups(sizes: &Sizes, at: i64) -> Vec<Vec<Tile<'_>>> {
    let mut groups: Vec<Vec<Tile<'_>>> =
        sizes.projects.iter().map(|project| tiles(project, at)).collect();
    if sizes.other_bytes > 0 {
        let others = sizes.project_count - sizes.projects.len();
        let (size, count) = (shown_size(sizes.other_bytes), shown_count(others as u64));
        groups.push(vec![Tile {
            name: "others",
            version: counted(others, "project"),
            title: format!("{size} in {count} other projects"),
            bytes: sizes.other_bytes,
            shade: 3,
        }]);
    }
    groups.sort_by(|a, b| group_weight(b).total_cmp(&group_weight(a)));
    groups
}

/// The versions of a project, and one tile for all that are not listed.
fn tiles(found: &Project, at: i64) -> Vec<Tile<'_>> {
    let Project { project: name, version_count, versions, other_bytes, used_at, .. } = found;
    let mut tiles: Vec<Tile<'_>> =
        versions.iter().map(|version| version_tile(name, version, at)).collect();
    if *other_bytes > 0 {
        let others = version_count - versions.len();
        tiles.push(Tile {
            name,
            version: format!("{} others", shown_count(others as u64)),
            title: format!("{name}: {} in {others} other versions", shown_size(*other_bytes)),
            bytes: *other_bytes,
            shade: shade(at.saturating_sub(*used_at)),
        });
        tiles.sort_by_key(|tile| std::cmp::Reverse(tile.bytes));
    }
    tiles
}

fn version_tile<'a>(name: &'a str, version: &Version, at: i64) -> Tile<'a> {
    let Version { version, eggs, blob_bytes, used_at } = version;
    let in_eggs = if *eggs > 1 { format!(" in {eggs} eggs") } else { String::new() };
    let (size, day) = (shown_size(*blob_bytes), shown_day(*used_at));
    Tile {
        name,
        version: version.clone(),
        title: format!("{name} {version}: {size}{in_eggs}, last used {day}"),
        bytes: *blob_bytes,
        shade: shade(at.saturating_sub(*used_at)),
    }
}

/// Four steps: a week, a month, a quarter, longer.
fn shade(age: i64) -> usize {
    bucket_of(age).saturating_sub(1).min(3)
}

fn map(groups: &[Vec<Tile<'_>>], class: &str, width: f64, height: f64) -> String {
    let bounds = Rect { x: 0.0, y: 0.0, width, height };
    let weights: Vec<f64> = groups.iter().map(|group| group_weight(group)).collect();
    let mut page = format!(
        "<div class=\"map {class}\" role=\"group\" data-roving aria-label=\"Size by project and version; \
         the table below has the same data\">"
    );
    for (group, rect) in groups.iter().zip(squarify(&weights, bounds)) {
        let _ = write!(page, "<div class=\"p\" {}>", style(rect, bounds));
        let inside = Rect { x: 0.0, y: 0.0, ..rect };
        let weights: Vec<f64> = group.iter().map(|tile| weight(tile.bytes)).collect();
        for (tile, rect) in group.iter().zip(squarify(&weights, inside)) {
            write_tile(&mut page, tile, &style(rect, inside));
        }
        page.push_str("</div>");
    }
    page.push_str("</div>");
    page
}

fn write_tile(page: &mut String, tile: &Tile<'_>, style: &str) {
    let Tile { name, version, title, bytes, shade } = tile;
    let _ = write!(
        page,
        "<div class=\"t u{shade} w{}\" role=\"img\" data-bytes=\"{bytes}\" title=\"{}\" {style}>\
         <span class=\"n\">{}</span><span class=\"v\">{}</span>\
         <span class=\"s\">{}</span></div>",
        room(name),
        text(title),
        text(name),
        text(version),
        shown_size(*bytes)
    );
}

fn group_weight(tiles: &[Tile<'_>]) -> f64 {
    weight(tiles.iter().map(|tile| tile.bytes).sum())
}

#[expect(clippy::cast_precision_loss, reason = "a screen has fewer pixels")]
fn weight(bytes: u64) -> f64 {
    bytes as f64
}

/// The number of characters that a rectangle must be wide for this text, as the style sheet counts.
fn room(text: &str) -> usize {
    text.chars().count().next_multiple_of(2).clamp(4, 10)
}

fn style(rect: Rect, bounds: Rect) -> String {
    let percent = |part: f64, whole: f64| if whole > 0.0 { part * 100.0 / whole } else { 0.0 };
    format!(
        "style=\"left:{:.3}%;top:{:.3}%;width:{:.3}%;height:{:.3}%\"",
        percent(rect.x, bounds.width),
        percent(rect.y, bounds.height),
        percent(rect.width, bounds.width),
        percent(rect.height, bounds.height)
    )
}
