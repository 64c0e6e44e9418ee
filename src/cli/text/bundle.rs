//! The reports of bundles: what was written and its digest, or what is not as its manifest says.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use crate::ops::bundle::{Report, Verified, Why};
use crate::ops::check;

use super::super::print::{BAD, GOOD, Text};
use super::{checked, counted, eggs, plain, size};

/// How many names a note has, unless all are asked for.
const FEW: usize = 3;

pub fn bundled(report: &Report, verbose: bool) -> Text {
    let archive = report.archive.display();
    let mut text = Text {
        // As `sha256sum` prints it in the folder of the archive, and `sha256sum -c` reads it.
        data: format!("{}  {}\n", report.sha256, name(&report.archive)),
        notes: left_out(report, if verbose { usize::MAX } else { FEW }),
        ..Text::default()
    };
    if report.known_eggs < report.eggs {
        text.notes.push(format!(
            "{} of {} are not in the cache: another buildout may have other bytes of them",
            report.eggs - report.known_eggs,
            eggs(report.eggs)
        ));
    }
    text.summary = format!(
        "{}, {}, {} as {} in {archive}, {GOOD}self-contained{GOOD:#}",
        eggs(report.eggs),
        counted(report.files, "file"),
        size(report.bytes),
        size(report.archive_bytes)
    );
    text
}

/// A line for each reason.
fn left_out(report: &Report, few: usize) -> Vec<String> {
    let mut by_reason: BTreeMap<Why, Vec<&str>> = BTreeMap::new();
    for left_out in &report.left_out {
        by_reason.entry(left_out.why).or_default().push(&left_out.path);
    }
    let line = |(why, paths): (Why, Vec<&str>)| {
        let what = match why {
            Why::Excluded => "excluded",
            Why::Temporary => "of eggcache itself",
            Why::VersionControl => "version control",
            Why::Cache => "downloads and caches",
            Why::Data => "data",
            Why::Leftover => "left over among the eggs",
            Why::UnusedEgg => "eggs that nothing uses",
            Why::Bytecode => "compiled by a run",
            Why::StaleBytecode => "compiled from another source",
            Why::Special => "neither files nor folders",
        };
        let names: Vec<String> = paths.iter().take(few).map(|path| plain(path)).collect();
        let mut line = format!("left out ({what}): {}", names.join(", "));
        if paths.len() > names.len() {
            let _ = write!(line, " and {} more", paths.len() - names.len());
        }
        line
    };
    by_reason.into_iter().map(line).collect()
}

fn name(archive: &Path) -> String {
    plain(&archive.file_name().unwrap_or_default().to_string_lossy())
}

pub fn not_bundled(report: &check::Report, verbose: bool) -> Text {
    let mut text = checked(report, verbose);
    let _ = write!(text.summary, "; {BAD}not bundled{BAD:#}");
    text
}

pub fn verified(report: &Verified) -> Text {
    let archive = report.archive.display();
    let problem = |problem: &crate::ops::bundle::Problem| match problem.path.as_str() {
        "" => format!("{archive} {}", plain(&problem.what)),
        path => format!("{} {}", plain(path), plain(&problem.what)),
    };
    let verdict = match report.problems.len() {
        0 => format!("{GOOD}no problem{GOOD:#}"),
        count => format!("{BAD}{}{BAD:#}", counted(count, "problem")),
    };
    Text {
        data: format!("{}  {}\n", report.sha256, name(&report.archive)),
        problems: report.problems.iter().map(problem).collect(),
        summary: format!(
            "{}, {}, {} checked: {verdict}",
            eggs(report.eggs),
            counted(report.files, "file"),
            size(report.bytes)
        ),
        ..Text::default()
    }
}
