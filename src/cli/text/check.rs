//! The report of a check: a verdict, and what is wrong by egg, a few lines each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use crate::ops::check::{Finding, FindingKind, Report};
use crate::util::units::shown_count;

use super::super::print::{BAD, GOOD, Text};
use super::{counted, eggs, plain, size};

/// How many lines an egg has, and how many names a line, unless all are asked for.
const FEW: usize = 3;

pub fn checked(report: &Report, verbose: bool) -> Text {
    let few = if verbose { usize::MAX } else { FEW };
    let mut text = Text::default();
    let mut of_eggs: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
    let mut repaired: BTreeMap<&str, usize> = BTreeMap::new();
    let mut others = Vec::new();
    for problem in &report.problems {
        match (&problem.egg, &problem.repair) {
            (Some(egg), None) => of_eggs.entry(egg).or_default().push(problem),
            (None, None) => others.push(problem),
            (egg, Some(_)) => *repaired.entry(egg.as_deref().unwrap_or("")).or_default() += 1,
        }
    }
    text.problems.extend(together(others, few));
    for (egg, problems) in of_eggs {
        text.problems.push(of_egg(egg, &problems, few));
    }
    for (egg, count) in repaired {
        text.notes.push(format!("{} is restored: {}", plain(egg), counted(count, "problem")));
    }
    text.notes.extend(together(report.notes.iter().collect(), few));
    text.summary = summary(report, text.notes.len());
    text
}

fn summary(report: &Report, notes: usize) -> String {
    let problems = report.unsolved().count();
    let verdict = if problems == 0 {
        format!("{GOOD}self-contained{GOOD:#}")
    } else if report.is_self_contained() {
        format!("{BAD}self-contained, but not as it was{BAD:#}")
    } else {
        format!("{BAD}not self-contained{BAD:#}")
    };
    let files = format!(
        "{} {}",
        shown_count(report.files),
        if report.files == 1 { "file" } else { "files" }
    );
    let mut summary = format!("{verdict}: {}, {files}, {}", eggs(report.eggs), size(report.bytes));
    let how = if report.full { "byte by byte" } else { "by size and time" };
    let _ = match report.compared {
        all if all == report.eggs => write!(summary, ", compared with the cache {how}"),
        compared => write!(summary, ", {compared} of them compared with the cache {how}"),
    };
    let _ = write!(summary, "; {}, {}", counted(problems, "problem"), counted(notes, "note"));
    let is_repairable = |it: &Finding| it.egg.is_some() && it.kind != FindingKind::OtherPython;
    if !report.unsolved().any(is_repairable)
        || report.notes.iter().any(|it| it.kind == FindingKind::Left)
    {
        return summary;
    }
    summary.push_str("; `eggcache check --repair` restores eggs from the cache");
    summary
}

/// The problems of one egg.
fn of_egg(egg: &str, problems: &[&Finding], few: usize) -> String {
    let name = plain(egg);
    let line = |problem: &Finding| {
        let path = within(&problem.path, egg).unwrap_or_else(|| problem.path.display().to_string());
        if path.is_empty() {
            plain(&problem.what)
        } else {
            plain(&format!("{path} {}", problem.what))
        }
    };
    if let [problem] = problems {
        return format!("{name}: {}", line(problem));
    }
    let mut text = format!("{name}: {}", counted(problems.len(), "problem"));
    for problem in problems.iter().take(few) {
        let _ = write!(text, "\n    {}", line(problem));
    }
    if problems.len() > few {
        let _ = write!(text, "\n    and {} more; -v shows them", problems.len() - few);
    }
    text
}

/// A path relative to the egg of that name.
fn within(path: &Path, egg: &str) -> Option<String> {
    let mut components = path.components();
    components.by_ref().find(|component| component.as_os_str() == egg)?;
    Some(components.as_path().display().to_string())
}

/// One line for all findings that say the same.
fn together(findings: Vec<&Finding>, few: usize) -> Vec<String> {
    let mut groups: BTreeMap<(FindingKind, &str), Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        groups.entry((finding.kind, &finding.what)).or_default().push(finding);
    }
    let line = |((_, what), findings): ((FindingKind, &str), Vec<&Finding>)| {
        let of_eggs: BTreeSet<&str> = findings.iter().filter_map(|it| it.egg.as_deref()).collect();
        let (names, count): (Vec<String>, usize) = if of_eggs.len() > 1 {
            (of_eggs.iter().take(few).map(ToString::to_string).collect(), of_eggs.len())
        } else {
            let paths = findings.iter().map(|it| it.path.display().to_string());
            (paths.filter(|path| !path.is_empty()).take(few).collect(), findings.len())
        };
        let more = count.saturating_sub(few);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let names = names.join(", ");
        let files = if of_eggs.len() > 1 && findings.len() > count {
            format!(" ({} files)", findings.len())
        } else {
            String::new()
        };
        let text = match findings.len() {
            _ if names.is_empty() => what.to_owned(),
            1 => format!("{names} {what}"),
            _ => format!("{what}: {names}{more}{files}"),
        };
        plain(&text)
    };
    groups.into_iter().map(line).collect()
}
