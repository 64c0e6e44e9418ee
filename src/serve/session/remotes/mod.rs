//! The remotes of one session: what they offer, what is fetched from them, and what is pushed. A session
//! that finds everything in the cache opens no connection.

mod lease;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::cache::Cache;
use crate::cache::retention::policy::Policy;
use crate::disk::dir::Dir;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::{EggKey, Host};
use crate::error::{Error, OrLog, Result};
use crate::remote::build_lease::LeaseRequest;
use crate::remote::checked_remote::CheckedRemote;
use crate::remote::config::{self, Remote};
use crate::remote::keys::Signer;
use crate::remote::publish;
use crate::remote::upstream::Offer;
use crate::remote::withdrawals::run::RunWithdrawals;
use crate::serve::Options;
use crate::serve::announced_sets::AnnouncedSet;
use crate::serve::protocol::Role;
use crate::serve::push_worker::{Push, PushWorker};
use crate::serve::session::connection::Connection;
use crate::serve::session::time_budget::{LIMIT, TimeBudget, build_time};
use crate::util::environment::Environment;
use crate::util::hash::digest::Digest;

/// How long the end of a buildout waits for pushes. They continue in the background after that.
const PUSH_WAIT: Duration = Duration::from_secs(20);

/// Called with the key of each egg that was offered to the cache, and with the egg if it was stored.
pub type OnStored = Box<dyn Fn(&EggKey, Option<&CachedEgg>) + Send>;

pub struct SessionRemotes {
    root: Dir,
    options: Arc<Options>,
    host: Host,
    configuration: Option<String>,
    /// Those that trust a key.
    remotes: Vec<Remote>,
    withdrawals: Arc<RunWithdrawals>,
    /// Set if this session pushes to one of them.
    signer: Option<Signer>,
    /// Set when remotes are needed for the first time.
    connection: Option<Connection>,
    /// Everything that was offered to buildout.
    offered: HashMap<Digest, Offer>,
    lease_requests: HashMap<String, LeaseRequest>,
    budget: TimeBudget,
    /// Why remotes are asked for nothing more: the budget is spent.
    stopped: Option<String>,
    /// Whether a wait for another builder has timed out, which happens once in a session.
    has_timed_out: bool,
    /// Why no remote can be used.
    failure: Option<String>,
    /// Warnings about other things than a remote, for example that nothing is pushed.
    notices: Vec<String>,
    /// Warnings that were shown.
    shown: Vec<String>,
}

/// What remotes have for one `find`.
#[derive(Default)]
pub struct Found {
    pub wanted: Vec<Offer>,
    /// All else that buildouts of this configuration use, after the first egg that is found.
    pub rest_of_set: Vec<Offer>,
}

impl SessionRemotes {
    /// The remotes of a cache that is writable; `None` if it has none, or none with a trusted key.
    pub fn open(
        cache: &Cache,
        mut remotes: Vec<Remote>,
        withdrawals: &Arc<RunWithdrawals>,
        host: &Host,
        configuration: Option<String>,
        options: &Arc<Options>,
    ) -> Result<Option<Self>> {
        remotes.retain(|remote| !remote.trusted.is_empty());
        if remotes.is_empty() || cache.check_writable().is_err() {
            return Ok(None);
        }
        let (signer, refusals) = signer(&remotes, &options.environment)?;
        // An invalid policy is reported at the end of the run.
        let limit = Policy::read(cache.root()).or_log().and_then(|policy| policy.budget);
        let limit = limit.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
        let withheld = config::withheld(&remotes, &options.environment);
        let notices = withheld.iter().chain(&refusals);
        let notices = notices.map(|error| options.text(error, cache.root())).collect();
        Ok(Some(Self {
            root: cache.dir().clone(),
            options: Arc::clone(options),
            host: host.clone(),
            configuration,
            remotes,
            withdrawals: Arc::clone(withdrawals),
            signer,
            connection: None,
            offered: HashMap::new(),
            lease_requests: HashMap::new(),
            budget: TimeBudget::new(limit.unwrap_or(LIMIT)),
            stopped: None,
            has_timed_out: false,
            failure: None,
            notices,
            shown: Vec::new(),
        }))
    }

    pub fn names(&self) -> Vec<String> {
        self.remotes.iter().map(|remote| remote.name.clone()).collect()
    }

