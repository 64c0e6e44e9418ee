//! What withdrawn builds contain, in `withdrawals/contents`, so that copies of them in buildouts are known
//! when the cache has evicted them, and so are builds with the same files and other times.
//!
//! A build is noted when the cache learns that it is withdrawn, and before it is evicted: as soon as a cache
//! knows of a withdrawal, no such egg gets into it.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::record::{self, DIR};
use crate::cache::Blobs;
use crate::disk::dir::Dir;
use crate::disk::json_file;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::EggKey;
use crate::egg::manifest::Manifest;
use crate::egg::sameness::{knows_less, own_content};
use crate::error::{Error, IoContext, OrLog, Result};
use crate::util::hash::digest::Digest;

/// The name of the record. Without an extension, so that no remote has a file of this name.
const FILE: &str = "contents";
/// Most builds that are noted.
const MOST: usize = 10_000;

/// The content of a withdrawn build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithdrawnContent {
    pub egg: Digest,
    pub file_name: String,
    /// `None` in a note from before notes had it, as long as the cache lacks the blob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    build: Option<Build>,
    /// As [`Manifest::content`].
    pub content: Digest,
    /// As [`Manifest::content_with_bytecode`].
    pub with_bytecode: Digest,
}

/// What a withdrawn build has in common with the next build of its archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Build {
    key: EggKey,
    /// As [`own_content`].
    own_content: Digest,
}

impl WithdrawnContent {
    fn new(egg: Digest, manifest: &Manifest) -> Self {
        Self {
            egg,
            file_name: manifest.file_name.clone(),
            build: Some(Build { key: manifest.key.clone(), own_content: own_content(manifest) }),
            content: manifest.content(),
            with_bytecode: manifest.content_with_bytecode(),
        }
    }

    /// The build, if an egg with this name and key can be the same. An archive that only one of them knows
    /// makes no difference, as for two eggs in a cache.
    fn build_of(&self, file_name: &str, key: &EggKey) -> Option<&Build> {
        let is_same = |own: &EggKey| own == key || knows_less(own, key) || knows_less(key, own);
        let build = self.build.as_ref().filter(|build| is_same(&build.key));
        build.filter(|_| self.file_name == file_name)
    }

    /// Whether an egg is the build, made again: with the same key and files, whatever their times, the
    /// bytecode that Python has made from them and the place where pip had the archive.
    fn is_again(&self, egg: &Manifest) -> bool {
        let build = self.build_of(&egg.file_name, &egg.key);
        build.is_some_and(|build| build.own_content == own_content(egg))
    }
}

/// The withdrawn build of which an egg is another copy or another build with the same content.
#[must_use]
pub fn made_again(contents: &[WithdrawnContent], egg: &Manifest) -> Option<Digest> {
    contents.iter().find(|it| it.is_again(egg)).map(|it| it.egg)
}

/// Whether only the manifest of an egg says whether it is a withdrawn build.
#[must_use]
pub fn can_be_made_again(contents: &[WithdrawnContent], egg: &CachedEgg) -> bool {
    contents.iter().any(|it| it.build_of(&egg.file_name, &egg.key).is_some())
}

/// The contents of these builds, as far as they are noted or the cache has their blobs.
///
/// # Errors
/// If the record cannot be read.
pub fn of(root: &Dir, eggs: impl IntoIterator<Item = Digest>) -> Result<Vec<WithdrawnContent>> {
    let mut eggs = eggs.into_iter().peekable();
    if eggs.peek().is_none() {
        return Ok(Vec::new());
    }
    let noted = read(root)?.into_iter().map(|it| (it.egg, it));
    let mut noted: HashMap<Digest, WithdrawnContent> = noted.collect();
    let mut found = Vec::new();
    let blobs = Blobs::new(root);
    for egg in eggs {
        match noted.remove(&egg) {
            Some(it) if it.build.is_some() => found.push(it),
            old => found.extend(in_cache(&blobs, egg).or(old)),
        }
    }
    Ok(found)
}

/// Notes the contents of these builds, as far as the cache has their blobs.
///
/// # Errors
/// If the record cannot be read or written.
pub fn note(root: &Path, eggs: impl IntoIterator<Item = Digest>) -> Result<()> {
    let _lock = record::lock(root)?;
    note_locked(root, eggs)
}

