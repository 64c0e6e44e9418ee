//! Remove: evict eggs by name.

use serde::Serialize;

use crate::cache::Cache;
use crate::cache::query::{self, Narrow};
use crate::cache::retention::kept_by::{Keepers, KeptBy};
use crate::cache::retention::plan::{EvictReason, Evicted};
use crate::egg::cached_egg::CachedEgg;
use crate::error::{Error, Result};
use crate::remote::withdrawals::record::Withdrawals;
use crate::util::clock::now;
use crate::util::progress::{Progress, Unit};

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Names of eggs, or patterns.
    pub eggs: Vec<String>,
    pub narrow: Narrow,
    /// Remove eggs that are pinned or used by a buildout, too.
    pub force: bool,
    /// As for [`crate::ops::gc`].
    pub grace: Option<i64>,
    pub dry_run: bool,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub dry_run: bool,
    pub removed: Vec<Named>,
    /// Eggs that are kept by a pin or a buildout. If there is one, no egg is removed.
    pub refused: Vec<Named>,
    pub freed_bytes: u64,
    /// Why records of roots cannot be read.
    pub unreadable: Vec<String>,
}

/// An egg to remove, and what keeps it.
#[derive(Debug, Serialize)]
pub struct Named {
    #[serde(flatten)]
    pub egg: CachedEgg,
    pub kept_by: KeptBy,
}

/// Removes eggs: either all of them, or none. What is withdrawn is kept by nothing.
///
/// # Errors
/// As [`query::named`], or [`Error::LockedFolder`].
pub fn remove(cache: &mut Cache, options: &Options, progress: &dyn Progress) -> Result<Report> {
    let eggs = query::named(cache, &options.eggs, &options.narrow)?;
    if !options.dry_run {
        cache.check_writable()?;
        eggs.iter().try_for_each(|egg| cache.check_removable(egg.digest))?;
    }
    let keepers = Keepers::read(cache.dir(), options.grace, now())?;
    let withdrawals = Withdrawals::of(cache.root())?;
    let named = eggs.into_iter().map(|egg| Named { kept_by: keepers.of(&egg), egg });
    let is_free =
        |it: &Named| options.force || it.kept_by.is_empty() || withdrawals.has(it.egg.digest);
    let (mut removed, refused): (Vec<Named>, Vec<Named>) = named.partition(is_free);
    if !options.dry_run && !refused.is_empty() {
        removed.clear();
    }
    if !options.dry_run && !removed.is_empty() {
        evict(cache, &removed, progress)?;
    }
    Ok(Report {
        dry_run: options.dry_run,
        freed_bytes: removed.iter().map(|it| it.egg.blob_bytes).sum(),
        removed,
        refused,
        unreadable: keepers.unreadable.iter().map(Error::to_string).collect(),
    })
}

fn evict(cache: &mut Cache, removed: &[Named], progress: &dyn Progress) -> Result<()> {
    let reason = EvictReason::Named;
    let evicted =
        |it: &Named| Evicted { egg: it.egg.clone(), reason, limit_bytes: 0, came_by: None };
    let evicted: Vec<Evicted> = removed.iter().map(evicted).collect();
    progress.begin("removing", evicted.len() as u64, Unit::Eggs);
    cache.evict(&evicted, None, |_| progress.advance(1))?;
    progress.end();
    cache.compact_arrivals()?;
    cache.take_ballast();
    Ok(())
}
