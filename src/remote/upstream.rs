//! Upstream: the remotes of a cache in their order, as one place where eggs may be had.
//!
//! What a remote says of an egg counts only if a key that is trusted there has signed it, and only
//! for the egg that it names. A remote that cannot be used is done without.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::egg::key::{EggKey, Host};
use crate::error::{Error, Result};
use crate::remote::client::{Client, Patience};
use crate::remote::config::{self, Remote};
use crate::remote::entry::{RemoteEntry, Signed};
use crate::remote::object_names;
use crate::remote::source::Source;

/// The remotes of a cache, each with its client.
#[derive(Debug)]
pub struct Upstream {
    sources: Vec<Source>,
    /// What was learnt so far.
    set: OnceLock<Vec<Claim>>,
    projects: Mutex<HashMap<String, Arc<OnceLock<Vec<Claim>>>>>,
}

/// An egg that a remote has, by an entry that counts.
#[derive(Debug, Clone)]
pub struct Offer {
    pub entry: RemoteEntry,
    /// As the remote has it.
    pub signed: Signed,
    source: usize,
}

/// What a remote says it has: nobody has looked at the signature.
#[derive(Debug, Clone)]
struct Claim {
    entry: RemoteEntry,
    signed: Signed,
    source: usize,
}

impl Upstream {
    /// The remotes of the cache at `root` whose keys are trusted.
    ///
    /// # Errors
    /// If the file that has them cannot be read, or the address of one not be understood.
    pub fn open(root: &Path, patience: Patience) -> Result<Self> {
        Self::new(&config::read(root)?, patience)
    }

    /// One that cannot be opened, as credentials are missing perhaps, does not keep the others.
    ///
    /// # Errors
    /// If the only one cannot be opened.
    pub fn new(remotes: &[Remote], patience: Patience) -> Result<Self> {
        let usable: Vec<&Remote> =
            remotes.iter().filter(|remote| !remote.trusted.is_empty()).collect();
        let is_only = usable.len() == 1;
        let open = |remote: &Remote| match Source::new(remote, patience) {
            Err(Error::Remote { reason, .. }) if !is_only => {
                Ok(Source::of(Client::unusable(remote, patience, &reason), remote))
            }
            source => source,
        };
        let sources = usable.into_iter().map(open).collect::<Result<_>>()?;
        Ok(Self { sources, set: OnceLock::new(), projects: Mutex::default() })
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    #[must_use]
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The remote that makes an offer.
    #[must_use]
    pub fn source(&self, offer: &Offer) -> &Source {
        &self.sources[offer.source]
    }

    /// Learns what buildouts of a configuration use on such hosts, once, if a remote knows it.
    pub fn learn_set(&self, configuration: &str, host: &Host) {
        self.set.get_or_init(|| self.claims(&object_names::set(configuration, host)));
    }

    /// Whether it was asked for the set.
    #[must_use]
    pub fn has_asked_for_set(&self) -> bool {
        self.set.get().is_some()
    }

    /// The eggs of the set that was learnt which are wanted and count.
    #[must_use]
    pub fn of_set(&self, is_wanted: impl Fn(&EggKey) -> bool) -> Vec<Offer> {
        self.accepted(self.set.get().map_or(&[], Vec::as_slice), is_wanted)
    }

    /// The eggs of a project for one Python, for example `cp311`, which are wanted and count. Of two
    /// that have one key, that of the first remote. What the set has is not looked for elsewhere.
    #[must_use]
    pub fn find(
        &self,
        name: &str,
        python: &str,
        is_wanted: impl Fn(&EggKey) -> bool,
    ) -> Vec<Offer> {
        let is_wanted = |key: &EggKey| key.name == name && key.python == python && is_wanted(key);
        let known = self.of_set(is_wanted);
        if !known.is_empty() {
            return known;
        }
        let list = self.list(name, python);
        self.accepted(list.get().map_or(&[], Vec::as_slice), is_wanted)
    }

    /// Learns the list of a project, once; others that need it meanwhile wait for it.
    fn list(&self, name: &str, python: &str) -> Arc<OnceLock<Vec<Claim>>> {
        let name = object_names::project(name, python);
        let mut projects = self.projects.lock().unwrap_or_else(PoisonError::into_inner);
        let list = Arc::clone(projects.entry(name.clone()).or_default());
        drop(projects);
        list.get_or_init(|| self.claims(&name));
        list
    }

    /// Learns the list of a project before it is asked for.
    pub fn learn_list(&self, name: &str, python: &str) {
        let _ = self.list(name, python);
    }

    /// Forgets what the list of a project was: it may have changed.
    pub fn forget_list(&self, name: &str, python: &str) {
        let name = object_names::project(name, python);
        self.projects.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
    }

    /// Where else the egg of an offer may be had, which could not be had there: from a remote that comes
    /// after it.
    #[must_use]
    pub fn instead_of(&self, offer: &Offer) -> Option<Offer> {
        let key = &offer.entry.key;
        let set = self.set.get().into_iter().flatten();
        let list = self.list(&key.name, &key.python);
        let claims = set.chain(list.get().into_iter().flatten());
        let later = claims.filter(|claim| claim.source > offer.source).cloned();
        let mut later: Vec<Claim> = later.collect();
        later.sort_by_key(|claim| claim.source);
        self.accepted(&later, |found| found == key).into_iter().next()
    }

    fn accepted(&self, claims: &[Claim], is_wanted: impl Fn(&EggKey) -> bool) -> Vec<Offer> {
        let mut keys = HashSet::new();
        let wanted = claims.iter().filter(|claim| is_wanted(&claim.entry.key));
        let mut refused = HashSet::new();
        let accepted = wanted.filter_map(|Claim { entry: claimed, signed, source: at }| {
            // Also one that is done without since it was asked. To check a signature takes a while, and
            // a list has room for thousands of the same that is none.
            let source = &self.sources[*at];
            if source.client.down().is_some()
                || keys.contains(&claimed.key)
                || refused.contains(&(at, signed))
            {
                return None;
            }
            let entry = source.check(signed, &is_wanted);
            let Ok(entry) = entry else {
                refused.insert((at, signed));
                return None;
            };
            keys.insert(entry.key.clone());
            Some(Offer { entry, signed: signed.clone(), source: *at })
        });
        accepted.collect()
    }

    fn claims(&self, name: &str) -> Vec<Claim> {
        // All at once: those that do not answer cost their time once.
        let ask = |(at, source): (usize, &Source)| -> Vec<Claim> {
            let claims = source.claims(name).unwrap_or_default().into_iter();
            claims.map(|(entry, signed)| Claim { entry, signed, source: at }).collect()
        };
        std::thread::scope(|scope| {
            let asked: Vec<_> = self.sources.iter().enumerate().collect();
            let asked = asked.into_iter().map(|it| scope.spawn(move || ask(it)));
            let asked: Vec<_> = asked.collect();
            asked.into_iter().flat_map(|it| it.join().unwrap_or_default()).collect()
        })
    }

    /// What there is to say of the remotes at the end, one sentence for each.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        self.sources.iter().filter_map(Source::complaint).collect()
    }
}
