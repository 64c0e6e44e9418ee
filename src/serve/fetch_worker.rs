//! Fetching: brings eggs from remotes into the cache while buildout does something else.
//!
//! Several transfers go on beside each other; what has arrived meanwhile is committed together by one
//! thread with a handle of its own on the cache.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::cache::{Cache, Commit, Staged, Staging};
use crate::egg::cached_egg::CachedEgg;
use crate::error::{Error, IoContext, Result};
use crate::remote::parallel::DOWNLOADS;
use crate::remote::upstream::{Offer, Upstream};
use crate::serve::monitor;
use crate::util::hash::digest::Digest;
use crate::util::progress::Progress;

/// What became of an egg that was to come.
#[derive(Debug, Clone)]
enum Fate {
    Coming,
    Here,
    /// Whether it is told for all of them together.
    Failed {
        reason: String,
        is_told: bool,
    },
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Offer>,
    fates: HashMap<Digest, Fate>,
    /// What has arrived and is not in the cache yet.
    arrived: Vec<(Digest, Staged)>,
    /// Eggs of the cache that are damaged: one of their key takes their place.
    damaged: HashSet<Digest>,
    /// Why the cache takes nothing more.
    failure: Option<String>,
    is_over: bool,
}

type Shared = monitor::Shared<State>;

impl State {
    /// The disk is full, say: what comes after that would fare no better.
    fn fail(&mut self, error: &str) -> String {
        let failure = format!("{error}; nothing more comes from remotes");
        let failure = self.failure.get_or_insert(failure).clone();
        for offer in self.queue.drain(..) {
            let fate = Fate::Failed { reason: failure.clone(), is_told: true };
            self.fates.insert(offer.entry.egg, fate);
        }
        failure
    }
}

/// Ends transfers with what they are for.
struct Awaited<'a>(&'a Shared);

impl Progress for Awaited<'_> {
    fn is_over(&self) -> bool {
        self.0.lock().is_over
    }
}

/// Dropping this gives up what has not come.
#[derive(Debug)]
pub struct Fetching {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Fetching {
    /// # Errors
    /// If there can be no threads.
    pub fn new(cache: &Path, upstream: &Arc<Upstream>) -> Result<Self> {
        let mut fetching = Self { shared: Arc::default(), threads: Vec::new() };
        let (shared, root) = (Arc::clone(&fetching.shared), cache.to_owned());
        fetching.spawn(cache, move || keep(&shared, &root))?;
        for _ in 0..DOWNLOADS {
            let (shared, upstream) = (Arc::clone(&fetching.shared), Arc::clone(upstream));
            let staging = Staging::new(cache);
            fetching.spawn(cache, move || fetch(&shared, &upstream, &staging))?;
        }
        Ok(fetching)
    }

    fn spawn(&mut self, cache: &Path, work: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = std::thread::Builder::new().spawn(work).at("start to fetch into", cache)?;
        self.threads.push(thread);
        Ok(())
    }

    /// Lets eggs come, in their order, after those that are on their way.
    pub fn expect(&self, offers: impl IntoIterator<Item = Offer>) {
        let mut state = self.shared.lock();
        if state.failure.is_some() {
            return;
        }
        for offer in offers {
            if let Entry::Vacant(fate) = state.fates.entry(offer.entry.egg) {
                fate.insert(Fate::Coming);
                state.queue.push_back(offer);
            }
        }
        self.shared.tell();
    }

    /// Lets what comes take the place of an egg that is damaged.
    pub fn replace(&self, damaged: Digest) {
        self.shared.lock().damaged.insert(damaged);
    }

    /// Why nothing more comes, if so.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.shared.lock().failure.clone()
    }

    /// Whether an egg was to come and could not be had.
    #[must_use]
    pub fn has_failed(&self, digest: Digest) -> bool {
        matches!(self.shared.lock().fates.get(&digest), Some(Fate::Failed { .. }))
    }

