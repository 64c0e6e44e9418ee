//! `check`: whether a buildout is self-contained and its eggs are unchanged.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::cli::context::Context;
use crate::cli::exit_code::ExitCode;
use crate::cli::format::{eggs, first_names};
use crate::cli::print::{BAD, GOOD, Message, Text, messages};
use crate::ops::check::{self, Finding, FindingKind, Options, Report};
use crate::util::units::{counted, shown_size};

/// How many lines an egg has, and how many names a line, without `--verbose`.
const FEW: usize = 3;

/// Check that a buildout is self-contained and its eggs unchanged.
#[derive(Debug, clap::Args)]
#[command(after_help = "Without --cache, the eggs are compared with the cache that the buildout \
    names: egg-cache in buildout.cfg, in a file that it extends, or in ~/.buildout/default.cfg.\n\n\
    Examples:\n  eggcache check\n  \
    eggcache check --full --repair /srv/app\n  \
    eggcache --json check | jq .problems\n\n\
    Exit code 4 if there is a problem, with --repair if one remains.")]
pub struct Check {
    /// Folder of the buildout (default: the current one).
    #[arg(value_name = "BUILDOUT", default_value = ".", hide_default_value = true)]
    buildout: PathBuf,
    /// Compare every byte of every egg with the cache, not only sizes and mtimes.
    #[arg(long)]
    full: bool,
    /// Restore changed eggs from the cache. Files that were added to an egg or edited are moved to
    /// set-aside/ in the eggs directory.
    #[arg(long)]
    pub(super) repair: bool,
    /// Eggs directory of the buildout (default: the one that the buildout is configured to use).
    #[arg(long, value_name = "DIR")]
    eggs: Option<PathBuf>,
}

impl Check {
    pub fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let Self { buildout, full, repair, eggs } = self;
        let options = Options { eggs, full, repair };
        let cache = context.open_to_compare(&buildout)?;
        let report = check::check(cache.as_ref(), &buildout, &options, &context.bar)?;
        context.printer.report(&report, |report| text(report, context.verbose))?;
        Ok(ExitCode::of_check(report.unsolved().next().is_none()))
    }
}

pub fn text(report: &Report, verbose: bool) -> Text {
    let few = if verbose { usize::MAX } else { FEW };
    let mut text = Text::default();
    let mut by_egg: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
    let mut repaired: BTreeMap<&str, usize> = BTreeMap::new();
    let mut others = Vec::new();
    for problem in &report.problems {
        match (&problem.egg, &problem.repair) {
            (Some(egg), None) => by_egg.entry(egg).or_default().push(problem),
            (None, None) => others.push(problem),
            (egg, Some(_)) => *repaired.entry(egg.as_deref().unwrap_or("")).or_default() += 1,
        }
    }
    text.problems.extend(messages(&grouped(&others, few)));
    for (egg, problems) in by_egg {
        text.problems.push(egg_problems(egg, &problems, few));
    }
    for (egg, count) in repaired {
        text.notes.push(format!("{}: restored, {} repaired", egg, counted(count, "problem")));
    }
    text.notes.extend(grouped(&report.notes.iter().collect::<Vec<_>>(), few));
    text.summary = summary(report, text.notes.len());
    if !report.is_installed() {
        text.hint(vec!["run buildout to its end".to_owned()]);
    }
    text
}

fn summary(report: &Report, notes: usize) -> String {
    let problems = report.unsolved().count();
    let verdict = if problems == 0 && report.needs_packages() {
        format!("{GOOD}self-contained{GOOD:#}, but for packages of its Python")
    } else if problems == 0 {
        format!("{GOOD}self-contained{GOOD:#}")
    } else if !report.is_installed() {
        format!("{BAD}not installed{BAD:#}")
    } else if report.unsolved().all(|it| it.kind == FindingKind::Withdrawn) {
        let verb = if problems == 1 { "is" } else { "are" };
        format!("{BAD}self-contained, but {} {verb} withdrawn{BAD:#}", eggs(problems))
    } else if report.is_self_contained() {
        format!("{BAD}self-contained, but changed{BAD:#}")
    } else {
        format!("{BAD}not self-contained{BAD:#}")
    };
    let how = if report.full { "byte by byte" } else { "by size and mtime" };
    let compared = if report.compared == report.eggs {
        String::new()
    } else {
        format!("{} of them ", report.compared)
    };
    let mut summary = format!(
        "{verdict}: {}, {}, {}, {compared}compared with the cache {how}; {}, {}",
        eggs(report.eggs),
        counted(report.files, "file"),
        shown_size(report.bytes),
        counted(problems, "problem"),
        counted(notes, "note")
    );
    let is_repairable = |it: &Finding| {
        let is_lasting = matches!(
            it.kind,
            FindingKind::OtherPython | FindingKind::Withdrawn | FindingKind::Library
        );
        it.egg.is_some() && !is_lasting
    };
    let was_left = report.notes.iter().any(|it| it.kind == FindingKind::NotRepaired);
    if report.unsolved().any(is_repairable) && !was_left {
        summary.push_str("; `eggcache check --repair` restores eggs from the cache");
    }
    summary
}

/// The problems of one egg.
fn egg_problems(egg: &str, problems: &[&Finding], few: usize) -> Message {
    let line = |problem: &Finding| {
        let path = within(&problem.path, egg).unwrap_or_else(|| problem.path.display().to_string());
        if path.is_empty() { problem.what.clone() } else { format!("{path}: {}", problem.what) }
    };
    if let [problem] = problems {
        return format!("{egg}: {}", line(problem)).into();
    }
    let mut details: Vec<String> = problems.iter().take(few).map(|it| line(it)).collect();
    if problems.len() > few {
        details.push(format!("and {} more; -v shows them", problems.len() - few));
    }
    Message { line: format!("{egg}: {}", counted(problems.len(), "problem")), details }
}

/// A path relative to the egg of that name.
fn within(path: &Path, egg: &str) -> Option<String> {
    let mut components = path.components();
    components.by_ref().find(|component| component.as_os_str() == egg)?;
    Some(components.as_path().display().to_string())
}

/// One line for all findings with the same text.
fn grouped(findings: &[&Finding], few: usize) -> Vec<String> {
    let mut groups: BTreeMap<(FindingKind, &str), Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        groups.entry((finding.kind, &finding.what)).or_default().push(finding);
    }
    groups.into_iter().map(|((_, what), findings)| group(what, &findings, few)).collect()
}

/// A finding and where it was found: names of eggs if there are several, or else paths.
fn group(what: &str, findings: &[&Finding], few: usize) -> String {
    let eggs: BTreeSet<&str> = findings.iter().filter_map(|it| it.egg.as_deref()).collect();
    let paths = findings.iter().map(|it| it.path.display().to_string());
    let names: Vec<String> = if eggs.len() > 1 {
        eggs.iter().map(ToString::to_string).collect()
    } else {
        paths.filter(|path| !path.is_empty()).collect()
    };
    let files = if eggs.len() > 1 && findings.len() > eggs.len() {
        format!(" ({})", counted(findings.len(), "file"))
    } else {
        String::new()
    };
    if names.is_empty() {
        what.to_owned()
    } else {
        format!("{}{files}: {what}", first_names(&names, few))
    }
}
