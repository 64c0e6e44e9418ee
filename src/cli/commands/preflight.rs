//! `materialize --preflight`: which eggs are missing, and whether the others fit on the disk.

use crate::cache::query::{self, Narrow};
use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::format::eggs;
use crate::cli::hints::Hints;
use crate::cli::print::{BAD, GOOD, Text};
use crate::cli::select_eggs::{Found, find};
use crate::ops::list;
use crate::ops::preflight::{self, Outcome, Report};
use crate::remote::withdrawals::record::Withdrawals;
use crate::util::units::{counted, shown_count, shown_size};

use super::materialize::Materialize;

/// Runs the preflight.
pub fn run(command: Materialize, context: &Context) -> anyhow::Result<ExitCode> {
    let (all, names) = (command.selection.all, command.selection.names()?);
    let narrow = Narrow::from(command.filter);
    let cache = context.open()?;
    let (eggs, missing) = if all {
        (query::without_duplicates(list::list(&cache, None, &narrow)?.eggs), Vec::new())
    } else {
        let Found { eggs, missing, .. } = find(&cache, &names, &narrow)?;
        (eggs, missing)
    };
    let withdrawals = Withdrawals::of(cache.root())?;
    let blobs = Some(cache.blobs());
    let report = preflight::preflight(blobs, &eggs, missing, &command.into, &withdrawals)?;
    let hints = context.printer.hints();
    context.printer.report(&report, |report| text(report, context.verbose, hints))?;
    let is_missing = !report.missing.is_empty();
    let is_possible = report.fits && report.writable && report.failed().next().is_none();
    Ok(match (is_possible, is_missing) {
        (false, _) => ExitCode::Failure,
        (true, true) => ExitCode::Miss,
        (true, false) => ExitCode::Success,
    })
}

fn text(report: &Report, verbose: bool, hints: &Hints) -> Text {
    let mut text = Text::default();
    let (mut to_copy, mut present) = (0, 0);
    for egg in &report.eggs {
        let line = match &egg.outcome {
            Outcome::Copy(need) => {
                to_copy += 1;
                format!("copy     {}  {}", egg.file_name, shown_size(need.bytes))
            }
            Outcome::Present => {
                present += 1;
                format!("present  {}", egg.file_name)
            }
            Outcome::Missing { reason } => {
                text.hint(hints.of_library(reason));
                continue;
            }
            Outcome::Failed { reason } => {
                text.problems.push(format!("{}: {reason}", egg.file_name).into());
                text.hint(hints.of_library(reason));
                continue;
            }
        };
        if verbose {
            text.data.line(&line);
        }
    }
    text.problems
        .extend(report.missing.iter().map(|it| format!("{it} is not in the cache").into()));
    let into = report.into.display();
    let free = |free: Option<String>| free.map_or_else(String::new, |it| format!(" of {it} free"));
    let free_bytes = free(report.free_bytes.map(shown_size));
    let free_inodes = free(report.free_inodes.map(shown_count));
    if !report.writable {
        text.problems.push(format!("no permission to write to {into}").into());
    }
    if !report.fits {
        text.problems.push(format!("not enough space in {into}").into());
    }
    let verdict = match (report.fits, text.problems.len()) {
        (true, 0) => format!("{GOOD}fits{GOOD:#}"),
        (true, count) => format!("fits, {BAD}{}{BAD:#}", counted(count, "problem")),
        (false, _) => format!("{BAD}does not fit{BAD:#}"),
    };
    text.summary = format!(
        "{} to copy into {into}, {present} already there, {} missing: {}{free_bytes}, {}{free_inodes}; \
         {verdict}",
        eggs(to_copy),
        report.missing.len(),
        shown_size(report.needed.bytes),
        counted(report.needed.inodes, "inode"),
    );
    text
}
