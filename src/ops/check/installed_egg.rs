//! An egg as it is installed in a buildout.

use std::path::{Path, PathBuf};

use crate::egg::files::{EggFiles, Identity, Linked, Listing, changes};
use crate::egg::manifest::{Entry, EntryKind};
use crate::error::{Error, Result};

/// An egg in a buildout, as its directory or zip file lists it.
#[derive(Debug)]
pub struct InstalledEgg {
    pub path: PathBuf,
    pub file_name: String,
    /// Empty if the egg cannot be listed.
    pub entries: Vec<Entry>,
    /// Of the egg itself, if it can be listed.
    pub identity: Option<Identity>,
    pub linked: Linked,
    /// Why the egg cannot be listed.
    pub unsound: Option<String>,
}

impl InstalledEgg {
    #[must_use]
    pub fn new(path: &Path) -> Self {
        let (listing, unsound) = match EggFiles::open(path).and_then(|files| files.list()) {
            Ok(listing) => (listing, None),
            Err(error) => (Listing::default(), Some(reason(error, path))),
        };
        let identity = listing.states.first().map(|state| state.identity);
        let Listing { entries, linked, .. } = listing;
        let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { path: path.to_owned(), file_name, entries, identity, linked, unsound }
    }

    /// Opens the egg again, to read its files.
    ///
    /// # Errors
    /// [`Error::UnsoundEgg`] if it was not listed, or if another one has taken its place.
    pub fn open(&self) -> Result<EggFiles> {
        match self.identity {
            Some(listed) => EggFiles::reopen(&self.path, listed),
            None => Err(changes(&self.path)),
        }
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
