//! Reports as a person reads them.

mod bundle;
mod check;
mod gc;
mod pins;
mod preflight;
mod remote;
mod remote_gc;
mod roots;
mod stats;

use std::fmt::Write;

use crate::egg::cached_egg::CachedEgg;
use crate::ops::{add, init, list, materialize, reindex, show, verify};
use crate::util::clock::{shown_day as day, shown_minute as minute};
use crate::util::units;
use comfy_table::{CellAlignment, ColumnConstraint, Table, presets};

use super::print::{GOOD, Text};
pub use bundle::{bundled, not_bundled, verified as verified_bundle};
pub use check::checked;
pub use gc::collected;
pub use pins::pinned;
pub use preflight::planned as preflight;
pub use remote::{
    generated, listed as remotes, pulled, pushed, signed, verified as verified_remote,
};
pub use remote_gc::collected as collected_remote;
pub use roots::listed as roots;
pub use stats::counted as stats;

pub fn added(report: &add::Report, verbose: bool) -> Text {
    use add::Outcome;
    let mut text = Text::default();
    let (mut stored, mut present, mut bytes, mut blob_bytes) = (0, 0, 0, 0);
    for added in &report.eggs {
        let path = added.path.display();
        let line = match &added.outcome {
            Outcome::Stored { egg } | Outcome::Replaced { egg, .. } => {
                stored += 1;
                bytes += egg.counts.bytes;
                blob_bytes += egg.blob_bytes;
                format!("stored   {}  {}", egg.digest.short(), egg.file_name)
            }
            Outcome::Present { egg } => {
                present += 1;
                format!("present  {}  {}", egg.digest.short(), egg.file_name)
            }
            Outcome::Other { egg } => {
                text.notes.push(format!(
                    "{path} is another build of an egg that the cache has ({}), which stays; \
                     --replace stores this one",
                    egg.digest.short()
                ));
                continue;
            }
            Outcome::Left { reason } => {
                text.notes.push(format!("{path} is left: {reason}"));
                continue;
            }
            Outcome::Refused { reason } => {
                text.problems.push(format!("{path}: {reason}"));
                continue;
            }
        };
        if verbose {
            let _ = writeln!(text.data, "{line}");
        }
    }
    text.summary = format!(
        "{} stored ({} as {}), {present} already there",
        eggs(stored),
        size(bytes),
        size(blob_bytes)
    );
    let not_stored = text.problems.len() + text.notes.len();
    if not_stored > 0 {
        let _ = write!(text.summary, ", {not_stored} not stored");
    }
    text
}

pub fn materialized(report: &materialize::Report, verbose: bool) -> Text {
    use materialize::Outcome;
    let mut text = Text::default();
    if !report.torn.is_empty() {
        text.notes.push(format!(
            "the machine went down while it copied: {} incomplete and removed ({})",
            eggs_were(report.torn.len()),
            report.torn.join(", ")
        ));
    }
    let (mut copied, mut present, mut files, mut bytes) = (0, 0, 0, 0);
    for egg in &report.eggs {
        let what = match &egg.outcome {
            Outcome::Copied(counts) => {
                copied += 1;
                files += counts.files;
                bytes += counts.bytes;
                "copied "
            }
            Outcome::Present => {
                present += 1;
                "present"
            }
            Outcome::Missing { reason } | Outcome::Failed { reason } => {
                text.problems.push(format!("{}: {reason}", egg.file_name));
                continue;
            }
        };
        if verbose {
            let _ = writeln!(text.data, "{what}  {}", egg.file_name);
        }
    }
    text.summary = format!(
        "{} copied into {} ({}, {}), {present} already there",
        eggs(copied),
        report.into.display(),
        counted(files, "file"),
        size(bytes)
    );
    text
}

