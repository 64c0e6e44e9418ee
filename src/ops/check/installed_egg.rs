//! An egg as it is installed in a buildout.

use std::path::{Path, PathBuf};

use crate::egg::manifest::{Entry, EntryKind};
use crate::egg::scan::{self, Linked};
use crate::error::Error;

/// An egg as it stands in the buildout.
#[derive(Debug)]
pub struct InstalledEgg {
    pub path: PathBuf,
    /// Empty if the egg cannot be listed.
    pub file_name: String,
    pub entries: Vec<Entry>,
    pub linked: Linked,
    /// Why it cannot be listed.
    pub unsound: Option<String>,
}

impl InstalledEgg {
    #[must_use]
    pub fn new(path: &Path) -> Self {
        let (listed, unsound) = match scan::list_linked(path) {
            Ok(listed) => (listed, None),
            Err(Error::UnsoundEgg { path: found, reason }) if found == path => {
                (<_>::default(), Some(reason))
            }
            Err(Error::UnsoundEgg { path, reason }) => (
                <_>::default(),
                Some(format!("holds what no egg can hold: {}: {reason}", path.display())),
            ),
            Err(error) => (<_>::default(), Some(error.to_string())),
        };
        let file_name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let (entries, linked) = listed;
        let file_name = file_name.unwrap_or_default();
        Self { path: path.to_owned(), file_name, entries, linked, unsound }
    }

    #[must_use]
    pub fn bytes(&self) -> u64 {
        let size = |entry: &Entry| match entry.kind {
            EntryKind::File { size, .. } => size,
            _ => 0,
        };
        self.entries.iter().map(size).sum()
    }

    #[must_use]
    pub fn files(&self) -> u64 {
        let files = self.entries.iter().filter(|it| matches!(it.kind, EntryKind::File { .. }));
        files.count() as u64
    }
}
