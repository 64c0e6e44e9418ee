//! The remotes in one session of [`crate::serve`]: what they offer, what comes from them, and what goes
//! there. Nothing is asked of them before something is missing.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::cache::Cache;
use crate::digest::Digest;
use crate::egg::Egg;
use crate::egg_key::{EggKey, Host};
use crate::error::Result;
use crate::fetching::Fetching;
use crate::lease::{Attempt, Look};
use crate::object_client::Patience;
use crate::pushing::Pushing;
use crate::serve::{Leased, Role};
use crate::signing::Signer;
use crate::upstream::{Offer, Upstream};

/// Lists that are asked for at a time.
const AT_A_TIME: usize = 8;
/// How long the end of a buildout waits for what is pushed. It goes on after that.
const PUSH_WAIT: Duration = Duration::from_secs(20);

pub struct Remotes {
    upstream: Arc<Upstream>,
    fetching: Fetching,
    pushing: Option<Pushing>,
    configuration: Option<String>,
    /// Whether there may be more in the set than was asked for.
    has_others: bool,
    /// What `find` has told of.
    pub offered: HashMap<Digest, Offer>,
    attempts: HashMap<String, Attempt>,
    looking: Vec<JoinHandle<()>>,
    /// Complaints that were told.
    told: Vec<String>,
}

impl Remotes {
    /// The remotes of a cache that can be written; `None` if it has none that can be used.
    ///
    /// # Errors
    /// If what the cache or the environment says of them cannot be understood.
    pub fn open(cache: &Cache, host: &Host, configuration: Option<String>) -> Result<Option<Self>> {
        let upstream = Upstream::open(cache.root(), Patience::BUILD)?;
        if upstream.is_empty() || cache.check_writable().is_err() {
            return Ok(None);
        }
        let upstream = Arc::new(upstream);
        let is_pushed_to = upstream.sources().iter().any(|source| source.push);
        let pushing = match Signer::of_environment()?.filter(|_| is_pushed_to) {
            Some(signer) => Pushing::new(cache.root(), &upstream, signer, host)?,
            None => None,
        };
        Ok(Some(Self {
            fetching: Fetching::new(cache.root(), &upstream)?,
            upstream,
            pushing,
            configuration,
            has_others: true,
            offered: HashMap::new(),
            attempts: HashMap::new(),
            looking: Vec::new(),
            told: Vec::new(),
        }))
    }

    pub fn role(&self) -> Role {
        if self.pushing.is_some() { Role::Builder } else { Role::Reader }
    }

    /// Eggs that remotes have, of which those that are wanted and count are told.
    pub fn find(
        &mut self,
        name: &str,
        host: &Host,
        is_wanted: impl Fn(&EggKey) -> bool,
    ) -> Vec<Offer> {
        self.learn(host);
        self.upstream.find(name, &host.python_tag(), is_wanted)
    }

    /// Learns the set of this configuration with the first egg that is missing.
    fn learn(&mut self, host: &Host) {
        if let Some(configuration) = &self.configuration {
            self.upstream.learn_set(configuration, host);
        }
    }

    /// What else buildouts of this configuration use, once: when the first of it is to come.
    pub fn others(&mut self, host: &Host) -> Vec<Offer> {
        if std::mem::replace(&mut self.has_others, false) {
            self.upstream.of_set(|key| host.accepts(key))
        } else {
            Vec::new()
        }
    }

    /// Learns the lists of projects that the set does not have, meanwhile.
    pub fn look(&mut self, names: Vec<String>, host: &Host) {
        if names.is_empty() {
            return;
        }
        self.learn(host);
        let unknown = |name: &String| self.upstream.of_set(|key| key.name == *name).is_empty();
        let names: Vec<String> = names.into_iter().filter(unknown).collect();
        let python = host.python_tag();
        for names in names.chunks(names.len().div_ceil(AT_A_TIME).max(1)) {
            let (upstream, names, python) =
                (Arc::clone(&self.upstream), names.to_vec(), python.clone());
            let look = move || names.iter().for_each(|name| upstream.learn_list(name, &python));
            self.looking.extend(std::thread::Builder::new().spawn(look).ok());
        }
    }

    /// Lets eggs come that were offered.
    pub fn expect(&self, digests: &[Digest]) {
        self.fetching.expect(digests.iter().filter_map(|digest| self.offered.get(digest)).cloned());
    }

    /// Lets eggs come that nobody has asked for yet.
    pub fn expect_others(&self, offers: Vec<Offer>) {
        self.fetching.expect(offers);
    }

    /// Waits for an egg that was offered.
    ///
    /// # Errors
    /// As [`Fetching::arrive`].
    pub fn arrive(&self, digest: Digest) -> Result<()> {
        match self.offered.get(&digest) {
            Some(offer) => self.fetching.arrive(offer),
            None => Ok(()),
        }
    }

    /// Whether this process is to build an egg, and after how many seconds to ask again if not.
    pub fn lease(
        &mut self,
        wanted: (&str, &str, &str),
        host: &Host,
        is_wanted: impl Fn(&EggKey) -> bool,
    ) -> (Leased, Option<f64>) {
        let Some(pushing) = &self.pushing else { return (Leased::None, None) };
        let (name, variant, version) = wanted;
        let lease = pushing.lease_of(name, version, variant);
        let attempt = self.attempts.entry(lease.clone()).or_default();
        let taken = match attempt.look(&pushing.source().client, &lease) {
            Ok(Look::Held(wait)) => return (Leased::Held, Some(wait.as_secs_f64())),
            Ok(Look::Over) | Err(_) => return (Leased::None, None),
            Ok(Look::Released) => None,
            Ok(Look::Taken(taken)) => Some(taken),
        };
        // Somebody may have built it since the list was read.
        let python = host.python_tag();
        self.upstream.forget_list(name, &python);
        let is_built = !self.upstream.find(name, &python, is_wanted).is_empty();
        match taken {
            Some(taken) if is_built => taken.release(),
            Some(taken) => {
                pushing.hold(taken);
                return (Leased::Taken, None);
            }
            None if is_built => {}
            // Whoever built it has failed, or does not push: now it is somebody else's turn.
            None => return (Leased::Held, Some(0.0)),
        }
        (Leased::Built, None)
    }

    pub fn on_kept(&self) -> Option<Box<dyn Fn(&Egg) + Send>> {
        self.pushing.as_ref().map(|it| Box::new(it.on_kept()) as Box<dyn Fn(&Egg) + Send>)
    }

    /// Pushes what a buildout that has succeeded uses.
    pub fn finish(&self, eggs: Vec<Egg>) {
        if let Some(pushing) = &self.pushing {
            pushing.finish(eggs, self.configuration.clone());
        }
    }

    /// Waits a while for what is pushed: how many eggs are new there, and what went wrong.
    pub fn close(&self) -> (Option<usize>, Vec<String>) {
        let Some(pushing) = &self.pushing else { return (None, Vec::new()) };
        let progress = pushing.wait(PUSH_WAIT);
        let mut failures = progress.failures;
        if !progress.is_done {
            failures.push("what this has built is still being pushed, in the background".into());
        }
        (Some(progress.pushed), failures)
    }

    /// What is wrong with remotes and was not told yet.
    pub fn warnings(&mut self) -> Vec<String> {
        let complaints = self.upstream.complaints().into_iter();
        let new: Vec<String> = complaints.filter(|it| !self.told.contains(it)).collect();
        self.told.extend(new.iter().cloned());
        new
    }
}
