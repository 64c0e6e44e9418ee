//! The remotes in one session of [`crate::serve`]: what they offer, what comes from them, and what goes
//! there. A session that finds everything in the cache does not even make a client for them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::protocol::{Leased, Role};
use crate::cache::Cache;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::{EggKey, Host};
use crate::error::{Error, Result};
use crate::remote::build_lease::{LeaseRequest, LeaseState};
use crate::remote::client::Patience;
use crate::remote::config::{self, Remote};
use crate::remote::entry::Signed;
use crate::remote::keys::Signer;
use crate::remote::parallel::LISTS;
use crate::remote::publish;
use crate::remote::{
    checked_remote::CheckedRemote,
    upstream::{Offer, Upstream},
};
use crate::serve::fetch_worker::Fetching;
use crate::serve::{announced_sets::AnnouncedSet, push_worker::Pushing};
use crate::util::hash::digest::Digest;

/// How long the end of a buildout waits for what is pushed. It goes on after that.
const PUSH_WAIT: Duration = Duration::from_secs(20);

/// What is done when the cache is done with an egg that was built.
pub type OnDone = Box<dyn Fn(&EggKey, Option<&CachedEgg>) + Send>;

pub struct Remotes {
    root: PathBuf,
    host: Host,
    configuration: Option<String>,
    usable: Vec<Remote>,
    /// If what is built here goes to one of them.
    signer: Option<Signer>,
    /// Once they were needed.
    live: Option<Live>,
    /// What `find` has told of.
    offered: HashMap<Digest, Offer>,
    attempts: HashMap<String, LeaseRequest>,
    /// Whether somebody was waited for as long as anybody is: that happens once in a buildout.
    has_waited: bool,
    /// What is wrong with them all.
    failure: Option<String>,
    /// What else there is to tell: that nothing is pushed, or an egg was damaged here and has come again.
    notes: Vec<String>,
    /// Complaints that were told.
    told: Vec<String>,
}

struct Live {
    upstream: Arc<Upstream>,
    fetching: Fetching,
    pushing: Option<Pushing>,
    /// Whether there may be more in the set than was asked for.
    has_others: bool,
}

impl Remotes {
    /// The remotes of a cache that can be written; `None` if it has none that can be used.
    ///
    /// # Errors
    /// If what the cache or the environment says of them cannot be understood.
    pub fn open(cache: &Cache, host: &Host, configuration: Option<String>) -> Result<Option<Self>> {
        let mut remotes = config::read(cache.root())?;
        remotes.retain(|remote| !remote.trusted.is_empty());
        if remotes.is_empty() || cache.check_writable().is_err() {
            return Ok(None);
        }
        let (mut signer, mut notes) = (None, Vec::new());
        if remotes.iter().any(|remote| remote.push)
            && let Some(key) = Signer::of_environment()?
        {
            let checked = remotes.iter().filter(|it| it.push).map(|it| publish::check(it, &key));
            let refused: Vec<Error> = checked.filter_map(Result::err).collect();
            if refused.len() < remotes.iter().filter(|it| it.push).count() {
                signer = Some(key);
            } else {
                // Where it pushes nothing, that is told.
                notes.extend(refused.iter().map(ToString::to_string));
            }
        }
        Ok(Some(Self {
            root: cache.root().to_owned(),
            host: host.clone(),
            configuration,
            usable: remotes,
            signer,
            live: None,
            offered: HashMap::new(),
            attempts: HashMap::new(),
            has_waited: false,
            failure: None,
            notes,
            told: Vec::new(),
        }))
    }

    pub fn role(&self) -> Role {
        if self.signer.is_some() { Role::Builder } else { Role::Reader }
    }

    fn live(&mut self) -> Option<&mut Live> {
        if self.live.is_none() && self.failure.is_none() {
            match self.start() {
                Ok(live) => self.live = Some(live),
                Err(error) => self.failure = Some(error.to_string()),
            }
        }
        self.live.as_mut()
    }

    fn start(&self) -> Result<Live> {
        let upstream = Arc::new(Upstream::new(&self.usable, Patience::BUILD)?);
        let pushing = match &self.signer {
            Some(signer) => Pushing::new(&self.root, &upstream, signer.clone(), &self.host)?,
            None => None,
        };
        let fetching = Fetching::new(&self.root, &upstream)?;
        Ok(Live { upstream, fetching, pushing, has_others: true })
    }

