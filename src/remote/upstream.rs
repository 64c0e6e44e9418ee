//! Upstream: all remotes of a cache, in their order, as one source of eggs.
//!
//! An entry is only used if a key that its remote trusts has signed it. A remote that fails is skipped
//! from then on.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rayon::prelude::*;

use crate::cache::trust::Trust;
use crate::cache::{Staged, Staging};
use crate::egg::key::{EggKey, Host};
use crate::error::{Error, OrLog, Result};
use crate::remote::checked_remote::CheckedRemote;
use crate::remote::client::{Client, Patience};
use crate::remote::config::{self, Remote};
use crate::remote::entry::{RemoteEntry, Signed};
use crate::remote::object_names;
use crate::remote::signature;
use crate::remote::withdrawals::run::RunWithdrawals;
use crate::util::clock::now;
use crate::util::environment::Environment;
use crate::util::hash::digest::Digest;
use crate::util::progress::Progress;
use crate::util::threads;

/// The remotes of a cache, each with its client.
#[derive(Debug)]
pub struct Upstream {
    remotes: Vec<CheckedRemote>,
    /// The set of a configuration and the lists of projects, as far as they are loaded.
    set: OnceLock<Vec<Claim>>,
    lists: Mutex<HashMap<String, List>>,
    is_stopped: AtomicBool,
}

/// The list of a project, which threads that need it at the same time load once.
type List = Arc<OnceLock<Vec<Claim>>>;

/// Why a remote cannot be opened, without its name.
fn reason_of(error: &Error, remote: &Remote) -> String {
    let text = error.to_string();
    text.strip_prefix(&format!("remote {}: ", remote.name)).unwrap_or(&text).to_owned()
}

/// An egg that a remote has, by a checked entry.
#[derive(Debug, Clone)]
pub struct Offer {
    pub entry: RemoteEntry,
    /// As the remote has it.
    pub signed: Signed,
    /// The index of the remote.
    remote: usize,
}

/// An entry in a list or a set, to be checked before it is used.
#[derive(Debug, Clone)]
struct Claim {
    entry: RemoteEntry,
    signed: Signed,
    remote: usize,
}

impl Upstream {
    /// Those of `remotes` that trust a key. If one of several cannot be opened, for example because it
    /// has no credentials, the others are used.
    pub fn new(
        remotes: &[Remote],
        withdrawals: &Arc<RunWithdrawals>,
        patience: Patience,
        environment: &Environment,
    ) -> Result<Self> {
        let usable: Vec<&Remote> =
            remotes.iter().filter(|remote| !remote.trusted.is_empty()).collect();
        let is_only = usable.len() == 1;
        let open = |remote: &Remote| match CheckedRemote::new(
            remote,
            withdrawals,
            patience,
            environment,
        ) {
            Err(error @ (Error::Remote { .. } | Error::NoRemoteFolder { .. })) if !is_only => {
                let reason = reason_of(&error, remote);
                let client = Client::unusable(remote, patience, &reason);
                Ok(CheckedRemote::with_client(client, remote, withdrawals))
            }
            opened => opened,
        };
        let remotes = usable.into_iter().map(open).collect::<Result<_>>()?;
        let (set, lists) = (OnceLock::new(), Mutex::default());
        Ok(Self { remotes, set, lists, is_stopped: AtomicBool::new(false) })
    }

    /// Reads in the background what the remotes have withdrawn.
    pub fn begin_withdrawals(&self) {
        for remote in &self.remotes {
            remote.withdrawals.begin(&remote.client);
        }
    }

    /// Waits until it is known what all remotes have withdrawn: one may have withdrawn what another one has.
    pub fn settle_withdrawals(&self) {
        self.remotes.iter().for_each(CheckedRemote::settle_withdrawals);
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remotes.is_empty()
    }

    #[must_use]
    pub fn remotes(&self) -> &[CheckedRemote] {
        &self.remotes
    }

    /// The remote of an offer.
    #[must_use]
    pub fn remote(&self, offer: &Offer) -> &CheckedRemote {
        &self.remotes[offer.remote]
    }

