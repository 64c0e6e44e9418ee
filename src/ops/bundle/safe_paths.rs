//! Whether an archive can be unpacked without writing outside of its folder, judged by its manifest.
//!
//! A plain `tar x` writes wherever the names lead: through `..`, or through a symlink of the archive. So
//! every path is relative, occurs once, and is below folders of the archive only. Symlinks may lead
//! anywhere, as those of a virtual environment do, but nothing is behind one, nor behind another
//! spelling of it that some file systems do not distinguish.

use std::collections::HashMap;

use icu_normalizer::DecomposingNormalizer;

use crate::buildout::BUNDLE_MANIFEST;
use crate::egg::path::EggPath;

use super::manifest::{EntryKind, Manifest};
use super::verify::Problem;

/// Whether unpacking makes only folders below the current one, for the folder of the archive.
pub fn is_safe_prefix(prefix: &str) -> bool {
    prefix.is_empty() || EggPath::new(prefix).is_ok()
}

/// The entries that are not safe to unpack, each with one problem.
pub fn problems(manifest: &Manifest) -> Vec<Problem> {
    let mut kinds: HashMap<&str, &EntryKind> = HashMap::new();
    let mut problems = Vec::new();
    let mut add = |path: &str, what: String| {
        problems.push(Problem { path: manifest.member(path), what });
    };
    for entry in &manifest.entries {
        let path = entry.path.as_str();
        if EggPath::new(path).is_err() {
            add(path, "its path is not inside the archive".to_owned());
        } else if path == BUNDLE_MANIFEST {
            add(path, "has the name of the manifest".to_owned());
        } else if kinds.insert(path, &entry.kind).is_some() {
            add(path, "twice in the manifest".to_owned());
        }
    }
    for path in sorted(kinds.keys()) {
        if let Some(what) = above(manifest, &kinds, path) {
            add(path, what);
        }
    }
    for (path, other) in ambiguous_symlinks(&kinds) {
        let other = manifest.member(other);
        add(path, format!("a symlink that differs from {other} only by case or normalization"));
    }
    problems
}

/// What is wrong with the folder that an entry is in.
fn above(manifest: &Manifest, kinds: &HashMap<&str, &EntryKind>, path: &str) -> Option<String> {
    let (parent, _) = path.rsplit_once('/')?;
    let what = match kinds.get(parent) {
        Some(EntryKind::Directory) => return None,
        Some(_) => "is not a folder",
        None => "is not in the archive",
    };
    Some(format!("{} {what}", manifest.member(parent)))
}

/// The symlinks with a name that some file systems take for that of another entry, and the other entry.
fn ambiguous_symlinks<'a>(kinds: &HashMap<&'a str, &EntryKind>) -> Vec<(&'a str, &'a str)> {
    let mut spellings: HashMap<String, Vec<&str>> = HashMap::new();
    for path in sorted(kinds.keys()) {
        spellings.entry(folded(path)).or_default().push(path);
    }
    let is_symlink = |path: &str| matches!(kinds.get(path), Some(EntryKind::Symlink { .. }));
    let pair = |same: Vec<&'a str>| {
        let symlink = *same.iter().find(|path| is_symlink(path))?;
        Some((symlink, *same.iter().find(|path| **path != symlink)?))
    };
    let mut found: Vec<_> = spellings.into_values().filter_map(pair).collect();
    found.sort_unstable();
    found
}

fn sorted<'a: 'b, 'b>(paths: impl Iterator<Item = &'b &'a str>) -> Vec<&'a str> {
    let mut paths: Vec<&str> = paths.copied().collect();
    paths.sort_unstable();
    paths
}

/// A path as file systems compare it that ignore case and normalization.
fn folded(path: &str) -> String {
    if path.is_ascii() {
        return path.to_ascii_lowercase();
    }
    let normalizer = DecomposingNormalizer::new_nfd();
    let path = normalizer.normalize(path);
    // Via upper case, which maps more letters to the same one.
    let folded: String =
        path.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect();
    normalizer.normalize(&folded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_that_a_file_system_may_not_distinguish_are_equal() {
        for (one, other) in [
            ("Lib/A", "lib/a"),
            ("\u{212a}", "k"),
            ("\u{17f}", "S"),
            ("\u{e9}", "E\u{301}"),
            ("stra\u{df}e", "STRASSE"),
            ("\u{3c3}", "\u{3c2}"),
        ] {
            assert_eq!(folded(one), folded(other), "{one} {other}");
        }
        assert_ne!(folded("e"), folded("\u{e9}"));
    }

    #[test]
    fn a_safe_prefix_is_relative_and_normal() {
        assert!(["", "app", "a/b"].into_iter().all(is_safe_prefix));
        assert!(!["/", "/a", "..", "a/..", "a//b", "a/", "./a"].into_iter().any(is_safe_prefix));
    }
}
