//! Files that tie an unpacked bundle to the folder in which it was made.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::slice::from_ref;

use crate::buildout::Buildout;
use crate::disk::files;
use crate::egg::relocatable;
use crate::error::OrLog;
use crate::util::path_search::SoughtPath;

use super::report::{Finding, FindingKind};

/// Problems with files that still contain the only path at which an unpacked bundle works, if it is not
/// there. `known` are files that have a problem already. A run of buildout here may have written others anew.
pub fn bound_elsewhere(buildout: &Buildout, known: &BTreeSet<PathBuf>) -> Vec<Finding> {
    let problem = |(path, elsewhere): (&Path, &Path)| {
        if known.contains(path) || !contains(buildout, path, elsewhere) {
            return None;
        }
        let what = format!("contains {}, where the bundle was made", elsewhere.display());
        Some(Finding::new(FindingKind::Path, path, what))
    };
    buildout.bound_elsewhere().filter_map(problem).collect()
}

/// Whether a file of the buildout contains a path. Symlinks are judged by where they lead.
fn contains(buildout: &Buildout, path: &Path, sought: &Path) -> bool {
    let is_below = path.components().all(|it| matches!(it, Component::Normal(_)));
    let path = buildout.boundary.root().join(path);
    if !is_below || path.is_symlink() || !buildout.boundary.holds(&path) {
        return false;
    }
    let searched = files::open_file(&path)
        .and_then(|file| relocatable::contains_any(file, from_ref(&SoughtPath::new(sought))));
    searched.or_log().unwrap_or_default()
}
