//! `list`: the eggs in the cache.

use crate::cli::complete_eggs::egg_names;
use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::format::{eggs, or_any};
use crate::cli::print::Text;
use crate::cli::select_eggs::Filter;
use crate::cli::table::{align_right, fitted, table};
use crate::egg::cached_egg::CachedEgg;
use crate::ops::list::{self, Report};
use crate::util::clock::shown_day;
use crate::util::units::shown_size;

/// List the eggs in the cache.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "GEN is the layout of an egg: the major version of the zc.buildout that built it, \
    where 5 means 5 and later. USED is the day of the last use. Rows that differ only in DIGEST were \
    built from different sources or in different environments; `eggcache show` shows both.\n\n\
    Examples:\n  eggcache list\n  eggcache list zope --python 3.11\n  \
    eggcache --json list lxml | jq .eggs"
)]
pub struct List {
    /// Part of a name or file name, name==version, or at least 6 digits of a digest.
    #[arg(add = egg_names())]
    query: Option<String>,
    #[command(flatten)]
    filter: Filter,
}

impl List {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let Self { query, filter } = self;
        let is_filtered = !filter.is_empty();
        let cache = context.open()?;
        let mut report = list::list(&cache, query.as_deref(), &filter.into())?;
        // The table does not show them.
        if context.printer.is_json() {
            report.arrivals = cache.arrivals()?;
        }
        context.printer.report(&report, |report| text(report, query.as_deref(), is_filtered))?;
        Ok(ExitCode::Success)
    }
}

fn version(egg: &CachedEgg, report: &Report) -> String {
    let is_withdrawn = report.withdrawn.contains_key(&egg.digest);
    format!("{}{}", egg.key.version, if is_withdrawn { " (withdrawn)" } else { "" })
}

fn text(report: &Report, query: Option<&str>, is_filtered: bool) -> Text {
    let mut table =
        table(["egg", "version", "python", "platform", "gen", "size", "stored", "used", "digest"]);
    for egg in &report.eggs {
        let key = &egg.key;
        table.add_row([
            key.name.clone(),
            version(egg, report),
            or_any(&key.python),
            or_any(&key.platform),
            key.generation.to_string(),
            shown_size(egg.counts.bytes),
            shown_size(egg.blob_bytes),
            shown_day(egg.used_at),
            egg.digest.short(),
        ]);
    }
    align_right(&mut table, [4, 5, 6]);
    let summary = match (report.eggs.len(), query) {
        (0, Some(query)) => format!("No egg matches \"{query}\""),
        (0, None) if is_filtered => "No egg matches these options".into(),
        (0, None) => "No eggs in the cache".into(),
        (count, _) => format!(
            "{}, {} ({} on disk)",
            eggs(count),
            shown_size(report.bytes),
            shown_size(report.blob_bytes)
        ),
    };
    // The least telling columns are hidden first: the layout, the size of the blob, the platform.
    let data = fitted(&mut table, &[4, 6, 3]);
    let hints = report.nearest.iter().map(ToString::to_string).collect();
    Text { data: data.into(), hints, summary, ..Text::default() }
}
