//! What withdrawn builds contain, in `withdrawals/contents`, so that copies of them in buildouts are known
//! when the cache has evicted them.
//!
//! A build is noted when the cache learns that it is withdrawn, and before it is evicted: as soon as a cache
//! knows of a withdrawal, no such egg gets into it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::record::{self, DIR};
use crate::cache::Blobs;
use crate::disk::dir::Dir;
use crate::disk::json_file;
use crate::egg::manifest::Manifest;
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
    /// As [`Manifest::content`].
    pub content: Digest,
    /// As [`Manifest::content_with_bytecode`].
    pub with_bytecode: Digest,
}

impl WithdrawnContent {
    fn new(egg: Digest, manifest: &Manifest) -> Self {
        Self {
            egg,
            file_name: manifest.file_name.clone(),
            content: manifest.content(),
            with_bytecode: manifest.content_with_bytecode(),
        }
    }
}

/// The contents of these builds, as far as they are noted or the cache has their blobs.
///
/// # Errors
/// If the record cannot be read.
pub fn of(root: &Dir, eggs: impl IntoIterator<Item = Digest>) -> Result<Vec<WithdrawnContent>> {
    let mut noted: Vec<WithdrawnContent> = read(root)?;
    let mut found = Vec::new();
    let blobs = Blobs::new(root);
    for egg in eggs {
        match noted.iter().position(|it| it.egg == egg) {
            Some(at) => found.push(noted.swap_remove(at)),
            None => found.extend(in_cache(&blobs, egg)),
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
    let before = noted.len();
    let blobs = Blobs::new(&root);
    for egg in eggs {
        if !noted.iter().any(|it| it.egg == egg) {
            noted.extend(in_cache(&blobs, egg));
        }
    }
    if noted.len() == before {
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
