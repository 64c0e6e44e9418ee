//! The settings of the buildout in the current folder: whether it uses a cache, and its own eggs directory.

use std::path::Path;

use crate::buildout::CONFIGURATION;
use crate::buildout::options::{self, Found};
use crate::cache::Cache;
use crate::disk::boundary::Boundary;
use crate::util::progress::Silent;

use super::{Finding, Kind, Options};

/// What people write for `egg-cache`; buildout says only that it is unused.
const MISSPELT: [&str; 3] = ["eggcache", "egg_cache", "eggs-cache"];

pub(super) fn examine(root: &Path, options: &Options<'_>) -> Vec<Finding> {
    if !options.buildout.join(CONFIGURATION).is_file() {
        return Vec::new();
    }
    cache(root, options).into_iter().chain(eggs_directory(options)).collect()
}

/// Why the buildout runs without a cache, if it does. `root` is the cache of this command.
fn cache(root: &Path, options: &Options<'_>) -> Option<Finding> {
    let Options { buildout, user, .. } = options;
    match options::cache(buildout, user) {
        Some(Found { named: Some(_), .. }) => return None,
        Some(Found { named: None, file, .. }) => {
            let what =
                format!("egg-cache is empty in {}: buildout uses no cache here", file.display());
            return Some(Finding::fine(Kind::Setting, what));
        }
        None => {}
    }
    if let Some(wrong) = MISSPELT.into_iter().find(|it| options::is_set(buildout, user, it)) {
        let what = format!("buildout uses no cache here: {wrong} is not its option, but egg-cache");
        return Some(Finding::problem(Kind::Setting, what));
    }
    // A command line may have set it.
    let has_used = || {
        let cache = Cache::open_to_read_with(root, options.trust, &Silent).ok()?;
        cache.run_in(&buildout.canonicalize().ok()?)
    };
    if !options::is_local(buildout, user) || has_used().is_some() {
        return None;
    }
    let what = "buildout uses no cache here: no file sets its option egg-cache";
    Some(Finding::problem(Kind::Setting, what.into()))
}

/// The problem that no egg is copied into the buildout.
fn eggs_directory(options: &Options<'_>) -> Option<Finding> {
    let folder = options::eggs_directory(options.buildout, options.user);
    let boundary = Boundary::new(options.buildout).ok()?;
    let folder = std::path::absolute(folder).ok()?;
    if boundary.holds(&folder) {
        return None;
    }
    let what = format!(
        "the eggs directory is {}, outside of this buildout: it is not self-contained",
        boundary.real(&folder).display()
    );
    Some(Finding::problem(Kind::EggsDirectory, what))
}