    /// Downloads the egg of an offer, with the record of its arrival.
    ///
    /// # Errors
    /// [`Error::Refused`] if the remote delivers something else, [`Error::Miss`] if nothing, or
    /// [`Error::Remote`].
    pub fn fetch(
        &self,
        offer: &Offer,
        staging: &Staging,
        progress: &dyn Progress,
    ) -> Result<Staged> {
        let remote = self.remote(offer);
        let mut staged = remote.fetch(&offer.entry, staging, progress)?;
        staged.arrival = Some(remote.arrival(&offer.signed));
        Ok(staged)
    }

    /// The eggs that are refused after all, with the reasons, by the remotes that the cache at `root` has
    /// now: a key may have been revoked while they were on their way.
    ///
    /// # Errors
    /// If the remotes of the cache cannot be read.
    pub fn refused_now(
        &self,
        offers: &[Offer],
        root: &Path,
        trust: &Trust,
    ) -> Result<HashMap<Digest, String>> {
        let configured = config::read(root, trust)?;
        let refusal = |offer: &Offer| {
            let remote = self.remote(offer);
            let now_configured = configured.iter().find(|it| it.name == remote.client.name());
            let reason = match now_configured {
                None => "the remote was removed".to_owned(),
                Some(it) => {
                    signature::verified(&offer.signed, it.trust(), now()).err()?.to_string()
                }
            };
            let error = remote.refuse(&offer.entry.file_name, &reason, None);
            Some((offer.entry.egg, error.to_string()))
        };
        Ok(offers.iter().filter_map(refusal).collect())
    }

    /// Loads the set of a configuration, unless a set is loaded already.
    pub fn load_set(&self, configuration: &str, host: &Host) {
        self.set.get_or_init(|| self.load(&object_names::set(configuration, host), |_| true));
    }

    /// Reads no more lists and sets from now on. A push goes on.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    /// The longest build of a project, in seconds, as far as its list or the set is loaded and records it.
    #[must_use]
    pub fn longest_build(&self, name: &str, python: &str) -> Option<f64> {
        let list = self.lists().get(&object_names::project(name, python)).cloned();
        let listed = list.iter().flat_map(|list| claims(list));
        let claims = self.set.get().into_iter().flatten().chain(listed);
        let is_valid = |claim: &&Claim| {
            claim.entry.key.name == name && self.remotes[claim.remote].is_valid(&claim.signed)
        };
        claims
            .filter(is_valid)
            .filter_map(|claim| claim.entry.provenance.build_seconds)
            .max_by(f64::total_cmp)
    }

    /// Whether the set is loaded, even if no remote has it.
    #[must_use]
    pub fn is_set_loaded(&self) -> bool {
        self.set.get().is_some()
    }

    /// The wanted eggs of the set.
    #[must_use]
    pub fn find_in_set(&self, is_wanted: impl Fn(&EggKey) -> bool) -> Vec<Offer> {
        self.check(self.set.get().map_or(&[], Vec::as_slice), is_wanted)
    }

    /// The wanted eggs of a project for one Python, for example `cp311`: those of the set, or if it has
    /// none, those of the project's list. Of two eggs with one key, this has that of the first remote.
    #[must_use]
    pub fn find(
        &self,
        name: &str,
        python: &str,
        is_wanted: impl Fn(&EggKey) -> bool,
    ) -> Vec<Offer> {
        let is_wanted = |key: &EggKey| key.name == name && key.python == python && is_wanted(key);
        let offers = self.find_in_set(is_wanted);
        if !offers.is_empty() {
            return offers;
        }
        self.check(claims(&self.load_list(name, python)), is_wanted)
    }

    /// The wanted eggs whose digests begin with `digits`. This reads the lists of all projects.
    ///
    /// # Errors
    /// If no remote can list its objects.
    pub fn of_digest(
        &self,
        digits: &str,
        is_wanted: impl Fn(&EggKey) -> bool + Sync,
    ) -> Result<Vec<Offer>> {
        let lists: Vec<(String, String)> = self.projects()?.into_iter().collect();
        let find = |(name, python): &(String, String)| {
            let mut offers = self.find(name, python, &is_wanted);
            offers.retain(|offer| offer.entry.egg.to_string().starts_with(digits));
            if offers.is_empty() {
                // So that not all of them are in memory at once.
                self.forget_list(name, python);
            }
            offers
        };
        Ok(lists.par_iter().with_max_len(1).flat_map_iter(find).collect())
    }

