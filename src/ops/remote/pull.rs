//! Pull: download eggs from the remotes into the cache.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::iter;
use std::sync::mpsc;

use rayon::ThreadPool;
use rayon::prelude::*;
use serde::Serialize;

use super::transfer::{EggTransfer, Outcome, failed};
use crate::cache::query::{self, Narrow};
use crate::cache::{Cache, Commit, Likeness, Staged, Staging};
use crate::disk::dir::Dir;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::python_tag;
use crate::egg::name::{EggName, normalize_name, same_version};
use crate::error::{Error, Result};
use crate::remote::parallel::DOWNLOADS;
use crate::remote::upstream::{Offer, Upstream};
use crate::remote::withdrawals::record::Withdrawals;
use crate::util::hash::digest::Digest;
use crate::util::progress::{Progress, Unit};
use crate::util::threads;

#[derive(Debug, Serialize)]
pub struct Report {
    pub eggs: Vec<EggTransfer>,
    /// Names that no remote has an egg for.
    pub missing: Vec<String>,
    /// Requests that were made.
    pub requests: u64,
    /// Refused entries and blobs, and remotes that failed.
    #[serde(rename = "complaints")]
    pub warnings: Vec<String>,
}

impl Report {
    pub fn failed(&self) -> impl Iterator<Item = (&EggTransfer, &str)> {
        failed(&self.eggs)
    }
}

/// Downloads eggs into the cache. Each of `names` is `name==version`, the file name of an egg, or the
/// beginning of its digest. An egg that fails is in the report and does not stop the others.
///
/// # Errors
/// [`Error::Ambiguous`] if a name matches several eggs, [`Error::Usage`] for another form of name,
/// [`Error::NoPython`], or [`Error::ReadOnly`].
pub fn pull(
    cache: &mut Cache,
    names: &[String],
    upstream: &Upstream,
    narrow: &Narrow,
    progress: &dyn Progress,
) -> Result<Report> {
    cache.check_writable()?;
    let pool = threads::pool("pull", DOWNLOADS)?;
    progress.begin("looking", names.len() as u64, Unit::Eggs);
    let dir = cache.dir();
    let find = |name: &String| {
        let found = find(upstream, name, narrow, dir);
        progress.advance(1);
        found
    };
    let found: Result<Vec<Option<Offer>>> =
        pool.install(|| names.par_iter().with_max_len(1).map(find).collect());
    progress.end();
    let mut missing = Vec::new();
    let mut offers: Vec<Offer> = Vec::new();
    for (name, found) in names.iter().zip(found?) {
        match found {
            None => missing.push(name.clone()),
            Some(offer) if offers.iter().any(|it| it.entry.egg == offer.entry.egg) => {}
            Some(offer) => offers.push(offer),
        }
    }
    // The largest first, so that none of them runs alone at the end.
    offers.sort_by_key(|offer| Reverse(offer.entry.blob_bytes));
    let mut eggs = transfer(cache, &offers, upstream, &pool, progress)?;
    eggs.sort_by(|a, b| a.file_name.cmp(&b.file_name));
    upstream.settle_withdrawals();
    let requests = upstream.remotes().iter().map(|remote| remote.client.requests()).sum();
    Ok(Report { eggs, missing, requests, warnings: upstream.warnings() })
}

/// The one egg with a name, or `None`.
fn find(upstream: &Upstream, text: &str, narrow: &Narrow, cache: &Dir) -> Result<Option<Offer>> {
    let is_version_or_file = text.contains("==") || text.parse::<EggName>().is_ok();
    let mut offers = if !is_version_or_file && Digest::is_prefix(text) {
        upstream.of_digest(text, |key| narrow.admits_key(key))?
    } else {
        without_duplicates(named(upstream, text, narrow)?)
    };
    match offers.len() {
        0 => Ok(None),
        1 => Ok(offers.pop()),
        _ => {
            let candidates =
                offers.iter().map(|it| query::describe(&it.entry.egg(), cache)).collect();
            let query = text.to_owned();
            Err(Error::Ambiguous { query, candidates, has_all_builds: false })
        }
    }
}

/// The eggs with a version or a file name.
fn named(upstream: &Upstream, text: &str, narrow: &Narrow) -> Result<Vec<Offer>> {
    let (name, version, python) = parse(text, narrow.python.as_deref())?;
    let mut offers = upstream.find(&name, &python, |key| {
        let is_version = version.is_none_or(|version| same_version(&key.version, version));
        narrow.admits_key(key) && is_version
    });
    if version.is_none() {
        offers.retain(|offer| offer.entry.file_name == text);
    }
    Ok(offers)
}

/// As [`query::without_duplicates`].
fn without_duplicates(mut offers: Vec<Offer>) -> Vec<Offer> {
    let eggs = offers.iter().map(|offer| offer.entry.egg()).collect();
    let kept: HashSet<Digest> =
        query::without_duplicates(eggs).iter().map(|egg| egg.digest).collect();
    offers.retain(|offer| kept.contains(&offer.entry.egg));
    offers
}

