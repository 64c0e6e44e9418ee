//! Materialize: copy eggs from the cache into an eggs directory.
//!
//! An egg is extracted into a temporary sibling of its final path and renamed when it is complete, so
//! an egg directory is complete or absent. Every byte is checked against the egg's digest. Nothing in it
//! is linked to the cache.
//!
//! # Order of writes
//! The record of the directory (`crate::cache::torn_copies`) and the use of the eggs are made durable
//! before the first egg is written: later, a sync would wait for all pending writes of the file system.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use crate::cache::extract::{check_names, check_present, check_row, extract};
use crate::cache::{Blobs, Cache, Usage};
use crate::disk::dir::Dir;
use crate::disk::mmap::Mapped;
use crate::disk::temp::{self, Temp};
use crate::egg::blob::reader::Blob;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::manifest::{Counts, Manifest};
use crate::error::{Error, IoContext, Result};
use crate::remote::withdrawals::record::Withdrawals;
use crate::util::hash::digest::Digest;
use crate::util::progress::{self, Progress};
use crate::util::threads;

#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// When the eggs were requested, in seconds since the Unix epoch. If present, it becomes their last
    /// use, and those that are not in the directory yet count as hits.
    pub asked_at: Option<i64>,
}

#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(serialize_with = "crate::disk::files::lossy")]
    pub into: PathBuf,
    pub eggs: Vec<Materialized>,
    /// Names of torn copies that were in the directory and are now removed.
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
    /// It is already in the directory, complete.
    Present,
    /// The cache does not have it: its blob is gone, or not readable by this user.
    Missing {
        #[serde(serialize_with = "crate::error::as_text")]
        reason: Error,
    },
    Failed {
        #[serde(serialize_with = "crate::error::as_text")]
        reason: Error,
    },
}

impl Report {
    pub fn failed(&self) -> impl Iterator<Item = (&Materialized, &Error)> {
        self.eggs.iter().filter_map(|egg| match &egg.outcome {
            Outcome::Failed { reason } => Some((egg, reason)),
            _ => None,
        })
    }

    pub fn missing(&self) -> impl Iterator<Item = &Materialized> {
        self.eggs.iter().filter(|egg| matches!(egg.outcome, Outcome::Missing { .. }))
    }
}

/// Copies eggs into the directory `into`, which is created if needed. If one egg fails, the others are
/// copied all the same; the report lists it.
///
/// # Errors
/// Two eggs must not have the same file name.
pub fn materialize(
    cache: &mut Cache,
    eggs: &[CachedEgg],
    into: &Path,
    options: Options,
    progress: &dyn Progress,
) -> Result<Report> {
    threads::start_pool()?;
    check_names(eggs)?;
    let Prepared { path: into, torn } = prepare(cache, into)?;
    progress.begin("copying", eggs.iter().map(|egg| egg.counts.bytes).sum(), progress::Unit::Bytes);
    // The largest first, so that no thread is left with it at the end.
    let mut seen = HashSet::new();
    let mut order: Vec<&CachedEgg> = eggs.iter().filter(|egg| seen.insert(egg.digest)).collect();
    order.sort_by_key(|egg| std::cmp::Reverse(egg.counts.bytes));
    if let Some(asked_at) = options.asked_at {
        cache.record_use(&usage(&order, &into), asked_at);
        cache.checkpoint();
    }
    let withdrawals = Withdrawals::of(cache.root())?;
    let blobs = cache.blobs();
    let copy = |egg: &CachedEgg| {
        let outcome = withdrawals
            .check(egg.digest, &egg.file_name)
            .and_then(|()| materialize_egg(blobs, egg, &into, progress));
        let outcome = outcome.unwrap_or_else(|reason| match reason {
            Error::MissingBlob { .. } | Error::UnreadableBlob { .. } => Outcome::Missing { reason },
            reason => Outcome::Failed { reason },
        });
        Materialized { file_name: egg.file_name.clone(), digest: egg.digest, outcome }
    };
    let mut eggs: Vec<Materialized> = order.into_par_iter().map(copy).collect();
    eggs.sort_unstable_by(|a, b| a.file_name.cmp(&b.file_name));
    progress.end();
    Ok(Report { into, eggs, torn })
}

