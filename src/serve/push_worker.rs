//! Pushing: brings eggs to a remote while buildout goes on, and holds the leases of those that are
//! being built.
//!
//! What is built under a lease is brought there as soon as it is kept, as others wait for it. All that
//! a buildout uses is brought there when it has succeeded, and then the set that says so.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use crate::cache::Blobs;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::{EggKey, Host};
use crate::egg::name::same_version;
use crate::error::{Error, IoContext, Result};
use crate::remote::build_lease::{self, Lease};
use crate::remote::entry::Signed;
use crate::remote::keys::Signer;
use crate::remote::object_names;
use crate::remote::parallel::UPLOADS;
use crate::remote::publish::{self, Published};
use crate::remote::{checked_remote::CheckedRemote, upstream::Upstream};
use crate::serve::announced_sets::AnnouncedSet;
use crate::util::hash::digest::Digest;
use crate::util::progress::Silent;
use crate::util::threads;

#[derive(Debug)]
struct Job {
    eggs: Vec<CachedEgg>,
    /// What the remote has said of some of them; `None` if it was not asked for their set.
    known: Option<HashMap<Digest, Signed>>,
    /// What it says it has, and does not give as it should be.
    lost: HashSet<Digest>,
    /// That of the buildouts that use just these.
    configuration: Option<String>,
    /// What was built and is not brought there, as the cache does not have it.
    dropped: Vec<EggKey>,
}

/// What is built here under a lease.
#[derive(Debug)]
struct Held {
    lease: String,
    name: String,
    variant: String,
    /// As whoever asked for it spells it: its metadata may spell it otherwise.
    version: String,
    /// Whether the cache was given it.
    is_built: bool,
}

impl Held {
    fn is_of(&self, key: &EggKey) -> bool {
        self.name == key.name
            && self.variant == key.variant
            && same_version(&self.version, &key.version)
    }
}

#[derive(Debug, Default)]
struct State {
    queue: Vec<Job>,
    is_busy: bool,
    held: Vec<Held>,
    pushed: usize,
    failures: Vec<String>,
    is_over: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Locked for as long as a request takes.
    leases: Mutex<Vec<Lease>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leases(&self) -> MutexGuard<'_, Vec<Lease>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release(&self, is_done: impl Fn(&Held) -> bool) {
        let done: Vec<Held> = self.lock().held.extract_if(.., |held| is_done(held)).collect();
        if !done.is_empty() {
            let is_done = |lease: &mut Lease| done.iter().any(|held| held.lease == lease.name());
            self.leases().extract_if(.., is_done).for_each(Lease::release);
        }
    }
}

/// How far pushing is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PushState {
    /// Eggs that the remote did not have.
    pub pushed: usize,
    pub is_done: bool,
    /// What could not be pushed, in sentences.
    pub failures: Vec<String>,
}

/// To one remote. Dropping this waits until all is there, and lets go of the leases.
#[derive(Debug)]
pub struct Pushing {
    shared: Arc<Shared>,
    upstream: Arc<Upstream>,
    source: usize,
    host: Host,
    threads: Vec<JoinHandle<()>>,
}

