//! `remote verify`: check all that a remote contains.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use url::Url;

use crate::cli::complete_eggs::remote_names;
use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::format::verdict;
use crate::cli::hints::Hints;
use crate::cli::print::{Message, Text};
use crate::ops::convert;
use crate::ops::remote::rederive::{self, Difference, Rederived, Verdict};
use crate::ops::remote::verify::{self, Options, Problem, Report};
use crate::util::units::{counted, shown_size};

/// How many differing files of an egg are listed without `--verbose`.
const FEW: usize = 10;

/// Check all contents of a remote.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Checks that a trusted key has signed each entry, that each entry is stored under its \
    own key, that its blob exists, that the lists of projects and of \
    configurations match the entries, and that the list of withdrawn eggs is current. The contents have to be \
    listed: use the address of the store, not of a web server in front of it.\n\n\
    With --rederive, this also makes the eggs again that were made of wheels, from wheels with the recorded \
    SHA-256, and names each file that differs. Eggs that eggcache has converted are compared \
    completely, those of pip except for their bytecode. Eggs without their wheel, for another Python or built \
    of sources are counted, and not tried.\n\n\
    Examples:\n  eggcache remote verify team\n  \
    eggcache remote verify team --full\n  eggcache remote verify team --repair\n  \
    eggcache remote verify team --rederive --archives downloads/ --python bin/python\n\n\
    Exit code 4 if there is a problem, with --repair if one remains, or if an egg differs from its wheel."
)]
pub struct Verify {
    /// Name of the remote.
    #[arg(add = remote_names())]
    name: String,
    /// Read every blob, too, and compare its digest.
    #[arg(long)]
    full: bool,
    /// Rewrite the lists of projects and configurations from the entries; with --full, remove damaged blobs.
    #[arg(long)]
    repair: bool,
    #[command(flatten)]
    again: Again,
}

#[derive(Debug, clap::Args)]
struct Again {
    /// Make the eggs of wheels again, and compare.
    #[arg(long)]
    rederive: bool,
    /// Folders with wheels, which are found by their SHA-256.
    #[arg(long, requires = "rederive", value_name = "FOLDER", num_args = 1..)]
    archives: Vec<PathBuf>,
    /// Package index with the wheels that no folder has (PEP 503 or PEP 691).
    #[arg(long, requires = "rederive", value_name = "URL", value_parser = index_url)]
    index: Vec<Url>,
    /// Fetch the other wheels by https from the addresses that the builders have recorded.
    #[arg(long, requires = "rederive")]
    fetch: bool,
    /// Python that eggs are made for; may be repeated for several versions (default: python3).
    #[arg(long, requires = "rederive", value_name = "PATH")]
    python: Vec<PathBuf>,
}

impl Again {
    fn options(self) -> anyhow::Result<Option<rederive::Options>> {
        let Self { rederive, archives, index, fetch, mut python } = self;
        if !rederive {
            return Ok(None);
        }
        if python.is_empty() {
            python.push("python3".into());
        }
        let targets = python.iter().map(|it| convert::describe(it)).collect::<Result<_, _>>()?;
        Ok(Some(rederive::Options { archives, indexes: index, fetch, targets }))
    }
}

fn index_url(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error| format!("{error}"))?;
    if ["https", "http"].contains(&url.scheme()) && url.has_host() {
        Ok(url)
    } else {
        Err("the address of an index begins with https://".into())
    }
}

impl Verify {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let Self { name, full, repair, again } = self;
        let remote = context.remote(&name)?;
        let rederive = again.options()?;
        let report = verify::verify(
            &context.root()?,
            &remote,
            &Options { full, repair, rederive },
            &context.environment,
            &context.bar,
        )?;
        let hints = context.printer.hints();
        context.printer.report(&report, |report| text(report, hints, context.verbose))?;
        Ok(ExitCode::of_check(report.is_clean()))
    }
}

fn text(report: &Report, hints: &Hints, verbose: bool) -> Text {
    let mut text = Text::default();
    let mut by_key: BTreeMap<&str, Vec<&Problem>> = BTreeMap::new();
    for problem in &report.problems {
        if let Some(key) = &problem.key {
            by_key.entry(key).or_default().push(problem);
            continue;
        }
        let (subject, what) = (subject(problem), &problem.what);
        match &problem.repair {
            None => text.problems.push(format!("{subject}: {what}").into()),
            Some(repair) => text.notes.push(format!("{subject}: {what}; {repair}")),
        }
    }
    let trust = hints.to_trust_remote(&report.remote);
    for (key, problems) in by_key {
        let entries = match &problems[..] {
            [one] => format!("{} is", subject(one)),
            several => format!("{} are", counted(several.len(), "entry")),
        };
        let line = format!("{entries} signed by key {key}, which is not trusted");
        let mut details = vec![trust.clone()];
        if verbose && problems.len() > 1 {
            details.extend(problems.iter().map(|it| subject(it)));
        } else if problems.len() > 1 {
            details.push("-v names them".into());
        }
        text.problems.push(Message { line, details });
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
        counted(report.lists, "project list"),
        counted(report.sets, "configuration list"),
        verdict(report.unsolved().count(), text.notes.len())
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
    if let Some(rederived) = &report.rederived {
        add_rederived(&mut text, rederived, verbose);
    }
    text
}

/// The object that a problem is about.
fn subject(problem: &Problem) -> String {
    match &problem.file_name {
        Some(egg) => format!("{egg} ({})", problem.name),
        None => problem.name.clone(),
    }
}

/// Adds what became of the eggs that were made again.
fn add_rederived(text: &mut Text, report: &rederive::Report, verbose: bool) {
    let few = if verbose { usize::MAX } else { FEW };
    for Rederived { file_name, name, verdict } in &report.eggs {
        match verdict {
            Verdict::Same if verbose => text.data.line(&format!("same  {file_name}")),
            Verdict::SameExceptBytecode if verbose => {
                text.data.line(&format!("same  {file_name}  made by pip, bytecode not compared"));
            }
            Verdict::NotTried { text: why, .. } if verbose => {
                text.notes.push(format!("{file_name}: not tried: {why}"));
            }
            Verdict::Same | Verdict::SameExceptBytecode | Verdict::NotTried { .. } => {}
            Verdict::Failed { reason } => {
                text.problems.push(format!("{file_name} ({name}): not compared: {reason}").into());
            }
            Verdict::Differs { files } => {
                let subject = |it: &Difference| match it.path.as_str() {
                    "" => it.what.to_owned(),
                    path => format!("{path}: {}", it.what),
                };
                let mut details: Vec<String> = files.iter().take(few).map(subject).collect();
                if files.len() > few {
                    details.push(format!("and {} more; -v shows them", files.len() - few));
                }
                let line = format!("{file_name} ({name}) is not what its wheel gives");
                text.problems.push(Message { line, details });
            }
        }
    }
    let _ = write!(text.summary, "; made again: {} the same", report.same);
    if report.same_except_bytecode > 0 {
        let _ = write!(
            text.summary,
            ", {} of pip the same except for bytecode",
            report.same_except_bytecode
        );
    }
    let _ = write!(text.summary, ", {} different", report.different);
    if report.failed > 0 {
        let _ = write!(text.summary, ", {} not compared", report.failed);
    }
    if report.not_tried > 0 {
        let counts = rederive::counts_of_not_tried(report);
        let _ = write!(text.summary, "; {} not tried: {counts}", report.not_tried);
    }
}
