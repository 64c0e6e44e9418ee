//! The manifest: the list of an egg's entries, with its key and file name.
//!
//! `encoding` reads and writes it as one JSON object on one line (docs/reference/format.md). The egg
//! digest is the BLAKE3 of exactly those bytes, so it names the egg's content and its key, no matter
//! how the content is stored.

mod encoding;

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};

use crate::disk::MAX_PATH;
use crate::egg::bytecode::is_bytecode;
use crate::egg::key::EggKey;
use crate::egg::name::EggName;
use crate::egg::path::{self, BadPath, EggPath};
use crate::util::hash::digest::Digest;

pub use encoding::FORMAT;

/// The mode bits that are kept: read, write and execute for owner, group and others.
pub const MODE_MASK: u32 = 0o777;
/// The most entries that an egg may have.
pub const MAX_ENTRIES: usize = 1 << 20;
/// The most symlinks that an egg may have: each is resolved when the manifest is checked.
pub const MAX_SYMLINKS: usize = 1 << 16;
/// The largest egg, in bytes of content: far above any real one, and low enough that no sum overflows.
pub const MAX_SIZE: u64 = 1 << 44;

/// The description of one egg: its key, its file name and all its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub key: EggKey,
    /// The name of the egg in an eggs directory.
    pub file_name: String,
    /// Sorted by path. The first is the egg itself: a directory, or a file for a zipped egg.
    pub entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub path: EggPath,
    /// Permission bits, of which only the executable bit of a file counts. For a symlink they have no meaning
    /// and are 0o777.
    pub mode: u32,
    pub mtime: Mtime,
    pub kind: EntryKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    Directory,
    File { size: u64, digest: Digest },
    Symlink { target: String },
}

/// Seconds since the Unix epoch, and nanoseconds into that second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mtime(pub i64, pub u32);

impl Entry {
    /// Whether this is a file that its owner may execute.
    #[must_use]
    pub fn is_executable(&self) -> bool {
        matches!(self.kind, EntryKind::File { .. }) && self.mode & 0o100 != 0
    }

    /// The mode with which the entry is made where it is extracted. The umask there, or the default ACL of
    /// the directory, removes bits of it, as it does when buildout builds an egg.
    #[must_use]
    pub fn open_mode(&self) -> u32 {
        match self.kind {
            EntryKind::File { .. } if !self.is_executable() => 0o666,
            _ => 0o777,
        }
    }

    /// The mode in a new manifest. It does not depend on the umask of the builder.
    #[must_use]
    pub fn plain_mode(&self) -> u32 {
        match self.kind {
            EntryKind::Symlink { .. } => MODE_MASK,
            _ => self.open_mode() & !0o022,
        }
    }
}

impl Mtime {
    #[must_use]
    pub fn of(metadata: &fs::Metadata) -> Self {
        Self(metadata.mtime(), u32::try_from(metadata.mtime_nsec()).unwrap_or_default())
    }

    #[must_use]
    pub fn parts(self) -> (i64, u32) {
        (self.0, self.1)
    }

    /// Whether a copy of a file with the mtime `original` may have this one. GNU tar, bundles and some file
    /// systems keep whole seconds. Python's `tarfile` computes with floats, which are wrong by less than a
    /// microsecond.
    #[must_use]
    pub fn is_copy_of(self, original: Self) -> bool {
        const MICROSECOND: u128 = 1000;
        let nanos = |Self(seconds, nanos)| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        let is_close = nanos(self).abs_diff(nanos(original)) < MICROSECOND;
        is_close || self == Self(original.0, 0)
    }
}

/// Identifies what these files and symlinks contain.
pub fn content<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Digest {
    let mut hasher = blake3::Hasher::new();
    let mut add = |kind: u8, path: &str, content: &[u8]| {
        hasher.update(&[kind]);
        for part in [path.as_bytes(), content] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
    };
    for Entry { path, kind, .. } in entries {
        let path = path.as_str();
        match kind {
            EntryKind::Directory => {}
            EntryKind::File { digest, .. } => add(b'f', path, digest.to_string().as_bytes()),
            EntryKind::Symlink { target } => add(b'l', path, target.as_bytes()),
        }
    }
    hasher.finalize().into()
}

