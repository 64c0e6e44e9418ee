//! Automatic `gc`: runs after a buildout that has succeeded, if the policy of the cache says so, at most
//! once a day and for a short time.
//!
//! # Order of writes
//! The process locks `gc/lock` with `flock`, which ends with the process, and checks the time of the last
//! run again. Nobody can open that file who cannot write the cache, so nobody else can lock it. It writes
//! the time to `gc/last.json`, durably, before it evicts. So no two processes collect at the same time, and
//! if one dies, the next one runs a day later.

use std::fs::{File, TryLockError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::cache::Cache;
use crate::cache::retention::policy::Policy;
use crate::disk::dir::Dir;
use crate::disk::json_file;
use crate::disk::permissions::Kind;
use crate::disk::temp;
use crate::error::{OrLog, Result};
use crate::ops::gc;
use crate::util::clock::now;
use crate::util::progress::Silent;

/// Time between two runs, in seconds.
const PERIOD: i64 = 86_400;
/// How long one run evicts eggs. The rest is evicted in the next run.
const LIMIT: Duration = Duration::from_secs(20);
const DIR: &str = "gc";
const LAST: &str = "gc/last.json";
const LOCK: &str = "lock";

/// The last run, for people who read the file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Last {
    /// Seconds since the Unix epoch.
    at: i64,
    evicted: usize,
    freed_bytes: u64,
    /// Eggs that are left for the next run.
    postponed: usize,
    /// Why the run ended early.
    error: Option<String>,
}

/// Collects garbage if it is time. `gc/last.json` has the error if that fails, because buildout has ended.
pub fn collect(cache: &mut Cache) {
    try_collect(cache).or_log();
}

fn try_collect(cache: &mut Cache) -> Result<()> {
    let policy = Policy::read(cache.root())?;
    let root = cache.dir().clone();
    if !policy.auto || cache.check_writable().is_err() || !is_due(&root) {
        return Ok(());
    }
    let dir = json_file::make_dir(&root, DIR)?;
    // Without the lock, two processes may collect at the same time, without harm.
    let lock = open_lock(&dir);
    if lock.as_ref().is_some_and(is_locked_by_another) || !is_due(&root) {
        return Ok(());
    }
    temp::sweep(&dir)?;
    let mut last = Last { at: now(), ..Last::default() };
    json_file::write(&root, LAST, &last)?;
    let options = gc::Options {
        rules: policy.rules,
        grace: policy.grace,
        time_limit: Some(LIMIT),
        ..gc::Options::default()
    };
    match gc::gc(cache, &options, &Silent) {
        Ok(report) => {
            (last.evicted, last.freed_bytes) = (report.evicted.len(), report.freed_bytes);
            last.postponed = report.postponed;
        }
        Err(error) => {
            warn!(%error, "garbage was not collected");
            last.error = Some(error.to_string());
        }
    }
    json_file::write(&root, LAST, &last)
}

fn is_due(root: &Dir) -> bool {
    let last = json_file::read::<Last>(root, LAST).or_log().flatten();
    // A wrong clock has written a time in the future.
    last.is_none_or(|last| !(0..PERIOD).contains(&(now() - last.at)))
}

/// Opens the file that is locked while a process collects.
fn open_lock(dir: &Dir) -> Option<File> {
    // Only a new file gets the rights of the cache: one that is there can have been moved there.
    match dir.create(LOCK, 0o600) {
        Ok(new) => {
            dir.rights().and_then(|rights| rights.give(&new, Kind::Lock)).or_log();
            Some(new)
        }
        Err(_) => dir.open_lock(LOCK).or_log(),
    }
}

fn is_locked_by_another(lock: &File) -> bool {
    matches!(lock.try_lock(), Err(TryLockError::WouldBlock))
}
