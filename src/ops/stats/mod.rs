//! Stats: the contents of the cache, its hit rate, the time it has saved, and what the next gc would
//! evict.
//!
//! Time is linear in the number of eggs, apart from sorting. The report lists a bounded number of
//! projects, eggs, days, buildouts, pins and remotes, whatever the cache contains, and counts the rest.

mod growth;
mod html;
pub mod openmetrics;
mod pins;
mod pulled;
mod remotes;
mod roots;
mod sizes;

use std::path::PathBuf;

use serde::Serialize;

use crate::cache::Cache;
use crate::cache::parity::Parity;
use crate::cache::retention;
use crate::cache::retention::pins::{Pattern, Pin};
use crate::cache::retention::plan::{EvictReason, Evicted, Rules, plan};
use crate::cache::retention::protected::protected;
use crate::cache::retention::roots::{GRACE, KnownRoot};
use crate::cache::{DAY, Day, Regrets, Tally, day_of};
use crate::disk::temp;
use crate::egg::cached_egg::CachedEgg;
use crate::error::{Error, IoContext, Result};
use crate::util::clock::now;

pub use growth::Growth;
pub use pins::{PinUse, Pins};
pub use pulled::{Pulled, Source};
pub use remotes::{RemoteUse, Remotes};
pub use roots::{RootUse, Roots};
pub use sizes::{Bucket, Project, Sizes, Version};

/// How many of the largest eggs are listed.
const LARGEST: usize = 10;
/// How many of the eggs that the next gc would evict are listed.
const NEXT_EVICTED: usize = 100;

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The policy of the next gc, as in [`crate::ops::gc::Options`].
    pub rules: Rules,
    pub grace: Option<i64>,
    /// Where to write the report as an HTML page.
    pub html: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(serialize_with = "crate::disk::files::lossy")]
    pub cache: PathBuf,
    /// The time of the report, in seconds since the Unix epoch.
    pub at: i64,
    #[serde(flatten)]
    pub sizes: Sizes,
    pub largest: Vec<CachedEgg>,
    pub pulled: Pulled,
    pub roots: Roots,
    pub pins: Pins,
    pub remotes: Remotes,
    pub usage: Usage,
    /// Whether converted eggs equal those of pip, the newest result first.
    pub parity: Vec<Parity>,
    /// The days with any activity.
    pub days: Vec<Day>,
    /// The size of the cache at the end of each day on which it changed.
    pub growth: Vec<Growth>,
    pub next_gc: NextGc,
    pub regrets: Regrets,
    /// Why records of pins and roots cannot be read.
    pub unreadable: Vec<String>,
    /// The path of the HTML page, if one was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub html: Option<PathBuf>,
    /// Whether all counts were set to zero after this report.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reset: bool,
}

/// Activity, up to and including today.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Usage {
    pub last_7_days: Tally,
    pub last_30_days: Tally,
    pub all: Tally,
    /// The first day that was counted, in seconds since the Unix epoch; `None` if there is none.
    pub since: Option<i64>,
}

/// The result that `gc` would have now with the policy of the cache.
#[derive(Debug, Default, Serialize)]
pub struct NextGc {
    pub rules: Rules,
    pub eggs: usize,
    pub bytes: u64,
    pub kept: usize,
    pub kept_bytes: u64,
    /// How many eggs each rule would evict.
    pub by_age: usize,
    pub by_version: usize,
    pub by_size: usize,
    /// The first eggs that it would evict.
    pub first: Vec<Evicted>,
}

/// As [`stats`], and then sets the counts of use to zero.
pub fn stats_and_reset(cache: &mut Cache, options: &Options) -> Result<Report> {
    cache.check_writable()?;
    let report = stats(cache, options)?;
    cache.forget_usage()?;
    Ok(Report { reset: true, ..report })
}

