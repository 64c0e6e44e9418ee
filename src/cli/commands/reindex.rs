//! `reindex`: rebuild the index from the blobs.

use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::format::eggs;
use crate::cli::print::{Text, messages};
use crate::ops::reindex::{self, Report};

/// Rebuild the index from the blobs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  eggcache reindex\n\n\
    Exit code 4 if a blob cannot be read; the others are indexed.")]
pub struct Reindex {}

impl Reindex {
    pub fn run(context: &Context) -> anyhow::Result<ExitCode> {
        let report = reindex::reindex(&context.root()?, &context.trust, &context.bar)?;
        context.printer.report(&report, text)?;
        Ok(ExitCode::of_check(report.rebuilt.unreadable.is_empty()))
    }
}

fn text(report: &Report) -> Text {
    let Report { rebuilt, set_aside } = report;
    let mut problems: Vec<String> = rebuilt.unreadable.iter().map(|it| it.reason.clone()).collect();
    if let Some(aside) = set_aside {
        problems.push(format!("the old index could not be read; moved it to {aside}"));
    }
    let changes = [
        (rebuilt.found, "added"),
        (rebuilt.lost, "dropped"),
        (rebuilt.shadowed.len(), "hidden by another build of the same egg"),
    ];
    let changes = changes.iter().filter(|(count, _)| *count > 0);
    let mut changes: Vec<String> = changes.map(|(count, what)| format!("{count} {what}")).collect();
    if changes.is_empty() {
        changes.push("none added or dropped".into());
    }
    let summary = format!("Index rebuilt: {}, {}", eggs(rebuilt.eggs), changes.join(", "));
    Text { problems: messages(&problems), summary, ..Text::default() }
}
