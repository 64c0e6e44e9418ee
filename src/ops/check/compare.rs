//! Comparing an installed egg with the eggs of its file name in the cache.

use std::collections::HashMap;

use crate::cache::Blobs;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::completeness;
use crate::egg::diff::{Difference, DifferenceKind, differences};
use crate::egg::manifest::{Entry, EntryKind, Manifest};
use crate::egg::metadata;
use crate::util::hash::digest::Digest;

use super::file_content::{Content, INSTALLED_FROM, is_shared_object};

/// Which egg of the cache an installed egg is.
#[derive(Debug, Clone)]
pub enum Match {
    /// The cache has none of its name, or none that can be read.
    None,
    One(Digest),
    /// Several differ from it equally little: the preferred one first.
    Several(Vec<Digest>),
    /// The cache has another build of it.
    OtherBuild,
}

impl Match {
    /// The match of an egg that may be one of these. If the last run of buildout has used one of them, it is that.
    pub fn of(digests: &[Digest], registered: Option<Digest>) -> Self {
        match (digests, registered) {
            ([], _) => Self::None,
            ([digest], _) => Self::One(*digest),
            (several, Some(digest)) if several.contains(&digest) => Self::One(digest),
            (several, _) => Self::Several(several.to_vec()),
        }
    }

    /// The egg that it is, or the preferred one of those that it may be.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::One(digest) => Some(*digest),
            Self::Several(digests) => digests.first().copied(),
            Self::None | Self::OtherBuild => None,
        }
    }
}

/// The eggs of the cache that have the file name of an installed egg.
#[derive(Debug, Default)]
pub struct Candidates {
    manifests: Vec<(Digest, Manifest)>,
    /// The one that the last run of buildout has used.
    registered: Option<Digest>,
    /// Why one of them cannot be compared.
    pub unreadable: Option<String>,
}

impl Candidates {
    pub fn open(blobs: Option<&Blobs>, cached: &[CachedEgg], registered: Option<Digest>) -> Self {
        let mut candidates = Self { registered, ..Self::default() };
        let Some(blobs) = blobs else { return candidates };
        for egg in cached {
            match blobs.open(egg.digest) {
                Ok(Some(blob)) => candidates.manifests.push((egg.digest, blob.manifest)),
                Ok(None) => {
                    candidates.unreadable = Some("its blob is missing from the cache".into());
                }
                Err(error) => {
                    candidates.unreadable = Some(format!("not compared with the cache: {error}"));
                }
            }
        }
        candidates
    }

    /// The match of an egg that cannot be compared.
    pub fn uncompared_match(&self) -> Match {
        let digests: Vec<Digest> = self.manifests.iter().map(|(digest, _)| *digest).collect();
        Match::of(&digests, self.registered)
    }

    /// Which of the candidates the closest one is.
    pub fn matched(&self, closest: &Closest<'_>) -> Match {
        Match::of(&closest.digests, self.registered)
    }

    /// The candidate that differs least from these entries.
    pub fn closest<'a>(&'a self, found: &'a [Entry]) -> Option<Closest<'a>> {
        let mut best: Option<Closest<'a>> = None;
        for (digest, manifest) in &self.manifests {
            let differences = differences(manifest, found);
            match &mut best {
                Some(best) if best.differences.len() < differences.len() => {}
                Some(best) if best.differences.len() == differences.len() => {
                    best.digests.push(*digest);
                }
                _ => best = Some(Closest { digests: vec![*digest], manifest, differences }),
            }
        }
        best
    }
}

/// The egg of the cache that differs least from an installed one.
#[derive(Debug)]
pub struct Closest<'a> {
    /// The digests of all eggs with that few differences.
    pub digests: Vec<Digest>,
    manifest: &'a Manifest,
    pub differences: Vec<Difference<'a>>,
}

/// The differences between an installed egg and the closest one of the cache, by path.
#[derive(Debug)]
pub struct Comparison<'a> {
    has_closest: bool,
    differences: HashMap<&'a str, DifferenceKind>,
    expected: HashMap<&'a str, &'a Entry>,
}

impl<'a> Comparison<'a> {
    pub fn new(closest: Option<&'a Closest<'a>>) -> Self {
        let differences = closest.into_iter().flat_map(|closest| &closest.differences);
        let expected = closest.into_iter().flat_map(|closest| &closest.manifest.entries);
        Self {
            has_closest: closest.is_some(),
            differences: differences.map(|found| (found.path.as_str(), found.kind)).collect(),
            expected: expected.map(|entry| (entry.path.as_str(), entry)).collect(),
        }
    }

    /// How the file at `path` differs, content aside.
    pub fn difference(&self, path: &str) -> Option<DifferenceKind> {
        self.differences.get(path).copied()
    }

    /// Whether a change of a file shows only in its content.
    pub fn needs_content(&self, path: &str, full: bool) -> bool {
        match self.difference(path) {
            Some(DifferenceKind::Mtime) => true,
            None | Some(DifferenceKind::Mode) => full && self.expected.contains_key(path),
            Some(_) => false,
        }
    }

    /// Whether the content of a file is the expected one, as far as it was read; `None` if there is no
    /// egg to compare with.
    pub fn is_same(&self, path: &str, content: &Content) -> Option<bool> {
        self.has_closest.then(|| match self.expected.get(path).map(|entry| &entry.kind) {
            Some(EntryKind::File { digest, .. }) => {
                content.digest.is_none_or(|found| found == *digest)
            }
            _ => true,
        })
    }

    /// Whether the differences are those of two builds of one egg, and not of one that has changed: its
    /// metadata was written at another time, and the installer's own files differ. These contain a
    /// digest of all that was built; without them, native code decides.
    pub fn is_other_build<'e>(
        &self,
        mut files: impl Iterator<Item = (&'e Entry, &'e Content)>,
    ) -> bool {
        let is_rewritten = self.differences.iter().any(|(path, difference)| {
            metadata::is_metadata_path(path)
                && matches!(difference, DifferenceKind::Mtime | DifferenceKind::Size)
        });
        let has_installer = self.expected.keys().any(|path| is_of_installer(path));
        is_rewritten
            && files.any(|(entry, content)| {
                let path = entry.path.as_str();
                let decides =
                    if has_installer { is_of_installer(path) } else { is_shared_object(path) };
                let is_resized = self.difference(path) == Some(DifferenceKind::Size);
                decides && (is_resized || self.is_same(path, content) == Some(false))
            })
    }
}

/// Whether an installer writes this file by itself.
fn is_of_installer(path: &str) -> bool {
    completeness::is_record(path) || path.ends_with(INSTALLED_FROM)
}
