//! Collecting by itself: `gc` after a buildout that has succeeded, if the policy of the cache says so,
//! at most once a day and for a short time.
//!
//! # Order of writes
//! Whoever collects holds a lock on `gc/` (`flock`, gone with its process), looks again when that was
//! last done, and notes the time in `gc/last.json`, durably, before it evicts. So no two do at once,
//! and one that dies is followed by another the next day.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::cache::retention::policy::Policy;
use crate::disk::json_file;
use crate::disk::permissions;
use crate::disk::temp;
use crate::error::Result;
use crate::ops::gc;
use crate::util::clock::now;
use crate::util::progress::Silent;

/// How often, in seconds.
const PERIOD: i64 = 86_400;
/// For how long eggs are evicted; the rest goes the next time.
const LIMIT: Duration = Duration::from_secs(20);
const LAST: &str = "last.json";

/// What was done last, for people who read it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Last {
    /// Seconds since the Unix epoch.
    at: i64,
    evicted: usize,
    freed_bytes: u64,
    /// Eggs that are left for the next time.
    postponed: usize,
    /// Why nothing more was done.
    error: Option<String>,
}

/// Collects if it is time. There is nobody to tell a failure to, so it is noted.
pub fn collect(cache: &mut Cache) {
    let _ = try_collect(cache);
}

fn try_collect(cache: &mut Cache) -> Result<()> {
    let policy = Policy::read(cache.root())?;
    let dir = cache.root().join("gc");
    if !policy.auto || cache.check_writable().is_err() || !is_due(&dir) {
        return Ok(());
    }
    permissions::make_dir(&dir)?;
    let Some(_lock) = lock(&dir).filter(|_| is_due(&dir)) else { return Ok(()) };
    temp::sweep(&dir)?;
    let mut last = Last { at: now(), ..Last::default() };
    json_file::write(&dir, LAST, &last)?;
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
        Err(error) => last.error = Some(error.to_string()),
    }
    json_file::write(&dir, LAST, &last)
}

fn is_due(dir: &Path) -> bool {
    let last = json_file::read::<Last>(&dir.join(LAST)).ok().flatten();
    // One of the future was noted by a clock that was wrong.
    last.is_none_or(|last| !(0..PERIOD).contains(&(now() - last.at)))
}

/// A lock that one process has at a time; `None` if another has it.
fn lock(dir: &Path) -> Option<File> {
    let file = File::open(dir).ok()?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => None,
        // A file system without locks: two that collect at once do each other no harm.
        _ => Some(file),
    }
}