pub fn listed(report: &list::Report) -> Text {
    let mut table =
        table(["egg", "version", "python", "platform", "gen", "size", "stored", "used", "digest"]);
    for egg in &report.eggs {
        let key = &egg.key;
        table.add_row([
            key.name.clone(),
            key.version.clone(),
            or_any(&key.python),
            or_any(&key.platform),
            key.generation.to_string(),
            size(egg.counts.bytes),
            size(egg.blob_bytes),
            day(egg.used_at),
            egg.digest.short(),
        ]);
    }
    align_right(&mut table, [4, 5, 6]);
    let count = report.eggs.len();
    Text {
        // What tells least: the layout, the size of the blob, the platform.
        data: if count == 0 { String::new() } else { fitted(&mut table, &[4, 6, 3]) },
        summary: format!(
            "{}, {} stored as {}",
            eggs(count),
            size(report.bytes),
            size(report.blob_bytes)
        ),
        ..Text::default()
    }
}

pub fn shown(report: &show::Report) -> Text {
    let CachedEgg { digest, file_name, key, counts, blob_bytes, provenance, used_at, uses } =
        &report.egg;
    let mut data = String::new();
    let mut line = |what: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(data, "{what:<14}{value}");
        }
    };
    line("egg", file_name.clone());
    line("digest", digest.to_string());
    line("name", key.name.clone());
    line("version", key.version.clone());
    line("python", or_any(&key.python));
    line("abi", key.abi.clone());
    line("platform", or_any(&key.platform));
    line("libc", key.libc.clone());
    line("generation", key.generation.to_string());
    line("source", provenance.source.clone().unwrap_or_default());
    line("source sha256", key.source_sha256.clone());
    line("variant", key.variant.clone());
    line("environment", key.environment.clone());
    line(
        "content",
        format!(
            "{} files, {} directories, {} symlinks, {}",
            counts.files,
            counts.directories,
            counts.symlinks,
            size(counts.bytes)
        ),
    );
    line("stored", format!("{} in {}", size(*blob_bytes), counted(report.frames, "frame")));
    line("blob", report.blob.display().to_string());
    let by = provenance.buildout.as_ref().map(|version| format!(" by zc.buildout {version}"));
    line(
        "added",
        format!(
            "{}{} (eggcache {})",
            minute(provenance.added_at),
            by.unwrap_or_default(),
            provenance.eggcache
        ),
    );
    let build = provenance.build_seconds.map(|seconds| format!("{seconds:.1} s"));
    line("build time", build.unwrap_or_default());
    let used = match uses {
        0 => "never".to_owned(),
        uses => format!("{}, last {}", counted(uses, "time"), minute(*used_at)),
    };
    line("used", used);
    for entry in report.entries.iter().flatten() {
        let path = if entry.path.is_empty() { "." } else { &entry.path };
        let (kind, rest) = match &entry.kind {
            show::ShownKind::Directory => ('d', String::new()),
            show::ShownKind::File { size, .. } => ('-', format!("  {size}")),
            show::ShownKind::Symlink { target } => ('l', format!("  -> {target}")),
        };
        let _ = writeln!(data, "{kind}{:03o}  {}{}", entry.mode, plain(path), plain(&rest));
    }
    Text { data, ..Text::default() }
}