impl Pushing {
    /// To the first remote that is to be pushed to and trusts the key; `None` if there is none.
    ///
    /// # Errors
    /// If there can be no threads.
    pub fn new(
        cache: &Path,
        upstream: &Arc<Upstream>,
        signer: Signer,
        host: &Host,
    ) -> Result<Option<Self>> {
        let is_open = |source: &CheckedRemote| {
            source.remote.push && publish::check(&source.remote, &signer).is_ok()
        };
        let Some(source) = upstream.remotes().iter().position(is_open) else { return Ok(None) };
        let shared = Arc::new(Shared::default());
        let spawn = |work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().spawn(work).at("start to push from", cache)
        };
        let (of_thread, remotes) = (Arc::clone(&shared), Arc::clone(upstream));
        let (root, of_host) = (cache.to_owned(), host.clone());
        let pusher = spawn(Box::new(move || {
            let source = &remotes.remotes()[source];
            work(
                &of_thread,
                &Pusher { source, signer, blobs: Blobs::new(&root), root, host: of_host },
            );
        }))?;
        let of_thread = Arc::clone(&shared);
        let renewer = spawn(Box::new(move || renew(&of_thread)))?;
        Ok(Some(Self {
            shared,
            upstream: Arc::clone(upstream),
            source,
            host: host.clone(),
            threads: vec![pusher, renewer],
        }))
    }

    #[must_use]
    pub fn source(&self) -> &CheckedRemote {
        &self.upstream.remotes()[self.source]
    }

    /// The name of the lease of an egg that is to be built here.
    #[must_use]
    pub fn lease_of(&self, name: &str, version: &str, variant: &str) -> String {
        object_names::lease(name, version, variant, &self.host)
    }

    /// Holds a lease until its egg is there, or will not be.
    pub fn hold(&self, lease: Lease, (name, variant, version): (&str, &str, &str)) {
        let (name, variant, version) = (name.into(), variant.into(), version.into());
        let held = Held { lease: lease.name().into(), name, variant, version, is_built: false };
        self.shared.lock().held.push(held);
        self.shared.leases().push(lease);
    }

    /// Whether a lease is held here: nobody waits for itself.
    #[must_use]
    pub fn holds(&self, lease: &str) -> bool {
        self.shared.lock().held.iter().any(|held| held.lease == lease)
    }

    /// What was built was given to the cache, which tells what becomes of it.
    pub fn built(&self, key: &EggKey) {
        let mut state = self.shared.lock();
        state.held.iter_mut().filter(|held| held.is_of(key)).for_each(|held| held.is_built = true);
    }

    /// Lets go of the leases of what was not given to the cache. One egg is built after the other, so
    /// with the next one that is over: it has failed, or is not what it was taken for.
    pub fn give_up_unbuilt(&self) {
        self.shared.release(|held| !held.is_built);
    }

    /// What to do when the cache is done with an egg that was built: bring it there if others wait
    /// for it, or let them no longer wait.
    pub fn on_done(&self) -> impl Fn(&EggKey, Option<&CachedEgg>) + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move |key, egg| {
            let mut state = shared.lock();
            if state.held.iter().any(|held| held.is_of(key)) {
                state.queue.push(Job {
                    eggs: egg.into_iter().cloned().collect(),
                    known: Some(HashMap::new()),
                    lost: HashSet::new(),
                    configuration: None,
                    dropped: if egg.is_none() { vec![key.clone()] } else { Vec::new() },
                });
                shared.changed.notify_all();
            }
        }
    }

    /// Brings all that a buildout uses there, and says that it does.
    pub fn finish(
        &self,
        eggs: Vec<CachedEgg>,
        known: Option<HashMap<Digest, Signed>>,
        lost: HashSet<Digest>,
        configuration: Option<String>,
    ) {
        let job = Job { eggs, known, lost, configuration, dropped: Vec::new() };
        self.shared.lock().queue.push(job);
        self.shared.changed.notify_all();
    }

    /// Waits until all is there, but not for longer than that.
    #[must_use]
    pub fn wait(&self, limit: Duration) -> PushState {
        let until = Instant::now() + limit;
        let mut state = self.shared.lock();
        while state.is_busy || !state.queue.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        PushState {
            pushed: state.pushed,
            is_done: !state.is_busy && state.queue.is_empty(),
            failures: std::mem::take(&mut state.failures),
        }
    }
}

impl Drop for Pushing {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        // Others shall not wait for what was not built, or not kept.
        self.shared.release(|_| true);
    }
}

/// What the thread has that pushes.
struct Pusher<'a> {
    source: &'a CheckedRemote,
    signer: Signer,
    blobs: Blobs,
    root: PathBuf,
    host: Host,
}

