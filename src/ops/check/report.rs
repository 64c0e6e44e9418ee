//! What a check finds.

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
    /// Where its eggs are.
    pub eggs_directories: Vec<String>,
    pub eggs: usize,
    /// Eggs that were compared with the cache.
    pub compared: usize,
    /// Of each egg that is one of the cache, by its path in the buildout: which.
    pub digests: BTreeMap<String, Digest>,
    /// Files in the eggs.
    pub files: u64,
    pub bytes: u64,
    pub scripts: usize,
    /// Whether every byte was compared.
    pub full: bool,
    /// Compiled files that Python has written since and that match their sources.
    pub bytecode: usize,
    /// What keeps it from being self-contained, or its eggs from being what they should be.
    pub problems: Vec<Finding>,
    /// Worth knowing, and no problem.
    pub notes: Vec<Finding>,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub kind: FindingKind,
    /// The file name of the egg that it was found in.
    pub egg: Option<String>,
    /// Relative to the buildout, if it is inside.
    #[serde(serialize_with = "crate::disk::files::lossy")]
    pub path: PathBuf,
    /// Completes the sentence that begins with the path.
    pub what: String,
    /// What was done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// A file that shares its inode with one outside.
    HardLink,
    /// A symlink that leads outside.
    Symlink,
    /// A path that leads outside, in a script or a configuration.
    Path,
    /// An egg that is not an egg but a link to a project.
    DevelopEgg,
    /// An egg that scripts use and that is not there.
    MissingEgg,
    /// An egg of which a part is missing, told without the cache.
    Incomplete,
    Missing,
    Changed,
    Added,
    /// A compiled file that is not of its source.
    StaleBytecode,
    /// A compiled file without a source.
    Sourceless,
    /// An egg, or an extension module in it, for another Python than the one that is to use it.
    OtherPython,
    /// The Python that the scripts run.
    Interpreter,
    /// The content is the same, the time is not.
    Touched,
    NotInCache,
    /// The cache has another build of it.
    OtherBuild,
    Unused,
    /// It names its own absolute path.
    NotRelocatable,
    /// Where shared objects look for libraries.
    RunPath,
    /// What stands in an eggs directory and is no egg.
    Leftover,
    /// Why something was not repaired.
    Left,
}

impl FindingKind {
    /// Whether a problem of this kind is that something leaves the buildout.
    #[must_use]
    pub fn is_leak(self) -> bool {
        matches!(self, Self::HardLink | Self::Symlink | Self::Path | Self::DevelopEgg)
    }
}

impl Finding {
    #[must_use]
    pub fn new(kind: FindingKind, path: &Path, what: impl Into<String>) -> Self {
        Self { kind, egg: None, path: path.to_owned(), what: what.into(), repair: None }
    }

    #[must_use]
    pub fn of_egg(self, egg: &str) -> Self {
        Self { egg: Some(egg.to_owned()), ..self }
    }
}

/// Problems and notes, as they are found.
#[derive(Debug, Default)]
pub struct Findings {
    pub problems: Vec<Finding>,
    pub notes: Vec<Finding>,
}

impl Report {
    /// Problems that are still there.
    pub fn unsolved(&self) -> impl Iterator<Item = &Finding> {
        self.problems.iter().filter(|problem| problem.repair.is_none())
    }

    /// Whether nothing leads outside.
    #[must_use]
    pub fn is_self_contained(&self) -> bool {
        !self.unsolved().any(|problem| problem.kind.is_leak())
    }
}
