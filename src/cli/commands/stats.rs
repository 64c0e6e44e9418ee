//! `stats`: what the cache holds, and what it saves.

use std::fmt::Write;
use std::path::PathBuf;

use crate::cache::parity::{Combination, Parity};
use crate::cache::retention::policy::Policy;
use crate::cache::{DAY, Regrets, Tally};
use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::print::{Data, Text};
use crate::cli::table::{align_right, lines, table};
use crate::egg::cached_egg::CachedEgg;
use crate::ops::stats::{self, NextGc, Options, Project, Pulled, Report, openmetrics};
use crate::util::clock::shown_day;
use crate::util::units::{
    counted, limit_argument, shown_count, shown_percent, shown_size, shown_time,
};

/// How many of the largest projects and eggs are shown.
const FEW: usize = 5;

/// Show contents, hit rate, time saved and what `gc` would remove.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A hit is an egg that was copied from the cache; a miss is one that was requested \
    and had to be built. Time saved is the time that building the hits had taken. The HTML page and the \
    JSON report also have each day, and the buildouts, pins and remotes of the cache.\n\nExamples:\n  \
    eggcache stats\n  eggcache stats --html stats.html\n  \
    eggcache stats --reset\n  \
    eggcache stats --format openmetrics\n  eggcache --json stats | jq .usage.last_30_days"
)]
pub struct Stats {
    /// Also write all statistics as one HTML page, which loads nothing else.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Set the counts of hits, misses, time saved and evicted eggs to zero, after this report.
    #[arg(long)]
    pub(super) reset: bool,
    /// Form of the report.
    #[arg(long, value_enum, default_value_t)]
    format: StatsFormat,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum StatsFormat {
    /// Tables for people.
    #[default]
    Text,
    /// OpenMetrics, for a monitoring system.
    Openmetrics,
}

impl Stats {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let root = context.root()?;
        let Policy { rules, grace, .. } = Policy::read(&root)?;
        let options = Options { rules, grace, html: self.html };
        let mut cache = context.open_at(&root)?;
        let report = if self.reset {
            stats::stats_and_reset(&mut cache, &options)?
        } else {
            stats::stats(&cache, &options)?
        };
        let shown = match self.format {
            StatsFormat::Text => text,
            StatsFormat::Openmetrics => metrics,
        };
        let hints = context.printer.hints();
        context
            .printer
            .report(&report, |report| shown(report).with_unreadable(&report.unreadable, hints))?;
        Ok(ExitCode::Success)
    }
}

fn metrics(report: &Report) -> Text {
    let data = openmetrics::exposition(report).into();
    Text { data, ..Text::default() }
}

fn text(report: &Report) -> Text {
    let sizes = &report.sizes;
    let contents = format!(
        "{} in {} of {}",
        shown_count(sizes.eggs as u64),
        counted(sizes.version_count, "version"),
        counted(sizes.project_count, "project"),
    );
    let growth = format!("{} in 7 days, {} in 30 days", growth(report, 7), growth(report, 30));
    let rows = [
        ("cache", report.cache.display().to_string()),
        ("eggs", contents),
        ("pulled", pulled(&report.pulled)),
        ("on disk", on_disk(report)),
        ("growth", growth),
        ("evicted", evicted(&report.regrets)),
        ("next gc", next_gc(&report.next_gc)),
    ];
    let mut data = Data::default();
    let parity = report.parity.iter().take(FEW).map(|it| ("converts", converts(it)));
    for (label, value) in rows.into_iter().filter(|(_, value)| !value.is_empty()).chain(parity) {
        data.line(&format!("{label:<10}{value}"));
    }
    if sizes.eggs > 0 {
        let tables = [usage_table(report), largest_projects(report), largest_eggs(&report.largest)];
        for table in tables {
            data.lines(&format!("\n{table}"));
        }
    }
    let reset = report.reset.then(|| "All counts are zero from now on".to_owned());
    let wrote = report.html.as_ref().map(|path| format!("Wrote {}", path.display()));
    Text {
        data,
        notes: untimed_hits(&report.usage.all).into_iter().collect(),
        summary: [wrote, reset].into_iter().flatten().collect::<Vec<_>>().join("; "),
        ..Text::default()
    }
}

/// The eggs that came from remotes; empty if there are none.
fn pulled(pulled: &Pulled) -> String {
    if pulled.eggs == 0 {
        return String::new();
    }
    let (eggs, size) = (counted(pulled.eggs, "egg"), shown_size(pulled.blob_bytes));
    format!("{eggs}, {size}: {}", pulled.shown_sources())
}

/// Whether wheels are converted, and why.
fn converts(Parity { combination, wheel, compared_at, difference, .. }: &Parity) -> String {
    let Combination { python, buildout, pip, .. } = combination;
    let day = shown_day(*compared_at);
    let (verdict, found) = match difference {
        None => ("yes", "equals that of pip".to_owned()),
        Some(difference) => ("no", format!("differs from that of pip: {difference}")),
    };
    format!(
        "{verdict}, on {day} the egg of {wheel} {found} (zc.buildout {buildout}, pip {pip}, {python})"
    )
}

