//! Verifying who can read, change and write a cache. Closing it to others comes before everything else: it
//! begins with the cache directory, which closes all of it.

use std::collections::HashSet;
use std::path::PathBuf;

use crate::cache::{Cache, Missing};
use crate::error::{OrLog, Result};

use super::{Problem, ProblemKind};

/// Problems with the access to a cache, each with its repair if it was repaired.
pub fn check(cache: &mut Cache, repair: bool) -> Result<Vec<Problem>> {
    if cache.missing() == Some(Missing::Cache) {
        return Ok(Vec::new());
    }
    let mut problems = exposed(cache)?;
    if repair && !problems.is_empty() {
        cache.close_to_others().or_log();
        let remaining: HashSet<PathBuf> =
            exposed(cache)?.into_iter().map(|problem| problem.path).collect();
        for problem in &mut problems {
            if !remaining.contains(&problem.path) {
                problem.repair = Some("closed to others".into());
            }
        }
    }
    if let Some(strangers) = cache.strangers()? {
        let first = strangers.first;
        let entries = match strangers.entries {
            1 => "1 entry".to_owned(),
            entries => format!("{entries} entries"),
        };
        let path = first.path.display();
        let what = format!("{entries} of it cannot be written by all who use it: {path} ({first})");
        problems.push(Problem::new(ProblemKind::Owner, cache.root().to_owned(), what));
    }
    Ok(problems)
}

/// What others can change, or else that they can read the cache.
fn exposed(cache: &Cache) -> Result<Vec<Problem>> {
    let new = |path, what: String| Problem::new(ProblemKind::Exposed, path, what);
    let changeable = cache.exposures()?.into_iter();
    let mut problems: Vec<Problem> = changeable
        .map(|(path, exposure)| {
            let owner = crate::error::Owner::of_entry(&path);
            new(path, format!("{} ({owner})", exposure.of(&owner)))
        })
        .collect();
    if let Some(owner) = cache.readers()
        && !problems.iter().any(|problem| problem.path == cache.root())
    {
        problems.push(new(cache.root().to_owned(), format!("other users can read it ({owner})")));
    }
    Ok(problems)
}