impl Manifest {
    /// Identifies what the files and symlinks of the egg contain: equal for copies that differ only in
    /// times, modes, and the bytecode that Python adds.
    #[must_use]
    pub fn content(&self) -> Digest {
        content(self.entries.iter().filter(|it| !is_bytecode(it.path.as_str())))
    }

    /// As [`Manifest::content`], together with the bytecode.
    #[must_use]
    pub fn content_with_bytecode(&self) -> Digest {
        content(&self.entries)
    }
}

/// The number of entries of each kind, and the size of all files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub directories: u64,
    pub files: u64,
    pub symlinks: u64,
    pub bytes: u64,
}

/// Why bytes are not a usable manifest.
#[derive(Debug, thiserror::Error)]
pub enum BadManifest {
    #[error("the manifest does not have the documented form: {0}")]
    Syntax(#[from] serde_json::Error),
    #[error("the manifest's format is {0}")]
    Format(u32),
    #[error(transparent)]
    Path(#[from] BadPath),
    #[error("entry {path} {reason}")]
    Entry { path: String, reason: &'static str },
    #[error("the manifest {0}")]
    Whole(&'static str),
}

/// Whether an egg can have this file name: it names an egg, and one entry of a directory.
#[must_use]
pub fn is_file_name(text: &str) -> bool {
    text.parse::<EggName>().is_ok() && EggPath::new(text).is_ok()
}

fn bad_entry(entry: &Entry, reason: &'static str) -> BadManifest {
    BadManifest::Entry { path: entry.path.to_string(), reason }
}

impl Manifest {
    /// Checks the rules that the types do not express, and returns the first that is broken.
    pub fn check(&self) -> Result<(), BadManifest> {
        self.check_root()?;
        let mut size: u64 = 0;
        let mut symlinks = HashMap::new();
        // Most entries are in the same directory as the one before; the others are found among the
        // entries before, which are sorted. A set of all directories would take as much memory.
        let mut directory: Option<&str> = None;
        for (index, entry) in self.entries.iter().enumerate() {
            let before = &self.entries[..index];
            if before.last().is_some_and(|previous| previous.path >= entry.path) {
                return Err(bad_entry(entry, encoding::OUT_OF_ORDER));
            }
            let parent = entry.path.parent();
            if parent != directory && parent.is_some_and(|it| !is_directory(before, it)) {
                return Err(bad_entry(entry, "is not in a directory of the egg"));
            }
            directory = parent;
            if entry.mode & !MODE_MASK != 0 || entry.mtime.1 >= 1_000_000_000 {
                return Err(bad_entry(entry, "has a mode or an mtime out of range"));
            }
            match &entry.kind {
                EntryKind::Directory => {}
                EntryKind::File { size: file_size, .. } => size = size.saturating_add(*file_size),
                EntryKind::Symlink { target } => {
                    if target.len() > MAX_PATH || target.contains('\0') {
                        return Err(bad_entry(entry, "has a target that is not a path"));
                    }
                    if symlinks.len() == MAX_SYMLINKS {
                        return Err(BadManifest::Whole("has too many symlinks"));
                    }
                    symlinks.insert(entry.path.as_str(), target.as_str());
                }
            }
        }
        if size > MAX_SIZE {
            return Err(BadManifest::Whole("describes an egg that is too large"));
        }
        check_symlinks(&symlinks)
    }

    fn check_root(&self) -> Result<(), BadManifest> {
        if !is_file_name(&self.file_name) {
            return Err(BadManifest::Whole("has no egg name"));
        }
        if let Some(flaw) = self.key.flaw() {
            return Err(BadManifest::Whole(flaw));
        }
        if self.entries.len() > MAX_ENTRIES {
            return Err(BadManifest::Whole("has too many entries"));
        }
        let Some((root, rest)) = self.entries.split_first().filter(|(root, _)| root.path.is_root())
        else {
            return Err(BadManifest::Whole("does not begin with the egg itself"));
        };
        match root.kind {
            EntryKind::Directory => Ok(()),
            EntryKind::File { .. } if rest.is_empty() => Ok(()),
            _ => Err(BadManifest::Whole("describes neither a directory nor a single file")),
        }
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for entry in &self.entries {
            match entry.kind {
                EntryKind::Directory => counts.directories += 1,
                EntryKind::Symlink { .. } => counts.symlinks += 1,
                EntryKind::File { size, .. } => {
                    counts.files += 1;
                    counts.bytes += size;
                }
            }
        }
        counts
    }
}

fn check_symlinks(symlinks: &HashMap<&str, &str>) -> Result<(), BadManifest> {
    let mut work = 0;
    match symlinks.keys().find(|link| path::symlink_escapes(link, symlinks, &mut work)) {
        None => Ok(()),
        Some(link) => {
            let reason = "is a symlink that leaves the egg";
            Err(BadManifest::Entry { path: (*link).to_owned(), reason })
        }
    }
}

/// Whether `path` is a directory among sorted entries.
fn is_directory(entries: &[Entry], path: &str) -> bool {
    entries
        .binary_search_by(|entry| entry.path.as_str().cmp(path))
        .is_ok_and(|found| entries[found].kind == EntryKind::Directory)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::egg::key::tests::key;

    pub(crate) fn manifest(entries: Vec<Entry>) -> Manifest {
        Manifest { key: key(), file_name: "foo-1.0-py3.11.egg".into(), entries }
    }

    fn entry(path: &str, kind: EntryKind) -> Entry {
        let path = if path.is_empty() { EggPath::root() } else { EggPath::new(path).unwrap() };
        Entry { path, mode: 0o755, mtime: Mtime(1_600_000_000, 5), kind }
    }

    fn directory(path: &str) -> Entry {
        entry(path, EntryKind::Directory)
    }

    pub(crate) fn file(path: &str) -> Entry {
        entry(path, EntryKind::File { size: 3, digest: Digest::of(b"abc") })
    }

    fn symlink(path: &str, target: &str) -> Entry {
        entry(path, EntryKind::Symlink { target: target.into() })
    }

    #[test]
    fn the_encoding_is_as_documented() {
        let encoded = manifest(vec![directory(""), file("a"), symlink("b", "a")]).encode();
        assert_eq!(
            String::from_utf8(encoded).unwrap(),
            concat!(
                r#"{"format":1,"file_name":"foo-1.0-py3.11.egg","#,
                r#""key":{"name":"foo","version":"1.0","python":"cp311","abi":"","platform":"","#,
                r#""libc":"","generation":5,"source_sha256":"","variant":"","environment":""},"#,
                r#""entries":[{"path":"","kind":"directory","mode":493,"mtime":[1600000000,5]},"#,
                r#"{"path":"a","kind":"file","mode":493,"mtime":[1600000000,5],"size":3,"#,
                r#""digest":"6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"},"#,
                r#"{"path":"b","kind":"symlink","mode":493,"mtime":[1600000000,5],"target":"a"}]}"#
            )
        );
    }

    #[test]
    fn an_archive_may_lose_the_fraction_of_an_mtime() {
        let original = Mtime(1_600_000_000, 999_999_950);
        for (copy, expected) in [
            (original, true),
            // GNU tar cuts the fraction off; Python rounds, and its floats are not exact.
            (Mtime(1_600_000_000, 0), true),
            (Mtime(1_600_000_001, 0), true),
            (Mtime(1_600_000_000, 999_999_870), true),
            (Mtime(1_600_000_000, 999_000_000), false),
            (Mtime(1_600_000_000, 1), false),
            (Mtime(1_600_000_001, 1000), false),
            (Mtime(1_600_000_002, 0), false),
            (Mtime(i64::MIN, 0), false),
        ] {
            assert_eq!(copy.is_copy_of(original), expected, "{copy:?}");
        }
        assert!(!Mtime(1_600_000_000, 5).is_copy_of(Mtime(1_600_000_000, 2000)));
    }

    #[test]
    fn bad_manifests_are_refused() {
        let cases = [
            ("no entries", vec![]),
            ("no root", vec![directory("a")]),
            ("a symlink as the egg", vec![symlink("", "a")]),
            ("a zipped egg with entries", vec![file(""), file("a")]),
            ("two of one name", vec![directory(""), file("a"), file("a")]),
            ("out of order", vec![directory(""), file("b"), file("a")]),
            ("no directory", vec![directory(""), file("a/b")]),
            ("a file as directory", vec![directory(""), file("a"), file("a/b")]),
            ("a symlink as directory", vec![directory(""), symlink("a", "."), file("a/b")]),
            ("an escaping symlink", vec![directory(""), symlink("a", "../x")]),
            ("an absolute symlink", vec![directory(""), symlink("a", "/etc")]),
        ];
        for (what, entries) in cases {
            let manifest = manifest(entries);
            assert!(manifest.check().is_err(), "{what}");
            assert!(Manifest::decode(&manifest.encode()).is_err(), "{what}");
        }
        for (what, bad) in [
            ("setuid", Entry { mode: 0o4755, ..file("a") }),
            ("nanoseconds", Entry { mtime: Mtime(0, 1_000_000_000), ..file("a") }),
        ] {
            assert!(manifest(vec![directory(""), bad]).check().is_err(), "{what}");
        }
    }

    #[test]
    fn a_huge_egg_is_refused_without_overflow() {
        let huge = |path| entry(path, EntryKind::File { size: u64::MAX, digest: Digest::of(b"") });
        assert!(manifest(vec![directory(""), huge("a"), huge("b")]).check().is_err());
    }

    #[test]
    fn hostile_text_is_refused() {
        let good = String::from_utf8(manifest(vec![directory(""), file("a")]).encode()).unwrap();
        assert!(Manifest::decode(good.as_bytes()).is_ok());
        for (from, to) in [
            (r#""format":1"#, r#""format":2"#),
            (r#""format":1"#, r#""format":1,"more":1"#),
            (r#""path":"a""#, r#""path":"../a""#),
            (r#""path":"a""#, r#""path":"/a""#),
            (r#""path":"a""#, r#""path":"a\u0000""#),
            (r#""path":"a""#, r#""path":"a","path":"b""#),
            (r#""size":3,"#, ""),
            (r#""size":3"#, r#""size":-3"#),
            (r#""size":3"#, r#""size":3,"target":"x""#),
            ("foo-1.0-py3.11.egg", "../foo-1.0-py3.11.egg"),
            ("foo-1.0-py3.11.egg", "foo"),
        ] {
            let bad = good.replace(from, to);
            assert_ne!(bad, good);
            assert!(Manifest::decode(bad.as_bytes()).is_err(), "{from} -> {to}");
        }
        assert!(Manifest::decode(&good.as_bytes()[..good.len() - 1]).is_err());
    }

    prop_compose! {
        fn any_entry()(
            path in "[a-c]{1,2}(/[a-cü #]{1,3}){0,2}",
            mode in 0_u32..=0o777, secs: i64, nanos in 0_u32..1_000_000_000,
            kind in prop_oneof![
                Just(EntryKind::Directory),
                (0_u64..1 << 40, any::<[u8; 32]>())
                    .prop_map(|(size, digest)| EntryKind::File { size, digest: digest.into() }),
                Just(EntryKind::Symlink { target: "a".into() }),
            ],
        ) -> Entry {
            Entry { path: EggPath::new(path).unwrap(), mode, mtime: Mtime(secs, nanos), kind }
        }
    }

    proptest! {
        #[test]
        fn an_encoded_manifest_is_decoded(entries in prop::collection::vec(any_entry(), 0..12)) {
            let mut all: Vec<Entry> = vec![directory("")];
            all.extend(entries);
            all.sort_by(|a, b| a.path.cmp(&b.path));
            let manifest = manifest(all);
            let decoded = Manifest::decode(&manifest.encode());
            match manifest.check() {
                Ok(()) => prop_assert_eq!(decoded.unwrap(), manifest),
                Err(_) => prop_assert!(decoded.is_err()),
            }
        }

        #[test]
        fn decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Manifest::decode(&bytes);
        }
    }
}
