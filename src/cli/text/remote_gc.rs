//! What `remote gc` does and why.

use std::fmt::Write;

use crate::cache::retention::plan::{Reason, Rules};
use crate::ops::remote::gc::Report;

use super::gc::{rows, stays};
use super::{counted, eggs, plain, size, span};
use crate::cli::print::Text;

pub fn collected(report: &Report, verbose: bool) -> Text {
    let mut text = Text { summary: summary(report), ..Text::default() };
    text.problems.extend(
        report
            .unreadable
            .iter()
            .map(|what| format!("{what}; what this buildout uses is not kept until it runs again")),
    );
    let would = if report.dry_run { "would remove" } else { "removed" };
    for refused in &report.refused {
        let done = if refused.removed { would } else { "left" };
        text.notes.push(format!("{}: {}; {done}", plain(&refused.what), plain(&refused.reason)));
    }
    if report.refused.iter().any(|refused| !refused.removed) {
        text.notes.push("--untrusted removes what no trusted key has signed".into());
    }
    if report.blocked {
        text.notes.push("no blob goes, as an entry is a newer eggcache's: use that one".into());
    }
    let going = report.evicted.iter().map(|it| (&it.egg, goes(it.reason, &report.rules)));
    let staying = report.kept_eggs.iter().map(|it| (&it.egg, stays(&it.reason, &report.rules)));
    text.data = if verbose {
        let going = going.map(|(egg, reason)| ("goes", egg, reason));
        let staying = staying.map(|(egg, reason)| {
            let reason = if reason == "recently used" { "young enough".into() } else { reason };
            ("stays", egg, reason)
        });
        rows("pushed", going.chain(staying), true)
    } else {
        rows("pushed", going.map(|(egg, reason)| ("", egg, reason)), false)
    };
    text
}

fn goes(reason: Reason, rules: &Rules) -> String {
    match reason {
        Reason::MaxAge => format!("older than {}", span(rules.max_age.unwrap_or_default())),
        Reason::KeepVersions => "superseded version".into(),
        Reason::MaxSize => "over the size limit".into(),
    }
}

fn summary(report: &Report) -> String {
    let mut summary = format!(
        "remote {}: {} {} and {}, {}; {} {}, {}",
        report.remote,
        if report.dry_run { "would remove" } else { "removed" },
        eggs(report.evicted.len() + report.refused.iter().filter(|it| it.removed).count()),
        counted(report.blobs, "blob"),
        size(report.freed_bytes),
        eggs(report.kept),
        if report.kept == 1 { "stays" } else { "stay" },
        size(report.kept_bytes)
    );
    if report.young_blobs > 0 {
        let young = counted(report.young_blobs, "blob");
        let _ = write!(summary, "; {young} that nothing names left for now, too young");
    }
    if report.leases > 0 {
        let _ = write!(summary, "; {}", counted(report.leases, "old lease"));
    }
    summary
}
