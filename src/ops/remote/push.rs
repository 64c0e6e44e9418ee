//! Push: upload eggs of the cache to a remote.
//!
//! A signature says who has built an egg. So eggs that were pulled are not signed, unless the options say
//! so: otherwise a builder that has pulled from a thief would make the thief's eggs its own. Even then, eggs
//! are not signed that came by keys which no remote trusts any more.

use std::collections::HashSet;

use rayon::prelude::*;
use serde::Serialize;

use super::transfer::{EggTransfer, Outcome, failed};
use crate::cache::{Arrivals, Cache};
use crate::egg::arrival::Arrival;
use crate::egg::cached_egg::CachedEgg;
use crate::error::{Error, IoContext, Result};
use crate::remote::checked_remote::CheckedRemote;
use crate::remote::client::{self, Patience};
use crate::remote::config::{self, Remote};
use crate::remote::keys::Signer;
use crate::remote::parallel::UPLOADS;
use crate::remote::publish::{self, Published};
use crate::remote::withdrawals;
use crate::remote::withdrawals::run::RunWithdrawals;
use crate::util::clock::now;
use crate::util::environment::Environment;
use crate::util::progress::{Progress, Unit};
use crate::util::threads;

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Sign eggs that were pulled, too.
    pub include_pulled: bool,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub remote: String,
    pub eggs: Vec<EggTransfer>,
    /// Requests that were made.
    pub requests: u64,
}

impl Report {
    pub fn failed(&self) -> impl Iterator<Item = (&EggTransfer, &str)> {
        failed(&self.eggs)
    }
}

/// Uploads eggs to a remote. An egg that fails is in the report and does not stop the others.
///
/// # Errors
/// [`Error::Remote`] if the remote takes no egg at all, or [`Error::DamagedArrivals`].
pub fn push(
    cache: &Cache,
    eggs: &[CachedEgg],
    remote: &Remote,
    signer: &Signer,
    options: &Options,
    environment: &Environment,
    progress: &dyn Progress,
) -> Result<Report> {
    publish::check(remote, signer)?;
    let remotes = config::read(cache.root(), cache.trust())?;
    let arrivals = cache.arrivals()?;
    let arrivals = if options.include_pulled { arrivals } else { arrivals.complete()? };
    let origin = |egg: &CachedEgg| Origin::of(egg, &arrivals, &remotes, options);
    let withdrawals = RunWithdrawals::new(cache.root(), &remotes)?;
    client::make_folder(remote).at("make directory", &remote.folder().unwrap_or_default())?;
    let target = CheckedRemote::new(remote, &withdrawals, Patience::COMMAND, environment)?;
    let pool = threads::pool("push", UPLOADS)?;
    progress.begin("pushing", eggs.iter().map(|egg| egg.blob_bytes).sum(), Unit::Bytes);
    let blobs = cache.blobs();
    let upload = |egg: &CachedEgg| {
        let signer = Some(signer).filter(|_| matches!(origin(egg), Origin::Own));
        publish::publish(&target, signer, blobs, egg, &HashSet::new(), progress)
    };
    let results: Vec<Result<Option<Published>>> =
        pool.install(|| eggs.par_iter().with_max_len(1).map(upload).collect());
    progress.end();
    let published: Vec<Published> = results.iter().flatten().flatten().cloned().collect();
    if published.is_empty()
        && let Some(reason) = target.client.down()
    {
        return Err(Error::Remote { name: remote.name.clone(), reason });
    }
    pool.install(|| publish::list(&target.client, &published))?;
    withdrawals::write::refresh_if_due(&target.client, remote, cache.root(), signer)?;
    let mut eggs: Vec<EggTransfer> = eggs
        .iter()
        .zip(results)
        .map(|(egg, result)| EggTransfer {
            file_name: egg.file_name.clone(),
            digest: egg.digest,
            remote: remote.name.clone(),
            blob_bytes: egg.blob_bytes,
            outcome: outcome(egg, result, origin(egg)),
        })
        .collect();
    eggs.sort_by(|a, b| a.file_name.cmp(&b.file_name));
    Ok(Report { remote: remote.name.clone(), eggs, requests: target.client.requests() })
}

/// Whether a push signs an egg.
enum Origin<'a> {
    /// It does: the egg was built here, or counts so.
    Own,
    /// It does not, because the egg was pulled.
    Pulled(&'a Arrival),
    /// It would sign pulled eggs, and this one came by keys that do not count any more.
    Revoked(&'a Arrival),
}

impl<'a> Origin<'a> {
    fn of(egg: &CachedEgg, arrivals: &'a Arrivals, remotes: &[Remote], options: &Options) -> Self {
        let Some(arrival) = arrivals.of_egg(egg.digest) else { return Self::Own };
        if !options.include_pulled {
            return Self::Pulled(arrival);
        }
        let accepts = |it: &Remote| it.accepts(&arrival.keys, &egg.key.name, now());
        if remotes.iter().any(accepts) { Self::Own } else { Self::Revoked(arrival) }
    }
}

fn outcome(egg: &CachedEgg, result: Result<Option<Published>>, origin: Origin<'_>) -> Outcome {
    match (result, origin) {
        (Ok(Some(it)), _) if it.is_new => Outcome::Pushed,
        (Ok(Some(it)), _) if it.entry.egg == egg.digest => Outcome::Present,
        (Ok(Some(it)), _) => Outcome::Other { existing: it.entry.egg },
        (Ok(None), Origin::Pulled(arrival)) => Outcome::Skipped { arrival: arrival.clone() },
        (Ok(None), Origin::Revoked(arrival)) => Outcome::Revoked { arrival: arrival.clone() },
        (Ok(None), Origin::Own) => Outcome::Failed { reason: "it was not signed".into() },
        (Err(error), _) => Outcome::Failed { reason: error.to_string() },
    }
}
