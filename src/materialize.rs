//! Materialize: copy eggs from the cache into an eggs directory.
//!
//! An egg is decoded into a temporary sibling of its final place and renamed when it is whole, so
//! an egg directory is complete or absent. Every byte is checked against the egg's digest on the
//! way. Nothing in it is linked to the cache.
//!
//! # Order of writes
//! What has to be on disk is written before there is much to write: a sync waits for all that the
//! file system has to do. The record of the directory (`crate::copies`) and the use of the eggs are
//! made durable while the first eggs are decoded, and no egg gets its name before the record is.

use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rayon::prelude::*;
use serde::Serialize;

use crate::blob::Blob;
use crate::cache::Cache;
use crate::difference::difference;
use crate::digest::Digest;
use crate::egg::Egg;
use crate::error::{Error, IoContext, Result};
use crate::manifest::{Counts, Manifest};
use crate::map::Mapped;
use crate::progress::{self, Progress};
use crate::staging::stage;
use crate::store::Store;
use crate::temp::{self, Temp};
use crate::tree;

#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// When the eggs were asked for, in seconds since the Unix epoch: that is then their last use.
    pub asked_at: Option<i64>,
}

#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(serialize_with = "crate::fs::lossy")]
    pub into: PathBuf,
    pub eggs: Vec<Materialized>,
    /// Names of eggs that were there, left incomplete when the machine went down, and are removed.
    pub torn: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Materialized {
    pub file_name: String,
    pub digest: Digest,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    Copied(Counts),
    /// It was there already, whole.
    Present,
    /// The cache does not have it: its blob is gone, or not for this user.
    Missing {
        reason: String,
    },
    Failed {
        reason: String,
    },
}

impl Report {
    pub fn failed(&self) -> impl Iterator<Item = (&Materialized, &str)> {
        self.eggs.iter().filter_map(|egg| match &egg.outcome {
            Outcome::Failed { reason } => Some((egg, reason.as_str())),
            _ => None,
        })
    }

    pub fn missing(&self) -> impl Iterator<Item = &Materialized> {
        self.eggs.iter().filter(|egg| matches!(egg.outcome, Outcome::Missing { .. }))
    }
}

/// Copies eggs into the directory `into`, which is made if needed. One egg that fails does not
/// keep the others from being copied; the report names it.
///
/// # Errors
/// If `into` cannot be used, or if two eggs would have the same name in it.
pub fn materialize(
    cache: &mut Cache,
    eggs: &[Egg],
    into: &Path,
    options: Options,
    progress: &dyn Progress,
) -> Result<Report> {
    let mut names: HashMap<&str, Digest> = HashMap::new();
    for egg in eggs {
        if let Some(other) = names.insert(&egg.file_name, egg.digest)
            && other != egg.digest
        {
            return Err(Error::Usage(format!(
                "{} and {} are both named {}; materialize them into different directories",
                other.short(),
                egg.digest.short(),
                egg.file_name
            )));
        }
    }
    let Prepared { path: into, torn } = clear(cache, into)?;
    progress.begin("copying", eggs.iter().map(|egg| egg.counts.bytes).sum(), progress::Unit::Bytes);
    // The largest first, so that no thread is left with it at the end.
    let mut seen = HashSet::new();
    let mut order: Vec<&Egg> = eggs.iter().filter(|egg| seen.insert(egg.digest)).collect();
    order.sort_by_key(|egg| std::cmp::Reverse(egg.counts.bytes));
    let records = cache.records();
    let (store, index) = (&cache.store, &mut cache.index);
    let recorded: OnceLock<Result<()>> = OnceLock::new();
    let copy = |egg: &Egg| {
        let outcome = materialize_egg(store, egg, &into, &recorded, progress);
        let outcome = outcome.unwrap_or_else(|error| match error {
            Error::Miss { .. } => Outcome::Missing { reason: "its blob is gone".into() },
            Error::UnreadableBlob { .. } => Outcome::Missing { reason: error.to_string() },
            error => Outcome::Failed { reason: error.to_string() },
        });
        Materialized { file_name: egg.file_name.clone(), digest: egg.digest, outcome }
    };
    let asked: Vec<Digest> = order.iter().map(|egg| egg.digest).collect();
    let mut eggs: Vec<Materialized> = std::thread::scope(|scope| {
        scope.spawn(|| {
            let begun = || records.map_or(Ok(()), |records| records.begin(&into));
            recorded.get_or_init(begun);
            if let Some(asked_at) = options.asked_at {
                index.record_use(&asked, asked_at);
            }
        });
        order.into_par_iter().map(copy).collect()
    });
    eggs.sort_unstable_by(|a, b| a.file_name.cmp(&b.file_name));
    progress.end();
    recorded.into_inner().unwrap_or(Ok(()))?;
    Ok(Report { into, eggs, torn })
}

