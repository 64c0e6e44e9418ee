//! What tells the entries that are there from those that a manifest names.

use std::collections::HashMap;

use crate::manifest::{Entry, EntryKind, Manifest};

/// Whether an entry may be there that no manifest names: Python adds them to an egg that is used.
#[must_use]
pub fn is_bytecode(entry: &Entry) -> bool {
    entry.path.as_str().ends_with(".pyc") || entry.path.file_name() == "__pycache__"
}

/// In what a directory is not the egg of `manifest`, told from names, kinds, sizes, modes and
/// mtimes. Bytecode that Python has added since, and what that does to the mtimes of directories,
/// is no difference.
#[must_use]
pub fn difference(manifest: &Manifest, found: &[Entry]) -> Option<String> {
    let expected: HashMap<&str, &Entry> =
        manifest.entries.iter().map(|entry| (entry.path.as_str(), entry)).collect();
    for entry in found {
        let path = entry.path.as_str();
        if !expected.contains_key(path) && !is_bytecode(entry) {
            return Some(format!("{path} is not part of it"));
        }
    }
    let found: HashMap<&str, &Entry> =
        found.iter().map(|entry| (entry.path.as_str(), entry)).collect();
    manifest.entries.iter().find_map(|expected| {
        let path = &expected.path;
        let Some(found) = found.get(path.as_str()) else {
            return Some(format!("{path} is missing"));
        };
        let what = match (&expected.kind, &found.kind) {
            (EntryKind::File { size, .. }, EntryKind::File { size: other, .. }) => {
                if size != other {
                    "size"
                } else if expected.mtime != found.mtime {
                    "mtime"
                } else {
                    "mode"
                }
            }
            (EntryKind::Symlink { target }, EntryKind::Symlink { target: other }) => {
                if target == other { "mode" } else { "target" }
            }
            (EntryKind::Directory, EntryKind::Directory) => "mode",
            _ => "kind",
        };
        let differs = what != "mode" || expected.mode != found.mode;
        let subject = if path.is_root() { "it".to_owned() } else { path.to_string() };
        differs.then(|| format!("{subject} has another {what}"))
    })
}