fn work(shared: &Shared, pusher: &Pusher<'_>) {
    let pool = threads::pool("push", UPLOADS).ok();
    let mut entries = HashMap::new();
    loop {
        let mut state = shared.lock();
        while state.queue.is_empty() {
            if state.is_over {
                return;
            }
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let job = state.queue.remove(0);
        state.is_busy = true;
        drop(state);
        // Whoever waits shall not wait for ever, whatever happens.
        let result = catch_unwind(AssertUnwindSafe(|| match &pool {
            Some(pool) => pool.install(|| pusher.push(&job, &mut entries)),
            None => pusher.push(&job, &mut entries),
        }));
        let (new, failure) = result.unwrap_or((0, Some("pushing has failed".into())));
        let keys = || job.eggs.iter().map(|egg| &egg.key).chain(&job.dropped);
        shared.release(|held| keys().any(|key| held.is_of(key)));
        let mut state = shared.lock();
        state.is_busy = false;
        state.pushed += new;
        // One sentence for a remote that is down, and not one for each egg.
        if let Some(failure) = failure.filter(|failure| !state.failures.contains(failure)) {
            state.failures.push(failure);
        }
        shared.changed.notify_all();
    }
}

impl Pusher<'_> {
    /// Brings eggs there, their lists, and the set that names them all; answers how many are new, and
    /// what went wrong. What is known to be there is in `entries`, and stays.
    fn push(
        &self,
        Job { eggs, known, lost, configuration, .. }: &Job,
        entries: &mut HashMap<Digest, Signed>,
    ) -> (usize, Option<String>) {
        let client = &self.source.client;
        match (known, configuration) {
            (Some(known), _) => entries.extend(known.clone()),
            (None, Some(configuration)) => {
                let set = self.source.valid_lines(&object_names::set(configuration, &self.host));
                entries.extend(set.into_iter().map(|(entry, signed)| (entry.egg, signed)));
            }
            (None, None) => {}
        }
        let is_other = |egg: &&CachedEgg| !entries.contains_key(&egg.digest);
        let others: Vec<&CachedEgg> = eggs.iter().filter(is_other).collect();
        let bring = |egg: &&CachedEgg| {
            publish::publish(self.source, &self.signer, &self.blobs, egg, lost, &Silent)
        };
        let results: Vec<Result<Published>> =
            others.par_iter().with_max_len(1).map(bring).collect();
        let (mut there, mut failure) = (Vec::new(), None);
        for (egg, result) in others.iter().zip(results) {
            match result {
                Ok(published) => {
                    entries.insert(egg.digest, published.signed.clone());
                    there.push(published);
                }
                // Gone from the cache meanwhile.
                Err(Error::Miss { .. }) => {}
                Err(error) => failure = Some(error.to_string()),
            }
        }
        // Also of what was there: whoever brought it may have been cut off before its list.
        let listed = publish::list(client, &there).and_then(|()| {
            let all: Option<Vec<Signed>> =
                eggs.iter().map(|egg| entries.get(&egg.digest).cloned()).collect();
            let (Some(configuration), Some(all)) = (configuration, all) else { return Ok(()) };
            publish::set(client, &object_names::set(configuration, &self.host), &all)?;
            let remote = &self.source.remote;
            AnnouncedSet::of(&self.root, remote, &self.signer, configuration, &self.host)
                .remember(eggs)
        });
        let new = there.iter().filter(|it| it.is_new).count();
        (new, failure.or_else(|| listed.err().map(|error| error.to_string())))
    }
}

/// Tells now and then that the holder of the leases lives.
fn renew(shared: &Shared) {
    let mut next = Instant::now() + build_lease::RENEWAL;
    let mut state = shared.lock();
    while !state.is_over {
        let left = next.saturating_duration_since(Instant::now());
        if left.is_zero() {
            drop(state);
            // One that somebody else has now is none of ours.
            shared.leases().retain_mut(Lease::renew);
            next = Instant::now() + build_lease::RENEWAL;
            state = shared.lock();
        } else {
            let waited = shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