    pub fn role(&self) -> Role {
        if self.signer.is_some() { Role::Builder } else { Role::Reader }
    }

    /// The connection, which the first call opens; `None` if that has failed.
    fn connection(&mut self) -> Option<&mut Connection> {
        if self.connection.is_none() && self.failure.is_none() {
            match self.connect() {
                Ok(connection) => self.connection = Some(connection),
                Err(error) => self.failure = Some(self.options.text(&error, self.root.path())),
            }
        }
        self.connection.as_mut()
    }

    fn connect(&self) -> Result<Connection> {
        let signer = self.signer.as_ref();
        let (remotes, withdrawals) = (&self.remotes, &self.withdrawals);
        let (root, host) = (&self.root, &self.host);
        Connection::open(root, remotes, withdrawals, signer, host, &self.options)
    }

    /// The pusher, if there is a connection.
    fn pusher(&self) -> Option<&PushWorker> {
        self.connection.as_ref()?.pusher.as_ref()
    }

    /// Whether remotes are asked for nothing more, because the budget is spent. Eggs that were built are
    /// still pushed.
    fn is_over(&mut self) -> bool {
        if self.stopped.is_none() && self.budget.is_spent() {
            self.stop();
        }
        self.stopped.is_some()
    }

    fn stop(&mut self) {
        let names = self.names();
        let noun = if names.len() == 1 { "remote" } else { "remotes" };
        let (names, balance) = (names.join(", "), self.budget.balance());
        let reason = format!("{noun} {names}: {balance}; continuing without");
        warn!(reason, "the time budget is spent");
        if let Some(connection) = &self.connection {
            connection.upstream.stop();
            connection.fetcher.cancel(&reason);
        }
        self.stopped = Some(reason);
    }

