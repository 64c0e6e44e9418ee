//! The report of a preflight: what is missing, and whether there is room.

use std::fmt::Write;

use crate::ops::preflight::{Outcome, Report};

use super::super::print::{BAD, GOOD, Text};
use super::{counted, eggs, size};

pub fn planned(report: &Report, verbose: bool) -> Text {
    let mut text = Text::default();
    let (mut to_copy, mut present) = (0, 0);
    for egg in &report.eggs {
        let what = match &egg.outcome {
            Outcome::Copy(need) => {
                to_copy += 1;
                format!("copy     {}  {}", egg.file_name, size(need.bytes))
            }
            Outcome::Present => {
                present += 1;
                format!("present  {}", egg.file_name)
            }
            Outcome::Missing { .. } => continue,
            Outcome::Failed { reason } => {
                text.problems.push(format!("{}: {reason}", egg.file_name));
                continue;
            }
        };
        if verbose {
            let _ = writeln!(text.data, "{what}");
        }
    }
    text.problems.extend(report.missing.iter().map(|it| format!("{it} is not in the cache")));
    let into = report.into.display();
    let needed = report.needed;
    let free_bytes =
        report.free_bytes.map_or_else(String::new, |free| format!(" of {} free", size(free)));
    let free_inodes =
        report.free_inodes.map_or_else(String::new, |free| format!(" of {free} free"));
    if !report.writable {
        text.problems.push(format!("this user may not write to {into}"));
    }
    if !report.fits {
        text.problems.push(format!("there is no room in {into}"));
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
        size(needed.bytes),
        counted(needed.inodes, "inode"),
    );
    text
}
