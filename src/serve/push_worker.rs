//! Pushing: uploads eggs to a remote while buildout continues, and holds the leases of eggs that are being
//! built.
//!
//! An egg that was built under a lease is pushed as soon as it is stored, because others wait for it. All
//! eggs that a buildout uses are pushed when it has succeeded, and after them the set of their entries. An
//! egg that was pulled is never signed here: it belongs to a set only if the remote has it already.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rayon::ThreadPool;
use rayon::prelude::*;
use tracing::debug;

use super::protocol::ToBuild;
use crate::cache::{Arrivals, Blobs};
use crate::disk::dir::Dir;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::{EggKey, Host};
use crate::error::{Error, Result};
use crate::remote::build_lease::{self, Lease};
use crate::remote::checked_remote::CheckedRemote;
use crate::remote::entry::Signed;
use crate::remote::keys::Signer;
use crate::remote::object_names;
use crate::remote::parallel::UPLOADS;
use crate::remote::publish::{self, Published};
use crate::remote::upstream::Upstream;
use crate::remote::withdrawals::write;
use crate::serve::announced_sets::AnnouncedSet;
use crate::serve::held_leases::HeldLeases;
use crate::serve::worker::Worker;
use crate::util::hash::digest::Digest;
use crate::util::progress::Silent;
use crate::util::threads;

/// Eggs to push.
#[derive(Debug, Default)]
pub struct Push {
    pub eggs: Vec<CachedEgg>,
    /// What the remote is known to have; `None` if its set was not loaded.
    pub known: Option<HashMap<Digest, Signed>>,
    /// Eggs that the remote has an entry of, and does not deliver as that says.
    pub broken: HashSet<Digest>,
    /// Of the buildouts that use exactly these eggs; without it no set is pushed.
    pub configuration: Option<String>,
}

#[derive(Debug)]
struct Job {
    push: Push,
    /// Keys whose leases end with this job.
    leased: Vec<EggKey>,
}

#[derive(Debug, Default)]
struct State {
    queue: Vec<Job>,
    is_busy: bool,
    pushed: usize,
    failures: Vec<String>,
}

impl State {
    fn take_job(&mut self) -> Option<Job> {
        self.is_busy = !self.queue.is_empty();
        self.is_busy.then(|| self.queue.remove(0))
    }