/// A directory that eggs can be copied into.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Canonical.
    pub path: PathBuf,
    /// As [`Report::torn`].
    pub torn: Vec<String>,
}

/// Makes a directory ready to take eggs: it exists, and has neither temporary files of a dead
/// process nor eggs that a power cut has left incomplete.
///
/// # Errors
/// If it cannot be made or read.
pub fn prepare(cache: &Cache, into: &Path) -> Result<Prepared> {
    let prepared = clear(cache, into)?;
    cache.begin_copies(&prepared.path)?;
    Ok(prepared)
}

/// As [`prepare`], but for the record of the directory.
fn clear(cache: &Cache, into: &Path) -> Result<Prepared> {
    std::fs::create_dir_all(into).at("make directory", into)?;
    temp::sweep(into)?;
    let path = into.canonicalize().at("open directory", into)?;
    let torn = cache.check_copies(&path);
    Ok(Prepared { path, torn })
}

/// Copies the egg of an open blob into a directory that is [`prepare`]d.
///
/// # Errors
/// [`Error::DamagedBlob`], [`Error::InTheWay`], or what the file system says. Nothing partial is
/// left.
pub fn materialize_blob(
    store: &Store,
    blob: &Blob<Mapped>,
    into: &Path,
    progress: &dyn Progress,
) -> Result<Outcome> {
    let target = into.join(&blob.manifest.file_name);
    if target.symlink_metadata().is_ok() {
        return present(&target, &blob.manifest);
    }
    let temp = stage(store, blob, into, progress)?;
    place(blob, temp, into)
}

/// Gives a staged egg its name.
///
/// # Errors
/// [`Error::InTheWay`], or what the file system says. It is then removed.
pub(crate) fn place<B>(blob: &Blob<B>, temp: Temp, into: &Path) -> Result<Outcome> {
    let target = into.join(&blob.manifest.file_name);
    match temp.persist_new(&target) {
        Ok(()) => Ok(Outcome::Copied(blob.manifest.counts())),
        // Another process was faster.
        Err(_) if target.symlink_metadata().is_ok() => present(&target, &blob.manifest),
        Err(source) => Err(Error::Io { action: "write", path: target, source }),
    }
}

fn materialize_egg(
    store: &Store,
    egg: &Egg,
    into: &Path,
    recorded: &OnceLock<Result<()>>,
    progress: &dyn Progress,
) -> Result<Outcome> {
    let digest = egg.digest;
    let blob = store.open(digest)?.ok_or_else(|| Error::miss(&digest))?;
    check_row(store, egg, &blob)?;
    let target = into.join(&blob.manifest.file_name);
    if target.symlink_metadata().is_ok() {
        return present(&target, &blob.manifest);
    }
    let temp = stage(store, &blob, into, progress)?;
    match recorded.wait() {
        Ok(()) => place(&blob, temp, into),
        // Told once, as the failure of all.
        Err(error) => Ok(Outcome::Failed { reason: error.to_string() }),
    }
}

/// Checks that a blob holds the egg that the index has told of.
///
/// # Errors
/// [`Error::WrongRow`] if it is another.
pub fn check_row<B: Deref<Target = [u8]>>(store: &Store, egg: &Egg, blob: &Blob<B>) -> Result<()> {
    let manifest = &blob.manifest;
    if egg.key == manifest.key && egg.file_name == manifest.file_name {
        return Ok(());
    }
    Err(Error::WrongRow {
        path: store.blob_path(egg.digest),
        wanted: egg.file_name.clone(),
        found: manifest.file_name.clone(),
    })
}

fn present(target: &Path, manifest: &Manifest) -> Result<Outcome> {
    let difference = match tree::list(target) {
        Ok(found) => difference(manifest, &found),
        Err(Error::UnsoundEgg { path, reason }) => Some(format!("{}: {reason}", path.display())),
        Err(error) => Some(error.to_string()),
    };
    match difference {
        None => Ok(Outcome::Present),
        Some(difference) => Err(Error::InTheWay {
            target: target.to_owned(),
            wanted: format!("{} {}", manifest.key.name, manifest.key.version),
            difference,
        }),
    }
}