    /// Waits until an egg is in the cache, which comes next if it does not come yet.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if its remote cannot be used or the cache takes nothing more, else
    /// [`Error::Unfetched`].
    pub fn arrive(&self, offer: &Offer) -> Result<()> {
        let digest = offer.entry.egg;
        let mut state = self.shared.lock();
        if let Some(failure) = state.failure.clone().filter(|_| !state.fates.contains_key(&digest))
        {
            return Err(Error::Unavailable(failure));
        }
        if let Some(at) = state.queue.iter().position(|queued| queued.entry.egg == digest) {
            let next = state.queue.remove(at).expect("it was found there");
            state.queue.push_front(next);
        } else if let Entry::Vacant(fate) = state.fates.entry(digest) {
            fate.insert(Fate::Coming);
            state.queue.push_front(offer.clone());
        }
        self.shared.tell();
        loop {
            match state.fates.get(&digest) {
                Some(Fate::Coming) => state = self.shared.wait(state),
                Some(Fate::Failed { reason, is_told: true }) => {
                    return Err(Error::Unavailable(reason.clone()));
                }
                Some(Fate::Failed { reason, .. }) => return Err(Error::Unfetched(reason.clone())),
                Some(Fate::Here) | None => return Ok(()),
            }
        }
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_over = true;
        state.queue.clear();
        drop(state);
        self.shared.tell();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn fetch(shared: &Shared, upstream: &Upstream, staging: &Staging) {
    loop {
        let mut state = shared.lock();
        let offer = loop {
            if state.is_over {
                return;
            }
            match state.queue.pop_front() {
                Some(offer) => break offer,
                None => state = shared.wait(state),
            }
        };
        drop(state);
        // Whoever waits shall not wait for ever, whatever happens.
        let fetched = catch_unwind(AssertUnwindSafe(|| {
            let progress = Awaited(shared);
            let fetch =
                |offer: &Offer| upstream.remote(offer).fetch(&offer.entry, staging, &progress);
            let mut fetched = fetch(&offer);
            let mut at = offer.clone();
            // What the disk does not take it takes from no other remote.
            while !matches!(fetched, Ok(_) | Err(Error::Io { .. }))
                && !progress.is_over()
                && let Some(next) =
                    upstream.alternative(&at).filter(|it| it.entry.egg == offer.entry.egg)
            {
                fetched = fetch(&next);
                at = next;
            }
            fetched
        }));
        let mut state = shared.lock();
        match fetched {
            Ok(Ok(staged)) => state.arrived.push((offer.entry.egg, staged)),
            Ok(Err(error)) => {
                let is_told = matches!(error, Error::Remote { .. } | Error::Io { .. });
                let mut reason = error.to_string();
                if matches!(error, Error::Io { .. }) {
                    reason = state.fail(&reason);
                }
                state.fates.insert(offer.entry.egg, Fate::Failed { reason, is_told });
            }
            Err(_) => {
                let fate = Fate::Failed { reason: "fetching has failed".into(), is_told: false };
                state.fates.insert(offer.entry.egg, fate);
            }
        }
        shared.tell();
    }
}

fn keep(shared: &Shared, root: &Path) {
    let mut cache = None;
    loop {
        let mut state = shared.lock();
        while state.arrived.is_empty() {
            if state.is_over {
                return;
            }
            state = shared.wait(state);
        }
        let (digests, staged): (Vec<_>, Vec<_>) = state.arrived.drain(..).unzip();
        let damaged = state.damaged.clone();
        drop(state);
        let kept = catch_unwind(AssertUnwindSafe(|| commit(&mut cache, root, staged, &damaged)));
        let kept = kept.unwrap_or_else(|_| Err("what was fetched was not kept".into()));
        let mut state = shared.lock();
        let kept = kept.map_err(|reason| state.fail(&reason));
        for (at, digest) in digests.into_iter().enumerate() {
            let fate = match &kept {
                Ok(commits) => fate(&commits[at]),
                Err(reason) => Fate::Failed { reason: reason.clone(), is_told: true },
            };
            state.fates.insert(digest, fate);
        }
        shared.tell();
    }
}

fn commit(
    cache: &mut Option<Cache>,
    root: &Path,
    staged: Vec<Staged>,
    damaged: &HashSet<Digest>,
) -> Result<Vec<Commit>, String> {
    let commit = || -> Result<Vec<Commit>> {
        let cache = match cache {
            Some(cache) => cache,
            None => cache.insert(Cache::open(root)?),
        };
        cache.commit(staged, |egg: &CachedEgg| damaged.contains(&egg.digest))
    };
    commit().map_err(|error| error.to_string())
}

fn fate(commit: &Commit) -> Fate {
    match commit {
        Commit::Kept { existing, same: false } => Fate::Failed {
            reason: format!(
                "the cache has another build of {} ({})",
                existing.file_name,
                existing.digest.short()
            ),
            is_told: false,
        },
        _ => Fate::Here,
    }
}
