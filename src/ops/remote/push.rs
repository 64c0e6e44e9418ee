//! Push: upload eggs of the cache to a remote.
//!
//! A signature says who has built an egg. So eggs that were pulled are not signed, unless the options say
//! so: otherwise a builder that has pulled from a thief would make the thief's eggs its own.

use std::collections::HashSet;

use rayon::prelude::*;
use serde::Serialize;

use super::transfer::{EggTransfer, Outcome, failed};
use crate::cache::{Arrivals, Cache};
use crate::egg::arrival::Arrival;
use crate::egg::cached_egg::CachedEgg;
use crate::error::{Error, Result};
use crate::remote::checked_remote::CheckedRemote;
use crate::remote::client::Patience;
use crate::remote::config::{self, Remote};
use crate::remote::keys::Signer;
use crate::remote::parallel::UPLOADS;
use crate::remote::publish::{self, Published};
use crate::remote::withdrawals;
use crate::remote::withdrawals::run::RunWithdrawals;
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
    let pulled =
        if options.include_pulled { Arrivals::default() } else { cache.arrivals()?.complete()? };
    let remotes = config::read(cache.root(), cache.trust())?;
    let withdrawals = RunWithdrawals::new(cache.root(), &remotes)?;
    let target = CheckedRemote::new(remote, &withdrawals, Patience::COMMAND, environment)?;
    let pool = threads::pool("push", UPLOADS)?;
    progress.begin("pushing", eggs.iter().map(|egg| egg.blob_bytes).sum(), Unit::Bytes);
    let blobs = cache.blobs();
    let upload = |egg: &CachedEgg| {
        let signer = Some(signer).filter(|_| pulled.of_egg(egg.digest).is_none());
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
            outcome: outcome(egg, result, pulled.of_egg(egg.digest)),
        })
        .collect();
    eggs.sort_by(|a, b| a.file_name.cmp(&b.file_name));
    Ok(Report { remote: remote.name.clone(), eggs, requests: target.client.requests() })
}

fn outcome(
    egg: &CachedEgg,
    result: Result<Option<Published>>,
    arrival: Option<&Arrival>,
) -> Outcome {
    match (result, arrival) {
        (Ok(Some(it)), _) if it.is_new => Outcome::Pushed,
        (Ok(Some(it)), _) if it.entry.egg == egg.digest => Outcome::Present,
        (Ok(Some(it)), _) => Outcome::Other { existing: it.entry.egg },
        (Ok(None), Some(arrival)) => Outcome::Skipped { arrival: arrival.clone() },
        (Ok(None), None) => Outcome::Failed { reason: "it was not signed".into() },
        (Err(error), _) => Outcome::Failed { reason: error.to_string() },
    }
}
