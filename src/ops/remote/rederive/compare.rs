//! Comparing an egg that was made again with the one of a remote, by their manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use crate::disk::files;
use crate::egg::bytecode::is_bytecode;
use crate::egg::manifest::{Entry, EntryKind, Manifest};
use crate::egg::sameness::is_note_of_pip;
use crate::egg::scan::{Hints, Tree, path_of};
use crate::error::{IoContext, Result};
use crate::remote::entry::RemoteEntry;
use crate::util::environment::Environment;
use crate::util::hash::digest::Digest;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Empty for the egg itself.
    pub path: String,
    pub what: &'static str,
}

/// An egg that was made again.
pub struct Found(Manifest);

impl Found {
    /// Lists and reads an egg, with those facts of an entry that its files do not show.
    pub fn of(egg: &Path, entry: &RemoteEntry) -> Result<Self> {
        let key = entry.key.clone();
        let hints = Hints {
            generation: Some(key.generation),
            implementation: Some(key.python.chars().take_while(|c| c.is_alphabetic()).collect()),
            soabi: key.abi,
            source_sha256: key.source_sha256,
            variant: key.variant,
            environment: key.environment,
        };
        let mut manifest = Tree::scan(egg, &hints)?.manifest;
        for entry in &mut manifest.entries {
            let path = path_of(egg, entry);
            if let EntryKind::File { digest, .. } = &mut entry.kind {
                let mut hasher = blake3::Hasher::new();
                let file = files::open_file(&path).at("read", &path)?;
                hasher.update_reader(file).at("read", &path)?;
                *digest = hasher.finalize().into();
            }
        }
        Ok(Self(manifest))
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.0.encode())
    }
}

/// All differences.
pub fn all(stored: &Manifest, found: &Found) -> Vec<Difference> {
    differences(stored, &found.0, |_| true, true)
}

/// Differences from an egg of pip, except in what depends on the time and place of its build.
pub fn apart_from_pip(stored: &Manifest, found: &Found) -> Vec<Difference> {
    let is_own = |path: &str| !is_bytecode(path) && !is_note_of_pip(path);
    differences(stored, &found.0, is_own, false)
}

fn differences(
    stored: &Manifest,
    found: &Manifest,
    counts: impl Fn(&str) -> bool,
    with_mtimes: bool,
) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut add = |path: &str, what| differences.push(Difference { path: path.to_owned(), what });
    if stored.file_name != found.file_name {
        add("", "name");
    }
    if stored.key != found.key {
        add("", "egg key");
    }
    let by_path = |manifest: &'_ Manifest| -> BTreeMap<String, Entry> {
        let entries = manifest.entries.iter().filter(|entry| counts(entry.path.as_str()));
        entries.map(|entry| (entry.path.as_str().to_owned(), entry.clone())).collect()
    };
    let (stored, found) = (by_path(stored), by_path(found));
    let paths: BTreeSet<&String> = stored.keys().chain(found.keys()).collect();
    for path in paths {
        match (stored.get(path), found.get(path)) {
            (Some(_), None) => add(path, "added"),
            (None, _) => add(path, "missing"),
            (Some(one), Some(other)) => {
                if let Some(what) = difference(one, other, with_mtimes) {
                    add(path, what);
                }
            }
        }
    }
    differences
}

fn difference(one: &Entry, other: &Entry, with_mtimes: bool) -> Option<&'static str> {
    if one.kind != other.kind {
        let is_file = |entry: &Entry| matches!(entry.kind, EntryKind::File { .. });
        return Some(if is_file(one) && is_file(other) { "content" } else { "kind" });
    }
    if one.mode != other.mode {
        return Some("mode");
    }
    (with_mtimes && one.mtime != other.mtime).then_some("mtime")
}

/// The variables that the builder of an egg has set, by its times and the names of its bytecode.
pub fn environment_of(stored: &Manifest, found: &Found) -> Environment {
    let mut variables = Vec::new();
    if let (Some(one), Some(other)) = (stored.entries.first(), found.0.entries.first())
        && one.mtime != other.mtime
        && stored.entries.iter().all(|entry| entry.mtime == one.mtime)
    {
        variables.push(("SOURCE_DATE_EPOCH", one.mtime.0.to_string()));
    }
    let is_optimized = |level: &str| {
        let suffix = format!(".opt-{level}.pyc");
        stored.entries.iter().any(|entry| entry.path.as_str().ends_with(&suffix))
    };
    if let Some(level) = ["1", "2"].into_iter().find(|level| is_optimized(level)) {
        variables.push(("PYTHONOPTIMIZE", level.to_owned()));
    }
    variables.into_iter().collect()
}
