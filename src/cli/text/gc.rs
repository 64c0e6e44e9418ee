//! What `gc` does and why.

use std::fmt::Write;

use crate::cache::index::Regrets;
use crate::cache::retention::plan::{Reason, Rules, Stay};
use crate::egg::cached_egg::CachedEgg;
use crate::ops::gc::Report;

use super::{align_right, counted, eggs, fitted, minute, plain, size, span, table};
use crate::cli::print::Text;

pub fn collected(report: &Report, verbose: bool) -> Text {
    let mut text = Text { summary: summary(report), ..Text::default() };
    text.problems.extend(
        report
            .unreadable
            .iter()
            .map(|what| format!("{what}; what this buildout uses is not kept until it runs again")),
    );
    for root in &report.forgotten_roots {
        let would = if report.dry_run { "would forget" } else { "forgot" };
        text.notes.push(format!("{would} the buildout {}: its folder is gone", root.display()));
    }
    if report.postponed == 0
        && let (Some(excess), Some(max_size)) = (report.excess(), report.rules.max_size)
    {
        let is_kept = |is: fn(&Stay) -> bool| report.kept_eggs.iter().any(|it| is(&it.reason));
        let pinned = is_kept(|stay| matches!(stay, Stay::Pinned { .. }));
        let used = is_kept(|stay| matches!(stay, Stay::Root { .. }));
        let why = match (used, pinned) {
            (true, true) => "in use (`eggcache roots`) or pinned (`eggcache pins`)",
            (false, true) => "pinned (`eggcache pins`)",
            (_, false) => "in use (`eggcache roots`); --ignore-roots evicts it too",
        };
        text.notes.push(format!(
            "what is kept is {} more than {}, as it is {why}",
            size(excess),
            size(max_size),
        ));
    }
    let Regrets { asked, limit_bytes, .. } = report.regrets;
    if asked > 0 && report.rules.max_size.is_none_or(|max_size| max_size < limit_bytes) {
        text.notes.push(format!(
            "{} that {} evicted within a year {} asked for again; a limit of {} would have kept {}",
            counted(asked, "egg"),
            if asked == 1 { "was" } else { "were" },
            if asked == 1 { "was" } else { "were" },
            size(limit_bytes),
            if asked == 1 { "it" } else { "them" },
        ));
    }
    let going = report.evicted.iter().map(|it| (&it.egg, goes(it.reason, &report.rules)));
    let staying = report.kept_eggs.iter().map(|it| (&it.egg, stays(&it.reason, &report.rules)));
    text.data = if verbose {
        let going = going.map(|(egg, reason)| ("goes", egg, reason));
        rows("last used", going.chain(staying.map(|(egg, reason)| ("stays", egg, reason))), true)
    } else {
        rows("last used", going.map(|(egg, reason)| ("", egg, reason)), false)
    };
    text
}

fn summary(report: &Report) -> String {
    let mut summary = format!(
        "{} {} and {}, {}; {} {}, {}",
        if report.dry_run { "would remove" } else { "removed" },
        eggs(report.evicted.len()),
        counted(report.orphans.len(), "orphaned blob"),
        size(report.freed_bytes),
        eggs(report.kept),
        if report.kept == 1 { "stays" } else { "stay" },
        size(report.kept_bytes)
    );
    let count = |is: fn(&Stay) -> bool| report.kept_eggs.iter().filter(|it| is(&it.reason)).count();
    let kinds = [
        (count(|stay| matches!(stay, Stay::Pinned { .. })), "pinned"),
        (count(|stay| matches!(stay, Stay::Root { .. })), "used by a buildout"),
        (count(|stay| *stay == Stay::NewestVersion), "of the newest versions"),
        (count(|stay| *stay == Stay::RecentlyUsed), "recently used"),
    ];
    let kinds = kinds.iter().filter(|(count, _)| *count > 0);
    let kinds: Vec<String> = kinds.map(|(count, what)| format!("{count} {what}")).collect();
    if !kinds.is_empty() {
        let _ = write!(summary, " ({})", kinds.join(", "));
    }
    if report.temporary_files > 0 {
        let _ = write!(summary, "; {}", counted(report.temporary_files, "temporary file"));
    }
    if report.adopted > 0 {
        let _ = write!(summary, "; {} found that the index had lost", eggs(report.adopted));
    }
    summary
}

pub(super) fn rows<'e>(
    when: &str,
    rows: impl Iterator<Item = (&'static str, &'e CachedEgg, String)>,
    with_verdict: bool,
) -> String {
    let mut table = if with_verdict {
        table(["egg", "size", when, "", "reason"])
    } else {
        table(["egg", "size", when, "reason"])
    };
    let mut is_empty = true;
    for (verdict, egg, reason) in rows {
        is_empty = false;
        let mut row = vec![egg.file_name.clone(), size(egg.blob_bytes), minute(egg.used_at)];
        row.extend(with_verdict.then(|| verdict.to_owned()));
        row.push(reason);
        table.add_row(row);
    }
    align_right(&mut table, [1]);
    if is_empty { String::new() } else { fitted(&mut table, &[2]) }
}

/// Why an egg goes.
fn goes(reason: Reason, rules: &Rules) -> String {
    match reason {
        Reason::MaxAge => format!("not used for {}", span(rules.max_age.unwrap_or_default())),
        Reason::KeepVersions => "superseded version".into(),
        Reason::MaxSize => "over the size limit, least recently used".into(),
    }
}

/// Why an egg stays.
pub(super) fn stays(reason: &Stay, rules: &Rules) -> String {
    match reason {
        Stay::Root { root, more } => {
            let more = if *more > 0 { format!(" and {more} more") } else { String::new() };
            format!("used by {}{more}", plain(&root.display().to_string()))
        }
        Stay::Pinned { pin, note: None } => format!("pinned by {pin}"),
        Stay::Pinned { pin, note: Some(note) } => format!("pinned by {pin}: \"{}\"", plain(note)),
        Stay::NewestVersion => match rules.keep_versions.unwrap_or_default() {
            1 => "newest version".into(),
            keep => format!("newest {keep} versions"),
        },
        Stay::RecentlyUsed => "recently used".into(),
        Stay::Postponed => "left for the next time".into(),
        Stay::NoRule => "no rule is about it".into(),
    }
}
