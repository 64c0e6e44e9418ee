//! `remote verify`: check all that a remote contains.

use std::fmt::Write;

use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::format::verdict;
use crate::cli::print::Text;
use crate::ops::remote::verify::{self, Options, Report};
use crate::util::units::{counted, shown_size};

/// Check all contents of a remote.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Checks that a trusted key has signed each entry, that each entry is stored under its \
    own key, that its blob exists, that lists and sets match \
    the entries, and that the list of withdrawn eggs is current. The contents have to be \
    listed: use the address of the store, not of a web server in front of it.\n\n\
    Examples:\n  eggcache remote verify team\n  \
    eggcache remote verify team --full\n  eggcache remote verify team --repair\n\n\
    Exit code 4 if there is a problem, with --repair if one remains."
)]
pub struct Verify {
    /// Name of the remote.
    name: String,
    /// Read every blob, too, and compare its digest.
    #[arg(long)]
    full: bool,
    /// Rewrite lists and sets from the entries; with --full, remove damaged blobs.
    #[arg(long)]
    repair: bool,
}

impl Verify {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let Self { name, full, repair } = self;
        let remote = context.remote(&name)?;
        let report = verify::verify(
            &context.root()?,
            &remote,
            Options { full, repair },
            &context.environment,
            &context.bar,
        )?;
        context.printer.report(&report, text)?;
        Ok(ExitCode::of_check(report.unsolved().next().is_none()))
    }
}

fn text(report: &Report) -> Text {
    let mut text = Text::default();
    for problem in &report.problems {
        let subject = match &problem.file_name {
            Some(egg) => format!("{} ({})", egg, problem.name),
            None => problem.name.clone(),
        };
        let what = &problem.what;
        match &problem.repair {
            None => text.problems.push(format!("{subject}: {what}").into()),
            Some(repair) => text.notes.push(format!("{subject}: {what}; {repair}")),
        }
    }
    let bytes = if report.bytes > 0 {
        format!("{} of {} read", shown_size(report.bytes), shown_size(report.blob_bytes))
    } else {
        format!("{} not read", shown_size(report.blob_bytes))
    };
    text.summary = format!(
        "Remote {}: {}, {} ({bytes}), {}, {}: {}",
        report.remote,
        counted(report.entries, "entry"),
        counted(report.blobs, "blob"),
        counted(report.lists, "list"),
        counted(report.sets, "set"),
        verdict(text.problems.len(), text.notes.len())
    );
    if report.withdrawn > 0 {
        let _ = write!(text.summary, "; {} withdrawn", counted(report.withdrawn, "build"));
    }
    if !report.orphans.is_empty() {
        let _ = write!(
            text.summary,
            "; `eggcache remote gc` deletes {} ({})",
            counted(report.orphans.len(), "unreferenced blob"),
            shown_size(report.orphan_bytes)
        );
    }
    text
}