/// The use of eggs that are about to be copied. It is recorded first, while there is little to sync.
fn usage(eggs: &[&CachedEgg], into: &Path) -> Usage {
    let mut usage = Usage::default();
    for egg in eggs {
        if into.join(&egg.file_name).symlink_metadata().is_ok() {
            usage.present.push(egg.digest);
        } else {
            usage.hits.push(egg.digest);
            usage.copied_bytes += egg.counts.bytes;
        }
    }
    usage
}

/// A directory that eggs can be copied into.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Canonical.
    pub path: PathBuf,
    /// As [`Report::torn`].
    pub torn: Vec<String>,
}

/// Prepares a directory for eggs: creates it, and removes temporary files of dead processes and torn
/// copies.
pub fn prepare(cache: &Cache, into: &Path) -> Result<Prepared> {
    std::fs::create_dir_all(into).at("make directory", into)?;
    let path = into.canonicalize().at("open directory", into)?;
    temp::sweep(&Dir::open(&path).at("open directory", into)?)?;
    let torn = cache.remove_torn_copies(&path);
    cache.begin_copies(&path)?;
    Ok(Prepared { path, torn })
}

/// Extracts the egg of an open blob into a [`prepare`]d directory, under a temporary name; `None` if
/// something there has its final name.
///
/// # Errors
/// [`Error::DamagedBlob`]. After every error, no part of the egg is left.
pub fn extract_missing(
    blobs: &Blobs,
    blob: &Blob<Mapped>,
    into: &Path,
    progress: &dyn Progress,
) -> Result<Option<Temp>> {
    if into.join(&blob.manifest.file_name).symlink_metadata().is_ok() {
        return Ok(None);
    }
    let dir = Dir::open(into).at("open directory", into)?;
    extract(blobs, blob, &dir, progress).map(Some)
}

fn materialize_blob(
    blobs: &Blobs,
    blob: &Blob<Mapped>,
    into: &Path,
    progress: &dyn Progress,
) -> Result<Outcome> {
    match extract_missing(blobs, blob, into, progress)? {
        Some(temp) => persist(blob, temp, into),
        None => present(&into.join(&blob.manifest.file_name), &blob.manifest),
    }
}

/// Renames an extracted egg to its final name.
///
/// # Errors
/// [`Error::InTheWay`]. After every error, the temporary egg is removed.
pub(crate) fn persist<B>(blob: &Blob<B>, temp: Temp, into: &Path) -> Result<Outcome> {
    let target = into.join(&blob.manifest.file_name);
    match temp.persist_new(blob.manifest.file_name.as_ref()) {
        Ok(()) => Ok(Outcome::Copied(blob.manifest.counts())),
        // Another process was faster.
        Err(_) if target.symlink_metadata().is_ok() => present(&target, &blob.manifest),
        Err(source) => Err(Error::Io { action: "write", path: target, source }),
    }
}

fn materialize_egg(
    blobs: &Blobs,
    egg: &CachedEgg,
    into: &Path,
    progress: &dyn Progress,
) -> Result<Outcome> {
    let digest = egg.digest;
    let missing = || Error::MissingBlob { path: blobs.path(digest) };
    let blob = blobs.open(digest)?.ok_or_else(missing)?;
    check_row(blobs, egg, &blob)?;
    materialize_blob(blobs, &blob, into, progress)
}

/// The outcome for an egg of which the final name is taken.
///
/// # Errors
/// [`Error::InTheWay`] if it is not that egg.
pub fn present(target: &Path, manifest: &Manifest) -> Result<Outcome> {
    check_present(target, manifest).map(|()| Outcome::Present)
}
