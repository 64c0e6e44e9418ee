//! Whether an archive works only at the path of its buildout: what in it contains that path.
//!
//! Every byte is searched (`crate::util::path_search`), not only what is known to hold paths: scripts,
//! `.pth` files and run paths of libraries, but also what a recipe or `configure` has written. Which files
//! count is decided by `crate::buildout::relocation`, for a check of the unpacked archive too.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::buildout::Buildout;
use crate::buildout::relocation::Reader;
use crate::ops::check;

use super::manifest::BundleEntry;

/// What in an archive contains the path of the buildout.
#[derive(Debug, Default)]
pub struct Bound {
    /// What the buildout needs when it runs.
    pub bound: Vec<String>,
    /// What only the next run of buildout or pip reads.
    pub records: Vec<String>,
}

impl Bound {
    /// `contain` has for each entry whether it contains the path. `notes` are those of the check of the
    /// buildout.
    pub fn new(
        buildout: &Buildout,
        entries: &[BundleEntry],
        contain: &[bool],
        notes: &[check::Finding],
    ) -> Self {
        let mut all = Self::default();
        if buildout.boundary.root().parent().is_none() {
            return all;
        }
        // Among them are those with another path of the folder, and symlinks that come back by its name.
        let notes = notes.iter().filter(|note| note.kind == check::FindingKind::NotRelocatable);
        let tied: HashSet<&Path> = notes.map(|note| note.path.as_path()).collect();
        for (entry, contains) in entries.iter().zip(contain) {
            if !contains && !tied.contains(Path::new(&entry.path)) {
                continue;
            }
            match buildout.reader_of(Path::new(&entry.path)) {
                Reader::Application => all.bound.push(entry.path.clone()),
                Reader::NextRun => all.records.push(entry.path.clone()),
                Reader::Nobody => {}
            }
        }
        all
    }

    /// The folders that files of the archive may name as that of the buildout.
    pub fn folders(&self, buildout: &Buildout) -> Vec<String> {
        let root = buildout.boundary.root();
        let own = (!self.bound.is_empty() || !self.records.is_empty()).then_some(root);
        let earlier = buildout.unpacked().folders().iter().map(PathBuf::as_path);
        let earlier = earlier.filter(|folder| *folder != root);
        own.into_iter().chain(earlier).map(|folder| folder.to_string_lossy().into_owned()).collect()
    }
}
