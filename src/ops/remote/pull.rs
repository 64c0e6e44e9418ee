//! Pull: bring eggs from the remotes into the cache.

use std::sync::mpsc;

use rayon::prelude::*;
use serde::Serialize;

use crate::cache::query::{self, Narrow};
use crate::cache::{Cache, Commit};
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::python_tag;
use crate::egg::name::{EggName, normalize_name, same_version};
use crate::error::{Error, Result};
use crate::remote::parallel::DOWNLOADS;
use crate::remote::upstream::{Offer, Upstream};
use crate::util::hash::digest::Digest;
use crate::util::progress::{Progress, Unit};
use crate::util::threads;

#[derive(Debug, Serialize)]
pub struct Report {
    pub eggs: Vec<Pulled>,
    /// What no remote has.
    pub missing: Vec<String>,
    /// Requests that were made.
    pub requests: u64,
    /// What was refused, and which remotes could not be used.
    pub complaints: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Pulled {
    pub file_name: String,
    pub digest: Digest,
    pub remote: String,
    /// Bytes that were transferred.
    pub blob_bytes: u64,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    Pulled,
    /// The cache has it, or has it again.
    Present,
    /// The cache has another build of its key, which stays.
    Other {
        existing: Digest,
    },
    Failed {
        reason: String,
    },
}

impl Report {
    pub fn failed(&self) -> impl Iterator<Item = (&Pulled, &str)> {
        self.eggs.iter().filter_map(|egg| match &egg.outcome {
            Outcome::Failed { reason } => Some((egg, reason.as_str())),
            _ => None,
        })
    }
}

/// Brings the eggs that `names` name into the cache: `name==version`, or the file name of an egg. One
/// that fails does not keep the others; the report names it.
///
/// # Errors
/// [`Error::Ambiguous`] if several answer to a name, [`Error::Usage`] for another kind of name, or
/// if the cache cannot be written.
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
    let look = |name: &String| {
        let found = offer(upstream, name, narrow);
        progress.advance(1);
        found
    };
    let found: Result<Vec<Option<Offer>>> =
        pool.install(|| names.par_iter().with_max_len(1).map(look).collect());
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
    // The largest first, so that no transfer is left alone at the end.
    offers.sort_by_key(|offer| std::cmp::Reverse(offer.entry.blob_bytes));
    let mut eggs = transfer(cache, &offers, upstream, &pool, progress)?;
    eggs.sort_by(|a, b| a.file_name.cmp(&b.file_name));
    let requests = upstream.remotes().iter().map(|source| source.client.requests()).sum();
    Ok(Report { eggs, missing, requests, complaints: upstream.warnings() })
}

/// The one egg that a name is of.
fn offer(upstream: &Upstream, text: &str, narrow: &Narrow) -> Result<Option<Offer>> {
    let (name, version) = match (text.split_once("=="), text.parse::<EggName>()) {
        (Some((name, version)), _) => (name.trim(), Some(version.trim_start_matches('=').trim())),
        (None, Ok(_)) => ("", None),
        (None, Err(_)) => {
            let reason = "is neither name==version nor the file name of an egg";
            return Err(Error::Usage(format!(
                "{text} {reason}: remotes are asked for those alone"
            )));
        }
    };
    let of_file = text.parse::<EggName>().ok().filter(|_| version.is_none());
    let project = normalize_name(of_file.as_ref().map_or(name, |egg| egg.name.as_str()));
    let told = narrow.python.as_deref().or(of_file.as_ref().map(|egg| egg.python.as_str()));
    let python = match told.unwrap_or_default() {
        // A file name that tells none is of an egg of any Python.
        "" if of_file.is_some() => String::new(),
        "" => {
            let reason = "say for which Python, as in --python 3.11";
            return Err(Error::Usage(format!("{text}: {reason}")));
        }
        python if python.starts_with(|c: char| c.is_ascii_digit()) => python_tag("cp", python),
        python => python.to_owned(),
    };
    let mut offers = upstream.find(&project, &python, |key| {
        narrow.admits_key(key) && version.is_none_or(|version| same_version(&key.version, version))
    });
    if of_file.is_some() {
        offers.retain(|offer| offer.entry.file_name == text);
    }
    match offers.len() {
        0 => Ok(None),
        1 => Ok(offers.pop()),
        _ => {
            let candidates = offers.iter().map(|it| query::describe(&it.entry.egg())).collect();
            Err(Error::Ambiguous { query: text.to_owned(), candidates })
        }
    }
}

/// Transfers beside each other, and commits what has arrived together.
fn transfer(
    cache: &mut Cache,
    offers: &[Offer],
    upstream: &Upstream,
    pool: &rayon::ThreadPool,
    progress: &dyn Progress,
) -> Result<Vec<Pulled>> {
    let mut eggs = Vec::new();
    let mut wanted = Vec::new();
    for offer in offers {
        match cache.open_blob(offer.entry.egg) {
            Ok(Some(_)) if cache.egg(offer.entry.egg)?.is_some() => {
                eggs.push(pulled(upstream, offer, Outcome::Present));
            }
            _ => wanted.push(offer),
        }
    }
    progress.begin("pulling", wanted.iter().map(|it| it.entry.blob_bytes).sum(), Unit::Bytes);
    let staging = cache.staging();
    let (sender, arrived) = mpsc::channel();
    let fetch = |sender: &mut mpsc::Sender<_>, offer: &Offer| {
        let bring = |offer: &Offer| upstream.remote(offer).fetch(&offer.entry, &staging, progress);
        let brought = match bring(offer) {
            Ok(staged) => (offer.clone(), Ok(staged)),
            Err(error) => {
                let next = |last: &Offer| upstream.alternative(last);
                let mut others = std::iter::successors(next(offer), next);
                let brought = others.find_map(|it| Some((it.clone(), Ok(bring(&it).ok()?))));
                // Where no other has it either, the first reason is told.
                brought.unwrap_or_else(|| (offer.clone(), Err(error)))
            }
        };
        let _ = sender.send(brought);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let wanted = wanted.into_par_iter().with_max_len(1);
            pool.install(|| wanted.for_each_with(sender, fetch));
        });
        while let Ok(first) = arrived.recv() {
            let batch: Vec<_> = std::iter::once(first).chain(arrived.try_iter()).collect();
            let (mut taken, mut staged) = (Vec::new(), Vec::new());
            for (offer, result) in batch {
                match result {
                    Ok(it) => {
                        taken.push(offer);
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
                        eggs.push(pulled(upstream, &offer, Outcome::Failed { reason }));
                    }
                }
            }
            let commits = cache.commit(staged, |_: &CachedEgg| false)?;
            eggs.extend(taken.into_iter().zip(commits).map(|(offer, commit)| {
                let outcome = match commit {
                    Commit::Stored(_) | Commit::Replaced { .. } => Outcome::Pulled,
                    Commit::Kept { same: true, .. } => Outcome::Present,
                    Commit::Kept { existing, .. } => Outcome::Other { existing: existing.digest },
                };
                pulled(upstream, &offer, outcome)
            }));
        }
        Ok::<(), Error>(())
    })?;
    progress.end();
    Ok(eggs)
}

fn pulled(upstream: &Upstream, offer: &Offer, outcome: Outcome) -> Pulled {
    Pulled {
        file_name: offer.entry.file_name.clone(),
        digest: offer.entry.egg,
        remote: upstream.remote(offer).client.name().to_owned(),
        blob_bytes: offer.entry.blob_bytes,
        outcome,
    }
}