    /// The projects that the remotes have lists of, each with the tag of a Python.
    fn projects(&self) -> Result<BTreeSet<(String, String)>> {
        let folder = format!("{}/{}", object_names::VERSION, object_names::PROJECTS);
        let listed =
            threads::map_at_once(&self.remotes, |remote| Some(remote.client.list(&folder)));
        let (mut projects, mut failure, mut is_any) = (BTreeSet::new(), None, false);
        for objects in listed.into_iter().flatten() {
            match objects {
                Ok(objects) => {
                    is_any = true;
                    let names = objects.iter().filter_map(|it| object_names::project_of(&it.name));
                    projects.extend(names);
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        match failure {
            Some(error) if !is_any => Err(error),
            _ => Ok(projects),
        }
    }

    /// Loads the list of a project, unless it is loaded already.
    pub fn preload_list(&self, name: &str, python: &str) {
        drop(self.load_list(name, python));
    }

    fn load_list(&self, name: &str, python: &str) -> List {
        let object = object_names::project(name, python);
        let list = Arc::clone(self.lists().entry(object.clone()).or_default());
        let belongs = |key: &EggKey| key.name == name && key.python == python;
        list.get_or_init(|| self.load(&object, belongs));
        list
    }

    /// Forgets the list of a project, which may have changed since.
    pub fn forget_list(&self, name: &str, python: &str) {
        self.lists().remove(&object_names::project(name, python));
    }

    fn lists(&self) -> MutexGuard<'_, HashMap<String, List>> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The offer of the same key from the next remote, for an egg that its own remote does not deliver.
    #[must_use]
    pub fn alternative(&self, offer: &Offer) -> Option<Offer> {
        let key = &offer.entry.key;
        let list = self.load_list(&key.name, &key.python);
        let all = self.set.get().into_iter().flatten().chain(claims(&list));
        let mut later: Vec<Claim> =
            all.filter(|claim| claim.remote > offer.remote).cloned().collect();
        later.sort_by_key(|claim| claim.remote);
        self.check(&later, |found| found == key).into_iter().next()
    }

    /// Offers for the wanted ones of these claims, at most one for each key.
    fn check(&self, claims: &[Claim], is_wanted: impl Fn(&EggKey) -> bool) -> Vec<Offer> {
        if claims.is_empty() {
            return Vec::new();
        }
        self.settle_withdrawals();
        let mut keys = HashSet::new();
        let mut refused = HashSet::new();
        let mut offers = Vec::new();
        for Claim { entry: claimed, signed, remote: at } in claims {
            let remote = &self.remotes[*at];
            if !is_wanted(&claimed.key)
                || keys.contains(&claimed.key)
                || refused.contains(&(at, signed))
                || remote.client.down().is_some()
            {
                continue;
            }
            match remote.check(signed, &is_wanted) {
                Ok(entry) => {
                    keys.insert(entry.key.clone());
                    offers.push(Offer { entry, signed: signed.clone(), remote: *at });
                }
                Err(_) => drop(refused.insert((at, signed))),
            }
        }
        offers
    }

    /// Reads a list or a set from all remotes at once, so the delays of remotes that do not answer do
    /// not add up. Nothing is read after [`Upstream::stop`].
    fn load(&self, name: &str, belongs: impl Fn(&EggKey) -> bool + Sync) -> Vec<Claim> {
        if self.is_stopped() {
            return Vec::new();
        }
        self.begin_withdrawals();
        let read =
            |remote: &CheckedRemote| remote.lines(name, &belongs).or_log().unwrap_or_default();
        let lines = threads::map_at_once(&self.remotes, read);
        let claims = lines.into_iter().enumerate().flat_map(|(remote, lines)| {
            lines.into_iter().map(move |(entry, signed)| Claim { entry, signed, remote })
        });
        claims.collect()
    }

    /// Everything that is wrong with the remotes, one sentence for each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let stale = self.remotes.iter().filter_map(|it| it.withdrawals.warning(it.client.name()));
        stale.chain(self.remotes.iter().filter_map(CheckedRemote::warning)).collect()
    }
}

fn claims(list: &OnceLock<Vec<Claim>>) -> &[Claim] {
    list.get().map_or(&[], Vec::as_slice)
}
