//! Whether an archive works only at the path of its buildout: what in it contains that path.
//!
//! Every byte is searched (`crate::util::path_search`), not only what is known to hold paths: scripts,
//! `.pth` files and run paths of libraries, but also what a recipe or `configure` has written. Bytecode does
//! not count, since Python corrects the path in it at its import.

use std::collections::HashSet;
use std::path::Path;

use crate::buildout::INSTALLED;
use crate::egg::bytecode;
use crate::ops::check;

use super::manifest::{BundleEntry, EntryKind};

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
    /// buildout at `root`.
    pub fn new(
        root: &Path,
        entries: &[BundleEntry],
        contain: &[bool],
        notes: &[check::Finding],
    ) -> Self {
        let mut all = Self::default();
        if root.parent().is_none() {
            return all;
        }
        // Symlinks that come back by the name of the buildout's folder are among them.
        let notes = notes.iter().filter(|note| note.kind == check::FindingKind::NotRelocatable);
        let tied: HashSet<&Path> = notes.map(|note| note.path.as_path()).collect();
        for (entry, contains) in entries.iter().zip(contain) {
            let path = entry.path.as_str();
            let is_symlink = matches!(entry.kind, EntryKind::Symlink { .. });
            if bytecode::is_bytecode(path) && !is_symlink {
                continue;
            }
            if *contains && is_record(path) {
                all.records.push(path.to_owned());
            } else if *contains || (is_symlink && tied.contains(Path::new(path))) {
                all.bound.push(path.to_owned());
            }
        }
        all
    }
}

/// Whether only buildout or pip reads a file, and not the application.
fn is_record(path: &str) -> bool {
    path == INSTALLED || path.ends_with(".egg-link") || path.ends_with(".dist-info/direct_url.json")
}