fn on_disk(report: &Report) -> String {
    let sizes = &report.sizes;
    let mut text =
        format!("{} for {} of content", shown_size(sizes.blob_bytes), shown_size(sizes.bytes));
    if let Some(saved) = sizes.saved_bytes() {
        let percent = shown_percent(saved, sizes.bytes);
        let _ = write!(text, ": compression saves {}, {percent}", shown_size(saved));
    }
    text
}

/// The growth of the cache in the last days, today included.
fn growth(report: &Report, days: i64) -> String {
    let recent = || report.growth.iter().filter(|it| it.day > report.at - days * DAY);
    let stored: u64 = recent().map(|it| it.stored_bytes).sum();
    let evicted: u64 = recent().map(|it| it.evicted_bytes).sum();
    if stored < evicted {
        format!("-{}", shown_size(evicted - stored))
    } else {
        format!("+{}", shown_size(stored - evicted))
    }
}

fn evicted(regrets: &Regrets) -> String {
    let Regrets { evicted, asked, limit_bytes, .. } = *regrets;
    if evicted == 0 {
        return "none within a year".into();
    }
    let evicted = counted(evicted, "egg");
    if asked == 0 {
        return format!("{evicted} within a year, none needed again");
    }
    format!(
        "{evicted} within a year, {} needed again; `gc --max-size {}` would have kept {}",
        shown_count(asked),
        limit_argument(limit_bytes),
        if asked == 1 { "it" } else { "them" }
    )
}

fn next_gc(next: &NextGc) -> String {
    let rules = &next.rules;
    if rules.max_age.is_none() && rules.max_size.is_none() && rules.keep_versions.is_none() {
        return "removes no egg: no limit is set in eggcache.toml (max-age, max-size, keep-versions)".into();
    }
    if next.eggs == 0 {
        return "removes no egg".into();
    }
    let why = [
        (next.by_age, "too old"),
        (next.by_version, "superseded"),
        (next.by_size, "over the size limit"),
    ];
    let why = why.iter().filter(|(count, _)| *count > 0);
    let why: Vec<String> = why.map(|(count, what)| format!("{count} {what}")).collect();
    format!(
        "removes {}, {} ({}); `eggcache gc --dry-run` lists them",
        counted(next.eggs, "egg"),
        shown_size(next.bytes),
        why.join(", ")
    )
}

fn usage_table(report: &Report) -> String {
    let usage = &report.usage;
    let Some(since) = usage.since else { return "No egg has been requested yet.\n".into() };
    let mut table = table(["", "runs", "hits", "misses", "hit rate", "copied", "time saved"]);
    let since = format!("since {}", shown_day(since));
    for (period, tally) in [
        ("last 7 days", &usage.last_7_days),
        ("last 30 days", &usage.last_30_days),
        (since.as_str(), &usage.all),
    ] {
        let rate = tally.hit_rate().map(|rate| format!("{:.1}%", rate * 100.0));
        table.add_row([
            period.to_owned(),
            shown_count(tally.runs),
            shown_count(tally.hits),
            shown_count(tally.misses),
            rate.unwrap_or_else(|| "-".into()),
            shown_size(tally.copied_bytes),
            shown_time(tally.saved_seconds),
        ]);
    }
    align_right(&mut table, [1, 2, 3, 4, 5, 6]);
    lines(&table)
}

fn untimed_hits(all: &Tally) -> Option<String> {
    (all.untimed_hits > 0).then(|| {
        format!(
            "time saved leaves out {} of {}, whose build time is not known",
            shown_count(all.untimed_hits),
            counted(all.hits, "hit")
        )
    })
}

fn largest_projects(report: &Report) -> String {
    let mut table =
        table(["largest projects", "eggs", "versions", "on disk", "share", "last used"]);
    for project in report.sizes.projects.iter().take(FEW) {
        let Project { project, eggs, version_count, blob_bytes, used_at, .. } = project;
        table.add_row([
            project.clone(),
            shown_count(*eggs as u64),
            shown_count(*version_count as u64),
            shown_size(*blob_bytes),
            shown_percent(*blob_bytes, report.sizes.blob_bytes),
            shown_day(*used_at),
        ]);
    }
    align_right(&mut table, [1, 2, 3, 4]);
    lines(&table)
}

fn largest_eggs(largest: &[CachedEgg]) -> String {
    let mut table = table(["largest eggs", "on disk", "content", "last used"]);
    for egg in largest.iter().take(FEW) {
        table.add_row([
            egg.file_name.clone(),
            shown_size(egg.blob_bytes),
            shown_size(egg.counts.bytes),
            shown_day(egg.used_at),
        ]);
    }
    align_right(&mut table, [1, 2]);
    lines(&table)
}