    fn is_done(&self) -> bool {
        !self.is_busy && self.queue.is_empty()
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct PushProgress {
    /// Eggs that the remote did not have.
    pub pushed: usize,
    pub is_done: bool,
    /// What could not be pushed, in sentences, without the failure of the remote itself.
    pub failures: Vec<String>,
}

/// Pushes to one remote. Dropping this waits until all eggs are pushed, and releases the leases.
#[derive(Debug)]
pub struct PushWorker {
    worker: Worker<State>,
    leases: Arc<HeldLeases>,
    upstream: Arc<Upstream>,
    /// The index of the remote.
    remote: usize,
    signer: Signer,
    host: Host,
}

impl PushWorker {
    /// Pushes to the first remote that is configured for it and trusts the key; `None` if there is none.
    pub fn new(
        cache: &Dir,
        upstream: &Arc<Upstream>,
        signer: Signer,
        host: &Host,
    ) -> Result<Option<Self>> {
        let is_open =
            |it: &CheckedRemote| it.remote.push && publish::check(&it.remote, &signer).is_ok();
        let Some(remote) = upstream.remotes().iter().position(is_open) else { return Ok(None) };
        let mut this = Self {
            worker: Worker::default(),
            leases: Arc::default(),
            upstream: Arc::clone(upstream),
            remote,
            signer: signer.clone(),
            host: host.clone(),
        };
        let pusher = Pusher {
            upstream: Arc::clone(upstream),
            remote,
            signer,
            root: cache.path().to_owned(),
            blobs: Blobs::new(cache),
            cache: cache.clone(),
            host: host.clone(),
            pool: threads::pool("upload", UPLOADS)?,
            known: HashMap::new(),
            foreign: HashSet::new(),
        };
        this.start(pusher)?;
        Ok(Some(this))
    }

    fn start(&mut self, mut pusher: Pusher) -> Result<()> {
        let leases = Arc::clone(&self.leases);
        self.worker.spawn("push", move |monitor| {
            let run = |job: &mut Job| pusher.push(&job.push);
            monitor.run_jobs(State::take_job, run, |job, outcome| {
                leases.release_for(&job.leased);
                monitor.update(|state| record(state, outcome));
            });
        })?;
        let leases = Arc::clone(&self.leases);
        self.worker.spawn("renew leases", move |monitor| {
            while !monitor.wait_until_closed(build_lease::RENEWAL) {
                leases.renew();
            }
        })?;
        Ok(())
    }

    #[must_use]
    pub fn remote(&self) -> &CheckedRemote {
        &self.upstream.remotes()[self.remote]
    }

    /// The name of the lease for an egg that is about to be built here.
    #[must_use]
    pub fn lease_name(&self, egg: &ToBuild) -> String {
        object_names::lease(&egg.name, &egg.version, &egg.variant, &self.host)
    }

    /// Whether the eggs of a project can be pushed with the signing key.
    #[must_use]
    pub fn covers(&self, project: &str) -> bool {
        publish::check_project(&self.remote().remote, &self.signer, project).is_ok()
    }

    /// Holds a lease until its egg is pushed, or will not be.
    pub fn hold(&self, lease: Lease, egg: ToBuild) {
        self.leases.hold(lease, egg);
    }

    /// Whether this process holds a lease, so that it does not wait for itself.
    #[must_use]
    pub fn holds(&self, lease: &str) -> bool {
        self.leases.holds(lease)
    }

    /// Notes that an egg was offered to the cache, which reports to [`PushWorker::on_stored`].
    pub fn mark_offered(&self, key: &EggKey) {
        self.leases.mark_offered(key);
    }

    /// Releases the leases of eggs that were not offered to the cache.
    pub fn release_not_offered(&self) {
        self.leases.release_not_offered();
    }

    /// What to do with an egg that was stored, or, as `None`, was not: if others wait for it, push it or
    /// end their wait.
    pub fn on_stored(&self) -> impl Fn(&EggKey, Option<&CachedEgg>) + Send + 'static {
        let (monitor, leases) = (Arc::clone(self.worker.monitor()), Arc::clone(&self.leases));
        move |key, egg| {
            if leases.holds_for(key) {
                let push = Push {
                    eggs: egg.into_iter().cloned().collect(),
                    known: Some(HashMap::new()),
                    ..Push::default()
                };
                monitor.update(|state| state.queue.push(Job { push, leased: vec![key.clone()] }));
            }
        }
    }

    /// Queues eggs, and the leases of their keys to be released after that.
    pub fn enqueue(&self, push: Push) {
        let leased = push.eggs.iter().map(|egg| egg.key.clone()).collect();
        self.worker.monitor().update(|state| state.queue.push(Job { push, leased }));
    }

    /// Waits until all eggs are pushed, no longer than `limit`. Returns each failure once.
    #[must_use]
    pub fn wait(&self, limit: Duration) -> PushProgress {
        let mut state = self.worker.monitor().wait_while_at_most(limit, |state| !state.is_done());
        PushProgress {
            pushed: state.pushed,
            is_done: state.is_done(),
            failures: std::mem::take(&mut state.failures),
        }
    }
}

impl Drop for PushWorker {
    fn drop(&mut self) {
        self.worker.join();
        // Those of eggs that were not built, or not stored.
        self.leases.release_all();
    }
}

/// The number of new eggs, and what went wrong.
type Outcome = (usize, Option<String>);

fn record(state: &mut State, outcome: Option<Outcome>) {
    let (new, failure) =
        outcome.unwrap_or_else(|| (0, Some("a push to a remote failed unexpectedly".into())));
    state.is_busy = false;
    state.pushed += new;
    // Several eggs may fail for the same reason.
    if let Some(failure) = failure.filter(|failure| !state.failures.contains(failure)) {
        state.failures.push(failure);
    }
}

/// What the thread that pushes needs.
struct Pusher {
    upstream: Arc<Upstream>,
    remote: usize,
    signer: Signer,
    root: PathBuf,
    blobs: Blobs,
    cache: Dir,
    host: Host,
    pool: ThreadPool,
    /// Entries that the remote is known to have.
    known: HashMap<Digest, Signed>,
    /// Eggs that were pulled and that the remote does not have.
    foreign: HashSet<Digest>,
}

impl Pusher {
    fn remote(&self) -> &CheckedRemote {
        &self.upstream.remotes()[self.remote]
    }

