//! Reports of remotes as a person reads them.

use std::fmt::Write;

use crate::ops::remote::{configure, countersign, pull, push, verify};
use crate::remote::keys::Generated;
use crate::util::clock::{now, shown_day as day};

use super::{counted, eggs, lines, plain, size, table};
use crate::cli::print::{GOOD, Text};

pub fn listed(report: &configure::Report, options: &configure::Options) -> Text {
    use configure::Options;
    let mut text = Text::default();
    let name = report.remotes.first().map_or("", |it| it.remote.name.as_str());
    match options {
        Options::List => {}
        Options::Remove { .. } => {
            text.summary = format!("remote {name} is gone");
            return text;
        }
        Options::Add { .. } => text.summary = format!("remote {name} added"),
        Options::Trust { .. } | Options::Distrust { .. } => {
            text.summary = format!("remote {name} changed");
        }
    }
    if report.remotes.is_empty() {
        text.summary = "no remotes; `eggcache remote add NAME URL --key KEY` adds one".into();
        return text;
    }
    let mut rows = table(["remote", "address", "push", "trusted keys"]);
    for it in &report.remotes {
        let remote = &it.remote;
        let mut address = remote.url.to_string();
        if let Some(endpoint) = &remote.endpoint {
            let _ = write!(address, "\nat {endpoint}");
        }
        let keys: Vec<String> = remote.trusted.iter().zip(&it.key_ids).map(key).collect();
        let push = if remote.push { "yes" } else { "" };
        rows.add_row([&remote.name, &address, push, &keys.join("\n")]);
        if remote.trusted.is_empty() {
            text.notes.push(format!(
                "no key is trusted for {0}, so nothing of it is used: `eggcache trust {0} KEY`",
                remote.name
            ));
        }
    }
    text.data = lines(&rows);
    text
}

fn key((trusted, id): (&crate::remote::keys::Trusted, &String)) -> String {
    let mut line = id.clone();
    if let Some(until) = trusted.until {
        let word = if until <= now() { "expired" } else { "until" };
        let _ = write!(line, " {word} {}", day(until));
    }
    if let Some(note) = &trusted.note {
        let _ = write!(line, " ({})", plain(note));
    }
    line
}

pub fn generated(made: &Generated) -> Text {
    Text {
        data: format!("{}\n", made.key),
        notes: vec![format!(
            "the secret key is {}: whoever has it can sign, so keep it where only your builds are",
            made.secret.display()
        )],
        summary: format!(
            "key {}; trust it with `eggcache trust REMOTE {}`",
            made.id,
            made.public.display()
        ),
        ..Text::default()
    }
}

pub fn pushed(report: &push::Report, verbose: bool) -> Text {
    use push::Outcome;
    let mut text = Text::default();
    let (mut pushed, mut present, mut bytes) = (0, 0, 0);
    for egg in &report.eggs {
        let word = match &egg.outcome {
            Outcome::Pushed => {
                pushed += 1;
                bytes += egg.blob_bytes;
                "pushed "
            }
            Outcome::Present => {
                present += 1;
                "present"
            }
            Outcome::Other { existing } => {
                text.notes.push(format!(
                    "{} has another build of {} ({}), which stays: the first build wins",
                    report.remote,
                    egg.file_name,
                    existing.short()
                ));
                continue;
            }
            Outcome::Failed { reason } => {
                text.problems.push(format!("{}: {reason}", egg.file_name));
                continue;
            }
        };
        if verbose {
            let _ = writeln!(text.data, "{word}  {}  {}", egg.digest.short(), egg.file_name);
        }
    }
    text.summary = format!(
        "{} pushed to {} ({}), {present} already there",
        eggs(pushed),
        report.remote,
        size(bytes)
    );
    text
}

pub fn pulled(report: &pull::Report, verbose: bool) -> Text {
    use pull::Outcome;
    let mut text = Text::default();
    let (mut pulled, mut present, mut bytes) = (0, 0, 0);
    for egg in &report.eggs {
        let word = match &egg.outcome {
            Outcome::Pulled => {
                pulled += 1;
                bytes += egg.blob_bytes;
                "pulled "
            }
            Outcome::Present => {
                present += 1;
                "present"
            }
            Outcome::Other { existing } => {
                text.notes.push(format!(
                    "the cache has another build of {} ({}), which stays",
                    egg.file_name,
                    existing.short()
                ));
                continue;
            }
            Outcome::Failed { reason } => {
                text.problems.push(format!("{}: {reason}", egg.file_name));
                continue;
            }
        };
        if verbose {
            let line = (word, egg.digest.short(), &egg.remote, &egg.file_name);
            let _ = writeln!(text.data, "{}  {}  {}  {}", line.0, line.1, line.2, line.3);
        }
    }
    let failures = text.problems.len();
    let which =
        if report.complaints.is_empty() { "no remote" } else { "no remote that can be used" };
    text.problems.extend(report.missing.iter().map(|name| format!("{which} has {name}")));
    if failures == 0 {
        text.problems.extend(report.complaints.iter().cloned());
    }
    text.summary = format!("{} pulled ({}), {present} already there", eggs(pulled), size(bytes));
    text
}

pub fn verified(report: &verify::Report) -> Text {
    let mut text = Text::default();
    for problem in &report.problems {
        let of = match &problem.file_name {
            Some(egg) => format!("{} ({})", plain(egg), plain(&problem.name)),
            None => plain(&problem.name),
        };
        let what = plain(&problem.what);
        match &problem.repair {
            None => text.problems.push(format!("{of}: {what}")),
            Some(repair) => text.notes.push(format!("{of}: {what}; {repair}")),
        }
    }
    let bytes = if report.bytes > 0 {
        format!("{} of {} read", size(report.bytes), size(report.blob_bytes))
    } else {
        format!("{} not read", size(report.blob_bytes))
    };
    text.summary = format!(
        "remote {}: {}, {} ({bytes}), {}, {}: ",
        report.remote,
        counted(report.entries, "entrie").replace("1 entrie", "1 entry"),
        counted(report.blobs, "blob"),
        counted(report.lists, "list"),
        counted(report.sets, "set"),
    );
    let _ = match (text.problems.len(), text.notes.len()) {
        (0, 0) => write!(text.summary, "{GOOD}no problem{GOOD:#}"),
        (0, repaired) => {
            write!(text.summary, "{GOOD}{} repaired{GOOD:#}", counted(repaired, "problem"))
        }
        (count, 0) => write!(text.summary, "{}", counted(count, "problem")),
        (count, repaired) => {
            write!(text.summary, "{} repaired, {count} not", counted(repaired, "problem"))
        }
    };
    if !report.orphans.is_empty() {
        let _ = write!(
            text.summary,
            "; {} that nothing names ({}), which `eggcache remote gc` clears",
            counted(report.orphans.len(), "blob"),
            size(report.orphan_bytes)
        );
    }
    text
}

pub fn signed(report: &countersign::Report) -> Text {
    let mut text = Text::default();
    text.notes.extend(
        report
            .left
            .iter()
            .map(|left| format!("{} is left: {}", plain(&left.what), plain(&left.reason))),
    );
    text.summary = format!(
        "remote {}: {} signed with the key {}, {} had its signature, {} left",
        report.remote,
        eggs(report.signed),
        report.key,
        report.present,
        report.left.len()
    );
    text
}
