//! The page: the whole [`Report`] in one file that loads nothing.
//!
//! The charts are made here. The script of the page only shows tooltips and moves the focus. Every text
//! passes through [`super::escape`].

use std::fmt::Write;

use super::super::{NextGc, Pulled, Report, Sizes};
use super::ages::ages;
use super::chart;
use super::escape::{fill, json, text};
use super::lists;
use super::map::maps;
use super::slots::{Slot, slots};
use super::tables::{self, folded, quiet};
use super::totals::totals;
use crate::cache::retention::plan::Rules;
use crate::cache::{DAY, Regrets, Tally};
use crate::util::clock::{shown_day, shown_minute};
use crate::util::printable::quoted;
use crate::util::units::{counted, shown_count, shown_size};

const TEMPLATE: &str = include_str!("page.html");
const LEGEND_OF_AGES: &str = "<p class=\"legend\"><span><i class=\"u0\"></i>used within 7 days</span>\
    <span><i class=\"u1\"></i>30 days</span><span><i class=\"u2\"></i>90 days</span>\
    <span><i class=\"u3\"></i>older</span></p>";
const LEGEND_OF_HITS: &str = "<p class=\"legend\"><span class=\"hit\"><i></i>hits</span>\
    <span class=\"miss\"><i></i>misses</span><span class=\"rate\"><i></i>hit rate</span></p>";

/// The page of a report.
pub fn page(report: &Report) -> String {
    let slots = slots(&report.days, &report.growth, report.at);
    let sizes = &report.sizes;
    fill(
        TEMPLATE,
        &[
            ("cache", text(&report.cache.display().to_string())),
            ("at", shown_minute(report.at)),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("totals", totals(report)),
            ("contents", if sizes.eggs > 0 { contents(report) } else { first_steps(report) }),
            ("hits", hits(report, &slots)),
            ("growth", growth(report, &slots)),
            ("used", last_uses(sizes)),
            ("age", stored(sizes)),
            ("buildouts", lists::buildouts(report)),
            ("pins", lists::pins(&report.pins)),
            ("remotes", lists::remotes(&report.remotes)),
            ("gc", gc(&report.next_gc, &report.regrets)),
            ("data", json(report)),
        ],
    )
}

/// The section of an empty cache.
fn first_steps(report: &Report) -> String {
    let cache = text(&report.cache.display().to_string());
    let quoted = text(&quoted(&report.cache));
    format!(
        "<section aria-labelledby=\"sizes\"><h2 id=\"sizes\">This cache is empty</h2>\
         <p>Set <code>egg-cache</code> in <code>buildout.cfg</code> and run buildout. The cache then stores \
         each egg that buildout builds:</p><pre>[buildout]\negg-cache = {cache}</pre>\
         <p>Or add the eggs of an eggs directory:</p>\
         <pre>eggcache --cache {quoted} add EGGS_DIRECTORY</pre></section>"
    )
}

/// The section of the eggs: the map, and the table of projects.
fn contents(report: &Report) -> String {
    let sizes = &report.sizes;
    format!(
        "<section aria-labelledby=\"sizes\"><h2 id=\"sizes\">Size by project and version</h2>{}{}{}{}{}\
         </section>",
        quiet(&map_caption(sizes)),
        pulled(&report.pulled),
        LEGEND_OF_AGES,
        maps(report),
        folded(&tables::projects(sizes))
    )
}

fn map_caption(sizes: &Sizes) -> String {
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

fn hits(report: &Report, slots: &[Slot]) -> String {
    let caption = quiet(&hits_caption(report, slots));
    if slots.iter().all(|slot| slot.requests() == 0) {
        return caption;
    }
    let (chart, table) = (chart::hits_and_misses(slots), folded(&tables::hits(slots)));
    format!("{caption}{LEGEND_OF_HITS}{chart}{table}")
}

fn hits_caption(report: &Report, slots: &[Slot]) -> String {
    let Some(since) = report.usage.since else {
        return "No buildout has requested an egg yet.".into();
    };
    let Tally { hits, untimed_hits, .. } = report.usage.all;
    let mut caption = format!(
        "Eggs that buildouts requested per {}, since {}.",
        tables::period(slots),
        shown_day(since)
    );
    if untimed_hits > 0 {
        let _ = write!(
            caption,
            " Time saved leaves out {} of {} with an unknown build time.",
            shown_count(untimed_hits),
            counted(hits, "hit")
        );
    }
    caption
}

fn growth(report: &Report, slots: &[Slot]) -> String {
    if report.growth.is_empty() {
        return quiet("No egg has been stored yet.");
    }
    let recent = || report.growth.iter().filter(|growth| growth.day > report.at - 30 * DAY);
    let caption = format!(
        "Last 30 days: {} stored, {} evicted.",
        shown_size(recent().map(|growth| growth.stored_bytes).sum()),
        shown_size(recent().map(|growth| growth.evicted_bytes).sum())
    );
    let (chart, table) = (chart::size_over_time(slots), folded(&tables::growth(slots)));
    format!("{}{chart}{table}", quiet(&caption))
}

fn last_uses(sizes: &Sizes) -> String {
    if sizes.eggs == 0 {
        return quiet("No eggs.");
    }
    let caption = match sizes.never_used {
        0 => "Time since an egg was last copied to a buildout.".into(),
        never => format!(
            "Time since an egg was last copied to a buildout, or stored if it never was ({}).",
            counted(never, "egg")
        ),
    };
    format!("{}{}", quiet(&caption), ages("last used", &sizes.last_uses))
}

fn stored(sizes: &Sizes) -> String {
    if sizes.eggs == 0 {
        return quiet("No eggs.");
    }
    format!("{}{}", quiet("Time since an egg was stored."), ages("stored", &sizes.ages))
}

fn gc(next: &NextGc, regrets: &Regrets) -> String {
    let kept =
        || format!("{} ({}) would stay", counted(next.kept, "egg"), shown_size(next.kept_bytes));
    let caption = if next.eggs + next.kept == 0 {
        "Nothing: the cache is empty.".to_owned()
    } else if next.rules == Rules::default() {
        "Nothing: <code>eggcache.toml</code> in the cache has no limits.".to_owned()
    } else if next.eggs == 0 {
        format!("Nothing: {}.", kept())
    } else {
        let evicted = counted(next.eggs, "egg");
        format!("{evicted} ({}) would be evicted, {}.", shown_size(next.bytes), kept())
    };
    let mut page = quiet(&caption);
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
