//! The open remotes of a session.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::disk::dir::Dir;
use crate::egg::key::Host;
use crate::error::Result;
use crate::remote::client::Patience;
use crate::remote::config::Remote;
use crate::remote::entry::Signed;
use crate::remote::keys::Signer;
use crate::remote::parallel::LISTS;
use crate::remote::upstream::{Offer, Upstream};
use crate::remote::withdrawals::run::RunWithdrawals;
use crate::serve::Options;
use crate::serve::fetch_worker::FetchWorker;
use crate::serve::push_worker::PushWorker;
use crate::util::hash::digest::Digest;
use crate::util::threads;

/// The remotes of a session, and the threads that work with them.
pub struct Connection {
    pub upstream: Arc<Upstream>,
    pub fetcher: FetchWorker,
    pub pusher: Option<PushWorker>,
    /// Whether the rest of the set is still to be fetched.
    pub has_rest: bool,
}

impl Connection {
    /// Opens the remotes that trust a key, and pushes with `signer` to one of them.
    pub fn open(
        cache: &Dir,
        remotes: &[Remote],
        withdrawals: &Arc<RunWithdrawals>,
        signer: Option<&Signer>,
        host: &Host,
        options: &Arc<Options>,
    ) -> Result<Self> {
        let upstream = Upstream::new(remotes, withdrawals, Patience::BUILD, &options.environment)?;
        upstream.begin_withdrawals();
        let upstream = Arc::new(upstream);
        let pusher = match signer {
            Some(signer) => PushWorker::new(cache, &upstream, signer.clone(), host)?,
            None => None,
        };
        let fetcher = FetchWorker::new(cache, &upstream, options)?;
        Ok(Self { upstream, fetcher, pusher, has_rest: true })
    }

    /// Loads the set of a configuration, once, when the first egg is missing.
    pub fn load_set(&self, configuration: Option<&str>, host: &Host) {
        if let Some(configuration) = configuration {
            self.upstream.load_set(configuration, host);
        }
    }

    /// Loads lists in the background, except of projects that the set has.
    pub fn preload_lists(&self, names: &[String], python: &str) {
        let unknown =
            |name: &&String| self.upstream.find_in_set(|key| key.name == **name).is_empty();
        let names: Vec<String> = names.iter().filter(unknown).cloned().collect();
        for names in names.chunks(names.len().div_ceil(LISTS).max(1)) {
            let (upstream, python) = (Arc::clone(&self.upstream), python.to_owned());
            let names = names.to_vec();
            let load = move || names.iter().for_each(|name| upstream.preload_list(name, &python));
            // Without a thread, the lists are loaded when they are needed.
            drop(threads::spawn("preload lists", load));
        }
    }

    /// What the remote of a pusher is known to have, and eggs that it has an entry of and did not deliver.
    /// What it has is unknown if the set was not loaded.
    pub fn known_to(
        &self,
        pusher: &PushWorker,
        offered: &HashMap<Digest, Offer>,
    ) -> (Option<HashMap<Digest, Signed>>, HashSet<Digest>) {
        let upstream = &self.upstream;
        let is_its =
            |offer: &&Offer| upstream.remote(offer).client.name() == pusher.remote().client.name();
        // The set also has eggs that were in the cache before, so that they were not offered.
        let set = upstream.find_in_set(|_| true);
        let offers = offered.values().chain(&set).filter(is_its);
        let (broken, known): (Vec<&Offer>, Vec<&Offer>) =
            offers.partition(|offer| self.fetcher.has_failed(offer.entry.egg));
        let known: HashMap<Digest, Signed> =
            known.iter().map(|offer| (offer.entry.egg, offer.signed.clone())).collect();
        let is_known = upstream.is_set_loaded() || !known.is_empty();
        (is_known.then_some(known), broken.iter().map(|offer| offer.entry.egg).collect())
    }
}
