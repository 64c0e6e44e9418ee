//! `verify`: check the cache, and repair it.

use std::fmt::Write;
use std::time::Duration;

use crate::cache::{Cache, DAY};
use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::format::{eggs, listed, verdict};
use crate::cli::hints::Hints;
use crate::cli::print::Text;
use crate::ops::verify::{self, Due, Left, Problem, ProblemKind, Report};
use crate::util::clock::shown_day;
use crate::util::units::{age, counted, shown_size};

/// Check every byte of every egg in the cache.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "With --max-duration or --max-age, the least recently verified eggs are checked \
    first, and the cache remembers which ones were. Every run checks at least a few eggs.\n\n\
    Examples:\n  eggcache verify\n  eggcache verify --repair\n  \
    eggcache verify --max-duration 10m --max-age 30d    # every night\n\n\
    Exit code 4 if there is a problem, with --repair if one remains."
)]
pub struct Verify {
    /// Repair the cache: move damaged files to quarantine/ in the cache directory, and correct the
    /// index from the blobs.
    #[arg(long)]
    pub(super) repair: bool,
    /// Begin with no further egg after TIME: 10m, 1h.
    #[arg(long, value_name = "TIME", value_parser = age)]
    pub(super) max_duration: Option<i64>,
    /// Check only eggs that were not verified for AGE (default with --max-duration: 30d).
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub(super) max_age: Option<i64>,
}

/// The age at which a verified egg is verified again if there is no time for all.
const MAX_AGE: i64 = 30 * DAY;

impl Verify {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let root = context.root()?;
        let due = self.due();
        if !self.repair && due.is_none() {
            context.announce(&root, Cache::missing_at(&root));
        }
        let (trust, bar) = (&context.trust, &context.bar);
        let report = match due {
            None => verify::verify(&root, self.repair, trust, bar)?,
            Some(due) => verify::verify_due(&root, self.repair, due, trust, bar)?,
        };
        let (repair, hints) = (self.repair, context.printer.hints());
        context.printer.report(&report, |report| text(report, repair, hints))?;
        Ok(ExitCode::of_check(report.unsolved().next().is_none()))
    }
}

impl Verify {
    /// How far this run goes; `None` if it checks everything.
    fn due(&self) -> Option<Due> {
        let Self { max_duration, max_age, .. } = *self;
        let seconds = max_duration.map(i64::unsigned_abs);
        (max_duration.is_some() || max_age.is_some()).then(|| Due {
            max_age: max_age.unwrap_or(MAX_AGE),
            max_duration: seconds.map(Duration::from_secs),
        })
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
    summary.push_str(&report.left.map(left).unwrap_or_default());
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

/// What this run has not checked, and when later ones will have.
fn left(left: Left) -> String {
    let mut text = String::new();
    if left.recent > 0 {
        let _ = write!(text, "; {} verified before", counted(left.recent, "blob"));
    }
    if left.blobs > 0 {
        let (blobs, bytes) = (counted(left.blobs, "blob"), shown_size(left.bytes));
        let _ = write!(text, "; {blobs} left, {bytes}");
        let runs = left.runs.map(|runs| format!(", for {}", counted(runs, "more run")));
        let at = left.done_at.map(|at| format!(" until about {}", shown_day(at)));
        text.extend([runs, at].into_iter().flatten());
    }
    text
}

/// What a problem is about: the egg if it is known, or else the blob or file.
fn subject(problem: &Problem) -> String {
    match (&problem.file_name, &problem.digest) {
        (Some(name), _) => name.clone(),
        (None, Some(digest)) => digest.short(),
        (None, None) => problem.path.display().to_string(),
    }
}