    /// What remotes have of a project and is wanted, and all else that buildouts of this configuration
    /// use if this is the first of it: both may be offered.
    pub fn find(
        &mut self,
        name: &str,
        is_wanted: impl Fn(&EggKey) -> bool,
    ) -> (Vec<Offer>, Vec<Offer>) {
        let (host, configuration) = (self.host.clone(), self.configuration.clone());
        let Some(live) = self.live() else { return (Vec::new(), Vec::new()) };
        live.learn(configuration.as_deref(), &host);
        if live.fetching.failure().is_some() {
            return (Vec::new(), Vec::new());
        }
        let found = live.upstream.find(name, &host.python_tag(), is_wanted);
        let is_first = !found.is_empty() && std::mem::replace(&mut live.has_others, false);
        let others =
            if is_first { live.upstream.find_in_set(|key| host.accepts(key)) } else { Vec::new() };
        (found, others)
    }

    /// Learns the lists of projects that the set does not have, meanwhile.
    pub fn look(&mut self, names: Vec<String>) {
        let (host, configuration) = (self.host.clone(), self.configuration.clone());
        if !names.is_empty()
            && let Some(live) = self.live()
        {
            live.learn(configuration.as_deref(), &host);
            live.look(names, &host.python_tag());
        }
    }

    /// Remembers what was offered, as it may be asked for.
    pub fn offer(&mut self, offer: Offer) {
        self.offered.insert(offer.entry.egg, offer);
    }

    /// Offers what can take the place of an egg of the cache that is damaged.
    pub fn offer_instead(&mut self, damaged: &CachedEgg) -> Option<Digest> {
        let python = self.host.python_tag();
        let live = self.live()?;
        let key = &damaged.key;
        let offers = live.upstream.find(&key.name, &python, |found| found == key);
        let offer = offers.into_iter().next().filter(|_| live.fetching.failure().is_none())?;
        live.fetching.replace(damaged.digest);
        let digest = offer.entry.egg;
        self.offer(offer);
        Some(digest)
    }

    /// Tells that an egg was damaged, which nobody would notice else.
    pub fn mended(&mut self, damaged: &Error) {
        self.notes.push(format!("{damaged}; a remote has it, and it has come from there"));
    }

    /// Lets eggs come that were offered.
    pub fn expect(&self, digests: &[Digest]) {
        self.fetch(digests.iter().filter_map(|digest| self.offered.get(digest)).cloned());
    }

    /// Lets eggs come.
    pub fn fetch(&self, offers: impl IntoIterator<Item = Offer>) {
        if let Some(live) = &self.live {
            live.fetching.expect(offers);
        }
    }

    /// Waits for an egg if it was offered.
    ///
    /// # Errors
    /// As [`Fetching::arrive`].
    pub fn arrive(&self, digest: Digest) -> Result<()> {
        match (&self.live, self.offered.get(&digest)) {
            (Some(live), Some(offer)) => live.fetching.arrive(offer),
            _ => Ok(()),
        }
    }

    /// Whether this process is to build an egg, and after how many seconds to ask again if not.
    pub fn lease(
        &mut self,
        egg @ (name, variant, version): (&str, &str, &str),
        is_wanted: impl Fn(&EggKey) -> bool,
    ) -> (Leased, Option<f64>) {
        const NONE: (Leased, Option<f64>) = (Leased::None, None);
        if self.has_waited || self.live().is_none() {
            return NONE;
        }
        let Some(Live { upstream, pushing: Some(pushing), .. }) = &self.live else { return NONE };
        let lease = pushing.lease_of(name, version, variant);
        if pushing.holds(&lease) {
            return (Leased::Taken, None);
        }
        pushing.give_up_unbuilt();
        let attempt = self.attempts.entry(lease.clone()).or_default();
        let look = attempt.poll(&pushing.source().client, &lease);
        let is_in_vain = attempt.is_hopeless();
        let taken = match look {
            Ok(LeaseState::Held(wait)) => return (Leased::Held, Some(wait.as_secs_f64())),
            Ok(LeaseState::TimedOut) => {
                self.has_waited = true;
                return NONE;
            }
            Err(_) => return NONE,
            Ok(LeaseState::Released) => None,
            Ok(LeaseState::Taken(taken)) => Some(taken),
        };
        // Somebody may have built it since the list was read.
        let python = self.host.python_tag();
        upstream.forget_list(name, &python);
        let is_built = !upstream.find(name, &python, is_wanted).is_empty();
        match taken {
            Some(taken) if is_built => taken.release(),
            Some(taken) => {
                pushing.hold(*taken, egg);
                return (Leased::Taken, None);
            }
            None if is_built => {}
            None if is_in_vain => return NONE,
            // Whoever built it has failed, or does not push: now it is somebody else's turn.
            None => return (Leased::Held, Some(0.0)),
        }
        (Leased::Built, None)
    }

    fn pushing(&self) -> Option<&Pushing> {
        self.live.as_ref()?.pushing.as_ref()
    }

