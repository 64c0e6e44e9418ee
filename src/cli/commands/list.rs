//! `list`: the eggs in the cache.

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::cache::retention::kept_by::KeptBy;
use crate::cache::retention::policy::Policy;
use crate::cli::complete_eggs::egg_names;
use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::format::{eggs, or_any};
use crate::cli::line_format::LineFormat;
use crate::cli::look_alikes::differences;
use crate::cli::print::{Data, Text};
use crate::cli::select_eggs::Filter;
use crate::cli::table::{align_right, fitted, table};
use crate::egg::cached_egg::CachedEgg;
use crate::ops::list::{self, Options, Report, Sort};
use crate::util::clock::shown_day;
use crate::util::units::{counted, shown_size};

/// Help of `--format`, in one place with a test.
pub(in crate::cli) const FIELDS_HELP: &str = "Print one line for each egg, without header and summary: text with \
    fields in braces. Fields: name (as PEP 503 spells it), project (as the file name does), version, digest, \
    file_name, python, platform, generation, bytes, blob_bytes, used_at, added_at, source, source_sha256, \
    environment. Sizes are bytes, times are seconds since 1970. {{ and }} are braces, \\t is a tab";

/// List the eggs in the cache.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "GEN is the layout of an egg: 2, 3 (zc.buildout 3.0 to 4.1.3), 4 (4.1.4 to 4.2) or 5 \
    (later). USED is the day of the last use. With -v, KEPT BY counts the pins and buildouts \
    that keep an egg; `eggcache used-by EGG` names them. If rows look alike, DIFFERS IN says how their \
    eggs do; `eggcache diff` compares them.\n\n\
    Examples:\n  eggcache list\n  eggcache list zope --python 3.11\n  \
    eggcache list 'zope.*' lxml --sort size\n  eggcache list --unused -v\n  \
    eggcache list --unused --format '{name}=={version}'\n  \
    eggcache --json list lxml | jq .eggs"
)]
pub struct List {
    /// Eggs: part of a name or file name, name==version, a pattern with *, or at least 6 digits of a digest. By
    /// default, all eggs.
    #[arg(value_name = "EGG", add = egg_names())]
    eggs: Vec<String>,
    /// Order of the eggs: by name, or the largest, the last used or the last added ones first.
    #[arg(
        long,
        value_name = "BY",
        default_value = "name",
        value_parser = PossibleValuesParser::new(["name", "size", "used", "added"]).map(|it| sort(&it))
    )]
    sort: Sort,
    /// Only eggs that no pin and no registered buildout keeps.
    #[arg(long)]
    unused: bool,
    #[arg(long, value_name = "TEMPLATE", value_parser = LineFormat::<CachedEgg>::parse, help = FIELDS_HELP)]
    format: Option<LineFormat<CachedEgg>>,
    #[command(flatten)]
    filter: Filter,
}

impl List {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let Self { eggs, sort, unused, format, filter } = self;
        let is_filtered = unused || !filter.is_empty();
        let root = context.root()?;
        let kept_by = context.verbose || context.printer.is_json();
        // Only what keeps an egg depends on the policy. Without that, the eggs can be listed.
        let grace = match Policy::read(&root) {
            _ if !unused && !kept_by => None,
            Err(error) if !unused => {
                context.printer.warning(&error.to_string());
                None
            }
            policy => policy?.grace,
        };
        let cache = context.open_at(&root)?;
        let options = Options { sort, unused, kept_by, grace };
        let texts: Vec<&str> = eggs.iter().map(String::as_str).collect();
        let mut report = list::list_with(&cache, &texts, &filter.into(), options)?;
        if let Some(error) = &report.unreadable {
            context.printer.warning(&error.to_string());
        }
        // The table does not show them.
        if context.printer.is_json() {
            report.arrivals = cache.arrivals()?;
        }
        if let Some(format) = format {
            context.printer.report(&report, |report| lines(report, &format))?;
            return Ok(ExitCode::Success);
        }
        context
            .printer
            .report(&report, |report| text(report, &texts, is_filtered, context.verbose))?;
        Ok(ExitCode::Success)
    }
}

/// A line for each egg, and nothing else.
fn lines(report: &Report, format: &LineFormat<CachedEgg>) -> Text {
    let mut data = Data::default();
    for egg in &report.eggs {
        data.lines(&format.line(egg));
    }
    Text { data, ..Text::default() }
}

fn version(egg: &CachedEgg, report: &Report) -> String {
    let is_withdrawn = report.withdrawn.contains_key(&egg.digest);
    format!("{}{}", egg.key.version, if is_withdrawn { " (withdrawn)" } else { "" })
}

fn sort(text: &str) -> Sort {
    match text {
        "size" => Sort::Size,
        "used" => Sort::Used,
        "added" => Sort::Added,
        _ => Sort::Name,
    }
}

/// How many pins and buildouts keep an egg.
fn shown_keepers(kept_by: &KeptBy) -> String {
    let parts = [(kept_by.pins.len(), "pin"), (kept_by.roots.len(), "buildout")];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    parts.map(|&(count, what)| counted(count, what)).collect::<Vec<_>>().join(", ")
}

fn text(report: &Report, texts: &[&str], is_filtered: bool, verbose: bool) -> Text {
    let differences = differences(&report.eggs, &report.variants);
    let is_different = differences.iter().any(|it| !it.is_empty());
    let mut header =
        vec!["egg", "version", "python", "platform", "gen", "size", "stored", "used", "digest"];
    header.extend(is_different.then_some("differs in"));
    header.extend(verbose.then_some("kept by"));
    let mut table = table(header);
    for (at, egg) in report.eggs.iter().enumerate() {
        let key = &egg.key;
        let mut row = vec![
            egg.project(),
            version(egg, report),
            or_any(&key.python),
            or_any(&key.platform),
            key.generation.to_string(),
            shown_size(egg.counts.bytes),
            shown_size(egg.blob_bytes),
            shown_day(egg.used_at),
            egg.digest.short(),
        ];
        row.extend(is_different.then(|| differences[at].clone()));
        row.extend(report.kept_by.get(at).filter(|_| verbose).map(shown_keepers));
        table.add_row(row);
    }
    align_right(&mut table, [4, 5, 6]);
    let quoted: Vec<String> = report.unmatched.iter().map(|it| format!("\"{it}\"")).collect();
    let unmatched = format!("No egg matches {}", quoted.join(" or "));
    let has_some = !report.eggs.is_empty() && !quoted.is_empty();
    let notes = has_some.then(|| unmatched.clone()).into_iter().collect();
    let summary = match (report.eggs.len(), texts) {
        (0, [_, ..]) if !quoted.is_empty() => unmatched,
        (0, _) if is_filtered => "No egg matches these options".into(),
        (0, _) => "No eggs in the cache".into(),
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
    Text { data: data.into(), hints, notes, summary, ..Text::default() }
}
