//! `materialize`: copy eggs into an eggs directory, and pull those that the cache does not have.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::cache::query::{self, Narrow};
use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::format::eggs;
use crate::cli::hints::Hints;
use crate::cli::print::Text;
use crate::cli::select_eggs::{Filter, Found, Selection, choose, find};
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::python_tag;
use crate::egg::name::EggName;
use crate::error::Error;
use crate::ops::list;
use crate::ops::materialize::{self, Options, Outcome, Report};
use crate::ops::remote::pull;
use crate::remote::client::Patience;
use crate::remote::upstream::Upstream;
use crate::remote::withdrawals::run::RunWithdrawals;
use crate::util::clock::now;
use crate::util::hash::digest::Digest;
use crate::util::units::{counted, shown_size};

/// Copy eggs into an eggs directory.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "An egg that the cache does not have is pulled from the remotes if it is named as \
    name==version or by file name. Without --python, it is pulled for the Python of the eggs that \
    are already there.\n\nExamples:\n  eggcache materialize --into eggs/v5 lxml==6.1.3\n  \
    eggcache materialize --into eggs/v5 --requirements requirements.txt --python 3.11\n  \
    eggcache materialize --into eggs/v5 --requirements requirements.txt --preflight\n\n\
    Exit code 3 if neither the cache nor a remote has one of the eggs."
)]
pub struct Materialize {
    /// Eggs directory; created if missing.
    #[arg(long, value_name = "DIR")]
    pub into: PathBuf,
    #[command(flatten)]
    pub selection: Selection,
    /// Show which eggs are missing and whether the others fit on the disk; write nothing. Exit code 3
    /// if an egg is missing, 1 if there is not enough space.
    #[arg(long)]
    pub(super) preflight: bool,
    #[command(flatten)]
    pub filter: Filter,
}

impl Materialize {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        if self.preflight {
            return super::preflight::run(self, context);
        }
        let (all, names) = (self.selection.all, self.selection.names()?);
        let (into, narrow) = (self.into, Narrow::from(self.filter));
        let mut cache = context.open()?;
        let eggs = if all {
            query::without_duplicates(list::list(&cache, None, &narrow)?.eggs)
        } else {
            pull_missing(context, &mut cache, &names, &narrow, &into)?;
            choose(&mut cache, &names, &narrow)?
        };
        let options = Options { asked_at: Some(now()) };
        let report = materialize::materialize(&mut cache, &eggs, &into, options, &context.bar)?;
        let hints = context.printer.hints();
        context.printer.report(&report, |report| text(report, context.verbose, hints))?;
        Ok(match (report.failed().next(), report.missing().next()) {
            (Some(_), _) => ExitCode::Failure,
            (None, Some(_)) => ExitCode::Miss,
            (None, None) => ExitCode::Success,
        })
    }
}

