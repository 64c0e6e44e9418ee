//! Upstream: the remotes of a cache in their order, as one place where eggs may be had.
//!
//! What a remote says of an egg counts only if a key that is trusted there has signed it, and only
//! for the egg that it names. A remote that cannot be used is done without.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::clock::now;
use crate::digest::Digest;
use crate::egg_key::{EggKey, Host};
use crate::egg_name::EggName;
use crate::egg_path::EggPath;
use crate::entry::{self, BadEntry, Entry, Signed};
use crate::error::{Error, Result};
use crate::object_client::{Client, Patience, first_line};
use crate::progress::Progress;
use crate::remote_layout as layout;
use crate::remotes::{self, Remote};
use crate::signing;
use crate::store::{Staged, Store};

/// After how many entries and blobs that are not what was signed a remote is done without.
const FORGED: usize = 3;
/// How many things that are refused are counted.
const MOST_COUNTED: usize = 10_000;

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
    pub remote: Remote,
    refused: Mutex<Refused>,
}

#[derive(Debug, Default)]
struct Refused {
    /// What was said of the first.
    first: Option<String>,
    sentences: BTreeSet<String>,
    /// What nobody can have signed so.
    forged: HashSet<Digest>,
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
        Self { client, remote: remote.clone(), refused: Mutex::default() }
    }

    /// What an entry says, if it counts and is of an egg that is asked for.
    ///
    /// # Errors
    /// [`Error::Refused`]
    pub fn check(&self, signed: &Signed, is_asked: impl Fn(&EggKey) -> bool) -> Result<Entry> {
        let unchecked = signed.unchecked();
        let what = unchecked.as_ref().map_or("an entry", |entry| &entry.file_name);
        let entry = signing::open(signed, &self.remote.trusted, now()).and_then(|entry| {
            let name = &entry.file_name;
            if !is_asked(&entry.key) {
                return Err(BadEntry::OtherEgg(entry.file_name));
            }
            if name.parse::<EggName>().is_err() || EggPath::new(name.as_str()).is_err() {
                return Err(BadEntry::Malformed("its file name is not one of an egg".into()));
            }
            Ok(entry)
        });
        entry.map_err(|bad| {
            let is_forged = !matches!(
                bad,
                BadEntry::UnknownKey(_) | BadEntry::ExpiredKey(..) | BadEntry::NewerFormat(_)
            );
            let forged = is_forged.then(|| Digest::of(signed.line().as_bytes()));
            self.refuse(what, &bad.to_string(), forged)
        })
    }

    /// The error for something that is refused. After a few things that nobody can have signed so, the
    /// remote is done without.
    fn refuse(&self, what: &str, reason: &str, forged: Option<Digest>) -> Error {
        let name = self.client.name().to_owned();
        // It ends in a log, and anybody may have written it.
        let (what, reason) = (first_line(what), first_line(reason));
        let error = Error::Refused { name, what, reason };
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.first.get_or_insert_with(|| error.to_string());
        if refused.sentences.len() < MOST_COUNTED {
            refused.sentences.insert(error.to_string());
        }
        refused.forged.extend(forged);
        if refused.forged.len() >= FORGED {
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
            let forged = Some(Digest::of(&fetched.bytes));
            return Err(self.refuse(name, "it is not a list of eggs", forged));
        }
        // What cannot be understood may be a newer eggcache's.
        Ok(claims
            .into_iter()
            .filter_map(|signed| Some((signed.unchecked().ok()?, signed)))
            .collect())
    }

    /// What a list or a set has that counts, as far as it can be had.
    #[must_use]
    pub fn accepted(&self, name: &str) -> Vec<(Entry, Signed)> {
        let claims = self.claims(name).unwrap_or_default().into_iter();
        let accepted =
            claims.filter(|(claim, signed)| self.check(signed, |key| *key == claim.key).is_ok());
        accepted.collect()
    }

    /// Downloads the blob of an entry that counts.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is another blob, [`Error::Miss`] if it is gone, or
    /// [`Error::Remote`].
    pub fn fetch(&self, entry: &Entry, store: &Store, progress: &dyn Progress) -> Result<Staged> {
        let refuse = |reason: &str| self.refuse(&entry.file_name, reason, Some(entry.blob));
        let temp = store.receive()?;
        let file = temp.handle().try_clone().map_err(|source| Error::Io {
            action: "open",
            path: temp.path().to_owned(),
            source,
        })?;
        let name = layout::blob(entry.blob);
        let digest = self.client.download(&name, entry.blob_bytes, file, progress);
        let digest = digest.map_err(|error| match error {
            Error::Io { action, source, .. } => {
                Error::Io { action, path: temp.path().to_owned(), source }
            }
            // It answers, but not with as many bytes as were signed.
            Error::Remote { reason, .. } if self.client.down().is_none() && !progress.is_over() => {
                refuse(&reason)
            }
            error => error,
        })?;
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
        let more = match refused.sentences.len() {
            0 | 1 => String::new(),
            all => format!("; and {} more", all - 1),
        };
        match (&refused.first, self.client.down()) {
            (None, None) => None,
            (None, Some(reason)) => Some(format!("remote {}: {reason}", self.client.name())),
            (Some(first), None) => Some(format!("{first}{more}")),
            (Some(first), Some(reason)) => Some(format!("{first}{more}; {reason}")),
        }
    }

    /// What there is to say of it before all is known: the first thing that was refused, or why it is
    /// done without. That stays the same.
    #[must_use]
    pub fn first_complaint(&self) -> Option<String> {
        let first = self.refused.lock().unwrap_or_else(PoisonError::into_inner).first.clone();
        let name = self.client.name();
        first.or_else(|| self.client.down().map(|reason| format!("remote {name}: {reason}")))
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
