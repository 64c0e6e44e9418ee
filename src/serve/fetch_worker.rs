//! Fetching: downloads eggs from remotes into the cache while buildout does something else.
//!
//! Several threads download. One more thread, with its own handle on the cache, commits the eggs that
//! have arrived meanwhile together.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracing::debug;

use crate::cache::{Cache, Commit, Likeness, Staged, Staging};
use crate::disk::dir::Dir;
use crate::egg::cached_egg::CachedEgg;
use crate::error::{Error, OrLog, Result};
use crate::remote::parallel::DOWNLOADS;
use crate::remote::upstream::{Offer, Upstream};
use crate::remote::withdrawals::record::Withdrawals;
use crate::serve::Options;
use crate::serve::worker::{Monitor, Worker};
use crate::util::hash::digest::Digest;
use crate::util::progress::{Progress, Silent};

/// How far an egg has come.
#[derive(Debug, Clone)]
enum Status {
    Pending,
    InCache,
    Failed {
        reason: String,
        /// Whether the remote or the cache failed, and not this egg alone. A warning reports that once.
        affects_others: bool,
    },
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Offer>,
    statuses: HashMap<Digest, Status>,
    /// Downloaded and not in the cache yet.
    arrived: Vec<(Offer, Staged)>,
    /// Damaged eggs of the cache, which an egg of the same key replaces.
    damaged: HashSet<Digest>,
    /// Why nothing more is fetched.
    failure: Option<String>,
    /// Whether the downloads that have begun end as well.
    is_cancelled: bool,
}

impl State {
    fn take_arrived(&mut self) -> Option<Batch> {
        if self.arrived.is_empty() {
            return None;
        }
        let (offers, staged) = self.arrived.drain(..).unzip();
        Some(Batch { offers, staged, damaged: self.damaged.clone() })
    }

    /// Moves an egg to the front of the queue, unless its download has begun.
    fn fetch_next(&mut self, offer: &Offer) -> Result<()> {
        let digest = offer.entry.egg;
        match self.statuses.entry(digest) {
            Entry::Vacant(status) => {
                if let Some(failure) = &self.failure {
                    return Err(Error::Unavailable(failure.clone()));
                }
                status.insert(Status::Pending);
                self.queue.push_front(offer.clone());
            }
            Entry::Occupied(_) => {
                let queued = self.queue.iter().position(|queued| queued.entry.egg == digest);
                if let Some(offer) = queued.and_then(|at| self.queue.remove(at)) {
                    self.queue.push_front(offer);
                }
            }
        }
        Ok(())
    }

    /// Fails everything in the queue: after a full disk, for example, it would fail as well.
    fn fail_all(&mut self, error: &str) -> Status {
        self.fail_queue(format!("{error}; nothing more is fetched from remotes"))
    }

    fn fail_queue(&mut self, failure: String) -> Status {
        let reason = self.failure.get_or_insert(failure).clone();
        let failed = Status::Failed { reason, affects_others: true };
        for offer in self.queue.drain(..) {
            self.statuses.insert(offer.entry.egg, failed.clone());
        }
        failed
    }
}

/// Eggs that are committed together.
struct Batch {
    offers: Vec<Offer>,
    staged: Vec<Staged>,
    damaged: HashSet<Digest>,
}

/// Ends downloads when the worker closes or is cancelled.
struct UntilClosed<'a>(&'a Monitor<State>);

impl Progress for UntilClosed<'_> {
    fn is_over(&self) -> bool {
        self.0.is_closed() || self.0.lock().is_cancelled
    }
}

/// Dropping this cancels what has not arrived.
#[derive(Debug)]
pub struct FetchWorker {
    worker: Worker<State>,
}