/// Reports the contents of the cache and its use, and writes the page if the options ask for one.
pub fn stats(cache: &Cache, options: &Options) -> Result<Report> {
    let at = now();
    let eggs = cache.eggs()?;
    let days = cache.days()?;
    let growth = growth::growth(&eggs, &days);
    let sizes = Sizes::of(&eggs, at);
    let largest = largest(&eggs);
    let arrivals = cache.arrivals()?;
    let grace = options.grace.unwrap_or(GRACE);
    let (pinned, mut unreadable) = retention::pins::readable(cache.dir())?;
    let (known, unreadable_roots) = retention::roots::all(cache.dir(), at)?;
    unreadable.extend(unreadable_roots);
    let pulled = Pulled::of(&eggs, &arrivals);
    let roots = Roots::of(&known, &eggs, grace, at);
    let pins = Pins::of(&pinned, &eggs);
    let remotes = Remotes::of(cache, &eggs, &arrivals);
    let kept: Vec<KnownRoot> = known.into_iter().filter(|root| root.is_kept(grace, at)).collect();
    let next_gc = next_gc(eggs, options.rules, &pinned, &kept, at);
    let mut report = Report {
        cache: cache.root().to_owned(),
        at,
        sizes,
        largest,
        pulled,
        roots,
        pins,
        remotes,
        usage: usage(&days, at),
        parity: cache.parities()?,
        days,
        growth,
        next_gc,
        regrets: cache.regrets(at)?,
        unreadable: unreadable.iter().map(Error::to_string).collect(),
        html: None,
        reset: false,
    };
    if let Some(html) = &options.html {
        let page = html::page::page(&report);
        let path = std::path::absolute(html).at("write", html)?;
        if let Some(folder) = path.parent().filter(|it| !it.is_dir()) {
            return Err(Error::NoFolder { path: folder.to_owned() });
        }
        temp::write_durably_at(&path, page.as_bytes())?;
        report.html = Some(html.clone());
    }
    Ok(report)
}

fn largest(eggs: &[CachedEgg]) -> Vec<CachedEgg> {
    let mut order: Vec<&CachedEgg> = eggs.iter().collect();
    order.sort_unstable_by_key(|egg| (std::cmp::Reverse(egg.blob_bytes), egg.digest));
    order.into_iter().take(LARGEST).cloned().collect()
}

fn usage(days: &[Day], at: i64) -> Usage {
    let mut usage = Usage { since: days.first().map(|day| day.day), ..Usage::default() };
    let today = day_of(at);
    for Day { day, tally } in days {
        usage.all += *tally;
        let ago = today.saturating_sub(*day) / DAY;
        if ago < 30 {
            usage.last_30_days += *tally;
        }
        if ago < 7 {
            usage.last_7_days += *tally;
        }
    }
    usage
}

/// `roots` are those that keep their eggs.
fn next_gc(
    eggs: Vec<CachedEgg>,
    rules: Rules,
    pins: &[(Pin, Pattern)],
    roots: &[KnownRoot],
    at: i64,
) -> NextGc {
    let protected = protected(pins, &eggs, roots);
    let plan = plan(eggs, &rules, &protected, at);
    let evicted_by =
        |reason| plan.evicted.iter().filter(|evicted| evicted.reason == reason).count();
    NextGc {
        rules,
        eggs: plan.evicted.len(),
        bytes: plan.evicted.iter().map(|evicted| evicted.egg.blob_bytes).sum(),
        kept: plan.kept.len(),
        kept_bytes: plan.kept.iter().map(|kept| kept.egg.blob_bytes).sum(),
        by_age: evicted_by(EvictReason::MaxAge),
        by_version: evicted_by(EvictReason::KeepVersions),
        by_size: evicted_by(EvictReason::MaxSize),
        first: plan.evicted.into_iter().take(NEXT_EVICTED).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_is_today_and_the_six_days_before() {
        let tally = Tally { hits: 1, misses: 1, ..Tally::default() };
        let days: Vec<Day> = (0..40).map(|day| Day { day: day * DAY, tally }).collect();
        let usage = usage(&days, 39 * DAY + 5);
        let hits = [usage.last_7_days, usage.last_30_days, usage.all].map(|tally| tally.hits);
        assert_eq!((hits, usage.since), ([7, 30, 40], Some(0)));
        assert_eq!(super::usage(&[], 0).since, None);
    }
}