    /// What was built was given to the cache, or, without a key, is nothing that it takes.
    pub fn built(&self, key: Option<&EggKey>) {
        match (self.pushing(), key) {
            (Some(pushing), Some(key)) => pushing.built(key),
            (Some(pushing), None) => pushing.give_up_unbuilt(),
            (None, _) => {}
        }
    }

    /// What is to be done when the cache is done with an egg that was built.
    pub fn on_done(&mut self) -> Option<OnDone> {
        self.signer.as_ref()?;
        let pushing = self.live()?.pushing.as_ref()?;
        Some(Box::new(pushing.on_done()))
    }

    /// Pushes what a buildout that has succeeded uses, unless that was told before.
    pub fn finish(&mut self, eggs: Vec<CachedEgg>) {
        let Some(signer) = &self.signer else { return };
        let is_open = |it: &&Remote| it.push && publish::check(it, signer).is_ok();
        let remote = self.usable.iter().find(is_open);
        let configuration = self.configuration.clone();
        let is_told =
            remote.zip(configuration.as_deref()).is_some_and(|(remote, configuration)| {
                AnnouncedSet::of(&self.root, remote, signer, configuration, &self.host)
                    .covers(&eggs)
            });
        if is_told || self.live().is_none() {
            return;
        }
        let Some(Live { pushing: Some(pushing), upstream, fetching, .. }) = &self.live else {
            return;
        };
        let is_there =
            |offer: &&Offer| upstream.remote(offer).client.name() == pushing.source().client.name();
        // Also what the set tells of eggs that were in the cache before.
        let of_set = upstream.find_in_set(|_| true);
        let known = self.offered.values().chain(&of_set).filter(is_there);
        // What it says it has and does not give is brought again.
        let (lost, known): (Vec<&Offer>, Vec<&Offer>) =
            known.partition(|offer| fetching.has_failed(offer.entry.egg));
        let known: HashMap<Digest, Signed> =
            known.iter().map(|offer| (offer.entry.egg, offer.signed.clone())).collect();
        let has_asked = upstream.is_set_loaded() || !known.is_empty();
        let known = has_asked.then_some(known);
        let lost = lost.iter().map(|offer| offer.entry.egg).collect();
        pushing.finish(eggs, known, lost, configuration);
    }

    /// Waits a while for what is pushed: how many eggs are new there, and what went wrong and was not
    /// told yet.
    pub fn close(&mut self) -> (Option<usize>, Vec<String>) {
        let (pushed, mut failures) = match self.pushing().map(|pushing| pushing.wait(PUSH_WAIT)) {
            None => (self.signer.as_ref().map(|_| 0), Vec::new()),
            Some(progress) => {
                let still = "what this has built is still being pushed, in the background";
                let still = (!progress.is_done).then(|| still.to_owned());
                (Some(progress.pushed), progress.failures.into_iter().chain(still).collect())
            }
        };
        let complaints = self.live.as_ref().map(|live| live.upstream.warnings());
        failures.extend(complaints.into_iter().flatten().chain(self.of_here()));
        (pushed, self.untold(failures))
    }

    /// What is wrong with remotes and was not told yet: of each one thing, as whatever is refused is
    /// built and the buildout goes on.
    pub fn warnings(&mut self) -> Vec<String> {
        let sources = self.live.as_ref().map_or(&[][..], |live| live.upstream.remotes());
        let all = sources.iter().filter_map(CheckedRemote::first_warning).chain(self.of_here());
        self.untold(all.collect())
    }

    /// What is wrong here, and not with one of them.
    fn of_here(&self) -> impl Iterator<Item = String> {
        let fetching = self.live.as_ref().and_then(|live| live.fetching.failure());
        self.failure.clone().into_iter().chain(fetching).chain(self.notes.clone())
    }

    fn untold(&mut self, complaints: Vec<String>) -> Vec<String> {
        let before = self.told.len();
        for complaint in complaints {
            if !self.told.contains(&complaint) {
                self.told.push(complaint);
            }
        }
        self.told[before..].to_vec()
    }
}

impl Live {
    /// Learns the set of a configuration with the first egg that is missing.
    fn learn(&self, configuration: Option<&str>, host: &Host) {
        if let Some(configuration) = configuration {
            self.upstream.load_set(configuration, host);
        }
    }

    fn look(&self, names: Vec<String>, python: &str) {
        let unknown = |name: &String| self.upstream.find_in_set(|key| key.name == *name).is_empty();
        let names: Vec<String> = names.into_iter().filter(unknown).collect();
        for names in names.chunks(names.len().div_ceil(LISTS).max(1)) {
            let (upstream, python) = (Arc::clone(&self.upstream), python.to_owned());
            let names = names.to_vec();
            let look = move || names.iter().for_each(|name| upstream.preload_list(name, &python));
            // Nobody waits for it.
            drop(std::thread::Builder::new().spawn(look));
        }
    }
}