impl FetchWorker {
    pub fn new(cache: &Dir, upstream: &Arc<Upstream>, options: &Arc<Options>) -> Result<Self> {
        let mut worker = Worker::default();
        let mut committer = Committer {
            cache: None,
            root: cache.path().to_owned(),
            upstream: Arc::clone(upstream),
            options: Arc::clone(options),
        };
        worker.spawn("commit", move |monitor| commit_batches(monitor, &mut committer))?;
        for _ in 0..DOWNLOADS {
            let (upstream, staging) = (Arc::clone(upstream), Staging::new(cache));
            let (root, options) = (cache.path().to_owned(), Arc::clone(options));
            let text = move |error: &Error| options.text(error, &root);
            let work = move |monitor: &_| download_eggs(monitor, &upstream, &staging, &text);
            worker.spawn("fetch", work)?;
        }
        Ok(Self { worker })
    }

    /// Queues eggs in this order, after those that are queued already.
    pub fn enqueue(&self, offers: impl IntoIterator<Item = Offer>) {
        self.worker.monitor().update(|state| {
            if state.failure.is_some() {
                return;
            }
            for offer in offers {
                if let Entry::Vacant(status) = state.statuses.entry(offer.entry.egg) {
                    status.insert(Status::Pending);
                    state.queue.push_back(offer);
                }
            }
        });
    }

    /// Lets a fetched egg replace a damaged one of the same key.
    pub fn replace(&self, damaged: Digest) {
        self.worker.monitor().update(|state| state.damaged.insert(damaged));
    }

    /// Fetches nothing more, for this reason.
    pub fn cancel(&self, reason: &str) {
        self.worker.monitor().update(|state| {
            let failed = state.fail_queue(reason.to_owned());
            state.is_cancelled = true;
            let is_pending = |status: &&mut Status| matches!(status, Status::Pending);
            state.statuses.values_mut().filter(is_pending).for_each(|it| *it = failed.clone());
        });
    }

    /// Why nothing more is fetched, if nothing is.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.worker.monitor().lock().failure.clone()
    }

    /// Whether the attempt to fetch an egg has failed.
    #[must_use]
    pub fn has_failed(&self, digest: Digest) -> bool {
        let state = self.worker.monitor().lock();
        matches!(state.statuses.get(&digest), Some(Status::Failed { .. }))
    }

    /// Waits until an egg is in the cache, no longer than `limit`. Returns whether it has arrived. If its
    /// download has not begun, it is the next one.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if its remote cannot be used or the cache stores no more eggs, else
    /// [`Error::Unfetched`].
    pub fn wait_for(&self, offer: &Offer, limit: Duration) -> Result<bool> {
        let digest = offer.entry.egg;
        let monitor = self.worker.monitor();
        monitor.update(|state| state.fetch_next(offer))?;
        let is_pending =
            |state: &mut State| matches!(state.statuses.get(&digest), Some(Status::Pending));
        match monitor.wait_while_at_most(limit, is_pending).statuses.get(&digest).cloned() {
            Some(Status::Failed { reason, affects_others: true }) => {
                Err(Error::Unavailable(reason))
            }
            Some(Status::Failed { reason, .. }) => Err(Error::Unfetched(reason)),
            Some(Status::Pending) => Ok(false),
            Some(Status::InCache) | None => Ok(true),
        }
    }
}

impl Drop for FetchWorker {
    fn drop(&mut self) {
        self.worker.monitor().update(|state| state.queue.clear());
    }
}

fn download_eggs(
    monitor: &Monitor<State>,
    upstream: &Upstream,
    staging: &Staging,
    text: &dyn Fn(&Error) -> String,
) {
    let take = |state: &mut State| state.queue.pop_front();
    let run = |offer: &mut Offer| download(upstream, offer, staging, &UntilClosed(monitor));
    monitor.run_jobs(take, run, |offer, outcome| {
        let unexpected = || Err(Error::Unfetched("the download failed unexpectedly".into()));
        let outcome = outcome.unwrap_or_else(unexpected);
        monitor.update(|state| record_download(state, offer.entry.egg, outcome, text));
    });
}