    /// Pushes eggs, their lists and their set.
    fn push(&mut self, push: &Push) -> Outcome {
        self.learn_known(push);
        let (published, failure) = self.upload(push);
        // With eggs that existed before: the process that pushed them may have died before their list.
        let listed = self.pool.install(|| publish::list(&self.remote().client, &published));
        let announced = listed.and_then(|()| self.announce(push)).err();
        let new = published.iter().filter(|it| it.is_new).count();
        debug!(eggs = push.eggs.len(), new, failure, error = ?announced, "pushed");
        (new, failure.or_else(|| announced.and_then(|error| self.failure(&error))))
    }

    /// The sentence for an error. A remote that has failed has a warning of its own, which is not
    /// repeated for each egg.
    fn failure(&self, error: &Error) -> Option<String> {
        self.remote().client.down().is_none().then(|| error.to_string())
    }

    fn learn_known(&mut self, Push { known, configuration, .. }: &Push) {
        if let Some(known) = known {
            self.known.extend(known.clone());
        } else if let Some(configuration) = configuration {
            let set = object_names::set(configuration, &self.host);
            let set = self.remote().valid_lines(&set);
            self.known.extend(set.into_iter().map(|(entry, signed)| (entry.egg, signed)));
        }
    }

    /// Uploads the eggs that the remote is not known to have, and learns their entries.
    fn upload(&mut self, Push { eggs, broken, .. }: &Push) -> (Vec<Published>, Option<String>) {
        let is_unknown = |egg: &&CachedEgg| !self.known.contains_key(&egg.digest);
        let unknown: Vec<&CachedEgg> = eggs.iter().filter(is_unknown).collect();
        if unknown.is_empty() {
            return (Vec::new(), None);
        }
        let pulled = match Arrivals::of(&self.cache).and_then(Arrivals::complete) {
            Ok(pulled) => pulled,
            Err(error) => return (Vec::new(), Some(error.to_string())),
        };
        let upload = |egg: &&CachedEgg| {
            let signer = Some(&self.signer).filter(|_| pulled.of_egg(egg.digest).is_none());
            publish::publish(self.remote(), signer, &self.blobs, egg, broken, &Silent)
        };
        let results: Vec<Result<Option<Published>>> =
            self.pool.install(|| unknown.par_iter().with_max_len(1).map(upload).collect());
        let (mut published, mut failure) = (Vec::new(), None);
        for (egg, result) in unknown.iter().zip(results) {
            match result {
                // The remote may have another build of the egg's key, which takes its place in the set.
                Ok(Some(it)) => {
                    self.known.insert(egg.digest, it.signed.clone());
                    published.push(it);
                }
                Ok(None) => drop(self.foreign.insert(egg.digest)),
                // The cache has evicted it meanwhile, or others sign the eggs of its project.
                Err(Error::Miss { .. } | Error::OtherProject { .. }) => {}
                Err(error) => failure = self.failure(&error).or(failure),
            }
        }
        (published, failure)
    }

    /// Writes the set of these eggs, if the remote has all of them. If it lacks only eggs that were pulled,
    /// this is tried again when the record of the set is no longer valid. Signs the list of withdrawn eggs
    /// again if it is time for that.
    fn announce(&self, Push { eggs, configuration, .. }: &Push) -> Result<()> {
        let Some(configuration) = configuration else { return Ok(()) };
        let (client, remote) = (&self.remote().client, &self.remote().remote);
        write::refresh_if_due(client, remote, &self.root, &self.signer)?;
        let entries: Vec<Signed> =
            eggs.iter().filter_map(|egg| self.known.get(&egg.digest).cloned()).collect();
        let is_foreign = |egg: &CachedEgg| self.foreign.contains(&egg.digest);
        let is_known = |egg: &CachedEgg| self.known.contains_key(&egg.digest);
        if !eggs.iter().all(|egg| is_known(egg) || is_foreign(egg)) {
            return Ok(());
        }
        if entries.len() == eggs.len() {
            let name = object_names::set(configuration, &self.host);
            publish::set(client, &name, &entries)?;
        }
        AnnouncedSet::read(&self.cache, remote, &self.signer, configuration, &self.host).write(eggs)
    }
}
