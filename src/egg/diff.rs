//! Differences between an egg on disk and a manifest.

use std::collections::HashMap;

use crate::egg::bytecode::is_bytecode;
use crate::egg::manifest::{Entry, EntryKind, Manifest};
use crate::egg::path::EggPath;

/// How one entry differs from a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DifferenceKind {
    Added,
    Missing,
    Kind,
    Size,
    Mtime,
    Target,
    /// The executable bit of a file.
    Mode,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference<'a> {
    pub path: &'a EggPath,
    pub kind: DifferenceKind,
}

/// All differences between an egg on disk and `manifest`, by name, kind, size, executable bit and mtime.
/// The fraction of a second that an archive has lost does not count. The mtimes of directories do not count:
/// adding a file changes them. Other permissions do not count either: they depend on the umask.
#[must_use]
pub fn differences<'a>(manifest: &'a Manifest, found: &'a [Entry]) -> Vec<Difference<'a>> {
    let by_path = |entries: &'a [Entry]| -> HashMap<&str, &Entry> {
        entries.iter().map(|entry| (entry.path.as_str(), entry)).collect()
    };
    let (expected, present) = (by_path(&manifest.entries), by_path(found));
    let added = found.iter().filter(|entry| !expected.contains_key(entry.path.as_str()));
    let added = added.map(|entry| Difference { path: &entry.path, kind: DifferenceKind::Added });
    let others = manifest.entries.iter().filter_map(|expected| {
        let path = &expected.path;
        let kind = match present.get(path.as_str()) {
            None => DifferenceKind::Missing,
            Some(found) => entry_difference(expected, found)?,
        };
        Some(Difference { path, kind })
    });
    added.chain(others).collect()
}

/// The first difference of an entry, apart from its content.
fn entry_difference(expected: &Entry, found: &Entry) -> Option<DifferenceKind> {
    let kind = match (&expected.kind, &found.kind) {
        (EntryKind::File { size, .. }, EntryKind::File { size: other, .. }) if size != other => {
            DifferenceKind::Size
        }
        (EntryKind::File { .. }, EntryKind::File { .. })
            if !found.mtime.is_copy_of(expected.mtime) =>
        {
            DifferenceKind::Mtime
        }
        (EntryKind::Symlink { target }, EntryKind::Symlink { target: other })
            if target != other =>
        {
            DifferenceKind::Target
        }
        (EntryKind::File { .. }, EntryKind::File { .. })
        | (EntryKind::Symlink { .. }, EntryKind::Symlink { .. })
        | (EntryKind::Directory, EntryKind::Directory) => DifferenceKind::Mode,
        _ => DifferenceKind::Kind,
    };
    let is_mode_same = expected.is_executable() == found.is_executable();
    (kind != DifferenceKind::Mode || !is_mode_same).then_some(kind)
}

/// The first difference, as a sentence. Added bytecode does not count.
#[must_use]
pub fn difference(manifest: &Manifest, found: &[Entry]) -> Option<String> {
    let added: HashMap<&str, &Entry> = found
        .iter()
        .filter(|entry| is_bytecode(entry.path.as_str()))
        .map(|it| (it.path.as_str(), it))
        .collect();
    let first = differences(manifest, found)
        .into_iter()
        .find(|it| it.kind != DifferenceKind::Added || !added.contains_key(it.path.as_str()))?;
    let path = first.path;
    let subject = if path.is_root() { "it".to_owned() } else { path.to_string() };
    let aspect = match first.kind {
        DifferenceKind::Added => return Some(format!("{path} is not part of it")),
        DifferenceKind::Missing => return Some(format!("{path} is missing")),
        DifferenceKind::Kind => "kind",
        DifferenceKind::Size => "size",
        DifferenceKind::Mtime => "mtime",
        DifferenceKind::Target => "target",
        DifferenceKind::Mode => "mode",
    };
    Some(format!("{subject} has another {aspect}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egg::manifest::Mtime;
    use crate::egg::manifest::tests::manifest;
    use crate::util::hash::digest::Digest;

    fn entry(path: &str, kind: EntryKind, mode: u32, mtime: i64) -> Entry {
        let path = if path.is_empty() { EggPath::root() } else { EggPath::new(path).unwrap() };
        Entry { path, mode, mtime: Mtime(mtime, 0), kind }
    }

    fn file(path: &str, size: u64, mode: u32, mtime: i64) -> Entry {
        entry(path, EntryKind::File { size, digest: Digest::of(b"") }, mode, mtime)
    }

    fn link(path: &str, target: &str) -> Entry {
        entry(path, EntryKind::Symlink { target: target.into() }, 0o777, 1)
    }

    #[test]
    fn all_differences_but_directory_mtimes_are_found() {
        let root = |mtime| entry("", EntryKind::Directory, 0o755, mtime);
        let manifest = manifest(vec![
            root(1),
            file("grown", 1, 0o644, 1),
            file("kept", 1, 0o644, 1),
            file("lost", 1, 0o644, 1),
            link("moved", "a"),
            file("mode", 1, 0o644, 1),
            file("now-link", 1, 0o644, 1),
            file("touched", 1, 0o644, 1),
        ]);
        let found = [
            root(2),
            file("__pycache__/a.pyc", 9, 0o644, 9),
            file("grown", 2, 0o644, 1),
            file("kept", 1, 0o600, 1),
            link("moved", "b"),
            file("mode", 1, 0o755, 1),
            file("new", 1, 0o644, 1),
            link("now-link", "a"),
            file("touched", 1, 0o644, 2),
        ];
        let all = differences(&manifest, &found);
        let all: Vec<(&str, DifferenceKind)> =
            all.iter().map(|it| (it.path.as_str(), it.kind)).collect();
        assert_eq!(
            all,
            [
                ("__pycache__/a.pyc", DifferenceKind::Added),
                ("new", DifferenceKind::Added),
                ("grown", DifferenceKind::Size),
                ("lost", DifferenceKind::Missing),
                ("moved", DifferenceKind::Target),
                ("mode", DifferenceKind::Mode),
                ("now-link", DifferenceKind::Kind),
                ("touched", DifferenceKind::Mtime),
            ]
        );
        assert_eq!(difference(&manifest, &found).unwrap(), "new is not part of it");
        assert_eq!(difference(&manifest, &manifest.entries), None);
    }
}
