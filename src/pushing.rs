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

use crate::digest::Digest;
use crate::egg::Egg;
use crate::egg_key::Host;
use crate::entry::Signed;
use crate::error::{Error, IoContext, Result};
use crate::lease::{self, Lease};
use crate::progress::Silent;
use crate::publish::{self, Published};
use crate::recall;
use crate::record;
use crate::remote_layout as layout;
use crate::signing::Signer;
use crate::store::Store;
use crate::upstream::{Source, Upstream};

/// Eggs that are brought there at a time.
const AT_A_TIME: usize = 4;

#[derive(Debug)]
struct Job {
    eggs: Vec<Egg>,
    /// What the remote has said of some of them: they have come from there.
    known: HashMap<Digest, Signed>,
    /// That of the buildouts that use just these.
    configuration: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    queue: Vec<Job>,
    is_busy: bool,
    /// Names of the leases that are held.
    held: HashSet<String>,
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

    fn release(&self, is_done: impl Fn(&str) -> bool) {
        self.lock().held.retain(|name| !is_done(name));
        let mut leases = self.leases();
        leases.extract_if(.., |lease| is_done(lease.name())).for_each(Lease::release);
    }
}

/// How far pushing is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Progress {
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
        let is_open = |source: &Source| {
            source.push && source.trusted.iter().any(|trusted| trusted.key == signer.public)
        };
        let Some(source) = upstream.sources().iter().position(is_open) else { return Ok(None) };
        let shared = Arc::new(Shared::default());
        let spawn = |work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().spawn(work).at("start to push from", cache)
        };
        let (of_thread, remotes) = (Arc::clone(&shared), Arc::clone(upstream));
        let (root, of_host) = (cache.to_owned(), host.clone());
        let pusher = spawn(Box::new(move || {
            let source = &remotes.sources()[source];
            work(
                &of_thread,
                &Pusher { source, signer, store: Store::new(&root), root, host: of_host },
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
    pub fn source(&self) -> &Source {
        &self.upstream.sources()[self.source]
    }

    /// The name of the lease of an egg that is to be built here.
    #[must_use]
    pub fn lease_of(&self, name: &str, version: &str, variant: &str) -> String {
        layout::lease(name, version, variant, &self.host)
    }

    /// Holds a lease until its egg is there.
    pub fn hold(&self, lease: Lease) {
        self.shared.lock().held.insert(lease.name().to_owned());
        self.shared.leases().push(lease);
    }

    /// What to do with each egg that is kept: bring it there if others wait for it.
    pub fn on_kept(&self) -> impl Fn(&Egg) + Send + 'static {
        let (shared, host) = (Arc::clone(&self.shared), self.host.clone());
        move |egg| {
            let mut state = shared.lock();
            if state.held.contains(&lease_of(egg, &host)) {
                state.queue.push(Job {
                    eggs: vec![egg.clone()],
                    known: HashMap::new(),
                    configuration: None,
                });
                shared.changed.notify_all();
            }
        }
    }

    /// Brings all that a buildout uses there, and says that it does.
    pub fn finish(
        &self,
        eggs: Vec<Egg>,
        known: HashMap<Digest, Signed>,
        configuration: Option<String>,
    ) {
        self.shared.lock().queue.push(Job { eggs, known, configuration });
        self.shared.changed.notify_all();
    }

    /// Waits until all is there, but not for longer than that.
    #[must_use]
    pub fn wait(&self, limit: Duration) -> Progress {
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
        Progress {
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

/// The name of the lease that an egg was built under, if it was.
fn lease_of(egg: &Egg, host: &Host) -> String {
    layout::lease(&egg.key.name, &egg.key.version, &egg.key.variant, host)
}

/// What the thread has that pushes.
struct Pusher<'a> {
    source: &'a Source,
    signer: Signer,
    store: Store,
    root: PathBuf,
    host: Host,
}

fn work(shared: &Shared, pusher: &Pusher<'_>) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(AT_A_TIME).build().ok();
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
            Some(pool) => pool.install(|| pusher.push(&job)),
            None => pusher.push(&job),
        }));
        let (new, failure) = result.unwrap_or((0, Some("pushing has failed".into())));
        let done: HashSet<String> =
            job.eggs.iter().map(|egg| lease_of(egg, &pusher.host)).collect();
        shared.release(|name| done.contains(name));
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
    /// what went wrong.
    fn push(&self, Job { eggs, known, configuration }: &Job) -> (usize, Option<String>) {
        let client = &self.source.client;
        let is_other = |egg: &&Egg| !known.contains_key(&egg.digest);
        let others: Vec<&Egg> = eggs.iter().filter(is_other).collect();
        let bring =
            |egg: &&Egg| publish::publish(self.source, &self.signer, &self.store, egg, &Silent);
        let results: Vec<Result<Published>> =
            others.par_iter().with_max_len(1).map(bring).collect();
        let (mut there, mut entries, mut failure) = (Vec::new(), known.clone(), None);
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
            publish::set(client, &layout::set(configuration, &self.host), &all)?;
            Told::of(&self.root, client.name(), configuration, &self.host).remember(eggs)
        });
        let new = there.iter().filter(|it| it.is_new).count();
        (new, failure.or_else(|| listed.err().map(|error| error.to_string())))
    }
}

/// What a remote was told of a set, so that it is not told again.
pub struct Told {
    dir: PathBuf,
    name: String,
    digests: Vec<Digest>,
}

impl Told {
    pub fn of(cache: &Path, remote: &str, configuration: &str, host: &Host) -> Self {
        let set = layout::set(configuration, host);
        let name = record::name_of(format!("{remote}\0{set}").as_bytes());
        let dir = recall::dir(cache);
        let digests = record::read(&dir.join(&name)).ok().flatten().unwrap_or_default();
        Self { dir, name, digests }
    }

    /// Whether it was told just these eggs.
    pub fn covers(&self, eggs: &[Egg]) -> bool {
        eggs.iter().map(|egg| egg.digest).eq(self.digests.iter().copied())
    }

    fn remember(&self, eggs: &[Egg]) -> Result<()> {
        let digests: Vec<Digest> = eggs.iter().map(|egg| egg.digest).collect();
        record::write(&self.dir, &self.name, &digests)
    }
}

/// Tells now and then that the holder of the leases lives.
fn renew(shared: &Shared) {
    let mut next = Instant::now() + lease::RENEWAL;
    let mut state = shared.lock();
    while !state.is_over {
        let left = next.saturating_duration_since(Instant::now());
        if left.is_zero() {
            drop(state);
            // One that somebody else has now is none of ours.
            shared.leases().retain_mut(Lease::renew);
            next = Instant::now() + lease::RENEWAL;
            state = shared.lock();
        } else {
            let waited = shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
