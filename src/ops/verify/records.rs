//! Verifying the records of a cache that a command needs to decide something: pins, roots and
//! withdrawals. A command that needs one that is damaged fails, or is careful.

use std::path::PathBuf;

use crate::cache::retention::{pins, roots};
use crate::cache::{Cache, Missing};
use crate::error::{Error, Result};
use crate::remote::withdrawals::contents;
use crate::remote::withdrawals::record as withdrawals;

use super::{Problem, ProblemKind, quarantined};

/// A record that cannot be read, with what its loss means.
struct Unreadable {
    path: PathBuf,
    error: Error,
    loss: &'static str,
}

/// Problems with records, each with its repair if it was repaired.
pub fn check(cache: &mut Cache, repair: bool) -> Result<Vec<Problem>> {
    if cache.missing() == Some(Missing::Cache) {
        return Ok(Vec::new());
    }
    let mut problems = Vec::new();
    for Unreadable { path, error, loss } in unreadable(cache)? {
        let kind = if error.is_forbidden() { ProblemKind::Unreadable } else { ProblemKind::Record };
        let what = match error {
            Error::DamagedRecord { reason, .. } => format!("damaged: {reason}"),
            error => error.to_string(),
        };
        let mut problem = Problem::new(kind, path, what);
        if repair && kind == ProblemKind::Record {
            let to = cache.quarantine_record(&problem.path)?;
            problem.repair = Some(format!("{}; {loss}", quarantined(&to)));
        }
        problems.push(problem);
    }
    Ok(problems)
}

fn unreadable(cache: &Cache) -> Result<Vec<Unreadable>> {
    let mut all = Vec::new();
    let mut add = |dir: &str, found: Vec<(String, Error)>, loss| {
        all.extend(found.into_iter().map(|(name, error)| Unreadable {
            path: cache.root().join(dir).join(name),
            error,
            loss,
        }));
    };
    let dir = cache.dir();
    add(pins::DIR, pins::unreadable(dir)?, "the eggs of this pin can be evicted");
    add(roots::DIR, roots::unreadable(dir)?, "the next run of that buildout records it again");
    add(
        withdrawals::DIR,
        withdrawals::unreadable(dir)?,
        "the next run reads the list of this remote again",
    );
    add(
        withdrawals::DIR,
        contents::unreadable(dir).into_iter().collect(),
        "copies of withdrawn builds that the cache no longer has are not known any more",
    );
    Ok(all)
}