    /// Counts the time that some work with remotes takes.
    fn timed<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let begun = Instant::now();
        let result = work(self);
        self.budget.add_wait(begun.elapsed());
        self.is_over();
        result
    }

    /// The wanted eggs of a project.
    pub fn find(&mut self, name: &str, is_wanted: impl Fn(&EggKey) -> bool) -> Found {
        if self.is_over() {
            return Found::default();
        }
        self.timed(|this| this.find_now(name, is_wanted))
    }

    fn find_now(&mut self, name: &str, is_wanted: impl Fn(&EggKey) -> bool) -> Found {
        let (host, configuration) = (self.host.clone(), self.configuration.clone());
        let Some(connection) = self.connection() else { return Found::default() };
        connection.load_set(configuration.as_deref(), &host);
        if connection.fetcher.failure().is_some() {
            return Found::default();
        }
        let upstream = &connection.upstream;
        let wanted = upstream.find(name, &host.python_tag(), is_wanted);
        let mut rest_of_set = Vec::new();
        if !wanted.is_empty() && connection.has_rest {
            connection.has_rest = false;
            rest_of_set = upstream.find_in_set(|key| host.accepts(key));
        }
        Found { wanted, rest_of_set }
    }

    /// Loads the lists of projects in the background, except of those that the set has.
    pub fn preload_lists(&mut self, names: &[String]) {
        if names.is_empty() || self.is_over() {
            return;
        }
        self.timed(|this| {
            let (host, configuration) = (this.host.clone(), this.configuration.clone());
            if let Some(connection) = this.connection() {
                connection.load_set(configuration.as_deref(), &host);
                connection.preload_lists(names, &host.python_tag());
            }
        });
    }

    /// Remembers an offer that buildout may ask for.
    pub fn remember(&mut self, offer: Offer) {
        self.offered.insert(offer.entry.egg, offer);
    }

    /// The key of an egg that was offered to buildout.
    pub fn offered_key(&self, digest: Digest) -> Option<&EggKey> {
        self.offered.get(&digest).map(|offer| &offer.entry.key)
    }

    /// Why an egg of such a key was refused in this session, if one was.
    pub fn refusal(&self, is_it: &dyn Fn(&EggKey) -> bool) -> Option<String> {
        let remotes = self.connection.as_ref()?.upstream.remotes();
        remotes.iter().find_map(|remote| remote.refusal(is_it))
    }

    /// The name of the remote that has offered an egg.
    pub fn source_of(&self, digest: Digest) -> Option<String> {
        let (connection, offer) = (self.connection.as_ref()?, self.offered.get(&digest)?);
        Some(connection.upstream.remote(offer).client.name().to_owned())
    }

    /// Offers another egg of the same key in place of a damaged one in the cache.
    pub fn offer_replacement(&mut self, damaged: &CachedEgg) -> Option<Digest> {
        if self.is_over() {
            return None;
        }
        self.timed(|this| this.replacement(damaged))
    }

    fn replacement(&mut self, damaged: &CachedEgg) -> Option<Digest> {
        let python = self.host.python_tag();
        let Connection { upstream, fetcher, .. } = self.connection()?;
        let key = &damaged.key;
        let offers = upstream.find(&key.name, &python, |found| found == key);
        let offer = offers.into_iter().next().filter(|_| fetcher.failure().is_none())?;
        fetcher.replace(damaged.digest);
        let digest = offer.entry.egg;
        self.remember(offer);
        Some(digest)
    }

    /// Adds a notice that a damaged egg was replaced, because nothing else shows the damage.
    pub fn note_replaced(&mut self, damaged: &Error) {
        self.notices.push(format!("{damaged}; it was replaced with a copy from a remote"));
    }

    /// Fetches those of these eggs that were offered.
    pub fn fetch_offered(&self, digests: &[Digest]) {
        self.fetch(digests.iter().filter_map(|digest| self.offered.get(digest)).cloned());
    }

    pub fn fetch(&self, offers: impl IntoIterator<Item = Offer>) {
        if let Some(connection) = &self.connection {
            connection.fetcher.enqueue(offers);
        }
    }

    /// Waits until an egg is in the cache, if it was offered. The wait may last for as long as its build,
    /// and for what is left of the budget.
    ///
    /// # Errors
    /// As [`FetchWorker::wait_for`](crate::serve::fetch_worker::FetchWorker::wait_for), and
    /// [`Error::Unavailable`] if the budget is spent.
    pub fn wait_for(&mut self, digest: Digest) -> Result<()> {
        let (Some(connection), Some(offer)) = (&self.connection, self.offered.get(&digest)) else {
            return Ok(());
        };
        let build_seconds = offer.entry.provenance.build_seconds;
        let begun = Instant::now();
        let limit = self.budget.left_with(build_time(build_seconds));
        let has_arrived = connection.fetcher.wait_for(offer, limit);
        self.budget.add_wait(begun.elapsed());
        match has_arrived {
            Ok(true) => self.budget.save(digest, build_seconds),
            Ok(false) => {
                self.budget.lose(digest);
                self.stop();
                return Err(Error::Unavailable(self.stopped.clone().unwrap_or_default()));
            }
            Err(_) => self.budget.lose(digest),
        }
        self.is_over();
        has_arrived.map(drop)
    }

    /// Notes that a built egg was offered to the cache, or, without a key, that it was not an egg which
    /// the cache stores.
    pub fn note_built(&self, key: Option<&EggKey>) {
        match (self.pusher(), key) {
            (Some(pusher), Some(key)) => pusher.mark_offered(key),
            (Some(pusher), None) => pusher.release_not_offered(),
            (None, _) => {}
        }
    }

    /// What to do when an egg was stored, if this session pushes.
    pub fn on_stored(&mut self) -> Option<OnStored> {
        self.signer.as_ref()?;
        let pusher = self.connection()?.pusher.as_ref()?;
        Some(Box::new(pusher.on_stored()))
    }

    /// Pushes the eggs that a successful buildout uses, unless the same set was pushed not long ago.
    pub fn push_set(&mut self, eggs: Vec<CachedEgg>) {
        if self.is_announced(&eggs) || self.connection().is_none() {
            return;
        }
        let Some(connection) = &self.connection else { return };
        if let Some(pusher) = &connection.pusher {
            let (known, broken) = connection.known_to(pusher, &self.offered);
            let configuration = self.configuration.clone();
            pusher.enqueue(Push { eggs, known, broken, configuration });
        }
    }

    /// Whether there is nothing to push: exactly this set was pushed not long ago, or this session does
    /// not push.
    fn is_announced(&self, eggs: &[CachedEgg]) -> bool {
        let Some(signer) = &self.signer else { return true };
        let is_open = |it: &&Remote| it.push && publish::check(it, signer).is_ok();
        let remote = self.remotes.iter().find(is_open);
        remote.zip(self.configuration.as_deref()).is_some_and(|(remote, configuration)| {
            AnnouncedSet::read(&self.root, remote, signer, configuration, &self.host)
                .is_current(eggs)
        })
    }

    /// Waits a while for pushes. Returns how many eggs are new on the remote, and the warnings that were
    /// not shown yet.
    pub fn finish(&mut self) -> (Option<usize>, Vec<String>) {
        // A run that has waited long enough does not wait for pushes either.
        let limit = if self.stopped.is_some() { Duration::ZERO } else { PUSH_WAIT };
        let (pushed, mut warnings) = match self.pusher().map(|pusher| pusher.wait(limit)) {
            None => (self.signer.as_ref().map(|_| 0), Vec::new()),
            Some(progress) => {
                let still = "built eggs are still being pushed in the background";
                let still = (!progress.is_done).then(|| still.to_owned());
                (Some(progress.pushed), progress.failures.into_iter().chain(still).collect())
            }
        };
        if let Some(connection) = &self.connection {
            let is_shown = |first: String| self.shown.contains(&first);
            let warning = |remote: &CheckedRemote| match remote.first_warning().map(is_shown) {
                Some(true) => remote.later_warning(),
                _ => remote.warning(),
            };
            warnings.extend(connection.upstream.remotes().iter().filter_map(warning));
        }
        warnings.extend(self.own_warnings());
        (pushed, self.not_shown(warnings))
    }

    /// The warnings that were not shown yet, one for each remote: the buildout continues, and builds what
    /// it cannot fetch.
    pub fn warnings(&mut self) -> Vec<String> {
        let remotes = self.connection.as_ref().map_or(&[][..], |it| it.upstream.remotes());
        let warnings = remotes.iter().filter_map(CheckedRemote::first_warning);
        let warnings = warnings.chain(self.own_warnings()).collect();
        self.not_shown(warnings)
    }

    /// Why remotes, or some of their eggs, were not used so far.
    pub fn problems(&self) -> Vec<String> {
        let remotes = self.connection.as_ref().map_or(&[][..], |it| it.upstream.remotes());
        let failures = self.failure.iter().chain(&self.stopped).cloned();
        remotes.iter().filter_map(CheckedRemote::warning).chain(failures).collect()
    }

    /// Warnings that are not about one of the remotes.
    fn own_warnings(&self) -> impl Iterator<Item = String> {
        let fetcher = self.connection.as_ref().and_then(|it| it.fetcher.failure());
        let stale = self.remotes.iter().filter_map(|it| self.withdrawals.warning(&it.name));
        // An open remote that fails has a warning of its own.
        let is_open = self.connection.is_some();
        let unread = self.remotes.iter().filter(move |_| !is_open);
        let unread = unread.filter_map(|it| self.withdrawals.unread_warning(&it.name));
        let stopped = self.stopped.clone();
        let own = self.failure.clone().into_iter().chain(stopped).chain(fetcher);
        stale.chain(unread).chain(own.chain(self.notices.clone()))
    }

    fn not_shown(&mut self, warnings: Vec<String>) -> Vec<String> {
        let before = self.shown.len();
        for warning in warnings {
            if !self.shown.contains(&warning) {
                self.shown.push(warning);
            }
        }
        self.shown[before..].to_vec()
    }
}

/// The key to push with, if there is one and a remote to push to trusts it; else why nothing is pushed.
fn signer(remotes: &[Remote], environment: &Environment) -> Result<(Option<Signer>, Vec<Error>)> {
    let is_target = |remote: &&Remote| remote.push && remote.foreign.is_none();
    let targets: Vec<&Remote> = remotes.iter().filter(is_target).collect();
    if targets.is_empty() {
        return Ok((None, Vec::new()));
    }
    let Some(signer) = Signer::of(environment)? else {
        let unsigned = |it: &&Remote| Error::NothingPushed { name: it.name.clone() };
        return Ok((None, targets.iter().map(unsigned).collect()));
    };
    let refused: Vec<Error> =
        targets.iter().filter_map(|remote| publish::check(remote, &signer).err()).collect();
    if refused.len() < targets.len() {
        return Ok((Some(signer), Vec::new()));
    }
    Ok((None, refused))
}
