//! The page: the whole [`Report`] in one file that loads nothing.
//!
//! The charts are made here. The script of the page only shows tooltips and moves the focus. Every text
//! passes through [`super::escape`].

use std::fmt::Write;

use super::super::{NextGc, Pulled, Report, Sizes};
use super::chart;
use super::escape::{fill, json, text};
use super::map::maps;
use super::tables;
use crate::cache::retention::plan::Rules;
use crate::cache::{DAY, Regrets, Tally};
use crate::util::clock::{shown_day, shown_minute};
use crate::util::units::{counted, shown_count, shown_percent, shown_size, shown_time};

const TEMPLATE: &str = include_str!("page.html");

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
            ("sizes", map_caption(sizes)),
            ("pulled", pulled(&report.pulled)),
            ("map", maps(report)),
            ("projects", tables::projects(sizes)),
            ("hits", hits_caption(report)),
            ("hits-chart", chart::hits_and_misses(&slots)),
            ("slot", if is_by_day { "day" } else { "week" }.to_owned()),
            ("days", tables::days(&slots)),
            ("growth", growth_caption(report)),
            ("growth-chart", chart::size_over_time(&slots)),
            ("used", last_use_caption(sizes)),
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
    let saved = sizes.saved_bytes().unwrap_or(0);
    let rate = month.hit_rate().map(|rate| format!("{:.1}%", rate * 100.0));
    let tiles = [
        (
            "On disk",
            shown_size(sizes.blob_bytes),
            format!("for {} of content", shown_size(sizes.bytes)),
        ),
        ("Compression", shown_percent(saved, sizes.bytes), format!("{} saved", shown_size(saved))),
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
            format!("{} in total", shown_time(usage.all.saved_seconds)),
        ),
        (
            "Runs, 30 days",
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

fn map_caption(sizes: &Sizes) -> String {
    if sizes.eggs == 0 {
        return "The cache is empty.".into();
    }
    let others = match sizes.project_count - sizes.projects.len() {
        0 => String::new(),
        1 => " The smallest project is in the area \"others\".".into(),
        others => format!(" The {others} smallest projects are in the area \"others\"."),
    };
    format!("The area of a version shows its size on disk, the colour its last use.{others}")
}

fn pulled(pulled: &Pulled) -> String {
    if pulled.eggs == 0 {
        return String::new();
    }
    let (eggs, sources) = (counted(pulled.eggs, "egg"), text(&pulled.shown_sources()));
    format!("<p class=\"quiet\">Pulled from remotes: {eggs} ({sources}).</p>")
}

fn hits_caption(report: &Report) -> String {
    let Some(since) = report.usage.since else { return "No requests yet.".into() };
    let Tally { hits, untimed_hits, .. } = report.usage.all;
    let mut caption = format!("Counted since {}.", shown_day(since));
    if untimed_hits > 0 {
        let _ = write!(
            caption,
            " The build time of {} of {} is unknown and not part of the time saved.",
            shown_count(untimed_hits),
            counted(hits, "hit")
        );
    }
    caption
}

fn growth_caption(report: &Report) -> String {
    let recent = || report.growth.iter().filter(|growth| growth.day > report.at - 30 * DAY);
    format!(
        "Last 30 days: {} stored, {} evicted.",
        shown_size(recent().map(|growth| growth.stored_bytes).sum()),
        shown_size(recent().map(|growth| growth.evicted_bytes).sum())
    )
}

fn last_use_caption(sizes: &Sizes) -> String {
    match sizes.never_used {
        0 => "Time since an egg was last copied to a buildout.".into(),
        never => format!(
            "Time since an egg was last copied to a buildout, or stored if it never was ({}).",
            counted(never, "egg")
        ),
    }
}

fn gc(next: &NextGc, regrets: &Regrets) -> String {
    let kept =
        || format!("{} ({}) would stay", counted(next.kept, "egg"), shown_size(next.kept_bytes));
    let caption = if next.rules == Rules::default() {
        "Nothing: <code>eggcache.toml</code> in the cache has no limits.".to_owned()
    } else if next.eggs == 0 {
        format!("Nothing: {}.", kept())
    } else {
        let evicted = counted(next.eggs, "egg");
        format!("{evicted} ({}) would be evicted, {}.", shown_size(next.bytes), kept())
    };
    let mut page = format!("<p class=\"quiet\">{caption}</p>");
    if next.eggs > 0 {
        page.push_str(&tables::evicted(next));
    }
    if regrets.asked > 0 {
        let _ = write!(
            page,
            "<p class=\"quiet\">Evicted in the last year: {}. Needed again: {}; a size limit of {} \
             would have kept them.</p>",
            counted(regrets.evicted, "egg"),
            shown_count(regrets.asked),
            shown_size(regrets.limit_bytes)
        );
    }
    page
}
