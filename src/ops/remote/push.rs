//! Push: bring eggs of the cache to a remote.

use std::collections::HashSet;

use rayon::prelude::*;
use serde::Serialize;

use crate::cache::Cache;
use crate::egg::cached_egg::CachedEgg;
use crate::error::{Error, Result};
use crate::remote::checked_remote::CheckedRemote;
use crate::remote::client::Patience;
use crate::remote::config::Remote;
use crate::remote::keys::Signer;
use crate::remote::parallel::UPLOADS;
use crate::remote::publish::{self, Published};
use crate::util::hash::digest::Digest;
use crate::util::progress::{Progress, Unit};
use crate::util::threads;

#[derive(Debug, Serialize)]
pub struct Report {
    pub remote: String,
    pub eggs: Vec<Pushed>,
    /// Requests that were made.
    pub requests: u64,
}

#[derive(Debug, Serialize)]
pub struct Pushed {
    pub file_name: String,
    pub digest: Digest,
    pub blob_bytes: u64,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    Pushed,
    /// The remote has it already.
    Present,
    /// The remote has another build of its key, which stays.
    Other {
        existing: Digest,
    },
    Failed {
        reason: String,
    },
}

impl Report {
    pub fn failed(&self) -> impl Iterator<Item = (&Pushed, &str)> {
        self.eggs.iter().filter_map(|egg| match &egg.outcome {
            Outcome::Failed { reason } => Some((egg, reason.as_str())),
            _ => None,
        })
    }
}

/// Brings eggs to a remote. One that fails does not keep the others; the report names it.
///
/// # Errors
/// If the remote cannot be written at all.
pub fn push(
    cache: &Cache,
    eggs: &[CachedEgg],
    remote: &Remote,
    signer: &Signer,
    progress: &dyn Progress,
) -> Result<Report> {
    publish::check(remote, signer)?;
    let source = CheckedRemote::new(remote, Patience::COMMAND)?;
    progress.begin("pushing", eggs.iter().map(|egg| egg.blob_bytes).sum(), Unit::Bytes);
    let pool = threads::pool("push", UPLOADS)?;
    let blobs = cache.blobs();
    let bring = |egg| publish::publish(&source, signer, blobs, egg, &HashSet::new(), progress);
    let results: Vec<Result<Published>> =
        pool.install(|| eggs.par_iter().with_max_len(1).map(bring).collect());
    progress.end();
    let there: Vec<Published> = results.iter().flatten().cloned().collect();
    if there.is_empty()
        && let Some(reason) = source.client.down()
    {
        return Err(Error::Remote { name: remote.name.clone(), reason });
    }
    publish::list(&source.client, &there)?;
    let pushed = |(egg, result): (&CachedEgg, Result<Published>)| Pushed {
        file_name: egg.file_name.clone(),
        digest: egg.digest,
        blob_bytes: egg.blob_bytes,
        outcome: match result {
            Ok(it) if it.is_new => Outcome::Pushed,
            Ok(it) if it.entry.egg == egg.digest => Outcome::Present,
            Ok(it) => Outcome::Other { existing: it.entry.egg },
            Err(error) => Outcome::Failed { reason: error.to_string() },
        },
    };
    let mut eggs: Vec<Pushed> = eggs.iter().zip(results).map(pushed).collect();
    eggs.sort_by(|a, b| a.file_name.cmp(&b.file_name));
    Ok(Report { remote: remote.name.clone(), eggs, requests: source.client.requests() })
}
