//! The report of a check.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::util::hash::digest::Digest;

#[derive(Debug, Default, Serialize)]
pub struct Report {
    #[serde(serialize_with = "crate::disk::files::lossy")]
    pub buildout: PathBuf,
    /// The cache that it was compared with.
    pub cache: Option<String>,
    pub eggs_directories: Vec<String>,
    pub eggs: usize,
    /// Eggs that were compared with the cache.
    pub compared: usize,
    /// The digest of each egg that the cache has, by its path in the buildout.
    pub digests: BTreeMap<String, Digest>,
    /// Files in the eggs.
    pub files: u64,
    pub bytes: u64,
    pub scripts: usize,
    /// Scripts that import packages which are installed in their Python, outside, relative to the buildout.
    #[serde(skip)]
    pub importers: Vec<PathBuf>,
    /// Whether every byte was compared.
    pub full: bool,
    /// Compiled files that Python has added and that match their sources.
    pub bytecode: usize,
    /// Why the buildout is not self-contained, and how its eggs have changed.
    pub problems: Vec<Finding>,
    /// Facts that are not problems.
    pub notes: Vec<Finding>,
}

/// One problem or note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub kind: FindingKind,
    /// The file name of the egg that it concerns.
    pub egg: Option<String>,
    /// Relative to the buildout, if it is inside.
    #[serde(serialize_with = "crate::disk::files::lossy")]
    pub path: PathBuf,
    /// The finding in words, to be shown after the path and a colon.
    pub what: String,
    /// How it was repaired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// A file that shares its inode with a file outside.
    HardLink,
    /// A symlink that points outside.
    Symlink,
    /// A path outside, in a script or a configuration.
    Path,
    /// A link to a project in place of an egg.
    DevelopEgg,
    /// An egg that scripts import and that does not exist.
    MissingEgg,
    /// A shared library that an egg needs and that is missing in the buildout, or only outside.
    Library,
    /// An egg that a remote has withdrawn.
    Withdrawn,
    /// Buildout has installed nothing, or not all parts.
    NotInstalled,
    /// An egg that lacks a part, which shows without the cache.
    Incomplete,
    Missing,
    Changed,
    Added,
    /// A compiled file that does not match its source.
    StaleBytecode,
    /// A compiled file without a source.
    Sourceless,
    /// An egg, or an extension module in it, for another Python than the one that uses it.
    OtherPython,
    /// The Python that the scripts run.
    Interpreter,
    /// Packages that are installed in that Python, outside, and that scripts import.
    Packages,
    /// The content is the same, the mtime is not.
    Touched,
    NotInCache,
    /// The cache has another build of the egg.
    OtherBuild,
    Unused,
    /// It contains its own absolute path.
    NotRelocatable,
    /// Where shared objects look for libraries.
    RunPath,
    /// A path in an eggs directory that is not an egg.
    Leftover,
    /// Why an egg was not repaired.
    #[serde(rename = "left")]
    NotRepaired,
}

impl FindingKind {
    /// Whether a problem of this kind is a reference to the outside.
    #[must_use]
    pub fn is_leak(self) -> bool {
        matches!(
            self,
            Self::HardLink | Self::Symlink | Self::Path | Self::DevelopEgg | Self::Library
        )
    }
}

impl Finding {
    #[must_use]
    pub fn new(kind: FindingKind, path: &Path, what: impl Into<String>) -> Self {
        Self { kind, egg: None, path: path.to_owned(), what: what.into(), repair: None }
    }

    #[must_use]
    pub fn in_egg(self, egg: Option<&str>) -> Self {
        Self { egg: egg.map(str::to_owned), ..self }
    }
}

/// The problems and notes of a check while it runs.
#[derive(Debug, Default)]
pub struct Findings {
    pub problems: Vec<Finding>,
    pub notes: Vec<Finding>,
}

impl Findings {
    /// Adds copies of the findings of another part of the check.
    pub fn extend(&mut self, other: &Self) {
        self.problems.extend_from_slice(&other.problems);
        self.notes.extend_from_slice(&other.notes);
    }
}

impl Report {
    /// Problems that were not repaired.
    pub fn unsolved(&self) -> impl Iterator<Item = &Finding> {
        self.problems.iter().filter(|problem| problem.repair.is_none())
    }

    /// Whether the buildout refers to nothing outside.
    #[must_use]
    pub fn is_self_contained(&self) -> bool {
        !self.unsolved().any(|problem| problem.kind.is_leak())
    }

    /// Whether buildout has run to its end, as far as that is known.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        !self.unsolved().any(|problem| problem.kind == FindingKind::NotInstalled)
    }

    /// Which parts buildout has not installed, in words.
    pub fn not_installed(&self) -> impl Iterator<Item = &str> {
        let notes = self.notes.iter().filter(|note| note.kind == FindingKind::NotInstalled);
        notes.map(|note| &*note.what)
    }

    /// Whether scripts import packages that are installed in their Python, outside.
    #[must_use]
    pub fn needs_packages(&self) -> bool {
        !self.importers.is_empty()
    }

    /// Sorts problems and notes by egg, kind, path and text.
    pub(super) fn sort(&mut self) {
        for findings in [&mut self.problems, &mut self.notes] {
            findings.sort_by(|a, b| {
                (&a.egg, a.kind, &a.path, &a.what).cmp(&(&b.egg, b.kind, &b.path, &b.what))
            });
        }
    }
}
