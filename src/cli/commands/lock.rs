//! `lock`: the SHA-256 of the archives that a buildout may install.

use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::format::eggs;
use crate::cli::print::{BAD, GOOD, Message, Text};
use crate::ops::lock::{self, Archives, CheckReport, Reason, Report, Unknown, Unlisted};
use crate::util::units::counted;

/// List the SHA-256 of a buildout's archives.
#[derive(Debug, clap::Args)]
#[command(after_help = "The hashes are those of the archives from which the eggs of the last \
    successful run were built, as the cache has recorded them. With `egg-cache-hashes = FILE`, buildout \
    installs no other archive.\n\n\
    An existing FILE keeps its other hashes, so that it can have those of several platforms: run this on \
    each. Its comments are not kept.\n\n\
    Examples:\n  eggcache lock -o hashes.cfg\n  \
    eggcache lock --prune -o hashes.cfg\n  \
    eggcache lock --check -o hashes.cfg /srv/app\n  \
    eggcache --json lock | jq '.hashes[] | {project, version, sha256}'\n\n\
    Exit code 3 if no run of the buildout is recorded, 4 if the archive of an egg is not known or, with \
    --check, not listed.")]
pub struct Lock {
    /// Folders of buildouts (default: the current one).
    #[arg(value_name = "BUILDOUT", default_value = ".", hide_default_value = true)]
    buildouts: Vec<PathBuf>,
    /// File to add the hashes to (default: print them).
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Remove the hashes of versions that these buildouts do not use.
    #[arg(long, requires = "output", conflicts_with = "check")]
    prune: bool,
    /// Compare the buildouts with FILE instead of changing it.
    #[arg(long, requires = "output")]
    check: bool,
}

impl Lock {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let Self { buildouts, output, prune, check } = self;
        let mut archives = Archives::default();
        for buildout in buildouts {
            let cache = context.open_at(&context.root_of_buildout(&buildout)?)?;
            archives.add(&cache, &buildout)?;
        }
        if let Some(file) = output.as_deref().filter(|_| check) {
            let report = lock::check(archives, file)?;
            context.printer.report(&report, checked)?;
            let is_clean = report.unlisted.is_empty() && report.unknown.is_empty();
            return Ok(ExitCode::of_check(is_clean));
        }
        let report = lock::lock(archives, output.as_deref(), prune)?;
        context.printer.report(&report, |report| written(report, context.verbose))?;
        Ok(ExitCode::of_check(report.unknown.is_empty()))
    }
}

fn written(report: &Report, verbose: bool) -> Text {
    let Report { output, hashes, added, removed, unknown, text: content, .. } = report;
    let mut text = of_unknown(unknown);
    let count = counted(hashes.len(), "archive");
    match output {
        None => {
            text.data = content.clone().into();
            text.summary = count;
        }
        Some(path) => {
            let unchanged = hashes.len() - added.len();
            text.summary = format!(
                "{}: {count}; {} added, {} removed, {unchanged} unchanged",
                path.display(),
                added.len(),
                removed.len()
            );
        }
    }
    if verbose && output.is_some() {
        let notes = |what: &'static str, hashes: &[lock::Hash]| -> Vec<String> {
            hashes.iter().map(|it| format!("{what} {} {it}", it.project)).collect()
        };
        text.notes = [notes("added", added), notes("removed", removed)].concat();
    }
    text
}

fn checked(report: &CheckReport) -> Text {
    let CheckReport { file, listed, unlisted, unknown, .. } = report;
    let mut text = of_unknown(unknown);
    let total = listed + unlisted.len();
    text.problems.extend(unlisted.iter().map(problem));
    let (style, archives) = (if *listed == total { GOOD } else { BAD }, counted(total, "archive"));
    text.summary = format!("{style}{listed} of {archives}{style:#} listed in {}", file.display());
    text
}

fn problem(unlisted: &Unlisted) -> Message {
    let Unlisted { found, expected } = unlisted;
    let name = format!("{} {}", found.project, found.version);
    let archive = found.archive.as_deref().map_or_else(String::new, |it| format!(" ({it})"));
    if expected.is_empty() {
        return format!("{name}: no SHA-256 is listed; found sha256:{}{archive}", found.sha256)
            .into();
    }
    let mut details: Vec<String> =
        expected.iter().map(|sha256| format!("expected sha256:{sha256}")).collect();
    details.push(format!("found    sha256:{}{archive}", found.sha256));
    Message { line: format!("{name}: the SHA-256 of its archive is not listed"), details }
}

/// The problems with eggs whose archives are not known, and what to do about them.
fn of_unknown(unknown: &[Unknown]) -> Text {
    let mut text = Text::default();
    for Unknown { file_name, reason } in unknown {
        let reason = match reason {
            Reason::NotCached => "the cache does not have it",
            Reason::NotRecorded => "the cache has no record of its archive",
        };
        text.problems.push(format!("{file_name}: {reason}").into());
    }
    if !unknown.is_empty() {
        text.hint(vec![format!(
            "remove {} from the eggs directory, run `buildout \
             buildout:egg-cache-unknown-archives=check`, then run this again",
            if unknown.len() == 1 {
                "it".to_owned()
            } else {
                format!("these {}", eggs(unknown.len()))
            }
        )]);
    }
    text
}