/// As [`note`], for one that holds the lock of the records.
pub(super) fn note_locked(root: &Path, eggs: impl IntoIterator<Item = Digest>) -> Result<()> {
    let root = Dir::open(root).at("open", root)?;
    let mut noted = read(&root)?;
    let mut is_changed = false;
    let blobs = Blobs::new(&root);
    for egg in eggs {
        let before = noted.iter().position(|it| it.egg == egg);
        if before.is_some_and(|at| noted[at].build.is_some()) {
            continue;
        }
        let Some(content) = in_cache(&blobs, egg) else { continue };
        is_changed = true;
        match before {
            Some(at) => noted[at] = content,
            None => noted.push(content),
        }
    }
    if !is_changed {
        return Ok(());
    }
    noted.drain(..noted.len().saturating_sub(MOST));
    json_file::write(&root, &path(), &noted)
}

/// The record with its error, if it cannot be read.
#[must_use]
pub fn unreadable(root: &Dir) -> Option<(String, Error)> {
    Some((FILE.to_owned(), read(root).err()?))
}

fn in_cache(blobs: &Blobs, egg: Digest) -> Option<WithdrawnContent> {
    let blob = blobs.open(egg).or_log().flatten()?;
    Some(WithdrawnContent::new(egg, &blob.manifest))
}

fn read(root: &Dir) -> Result<Vec<WithdrawnContent>> {
    Ok(json_file::read(root, &path())?.unwrap_or_default())
}

fn path() -> String {
    format!("{DIR}/{FILE}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egg::key::tests::key;
    use crate::egg::manifest::tests::{file, manifest};
    use crate::egg::manifest::{Entry, EntryKind, Mtime};
    use crate::egg::path::EggPath;

    fn egg(files: &[&str]) -> Manifest {
        let kind = EntryKind::Directory;
        let root = Entry { path: EggPath::root(), kind, ..file("a") };
        manifest([root].into_iter().chain(files.iter().map(|path| file(path))).collect())
    }

    /// An egg with a note of pip about its archive.
    fn with_note(note: &str) -> Manifest {
        let mut egg = egg(&["a.dist-info", "a.dist-info/direct_url.json", "a.py"]);
        egg.entries[1].kind = EntryKind::Directory;
        egg.entries[2].kind = EntryKind::File { size: 1, digest: Digest::of(note.as_bytes()) };
        egg
    }

    /// Whether this egg counts as that build, which was withdrawn.
    fn is_again(egg: &Manifest, withdrawn: &Manifest) -> bool {
        let withdrawn = WithdrawnContent::new(Digest::of(b"withdrawn"), withdrawn);
        made_again(&[withdrawn], egg).is_some()
    }

    fn with_key(egg: &Manifest, key: EggKey) -> Manifest {
        Manifest { key, ..egg.clone() }
    }

    #[test]
    fn a_build_with_the_same_key_and_sources_is_the_withdrawn_one() {
        let build = egg(&["a.py"]);
        let mut touched = egg(&["a.py", "a.pyc"]);
        for entry in &mut touched.entries {
            entry.mtime = Mtime(1, 0);
        }
        assert!(is_again(&touched, &build));
        assert!(!is_again(&egg(&["a.py", "b.py"]), &build));
        assert!(is_again(&with_note("x"), &with_note("y")), "pip notes where the archive was");
        let of_archive =
            |sha256: &str| with_key(&build, EggKey { source_sha256: sha256.into(), ..key() });
        assert!(is_again(&of_archive("ab"), &build) && is_again(&build, &of_archive("ab")));
        assert!(!is_again(&of_archive("cd"), &of_archive("ab")));
        for other in [
            EggKey { environment: "el9".into(), ..key() },
            EggKey { variant: "debug".into(), ..key() },
            EggKey { generation: 4, ..key() },
        ] {
            assert!(!is_again(&with_key(&build, other.clone()), &build), "{other:?}");
        }
    }

    #[test]
    fn bytecode_without_a_source_distinguishes_builds() {
        let build = egg(&["a.pyc"]);
        let mut other = build.clone();
        other.entries[1].kind = EntryKind::File { size: 3, digest: Digest::of(b"xyz") };
        assert!(is_again(&build, &build) && !is_again(&other, &build));
    }

    #[test]
    fn a_note_without_a_build_still_says_what_copies_contain() {
        let build = egg(&["a.py"]);
        let note = WithdrawnContent::new(Digest::of(b"withdrawn"), &build);
        let mut text = serde_json::to_value(&note).unwrap();
        text.as_object_mut().unwrap().remove("build");
        let old: WithdrawnContent = serde_json::from_value(text).unwrap();
        assert_eq!(old, WithdrawnContent { build: None, ..note });
        assert_eq!(made_again(&[old], &build), None);
    }
}