/// Downloads an egg from the remote of its offer, or else from a later remote that has the same egg. Returns
/// the offer that was used, too.
fn download(
    upstream: &Upstream,
    offer: &Offer,
    staging: &Staging,
    progress: &dyn Progress,
) -> Result<(Offer, Staged)> {
    let mut current = offer.clone();
    loop {
        let fetched = upstream.fetch(&current, staging, progress);
        let outcome = fetched.map(|staged| (current.clone(), staged));
        // What the disk does not take from this remote it takes from no other one.
        if matches!(outcome, Ok(_) | Err(Error::Io { .. })) || progress.is_over() {
            return outcome;
        }
        match upstream.alternative(&current) {
            Some(next) if next.entry.egg == offer.entry.egg => current = next,
            _ => return outcome,
        }
    }
}

fn record_download(
    state: &mut State,
    egg: Digest,
    outcome: Result<(Offer, Staged)>,
    text: &dyn Fn(&Error) -> String,
) {
    let error = match outcome {
        Ok(arrived) => return state.arrived.push(arrived),
        Err(error) => error,
    };
    debug!(digest = %egg, %error, "not fetched");
    let status = match error {
        Error::Io { .. } => state.fail_all(&text(&error)),
        Error::Remote { .. } => Status::Failed { reason: error.to_string(), affects_others: true },
        _ => Status::Failed { reason: error.to_string(), affects_others: false },
    };
    state.statuses.insert(egg, status);
}

/// What the thread that commits needs.
struct Committer {
    /// Opened for the first batch.
    cache: Option<Cache>,
    root: PathBuf,
    upstream: Arc<Upstream>,
    options: Arc<Options>,
}

impl Committer {
    fn commit(&mut self, batch: &mut Batch) -> Result<Vec<Commit>> {
        let Self { cache, root, upstream, options } = self;
        let trust = &options.trust;
        let cache = if let Some(cache) = cache {
            cache
        } else {
            let mut opened = Cache::open_with(root, trust, &Silent)?;
            opened.limit_waiting();
            cache.insert(opened)
        };
        let Batch { offers, staged, damaged } = batch;
        // An unreadable record is reported when the session is opened.
        let withdrawals = Withdrawals::of(root).or_log().unwrap_or_default();
        cache.commit_admitted(
            std::mem::take(staged),
            |egg: &CachedEgg| damaged.contains(&egg.digest) || withdrawals.has(egg.digest),
            || upstream.refused_now(offers, root, trust),
        )
    }
}

fn commit_batches(monitor: &Monitor<State>, committer: &mut Committer) {
    let (root, options) = (committer.root.clone(), Arc::clone(&committer.options));
    monitor.run_jobs(
        State::take_arrived,
        |batch| committer.commit(batch).map_err(|error| options.text(&error, &root)),
        |Batch { offers, .. }, commits| {
            let unexpected = || Err("storing fetched eggs failed unexpectedly".into());
            let commits = commits.unwrap_or_else(unexpected);
            monitor.update(|state| record_commits(state, &offers, commits));
        },
    );
}

fn record_commits(state: &mut State, offers: &[Offer], commits: Result<Vec<Commit>, String>) {
    let statuses: Vec<Status> = match commits {
        Ok(commits) => commits.iter().map(status_after).collect(),
        Err(reason) => vec![state.fail_all(&reason); offers.len()],
    };
    state.statuses.extend(offers.iter().map(|offer| offer.entry.egg).zip(statuses));
}

fn status_after(commit: &Commit) -> Status {
    match commit {
        Commit::Kept { existing, likeness: Likeness::Known | Likeness::Other } => Status::Failed {
            reason: format!(
                "the cache has its own build of {} ({})",
                existing.file_name,
                existing.digest.short()
            ),
            affects_others: false,
        },
        Commit::Refused { reason } => {
            Status::Failed { reason: reason.clone(), affects_others: false }
        }
        _ => Status::InCache,
    }
}