pub fn verified(report: &verify::Report) -> Text {
    let mut text = Text::default();
    for problem in &report.problems {
        let of = match (&problem.file_name, &problem.digest) {
            (Some(name), _) => name.clone(),
            (None, Some(digest)) => digest.short(),
            (None, None) => problem.path.display().to_string(),
        };
        match &problem.repair {
            None => text.problems.push(format!("{of}: {}", problem.what)),
            Some(repair) => text.notes.push(format!("{of}: {}; {repair}", problem.what)),
        }
    }
    let mut summary = format!(
        "{}, {}, {} checked: ",
        counted(report.blobs, "blob"),
        counted(report.frames, "frame"),
        size(report.bytes)
    );
    match (text.problems.len(), text.notes.len()) {
        (0, 0) => write!(summary, "{GOOD}no problem{GOOD:#}"),
        (0, repaired) => write!(
            summary,
            "{GOOD}{} repaired{GOOD:#}; what is gone the next buildout builds and stores again",
            counted(repaired, "problem")
        ),
        (count, 0) => write!(
            summary,
            "{}; what is damaged is never served; `eggcache verify --repair` mends the cache",
            counted(count, "problem")
        ),
        (count, repaired) => {
            write!(summary, "{} repaired, {} not", counted(repaired, "problem"), count)
        }
    }
    .ok();
    if report.adopted > 0 {
        let _ = write!(summary, "; {} found that the index had lost", eggs(report.adopted));
    }
    if !report.orphans.is_empty() || report.temporary_files > 0 {
        let _ = write!(
            summary,
            "; {} and {}, which `eggcache gc` clears",
            counted(report.orphans.len(), "orphaned blob"),
            counted(report.temporary_files, "temporary file")
        );
    }
    if report.quarantined > 0 {
        let _ = write!(summary, "; {} in quarantine", counted(report.quarantined, "file"));
    }
    Text { summary, ..text }
}

pub fn made(report: &init::Report) -> Text {
    let made = if report.made { "made" } else { "is there" };
    let shared = if report.shared { ", shared by its group" } else { "" };
    Text { summary: format!("cache {} {made}{shared}", report.cache.display()), ..Text::default() }
}

pub fn reindexed(report: &reindex::Report) -> Text {
    let reindex::Report { rebuilt, set_aside } = report;
    let mut problems: Vec<String> = rebuilt.unreadable.iter().map(|it| it.reason.clone()).collect();
    if let Some(aside) = set_aside {
        problems.push(format!("the index could not be read and is now {aside}"));
    }
    let summary = format!(
        "{} in the index: {} found, {} lost, {} shadowed by another build",
        eggs(rebuilt.eggs),
        rebuilt.found,
        rebuilt.lost,
        rebuilt.shadowed.len()
    );
    Text { problems, summary, ..Text::default() }
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.map(str::to_uppercase));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

fn align_right<const N: usize>(table: &mut Table, columns: [usize; N]) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// The lines of a table. On a terminal that is narrower, the columns of `spare` go one after another
/// until it fits: lines that wrap are no table.
fn fitted(table: &mut Table, spare: &[usize]) -> String {
    let mut text = lines(table);
    let Some(width) = terminal_width() else { return text };
    for &column in spare {
        if text.lines().all(|line| line.chars().count() <= width) {
            break;
        }
        if let Some(column) = table.column_mut(column) {
            column.set_constraint(ColumnConstraint::Hidden);
        }
        text = lines(table);
    }
    text
}

/// Columns of the terminal that standard output is, if it is one.
fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|&width| width > 0)
}

fn lines(table: &Table) -> String {
    table.lines().fold(String::new(), |mut text, line| {
        text.push_str(line.trim_end());
        text.push('\n');
        text
    })
}

fn eggs(count: usize) -> String {
    counted(count, "egg")
}

fn eggs_were(count: usize) -> String {
    format!("{} {}", eggs(count), if count == 1 { "was" } else { "were" })
}

fn counted(count: impl std::fmt::Display, what: &str) -> String {
    let count = count.to_string();
    if count == "1" { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn size(bytes: u64) -> String {
    units::shown_size(bytes)
}

/// Text without characters that a terminal would act on.
fn plain(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    text.chars().map(escaped).collect()
}

/// A length of time in its largest unit that is whole: `90 days`.
fn span(seconds: i64) -> String {
    for (unit, what) in [(86_400, "day"), (3600, "hour"), (60, "minute")] {
        if seconds % unit == 0 && seconds != 0 {
            return counted(seconds / unit, what);
        }
    }
    counted(seconds, "second")
}

fn or_any(text: &str) -> String {
    if text.is_empty() { "any".into() } else { text.into() }
}
