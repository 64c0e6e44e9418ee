//! Push: upload eggs of the cache to a remote.

use std::collections::HashSet;

use rayon::prelude::*;
use serde::Serialize;

use super::transfer::{EggTransfer, Outcome, failed};
use crate::cache::Cache;
use crate::egg::cached_egg::CachedEgg;
use crate::error::{Error, Result};
use crate::remote::checked_remote::CheckedRemote;
use crate::remote::client::Patience;
use crate::remote::config::Remote;
use crate::remote::keys::Signer;
use crate::remote::parallel::UPLOADS;
use crate::remote::publish::{self, Published};
use crate::util::environment::Environment;
use crate::util::progress::{Progress, Unit};
use crate::util::threads;

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
/// [`Error::Remote`] if the remote takes no egg at all.
pub fn push(
    cache: &Cache,
    eggs: &[CachedEgg],
    remote: &Remote,
    signer: &Signer,
    environment: &Environment,
    progress: &dyn Progress,
) -> Result<Report> {
    publish::check(remote, signer)?;
    let target = CheckedRemote::new(remote, Patience::COMMAND, environment)?;
    let pool = threads::pool("push", UPLOADS)?;
    progress.begin("pushing", eggs.iter().map(|egg| egg.blob_bytes).sum(), Unit::Bytes);
    let blobs = cache.blobs();
    let upload = |egg| publish::publish(&target, signer, blobs, egg, &HashSet::new(), progress);
    let results: Vec<Result<Published>> =
        pool.install(|| eggs.par_iter().with_max_len(1).map(upload).collect());
    progress.end();
    let published: Vec<Published> = results.iter().flatten().cloned().collect();
    if published.is_empty()
        && let Some(reason) = target.client.down()
    {
        return Err(Error::Remote { name: remote.name.clone(), reason });
    }
    pool.install(|| publish::list(&target.client, &published))?;
    let mut eggs: Vec<EggTransfer> = eggs
        .iter()
        .zip(results)
        .map(|(egg, result)| EggTransfer {
            file_name: egg.file_name.clone(),
            digest: egg.digest,
            remote: remote.name.clone(),
            blob_bytes: egg.blob_bytes,
            outcome: outcome(egg, result),
        })
        .collect();
    eggs.sort_by(|a, b| a.file_name.cmp(&b.file_name));
    Ok(Report { remote: remote.name.clone(), eggs, requests: target.client.requests() })
}

fn outcome(egg: &CachedEgg, result: Result<Published>) -> Outcome {
    match result {
        Ok(it) if it.is_new => Outcome::Pushed,
        Ok(it) if it.entry.egg == egg.digest => Outcome::Present,
        Ok(it) => Outcome::Other { existing: it.entry.egg },
        Err(error) => Outcome::Failed { reason: error.to_string() },
    }
}
