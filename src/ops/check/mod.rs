//! Check: whether a buildout is self-contained, and whether its eggs are unchanged.
//!
//! A check reads files and runs nothing of the buildout. docs/reference/check.md lists the problems and notes.

mod bound;
mod break_links;
mod compare;
mod examine;
mod file_content;
mod inspection;
mod installed_egg;
mod libraries;
mod links;
mod references;
mod repair;
mod report;
mod restore;
mod verdict;
mod withdrawn;

use std::path::{Path, PathBuf};

use crate::buildout::Buildout;
use crate::cache::Cache;
use crate::disk::temp;
use crate::error::Result;
use crate::util::progress::Progress;
use crate::util::threads;

use inspection::Inspector;
pub use report::{Finding, FindingKind, Report};
use withdrawn::Withdrawn;

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The eggs directory; if absent, that of the buildout's configuration.
    pub eggs: Option<PathBuf>,
    /// Compare every byte, not only sizes and mtimes.
    pub full: bool,
    /// Restore changed eggs from the cache.
    pub repair: bool,
}

/// Checks the buildout in the folder `root`, to the end whatever the problems are. Without a cache,
/// nothing is compared or repaired.
///
/// # Errors
/// [`crate::error::Error::Usage`] if there is no buildout.
pub fn check(
    cache: Option<&Cache>,
    root: &Path,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Report> {
    threads::start_pool()?;
    let buildout = Buildout::open(root, options.eggs.as_deref())?;
    if let Some(cache) = cache.filter(|_| options.repair) {
        for folder in &buildout.eggs_directories {
            if buildout.may_change(folder) {
                temp::sweep(&repair::open_eggs_directory(folder)?)?;
                cache.begin_copies(folder)?;
            }
        }
    }
    let withdrawn = Withdrawn::of(cache, &buildout)?;
    let inspector =
        Inspector { cache, buildout: &buildout, withdrawn: &withdrawn, options, progress };
    let inspection = inspector.inspect()?;
    let mut report = inspector.report(&inspection);
    if options.repair {
        let repaired = inspector.repair(&inspection)?;
        if repaired.eggs > 0 {
            let after = inspector.report(&inspector.inspect()?);
            report = merged(report, after);
        }
        report.notes.extend(repaired.notes);
        report.sort();
    }
    Ok(report)
}

/// The report after a repair, with the problems that it has solved marked as repaired.
fn merged(before: Report, after: Report) -> Report {
    let restored = |finding: Finding| Finding { repair: Some("restored".into()), ..finding };
    let gone = before.problems.into_iter().filter(|problem| !after.problems.contains(problem));
    let problems = gone.map(restored).chain(after.problems.iter().cloned()).collect();
    Report { problems, ..after }
}
