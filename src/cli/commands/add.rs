//! `add`: add eggs to the cache.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::format::eggs;
use crate::cli::hints::Hints;
use crate::cli::print::Text;
use crate::cli::signals::Signals;
use crate::cli::values::sha256;
use crate::egg::scan;
use crate::error::{Error, Owner};
use crate::ops::add::{self, Options, Outcome, Replace, Report, Stopped};
use crate::util::units::shown_size;

/// Add eggs to the cache.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  eggcache add eggs/v5\n  eggcache add /srv/buildout\n  \
    eggcache add --trust-records /srv/shared-eggs\n  \
    eggcache add eggs/lxml-6.1.3-py3.11-linux-x86_64.egg\n\n\
    Exit code 1 if an egg was refused, or if the disk is full; the others are stored. After SIGINT or \
    SIGTERM, `add` stores the eggs that are complete, and ends by the signal.")]
pub struct Add {
    /// Egg directory, zipped egg, eggs directory (its v5/ too), or buildout.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Egg layout: 2 for zc.buildout 2, 3 for 3.0 to 4.1.3, 4 for 4.1.4 to 4.2, 5 for later ones
    /// (default: read from the eggs and their folder).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(2..))]
    generation: Option<u8>,
    /// Label of the build environment (`egg-cache-environment`).
    #[arg(long, value_name = "LABEL", default_value = "")]
    environment: String,
    /// SHA-256 of the archive that the eggs were built from.
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    source_sha256: Option<String>,
    /// Believe what pip has noted in each egg: which wheel it made the egg of. Not for eggs that differ from
    /// their RECORD, or were built from source.
    #[arg(long, conflicts_with = "source_sha256")]
    trust_records: bool,
    /// Replace another build of the same egg.
    #[arg(long)]
    replace: bool,
}

impl Add {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let Self { paths, generation, environment, source_sha256, trust_records, replace } = self;
        let source_sha256 = source_sha256.unwrap_or_default();
        let hints =
            scan::Hints { generation, source_sha256, environment, ..scan::Hints::default() };
        let replace = if replace { Replace::All } else { Replace::None };
        if trust_records {
            warn_of_writers(context, &paths);
        }
        let mut cache = context.open()?;
        let signals = Signals::listen().context("cannot handle signals")?;
        let stop = signals.stop.clone();
        let options = Options { hints, replace, trust_records, stop, ..Options::default() };
        let report = add::add(&mut cache, &paths, &options, &context.bar)?;
        drop(cache);
        let hints = context.printer.hints();
        context.printer.report(&report, |report| text(report, context.verbose, hints))?;
        if matches!(report.stopped, Some(Stopped { reason: Error::Interrupted, .. })) {
            signals.end().context("cannot end by the signal")?;
        }
        let is_incomplete = report.refused().next().is_some() || report.stopped.is_some();
        Ok(if is_incomplete { ExitCode::Failure } else { ExitCode::Success })
    }
}

/// Warns of folders to which others can write: their records are as good as what anybody has put there.
fn warn_of_writers(context: &Context, paths: &[PathBuf]) {
    for path in paths {
        let Ok(found) = path.metadata() else { continue };
        if let Some(exposure) = context.trust.exposure_of(path, &found) {
            let who = exposure.of(&Owner::of(path));
            context.printer.warning(&format!(
                "{who}: with --trust-records, you vouch for what they have put there"
            ));
        }
    }
}

fn text(report: &Report, verbose: bool, hints: &Hints) -> Text {
    let mut text = Text::default();
    let mut withdrawn = None;
    let (mut stored, mut present, mut bytes, mut blob_bytes) = (0, 0, 0, 0);
    for added in &report.eggs {
        let path = added.path.display();
        let line = match &added.outcome {
            Outcome::Stored { egg } | Outcome::Replaced { egg, .. } => {
                stored += 1;
                bytes += egg.counts.bytes;
                blob_bytes += egg.blob_bytes;
                format!("stored   {}  {}", egg.digest.short(), egg.file_name)
            }
            Outcome::Present { egg } => {
                present += 1;
                format!("present  {}  {}", egg.digest.short(), egg.file_name)
            }
            Outcome::Other { egg } => {
                text.notes.push(format!(
                    "{path}: the cache already has another build of this egg ({}), which is kept; \
                     --replace stores this one",
                    egg.digest.short()
                ));
                continue;
            }
            Outcome::Skipped { reason } => {
                text.notes.push(format!("{path}: skipped: {reason}"));
                continue;
            }
            Outcome::Refused { reason } => {
                text.problems.push(format!("{path}: {reason}").into());
                continue;
            }
            Outcome::Withdrawn { error, .. } => {
                text.problems.push(format!("{path}: {error}").into());
                withdrawn.get_or_insert(error);
                continue;
            }
        };
        if verbose {
            text.data.line(&line);
        }
    }
    if let Some(error) = withdrawn {
        text.hint(hints.of_library(error));
    }
    if let Some(Stopped { reason, left }) = &report.stopped {
        text.problems.push(format!("{reason}: {} not done", eggs(*left)).into());
        text.hint(hints.of_library(reason));
        text.hint(vec!["run the same command again to add the rest".into()]);
    }
    text.summary = format!(
        "{} stored ({}, {} on disk), {present} already there",
        eggs(stored),
        shown_size(bytes),
        shown_size(blob_bytes)
    );
    let not_stored = text.problems.len() - usize::from(report.stopped.is_some()) + text.notes.len();
    if not_stored > 0 {
        let _ = write!(text.summary, ", {not_stored} not stored");
    }
    text
}
