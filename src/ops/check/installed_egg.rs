//! An egg as it is installed in a buildout.

use std::path::{Path, PathBuf};

use crate::egg::manifest::{Entry, EntryKind};
use crate::egg::scan::{self, Linked};
use crate::error::Error;

/// An egg in a buildout, as its directory or zip file lists it.
#[derive(Debug)]
pub struct InstalledEgg {
    pub path: PathBuf,
    pub file_name: String,
    /// Empty if the egg cannot be listed.
    pub entries: Vec<Entry>,
    pub linked: Linked,
    /// Why the egg cannot be listed.
    pub unsound: Option<String>,
}

impl InstalledEgg {
    #[must_use]
    pub fn new(path: &Path) -> Self {
        let ((entries, linked), unsound) = match scan::list_linked(path) {
            Ok(listed) => (listed, None),
            Err(error) => (<_>::default(), Some(reason(error, path))),
        };
        let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { path: path.to_owned(), file_name, entries, linked, unsound }
    }

    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.file_sizes().sum()
    }

    #[must_use]
    pub fn files(&self) -> u64 {
        self.file_sizes().count() as u64
    }

    fn file_sizes(&self) -> impl Iterator<Item = u64> {
        self.entries.iter().filter_map(|entry| match entry.kind {
            EntryKind::File { size, .. } => Some(size),
            _ => None,
        })
    }
}

/// Why the egg at `path` cannot be listed.
fn reason(error: Error, path: &Path) -> String {
    match error {
        Error::UnsoundEgg { path: found, reason } if found == path => reason,
        Error::UnsoundEgg { path, reason } => {
            format!("contains what no egg can contain: {}: {reason}", path.display())
        }
        error => error.to_string(),
    }
}
