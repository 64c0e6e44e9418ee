//! Whether an archive works only at the path of its buildout: what in it contains that path.
//!
//! Every byte is searched, not only what is known to hold paths: scripts, `.pth` files and run paths of
//! libraries, but also what a recipe or `configure` has written. Bytecode does not count, since Python
//! corrects the path in it at its import.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use memchr::memmem::Finder;

use crate::buildout::INSTALLED;
use crate::egg::bytecode;
use crate::ops::check;

use super::manifest::{BundleEntry, EntryKind};

/// The path of a buildout, to be searched for.
pub struct RootPath(Finder<'static>);

/// A search in one file, which is read piece by piece.
pub struct Search<'a> {
    root: &'a RootPath,
    /// The end of the pieces so far, as long as a path can begin in it.
    tail: Vec<u8>,
    found: bool,
}

/// What in an archive contains the path of the buildout.
#[derive(Debug, Default)]
pub struct Bound {
    /// What the buildout needs when it runs.
    pub bound: Vec<String>,
    /// What only the next run of buildout or pip reads.
    pub records: Vec<String>,
}

impl RootPath {
    pub fn new(root: &Path) -> Self {
        Self(Finder::new(root.as_os_str().as_bytes()).into_owned())
    }

    /// A search that begins.
    pub fn search(&self) -> Search<'_> {
        Search { root: self, tail: Vec::new(), found: false }
    }

    /// Whether the path is in a text.
    pub fn is_in(&self, text: &[u8]) -> bool {
        let mut search = self.search();
        search.add(text);
        search.finish()
    }

    fn len(&self) -> usize {
        self.0.needle().len()
    }
}

impl Search<'_> {
    /// Searches the next piece.
    pub fn add(&mut self, piece: &[u8]) {
        if self.found {
            return;
        }
        self.tail.extend_from_slice(piece);
        let length = self.root.len();
        let next = |at: usize| self.tail.get(at + length);
        // The last one may go on in the next piece.
        let is_whole = |at| next(at).is_some_and(|byte| !is_of_name(*byte));
        self.found = self.root.0.find_iter(&self.tail).any(is_whole);
        let rest = self.tail.len().saturating_sub(length);
        self.tail.drain(..rest);
    }

    /// Whether the path was found.
    pub fn finish(self) -> bool {
        self.found || self.tail == self.root.0.needle()
    }
}

/// Whether a name of a file goes on with this byte: `/srv/app` is not in `/srv/app-2`.
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.+~@".contains(&byte) || !byte.is_ascii()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_found_in_any_pieces() {
        let root = RootPath::new(Path::new("/srv/app"));
        let texts = [
            ("/srv/app", true),
            ("x=/srv/app/eggs", true),
            ("-I/srv/app'", true),
            ("/srv/app\0", true),
            ("/srv/app-2 /srv/apple", false),
            ("/srv/app-2:/srv/app:", true),
            ("/srv/ap", false),
            ("", false),
        ];
        for (text, expected) in texts {
            assert_eq!(root.is_in(text.as_bytes()), expected, "{text}");
            for size in 1..text.len() {
                let mut search = root.search();
                text.as_bytes().chunks(size).for_each(|piece| search.add(piece));
                assert_eq!(search.finish(), expected, "{text} in pieces of {size}");
            }
        }
    }
}
