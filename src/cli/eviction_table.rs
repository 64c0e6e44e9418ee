//! The eggs that a garbage collection evicts and keeps, each with the reason.

use crate::cache::retention::plan::{EvictReason, Evicted, KeepReason, Kept, Rules};
use crate::cache::retention::signed_by::CameBy;
use crate::egg::cached_egg::CachedEgg;
use crate::util::clock::shown_minute;
use crate::util::units::{shown_size, shown_span};

use super::table::{align_right, fitted, table};

/// What the age of an egg is counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgeSince {
    /// The last use of an egg in the cache.
    Use,
    /// The push of an egg to a remote.
    Push,
}

/// The eggs that go; with `verbose` also those that stay.
pub fn eviction_table(
    evicted: &[Evicted],
    kept: &[Kept],
    rules: &Rules,
    since: AgeSince,
    verbose: bool,
) -> String {
    let time = match since {
        AgeSince::Use => "last used",
        AgeSince::Push => "pushed",
    };
    let mut table = if verbose {
        table(["egg", "size", time, "action", "reason"])
    } else {
        table(["egg", "size", time, "reason"])
    };
    let mut add = |egg: &CachedEgg, action: &str, reason: String| {
        let mut row =
            vec![egg.file_name.clone(), shown_size(egg.blob_bytes), shown_minute(egg.used_at)];
        row.extend(verbose.then(|| action.to_owned()));
        row.push(reason);
        table.add_row(row);
    };
    for evicted in evicted {
        add(&evicted.egg, "evict", why_evicted(evicted, rules, since));
    }
    for Kept { egg, reason } in kept.iter().filter(|_| verbose) {
        add(egg, "keep", why_kept(reason, rules, since));
    }
    align_right(&mut table, [1]);
    fitted(&mut table, &[2])
}

fn why_evicted(evicted: &Evicted, rules: &Rules, since: AgeSince) -> String {
    let reason = evicted.reason;
    if let Some(CameBy { key, remote, unchecked, despite }) = &evicted.came_by {
        let despite = despite.as_ref().map(|it| format!("; {}", why_kept(it, rules, since)));
        let despite = despite.unwrap_or_default();
        let unchecked = if *unchecked { " (not checked)" } else { "" };
        let signed = format!("signed by {key}{unchecked}{despite}");
        return match since {
            AgeSince::Use => format!("pulled from {remote}, {signed}"),
            AgeSince::Push => signed,
        };
    }
    match (reason, since) {
        (EvictReason::MaxAge, AgeSince::Push) => {
            format!("pushed more than {} ago", shown_span(rules.max_age.unwrap_or_default()))
        }
        _ => reason.text(rules),
    }
}

fn why_kept(reason: &KeepReason, rules: &Rules, since: AgeSince) -> String {
    match reason {
        KeepReason::Root { root, more } => {
            let more = if *more > 0 { format!(" and {more} more") } else { String::new() };
            format!("used by {}{more}", root.display())
        }
        KeepReason::Pinned { pin, note: None } => format!("pinned by {pin}"),
        KeepReason::Pinned { pin, note: Some(note) } => {
            format!("pinned by {pin}: \"{note}\"")
        }
        KeepReason::NewestVersion => match rules.keep_versions.unwrap_or_default() {
            1 => "newest version".into(),
            keep => format!("one of the newest {keep} versions"),
        },
        KeepReason::SlowToBuild => "slower to build for its size".into(),
        KeepReason::RecentlyUsed => match since {
            AgeSince::Use => "recently used".into(),
            AgeSince::Push => "recently pushed".into(),
        },
        KeepReason::Postponed => "postponed to the next run".into(),
        KeepReason::Locked => "its folder cannot be written".into(),
        KeepReason::NoRule => "no rule applies".into(),
    }
}
