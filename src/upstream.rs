//! Upstream: the remotes of a cache in their order, as one place where eggs may be had.
//!
//! What a remote says of an egg counts only if a key that is trusted there has signed it, and only
//! for the egg that it names. A remote that cannot be used is done without.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::clock::now;
use crate::egg_key::{EggKey, Host};
use crate::entry::{self, BadEntry, Entry, Signed};
use crate::error::{Error, Result};
use crate::object_client::{Client, Patience};
use crate::progress::Progress;
use crate::remote_layout as layout;
use crate::remotes::{self, Remote};
use crate::signing::{self, Trusted};
use crate::store::{Staged, Store};

/// After how many entries and blobs that are not what was signed a remote is done without.
const FORGED: usize = 3;

/// The remotes of a cache, each with its client.
#[derive(Debug)]
pub struct Upstream {
    sources: Vec<Source>,
    /// What was learnt so far.
    set: OnceLock<Vec<Claim>>,
    projects: Mutex<HashMap<String, Arc<OnceLock<Vec<Claim>>>>>,
}

/// One remote that can be asked.
#[derive(Debug)]
pub struct Source {
    pub client: Client,
    pub trusted: Vec<Trusted>,
    /// Whether what is built here goes there.
    pub push: bool,
    refused: Mutex<Refused>,
}

#[derive(Debug, Default)]
struct Refused {
    sentences: BTreeSet<String>,
    forged: usize,
}

/// An egg that a remote has, by an entry that counts.
#[derive(Debug, Clone)]
pub struct Offer {
    pub entry: Entry,
    /// As the remote has it.
    pub signed: Signed,
    source: usize,
}

/// What a remote says it has: nobody has looked at the signature.
#[derive(Debug, Clone)]
struct Claim {
    entry: Entry,
    signed: Signed,
    source: usize,
}

impl Source {
    /// # Errors
    /// As [`Client::new`].
    pub fn new(remote: &Remote, patience: Patience) -> Result<Self> {
        Ok(Self::of(Client::new(remote, patience)?, remote))
    }

    fn of(client: Client, remote: &Remote) -> Self {
        Self {
            client,
            trusted: remote.trusted.clone(),
            push: remote.push,
            refused: Mutex::default(),
        }
    }

    /// What an entry says, if it counts and is of an egg that is asked for.
    ///
    /// # Errors
    /// [`Error::Refused`]
    pub fn check(&self, signed: &Signed, is_asked: impl Fn(&EggKey) -> bool) -> Result<Entry> {
        let unchecked = signed.unchecked();
        let what = unchecked.as_ref().map_or("an entry", |entry| &entry.file_name);
        let entry = signing::open(signed, &self.trusted, now()).and_then(|entry| {
            if is_asked(&entry.key) { Ok(entry) } else { Err(BadEntry::OtherEgg(entry.file_name)) }
        });
        entry.map_err(|bad| {
            let is_forged = !matches!(bad, BadEntry::UnknownKey(_) | BadEntry::ExpiredKey(..));
            self.refuse(what, bad.to_string(), is_forged)
        })
    }

    /// The error for something that is refused. After a few things that nobody can have signed so, the
    /// remote is done without.
    fn refuse(&self, what: &str, reason: String, is_forged: bool) -> Error {
        let name = self.client.name().to_owned();
        let error = Error::Refused { name, what: what.to_owned(), reason };
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.sentences.insert(error.to_string()) {
            refused.forged += usize::from(is_forged);
        }
        if refused.forged >= FORGED {
            self.client.give_up("too much of what it has is refused");
        }
        error
    }

    /// What a list or a set claims.
    ///
    /// # Errors
    /// [`Error::Refused`] or [`Error::Remote`]
    fn claims(&self, name: &str) -> Result<Vec<(Entry, Signed)>> {
        let Some(fetched) = self.client.get(name)? else { return Ok(Vec::new()) };
        let claims = entry::lines(&fetched.bytes);
        if claims.is_empty() && !fetched.bytes.is_empty() {
            // As the page with which a network asks whoever comes to log in.
            return Err(self.refuse(name, "it is not a list of eggs".into(), true));
        }
        // What cannot be understood may be a newer eggcache's.
        Ok(claims
            .into_iter()
            .filter_map(|signed| Some((signed.unchecked().ok()?, signed)))
            .collect())
    }

    /// Downloads the blob of an entry that counts.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is another blob, [`Error::Miss`] if it is gone, or
    /// [`Error::Remote`].
    pub fn fetch(&self, entry: &Entry, store: &Store, progress: &dyn Progress) -> Result<Staged> {
        let refuse = |reason: &str| self.refuse(&entry.file_name, reason.into(), true);
        let temp = store.receive()?;
        let file = temp.handle().try_clone().map_err(|source| Error::Io {
            action: "open",
            path: temp.path().to_owned(),
            source,
        })?;
        let name = layout::blob(entry.blob);
        let digest = self.client.download(&name, entry.blob_bytes, file, progress)?;
        if digest.ok_or_else(|| Error::miss(&entry.file_name))? != entry.blob {
            return Err(refuse("its blob has another digest"));
        }
        let staged = match Store::received(temp) {
            Err(Error::DamagedBlob { reason, .. }) => return Err(refuse(&reason)),
            staged => staged?,
        };
        if staged.written.digest != entry.egg
            || staged.manifest.key != entry.key
            || staged.manifest.file_name != entry.file_name
        {
            return Err(refuse("its blob is of another egg"));
        }
        Ok(staged)
    }

    /// Why this remote is done without, or what of it was refused: one sentence.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sentences = refused.sentences.iter();
        match (sentences.next(), sentences.len(), self.client.down()) {
            (None, _, None) => None,
            (None, _, Some(reason)) => Some(format!("remote {}: {reason}", self.client.name())),
            (Some(only), 0, _) => Some(only.clone()),
            (Some(first), more, _) => Some(format!("{first}; and {more} more")),
        }
    }
}

impl Upstream {
    /// The remotes of the cache at `root` whose keys are trusted.
    ///
    /// # Errors
    /// If the file that has them cannot be read, or the address of one not be understood.
    pub fn open(root: &Path, patience: Patience) -> Result<Self> {
        Self::new(&remotes::read(root)?, patience)
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
        self.set.get_or_init(|| self.claims(&layout::set(configuration, host)));
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
        let name = layout::project(name, python);
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
        let name = layout::project(name, python);
        self.projects.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
    }

    fn accepted(&self, claims: &[Claim], is_wanted: impl Fn(&EggKey) -> bool) -> Vec<Offer> {
        let mut keys = HashSet::new();
        let wanted = claims.iter().filter(|claim| is_wanted(&claim.entry.key));
        let accepted = wanted.filter_map(|Claim { signed, source, .. }| {
            let entry = self.sources[*source].check(signed, &is_wanted).ok()?;
            Some(Offer { entry, signed: signed.clone(), source: *source })
        });
        accepted.filter(|offer| keys.insert(offer.entry.key.clone())).collect()
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
