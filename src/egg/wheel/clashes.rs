//! Paths that a file system may take for one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::reason::Reason;

/// The most directories, and the most bytes that their paths have together. The path of a directory has
/// those of all above it as beginnings, so a few deep paths are many bytes.
const MAX_DIRECTORIES: u64 = 100_000;
const MAX_LENGTH: u64 = 16 << 20;

/// Refuses two files with paths that a file system may take for one, and a file in the place of a
/// directory. Refuses too many directories, so that others may list them.
pub fn check<'a>(files: impl IntoIterator<Item = &'a str>) -> Result<(), Reason> {
    let mut known = Known::default();
    files.into_iter().try_for_each(|file| known.add_file(file))
}

/// Files and the directories above them.
#[derive(Default)]
struct Known<'a> {
    /// The path, and whether it is a directory, by the path in lower case.
    paths: HashMap<String, (&'a str, bool)>,
    directories: u64,
    /// Of the paths of all directories.
    length: u64,
}

impl<'a> Known<'a> {
    fn add_file(&mut self, file: &'a str) -> Result<(), Reason> {
        if let Some((other, _)) = self.add(file, false) {
            return Err(clash(other, file));
        }
        for (at, _) in file.rmatch_indices('/') {
            let directory = &file[..at];
            match self.add(directory, true) {
                None => self.count(directory)?,
                // All directories above it are known as well.
                Some((other, true)) if other == directory => break,
                Some((other, _)) => return Err(clash(other, directory)),
            }
        }
        Ok(())
    }

    /// Adds a path, or returns the one that has its place.
    fn add(&mut self, path: &'a str, is_directory: bool) -> Option<(&'a str, bool)> {
        match self.paths.entry(path.to_lowercase()) {
            Entry::Occupied(known) => Some(*known.get()),
            Entry::Vacant(place) => {
                place.insert((path, is_directory));
                None
            }
        }
    }

    fn count(&mut self, directory: &str) -> Result<(), Reason> {
        self.directories += 1;
        self.length += directory.len() as u64;
        if self.directories > MAX_DIRECTORIES {
            return Err(Reason::TooMuch { what: "directories", most: MAX_DIRECTORIES });
        }
        if self.length > MAX_LENGTH {
            return Err(Reason::TooMuch {
                what: "bytes in paths of directories",
                most: MAX_LENGTH,
            });
        }
        Ok(())
    }
}

fn clash(one: &str, other: &str) -> Reason {
    Reason::Clash { one: one.to_owned(), other: other.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(files: &[&str]) -> String {
        check(files.iter().copied()).map_or_else(|reason| reason.to_string(), |()| String::new())
    }

    #[test]
    fn paths_in_the_same_directories_are_no_clash() {
        assert_eq!(problem(&["a/b/c", "a/b/d", "a/e", "f", "a/b/g/h"]), "");
        assert_eq!(problem(&["a.py", "a/b.py", "../../a"]), "");
    }

    #[test]
    fn files_and_directories_clash_in_any_order() {
        for [one, other] in
            [["a", "a"], ["a", "A"], ["a", "a/b"], ["a", "A/b"], ["a/b", "A/c"], ["a/b/c", "a/B/d"]]
        {
            for files in [[one, other], [other, one]] {
                assert!(problem(&files).contains("are one file"), "{files:?}");
            }
        }
    }

    #[test]
    fn directories_are_bounded_by_number_and_length() {
        let deep = |top: usize| format!("{top}/{}x", "a/".repeat(2000));
        // The paths of the directories of each file have 4 MB.
        let files: Vec<String> = (0..5).map(deep).collect();
        let problem = |files: &[String]| check(files.iter().map(String::as_str));
        assert!(problem(&files[..4]).is_ok());
        let found = problem(&files).unwrap_err().to_string();
        assert!(found.contains("bytes in paths of directories"), "{found}");
        let many: Vec<String> = (0..=MAX_DIRECTORIES).map(|it| format!("{it}/x")).collect();
        let found = problem(&many).unwrap_err().to_string();
        assert_eq!(found, "it has more than 100000 directories");
    }
}