/// Pulls the eggs that the cache does not have, if there is a remote to pull from. An egg that no
/// remote has stays missing, and trouble with a remote is a warning.
fn pull_missing(
    context: &Context,
    cache: &mut Cache,
    names: &[String],
    narrow: &Narrow,
    into: &Path,
) -> anyhow::Result<()> {
    let Found { eggs, missing, .. } = find(cache, names, narrow)?;
    // Remotes are asked for versions, file names and digests, not for bare names.
    let is_file = |name: &String| name.parse::<EggName>().is_ok();
    let (files, others): (Vec<String>, Vec<String>) = missing.into_iter().partition(is_file);
    let (pins, others): (Vec<String>, Vec<String>) =
        others.into_iter().partition(|name| name.contains("=="));
    let digests: Vec<String> = others.into_iter().filter(|it| Digest::is_prefix(it)).collect();
    if [&files, &pins, &digests].iter().all(|names| names.is_empty())
        || cache.check_writable().is_err()
    {
        return Ok(());
    }
    let remotes = context.remotes()?;
    let withdrawals = RunWithdrawals::new(cache.root(), &remotes);
    let upstream = withdrawals.and_then(|withdrawals| {
        Upstream::new(&remotes, &withdrawals, Patience::BUILD, &context.environment)
    });
    let upstream = match upstream {
        Ok(upstream) if upstream.is_empty() => return Ok(()),
        Ok(upstream) => upstream,
        Err(error) => {
            context.printer.warning(&error.to_string());
            return Ok(());
        }
    };
    let python = narrow.python.clone().or_else(|| python_of(&eggs, &files, into));
    let for_python = Narrow { python, ..narrow.clone() };
    for (names, narrow) in [(files, narrow), (pins, &for_python)] {
        if names.is_empty() {
            continue;
        }
        if narrow.python.is_none() && !names.iter().all(is_file) {
            context.printer.warning(&format!(
                "{}: not pulled, because the Python version is not known; name it, as in \
                 --python 3.11",
                names.join(", ")
            ));
            continue;
        }
        let report = pull::pull(cache, &names, &upstream, narrow, &context.bar)?;
        warn_of_failures(context, &report);
    }
    // Last, because a remote that cannot list its objects is not asked again.
    if !digests.is_empty() {
        match pull::pull(cache, &digests, &upstream, narrow, &context.bar) {
            Ok(report) => warn_of_failures(context, &report),
            Err(error @ Error::Ambiguous { .. }) => return Err(error.into()),
            Err(error) => context.printer.warning(&error.to_string()),
        }
    }
    for warning in upstream.warnings() {
        context.printer.warning(&warning);
    }
    Ok(())
}

fn warn_of_failures(context: &Context, report: &pull::Report) {
    for (egg, reason) in report.failed() {
        context.printer.warning(&format!("{}: not pulled: {reason}", egg.file_name));
    }
}

/// The Python, as a tag like `cp311`, that the other wanted eggs are for, or else the eggs that are
/// already in the directory; `None` if they are for several or for any.
fn python_of(eggs: &[CachedEgg], files: &[String], into: &Path) -> Option<String> {
    let of_file = |name: &str| {
        let tag = python_tag("cp", &name.parse::<EggName>().ok()?.python);
        (!tag.is_empty()).then_some(tag)
    };
    let of_eggs = eggs.iter().map(|egg| egg.key.python.clone()).filter(|it| !it.is_empty());
    let wanted: BTreeSet<String> =
        of_eggs.chain(files.iter().filter_map(|name| of_file(name))).collect();
    let there = || {
        let entries = std::fs::read_dir(into).into_iter().flatten().flatten();
        entries.filter_map(|entry| of_file(entry.file_name().to_str()?)).collect()
    };
    let mut pythons = if wanted.is_empty() { there() } else { wanted };
    if pythons.len() == 1 { pythons.pop_first() } else { None }
}

fn text(report: &Report, verbose: bool, hints: &Hints) -> Text {
    let mut text = Text::default();
    if !report.torn.is_empty() {
        text.notes.push(format!(
            "the machine went down during an earlier copy: removed {} ({})",
            counted(report.torn.len(), "incomplete egg"),
            report.torn.join(", ")
        ));
    }
    let (mut copied, mut present, mut files, mut bytes) = (0, 0, 0, 0);
    for egg in &report.eggs {
        let action = match &egg.outcome {
            Outcome::Copied(counts) => {
                copied += 1;
                files += counts.files;
                bytes += counts.bytes;
                "copied "
            }
            Outcome::Present => {
                present += 1;
                "present"
            }
            Outcome::Missing { reason } | Outcome::Failed { reason } => {
                text.problems.push(format!("{}: {reason}", egg.file_name).into());
                text.hint(hints.of_library(reason));
                continue;
            }
        };
        if verbose {
            text.data.line(&format!("{action}  {}", egg.file_name));
        }
    }
    text.summary = format!(
        "{} copied into {} ({}, {}), {present} already there",
        eggs(copied),
        report.into.display(),
        counted(files, "file"),
        shown_size(bytes)
    );
    text
}
