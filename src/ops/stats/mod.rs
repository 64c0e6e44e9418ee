//! Stats: what is in the cache, what it is good for, and what the next gc would take.
//!
//! Linear in the number of eggs, but for sorting. What is told of single projects, eggs and days is
//! bounded, whatever the cache holds, and the rest is counted.

mod growth;
mod html;
mod sizes;

use std::path::PathBuf;

use serde::Serialize;

use crate::cache::Cache;
use crate::cache::retention::pins;
use crate::cache::retention::plan::{Evicted, Reason, Rules, plan};
use crate::cache::retention::protected::protected;
use crate::cache::retention::roots::{self, GRACE};
use crate::cache::{DAY, Day, Regrets, Tally, day_of};
use crate::disk::temp;
use crate::egg::cached_egg::CachedEgg;
use crate::error::{Error, IoContext, Result};
use crate::util::clock::now;

pub use growth::Growth;
pub use sizes::{Bucket, Project, Sizes, Version};

/// How many of the largest eggs are told of.
const LARGEST: usize = 10;
/// How many of the eggs that the next gc takes are told of.
const GOING: usize = 100;

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What the next gc goes by, as [`crate::ops::gc::Options`].
    pub rules: Rules,
    pub grace: Option<i64>,
    /// Where to write a page with all of it.
    pub html: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(serialize_with = "crate::disk::files::lossy")]
    pub cache: PathBuf,
    /// When this was so, in seconds since the Unix epoch.
    pub at: i64,
    #[serde(flatten)]
    pub sizes: Sizes,
    pub largest: Vec<CachedEgg>,
    pub usage: Usage,
    /// The days on which something was done.
    pub days: Vec<Day>,
    /// What the cache held at the end of each day on which that changed.
    pub growth: Vec<Growth>,
    pub next_gc: NextGc,
    pub regrets: Regrets,
    /// What is wrong with the records of roots that cannot be read.
    pub unreadable: Vec<String>,
    /// Where the page is, if one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub html: Option<PathBuf>,
}

/// What was done, up to and with today.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Usage {
    pub last_7_days: Tally,
    pub last_30_days: Tally,
    pub all: Tally,
    /// The first day that was counted, in seconds since the Unix epoch; `None` if none was.
    pub since: Option<i64>,
}

/// What `gc` would do now by the policy of the cache.
#[derive(Debug, Default, Serialize)]
pub struct NextGc {
    pub rules: Rules,
    pub eggs: usize,
    pub bytes: u64,
    pub kept: usize,
    pub kept_bytes: u64,
    /// How many eggs go by each rule.
    pub by_age: usize,
    pub by_version: usize,
    pub by_size: usize,
    /// The first eggs that go.
    pub first: Vec<Evicted>,
}

/// Tells what is in the cache and how it is used, and writes the page if one is wanted.
///
/// # Errors
/// If the index or the records cannot be read, or the page not be written.
pub fn stats(cache: &Cache, options: &Options) -> Result<Report> {
    let at = now();
    let eggs = cache.eggs()?;
    let days = cache.days()?;
    let growth = growth::growth(&eggs, &days);
    let sizes = Sizes::of(&eggs, at);
    let largest = largest(&eggs);
    let (next_gc, unreadable) = next_gc(cache, eggs, options, at)?;
    let mut report = Report {
        cache: cache.root().to_owned(),
        at,
        sizes,
        largest,
        usage: usage(&days, at),
        days,
        growth,
        next_gc,
        regrets: cache.regrets(at)?,
        unreadable: unreadable.iter().map(Error::to_string).collect(),
        html: None,
    };
    if let Some(html) = &options.html {
        let page = html::page::page(&report);
        let path = std::path::absolute(html).at("write", html)?;
        temp::write_durably(&path, page.as_bytes())?;
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

fn next_gc(
    cache: &Cache,
    eggs: Vec<CachedEgg>,
    options: &Options,
    at: i64,
) -> Result<(NextGc, Vec<Error>)> {
    let (mut roots, unreadable) = roots::all(cache.root(), at)?;
    roots.retain(|root| root.is_kept(options.grace.unwrap_or(GRACE), at));
    let held = protected(&pins::all(cache.root())?, &eggs, &roots);
    let plan = plan(eggs, &options.rules, &held, at);
    let goes_by = |reason| plan.evicted.iter().filter(|it| it.reason == reason).count();
    let next = NextGc {
        rules: options.rules,
        eggs: plan.evicted.len(),
        bytes: plan.evicted.iter().map(|it| it.egg.blob_bytes).sum(),
        kept: plan.kept.len(),
        kept_bytes: plan.kept.iter().map(|it| it.egg.blob_bytes).sum(),
        by_age: goes_by(Reason::MaxAge),
        by_version: goes_by(Reason::KeepVersions),
        by_size: goes_by(Reason::MaxSize),
        first: plan.evicted.into_iter().take(GOING).collect(),
    };
    Ok((next, unreadable))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_is_seven_days_with_today() {
        let tally = Tally { hits: 1, misses: 1, ..Tally::default() };
        let days: Vec<Day> = (0..40).map(|day| Day { day: day * DAY, tally }).collect();
        let usage = usage(&days, 39 * DAY + 5);
        let hits = [usage.last_7_days, usage.last_30_days, usage.all].map(|it| it.hits);
        assert_eq!((hits, usage.since), ([7, 30, 40], Some(0)));
        assert_eq!(super::usage(&[], 0).since, None);
    }
}
