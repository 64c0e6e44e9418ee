//! Searching content for a path, piece by piece.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use memchr::memmem::Finder;

/// A path that is searched for.
#[derive(Debug)]
pub struct SoughtPath(Finder<'static>);

/// A search in one file, which is read piece by piece.
#[derive(Debug)]
pub struct Search<'a> {
    path: &'a SoughtPath,
    /// The end of the pieces so far, as long as a path can begin in it.
    tail: Vec<u8>,
    found: bool,
}

impl SoughtPath {
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self(Finder::new(path.as_os_str().as_bytes()).into_owned())
    }

    /// A search that begins.
    #[must_use]
    pub fn search(&self) -> Search<'_> {
        Search { path: self, tail: Vec::new(), found: false }
    }

    /// Whether the path is in a text.
    #[must_use]
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
        let length = self.path.len();
        let next = |at: usize| self.tail.get(at + length);
        // The last one may go on in the next piece.
        let is_whole = |at| next(at).is_some_and(|byte| !is_of_name(*byte));
        self.found = self.path.0.find_iter(&self.tail).any(is_whole);
        let rest = self.tail.len().saturating_sub(length);
        self.tail.drain(..rest);
    }

    /// Whether the path was found.
    #[must_use]
    pub fn finish(self) -> bool {
        self.found || self.tail == self.path.0.needle()
    }
}

/// Whether a name of a file goes on with this byte: `/srv/app` is not in `/srv/app-2`.
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.+~@".contains(&byte) || !byte.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_found_in_any_pieces() {
        let path = SoughtPath::new(Path::new("/srv/app"));
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
            assert_eq!(path.is_in(text.as_bytes()), expected, "{text}");
            for size in 1..text.len() {
                let mut search = path.search();
                text.as_bytes().chunks(size).for_each(|piece| search.add(piece));
                assert_eq!(search.finish(), expected, "{text} in pieces of {size}");
            }
        }
    }
}
