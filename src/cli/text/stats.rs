//! What is in the cache, and what it is good for.

use std::fmt::Write;

use crate::cache::index::{DAY, Regrets, Tally};
use crate::egg::cached_egg::CachedEgg;
use crate::ops::stats::{NextGc, Project, Report};
use crate::util::units::{shown_count, shown_time};

use super::{align_right, counted as of, day, lines, plain, size, table};
use crate::cli::print::Text;

/// How many projects and eggs are told of.
const FEW: usize = 5;

pub fn counted(report: &Report) -> Text {
    let mut data = String::new();
    let mut line = |what: &str, value: String| {
        let _ = writeln!(data, "{what:<10}{value}");
    };
    let sizes = &report.sizes;
    line("cache", plain(&report.cache.display().to_string()));
    line(
        "eggs",
        format!(
            "{} in {} of {}",
            shown_count(sizes.eggs as u64),
            of(shown_count(sizes.version_count as u64), "version"),
            of(shown_count(sizes.project_count as u64), "project"),
        ),
    );
    line("on disk", on_disk(report));
    line("growth", format!("{} in 7 days, {} in 30", grown(report, 7), grown(report, 30)));
    line("next gc", next_gc(&report.next_gc));
    line("regrets", regrets(&report.regrets));
    if sizes.eggs > 0 {
        for part in [usage(report), projects(report), eggs(&report.largest)] {
            let _ = write!(data, "\n{part}");
        }
    }
    let wrote = report.html.as_ref().map(|path| format!("wrote {}", path.display()));
    Text {
        data,
        problems: report.unreadable.clone(),
        notes: untimed(&report.usage.all).into_iter().collect(),
        summary: wrote.unwrap_or_default(),
    }
}

fn on_disk(report: &Report) -> String {
    let sizes = &report.sizes;
    let mut text = format!("{}, for {} of content", size(sizes.blob_bytes), size(sizes.bytes));
    if let Some(saved) = sizes.saved_bytes() {
        let percent = percent(saved, sizes.bytes);
        let _ = write!(text, ": compression saves {}, {percent}", size(saved));
    }
    text
}

/// By how much the cache has grown in the last days, with today.
fn grown(report: &Report, days: i64) -> String {
    let recent = || report.growth.iter().filter(|it| it.day > report.at - days * DAY);
    let came: u64 = recent().map(|it| it.stored_bytes).sum();
    let went: u64 = recent().map(|it| it.evicted_bytes).sum();
    if came < went { format!("-{}", size(went - came)) } else { format!("+{}", size(came - went)) }
}

fn next_gc(next: &NextGc) -> String {
    let rules = &next.rules;
    if rules.max_age.is_none() && rules.max_size.is_none() && rules.keep_versions.is_none() {
        return "takes no egg: eggcache.toml in the cache has no rule".into();
    }
    if next.eggs == 0 {
        return "takes no egg".into();
    }
    let why = [
        (next.by_age, "too old"),
        (next.by_version, "superseded"),
        (next.by_size, "over the size limit"),
    ];
    let why = why.iter().filter(|(count, _)| *count > 0);
    let why: Vec<String> = why.map(|(count, what)| format!("{count} {what}")).collect();
    let eggs = of(shown_count(next.eggs as u64), "egg");
    format!(
        "takes {eggs}, {} ({}); `eggcache gc --dry-run` lists them",
        size(next.bytes),
        why.join(", ")
    )
}

fn regrets(regrets: &Regrets) -> String {
    let evicted = of(shown_count(regrets.evicted), "egg");
    match regrets {
        Regrets { evicted: 0, .. } => "nothing was evicted within a year".into(),
        Regrets { asked: 0, .. } => {
            format!("{evicted} evicted within a year, none was asked for again")
        }
        Regrets { asked, limit_bytes, .. } => format!(
            "{evicted} evicted within a year, {} asked for again; a limit of {} keeps such",
            shown_count(*asked),
            size(*limit_bytes)
        ),
    }
}

fn usage(report: &Report) -> String {
    let usage = &report.usage;
    let Some(since) = usage.since else { return "Nothing was asked for yet.\n".into() };
    let mut table = table(["", "runs", "hits", "misses", "hit rate", "copied", "time saved"]);
    let since = format!("since {}", day(since));
    for (period, tally) in [
        ("last 7 days", &usage.last_7_days),
        ("last 30 days", &usage.last_30_days),
        (since.as_str(), &usage.all),
    ] {
        let rate = tally.hit_rate().map(|rate| format!("{:.1}%", rate * 100.0));
        table.add_row([
            period.to_owned(),
            shown_count(tally.runs),
            shown_count(tally.hits),
            shown_count(tally.misses),
            rate.unwrap_or_else(|| "-".into()),
            size(tally.copied_bytes),
            shown_time(tally.saved_seconds),
        ]);
    }
    align_right(&mut table, [1, 2, 3, 4, 5, 6]);
    lines(&table)
}

fn untimed(all: &Tally) -> Option<String> {
    (all.untimed_hits > 0).then(|| {
        format!(
            "the build time of {} of {} is not known and not in the time saved",
            shown_count(all.untimed_hits),
            of(shown_count(all.hits), "hit")
        )
    })
}

fn projects(report: &Report) -> String {
    let mut table =
        table(["largest projects", "eggs", "versions", "on disk", "share", "last used"]);
    for project in report.sizes.projects.iter().take(FEW) {
        let Project { name, eggs, version_count, blob_bytes, used_at, .. } = project;
        table.add_row([
            plain(name),
            shown_count(*eggs as u64),
            shown_count(*version_count as u64),
            size(*blob_bytes),
            percent(*blob_bytes, report.sizes.blob_bytes),
            day(*used_at),
        ]);
    }
    align_right(&mut table, [1, 2, 3, 4]);
    lines(&table)
}

fn eggs(largest: &[CachedEgg]) -> String {
    let mut table = table(["largest eggs", "on disk", "content", "last used"]);
    for egg in largest.iter().take(FEW) {
        table.add_row([
            plain(&egg.file_name),
            size(egg.blob_bytes),
            size(egg.counts.bytes),
            day(egg.used_at),
        ]);
    }
    align_right(&mut table, [1, 2]);
    lines(&table)
}

#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
fn percent(part: u64, whole: u64) -> String {
    format!("{:.0}%", part as f64 * 100.0 / whole.max(1) as f64)
}