/// The project, the version and the Python tag in `name==version` or in a file name. The version is
/// `None` for a file name, which selects the egg by itself.
fn parse<'a>(text: &'a str, python: Option<&str>) -> Result<(String, Option<&'a str>, String)> {
    if let Some((name, version)) = text.split_once("==") {
        let Some(python) = python.filter(|python| !python.is_empty()) else {
            return Err(Error::NoPython { egg: text.to_owned() });
        };
        let version = version.trim_start_matches('=').trim();
        return Ok((normalize_name(name.trim()), Some(version), tag(python)));
    }
    let Ok(egg) = text.parse::<EggName>() else {
        return Err(Error::NoVersion { egg: text.to_owned() });
    };
    // A file name without a Python is that of an egg for any Python.
    Ok((normalize_name(&egg.name), None, tag(python.unwrap_or(&egg.python))))
}

/// The tag of a version like `3.11`, or the tag itself.
fn tag(python: &str) -> String {
    let is_version = python.starts_with(|c: char| c.is_ascii_digit());
    if is_version { python_tag("cp", python) } else { python.to_owned() }
}

/// Downloads several eggs at a time, and commits those that have arrived together.
fn transfer(
    cache: &mut Cache,
    offers: &[Offer],
    upstream: &Upstream,
    pool: &ThreadPool,
    progress: &dyn Progress,
) -> Result<Vec<EggTransfer>> {
    let (mut eggs, mut wanted) = (Vec::new(), Vec::new());
    for offer in offers {
        match cache.open_blob(offer.entry.egg) {
            Ok(Some(_)) if cache.egg(offer.entry.egg)?.is_some() => {
                eggs.push(transferred(upstream, offer, Outcome::Present));
            }
            _ => wanted.push(offer),
        }
    }
    progress.begin("pulling", wanted.iter().map(|it| it.entry.blob_bytes).sum(), Unit::Bytes);
    let staging = &cache.staging();
    let (sender, arrived) = mpsc::channel();
    pool.in_place_scope_fifo(|scope| {
        for offer in wanted {
            let sender = sender.clone();
            scope.spawn_fifo(move |_| {
                let _ = sender.send(download(upstream, offer, staging, progress));
            });
        }
        drop(sender);
        while let Ok(first) = arrived.recv() {
            let batch = iter::once(first).chain(arrived.try_iter());
            commit(cache, upstream, batch, &mut eggs)?;
        }
        Ok::<(), Error>(())
    })?;
    progress.end();
    Ok(eggs)
}

/// Downloads an egg from the remote of its offer, or else from a later one. Returns the offer that was
/// used. If all fail, the error is that of the first.
fn download(
    upstream: &Upstream,
    offer: &Offer,
    staging: &Staging,
    progress: &dyn Progress,
) -> (Offer, Result<Staged>) {
    let fetch = |offer: &Offer| upstream.fetch(offer, staging, progress);
    let error = match fetch(offer) {
        Ok(staged) => return (offer.clone(), Ok(staged)),
        Err(error) => error,
    };
    let next = |last: &Offer| upstream.alternative(last);
    let downloaded = iter::successors(next(offer), next)
        .find_map(|other| fetch(&other).ok().map(|staged| (other, Ok(staged))));
    downloaded.unwrap_or_else(|| (offer.clone(), Err(error)))
}

fn commit(
    cache: &mut Cache,
    upstream: &Upstream,
    batch: impl Iterator<Item = (Offer, Result<Staged>)>,
    eggs: &mut Vec<EggTransfer>,
) -> Result<()> {
    let (mut arrived, mut staged) = (Vec::new(), Vec::new());
    for (offer, result) in batch {
        match result {
            Ok(it) => {
                arrived.push(offer);
                staged.push(it);
            }
            Err(error) => {
                let reason = match error {
                    Error::Miss { .. } => {
                        let name = upstream.remote(&offer).client.name();
                        format!("remote {name}: its blob is gone")
                    }
                    error => error.to_string(),
                };
                eggs.push(transferred(upstream, &offer, Outcome::Failed { reason }));
            }
        }
    }
    let withdrawals = Withdrawals::of(cache.root())?;
    let (root, trust) = (cache.root().to_owned(), cache.trust().clone());
    let commits = cache.commit_admitted(
        staged,
        |egg: &CachedEgg| withdrawals.has(egg.digest),
        || upstream.refused_now(&arrived, &root, &trust),
    )?;
    eggs.extend(arrived.iter().zip(commits).map(|(offer, commit)| {
        let outcome = match commit {
            Commit::Stored(_) | Commit::Replaced { .. } => Outcome::Pulled,
            Commit::Kept { likeness: Likeness::Same | Likeness::Known, .. } => Outcome::Present,
            Commit::Kept { existing, likeness: Likeness::Other } => {
                Outcome::Other { existing: existing.digest }
            }
            Commit::Refused { reason } => Outcome::Failed { reason },
        };
        transferred(upstream, offer, outcome)
    }));
    Ok(())
}

fn transferred(upstream: &Upstream, offer: &Offer, outcome: Outcome) -> EggTransfer {
    EggTransfer {
        file_name: offer.entry.file_name.clone(),
        digest: offer.entry.egg,
        remote: upstream.remote(offer).client.name().to_owned(),
        blob_bytes: offer.entry.blob_bytes,
        outcome,
    }
}
