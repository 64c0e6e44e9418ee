//! `verify`: check the cache, and repair it.

use std::fmt::Write;

use crate::cache::Cache;
use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::format::{eggs, listed, verdict};
use crate::cli::hints::Hints;
use crate::cli::print::Text;
use crate::ops::verify::{self, Problem, ProblemKind, Report};
use crate::util::units::{counted, shown_size};

/// Check every byte of every egg in the cache.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  eggcache verify\n  eggcache verify --repair\n\n\
    Exit code 4 if there is a problem, with --repair if one remains.")]
pub struct Verify {
    /// Repair the cache: move damaged files to quarantine/ in the cache directory, and correct the
    /// index from the blobs.
    #[arg(long)]
    pub(super) repair: bool,
}

impl Verify {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let root = context.root()?;
        if !self.repair {
            context.announce(&root, Cache::missing_at(&root));
        }
        let report = verify::verify(&root, self.repair, &context.trust, &context.bar)?;
        let (repair, hints) = (self.repair, context.printer.hints());
        context.printer.report(&report, |report| text(report, repair, hints))?;
        Ok(ExitCode::of_check(report.unsolved().next().is_none()))
    }
}

fn text(report: &Report, has_repaired: bool, hints: &Hints) -> Text {
    let mut text = Text::default();
    for problem in report.unsolved() {
        text.hint(match problem.kind {
            ProblemKind::Unreadable => hints.of_unreadable(&problem.path),
            ProblemKind::Owner => hints.of_strangers(&problem.path),
            _ if has_repaired => Vec::new(),
            ProblemKind::Index => vec![hints.rebuild(), hints.repair()],
            _ => vec![hints.repair()],
        });
    }
    for problem in &report.problems {
        let (subject, what) = (subject(problem), &problem.what);
        match &problem.repair {
            None => text.problems.push(format!("{subject}: {what}").into()),
            Some(repair) => text.notes.push(format!("{subject}: {what}; {repair}")),
        }
    }
    let (problems, repaired) = (text.problems.len(), text.notes.len());
    let mut summary = format!(
        "{}, {}, {} checked: {}",
        counted(report.blobs, "blob"),
        counted(report.frames, "frame"),
        shown_size(report.bytes),
        verdict(problems, repaired)
    );
    match (problems, repaired) {
        (0, 0) | (1.., 1..) => {}
        (0, _) => summary.push_str("; the next buildout that needs a lost egg builds it again"),
        (_, 0) => summary.push_str("; damaged eggs are never copied"),
    }
    if report.adopted > 0 {
        let _ = write!(summary, "; {} restored to the index", eggs(report.adopted));
    }
    if report.corrected > 0 {
        let entries = counted(report.corrected, "index entry");
        let _ = write!(summary, "; size corrected in {entries}");
    }
    if !report.stale_rows.is_empty() {
        let entries = counted(report.stale_rows.len(), "index entry");
        let _ = write!(summary, "; `eggcache verify --repair` corrects the size in {entries}");
    }
    if !report.orphans.is_empty() || report.temporary_files > 0 {
        let garbage = [
            counted(report.orphans.len(), "orphaned blob"),
            counted(report.temporary_files, "temporary file"),
        ];
        let _ = write!(summary, "; `eggcache gc` deletes {}", listed(&garbage));
    }
    if report.quarantined > 0 {
        let _ = write!(summary, "; {} in quarantine", counted(report.quarantined, "file"));
    }
    Text { summary, ..text }
}

/// What a problem is about: the egg if it is known, or else the blob or file.
fn subject(problem: &Problem) -> String {
    match (&problem.file_name, &problem.digest) {
        (Some(name), _) => name.clone(),
        (None, Some(digest)) => digest.short(),
        (None, None) => problem.path.display().to_string(),
    }
}
