//! Eggs: what a remote has.

use serde::Serialize;

use crate::cache::Cache;
use crate::cache::query::Narrow;
use crate::cache::retention::pins::Pattern;
use crate::egg::name::version_order;
use crate::error::Result;
use crate::remote::config::Remote;
use crate::remote::entry::RemoteEntry;
use crate::remote::inventory::{Inventory, StoredEntry};
use crate::remote::withdrawals::record::{Notice, Withdrawals};
use crate::util::environment::Environment;
use crate::util::progress::Progress;

#[derive(Debug, Serialize)]
pub struct Report {
    pub remote: String,
    /// By name, version and key.
    pub eggs: Vec<RemoteEgg>,
    /// Of the blobs of these eggs.
    pub blob_bytes: u64,
    /// Entries that are not used, whatever they are called: no trusted key has signed them, for instance.
    pub refused: usize,
    /// Texts that no egg matches.
    pub unmatched: Vec<String>,
}

/// An egg of a remote, by an entry whose signatures count.
#[derive(Debug, Serialize)]
pub struct RemoteEgg {
    #[serde(flatten)]
    pub entry: RemoteEntry,
    /// When its entry was written, in seconds since the Unix epoch: a signature that is added counts, too.
    pub written_at: i64,
    /// Why the egg must not be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<Notice>,
}

/// The eggs of a remote that any of the texts matches, as a pin would; all if there is none.
///
/// # Errors
/// [`Error::Usage`](crate::error::Error::Usage) if a text is no pattern, or if the remote cannot be listed or read.
pub fn eggs(
    cache: &Cache,
    remote: &Remote,
    texts: &[String],
    narrow: &Narrow,
    environment: &Environment,
    progress: &dyn Progress,
) -> Result<Report> {
    let patterns: Vec<Pattern> = texts.iter().map(|it| Pattern::new(it)).collect::<Result<_>>()?;
    let withdrawals = Withdrawals::of(cache.root())?;
    let stored = Inventory::entries(remote, environment, progress)?;
    let refused = stored.iter().filter(|it| it.problem.is_some()).count();
    let mut is_matched = vec![false; patterns.len()];
    let mut is_wanted = |entry: &RemoteEntry| {
        let egg = entry.egg();
        if !narrow.admits(&egg) {
            return false;
        }
        let mut is_any = patterns.is_empty();
        for (pattern, is_matched) in patterns.iter().zip(&mut is_matched) {
            if pattern.matches(&egg) {
                (is_any, *is_matched) = (true, true);
            }
        }
        is_any
    };
    let listed = |stored: StoredEntry| {
        let entry = stored.valid().filter(|it| is_wanted(it))?.clone();
        let withdrawn = withdrawals.get(entry.egg).cloned();
        Some(RemoteEgg { entry, written_at: stored.object.modified_at, withdrawn })
    };
    let mut eggs: Vec<RemoteEgg> = stored.into_iter().filter_map(listed).collect();
    eggs.sort_by_cached_key(|egg| {
        let key = egg.entry.key.clone();
        let build = (key.python, key.platform, key.generation, key.environment, key.variant);
        (key.name, version_order(&key.version), build, egg.entry.egg)
    });
    let unmatched = texts.iter().zip(is_matched).filter(|(_, is_matched)| !is_matched);
    Ok(Report {
        remote: remote.name.clone(),
        blob_bytes: eggs.iter().map(|it| it.entry.blob_bytes).sum(),
        eggs,
        refused,
        unmatched: unmatched.map(|(text, _)| text.clone()).collect(),
    })
}
