//! One remote that eggs may come from: what it has counts only if a trusted key has signed it.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, PoisonError};

use crate::cache::{Staged, Staging};
use crate::egg::key::EggKey;
use crate::egg::name::EggName;
use crate::egg::path::EggPath;
use crate::error::{Error, Result};
use crate::remote::client::{Client, Patience, first_line};
use crate::remote::config::Remote;
use crate::remote::entry::{self, BadEntry, RemoteEntry, Signed};
use crate::remote::{keys, object_names};
use crate::util::clock::now;
use crate::util::hash::digest::Digest;
use crate::util::progress::Progress;

/// After how many entries and blobs that are not what was signed a remote is done without.
const FORGED: usize = 3;
/// How many things that are refused are counted.
const MOST_COUNTED: usize = 10_000;

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

impl Source {
    /// # Errors
    /// As [`Client::new`].
    pub fn new(remote: &Remote, patience: Patience) -> Result<Self> {
        Ok(Self::of(Client::new(remote, patience)?, remote))
    }

    pub(super) fn of(client: Client, remote: &Remote) -> Self {
        Self { client, remote: remote.clone(), refused: Mutex::default() }
    }

    /// What an entry says, if it counts and is of an egg that is asked for.
    ///
    /// # Errors
    /// [`Error::Refused`]
    pub fn check(
        &self,
        signed: &Signed,
        is_asked: impl Fn(&EggKey) -> bool,
    ) -> Result<RemoteEntry> {
        let unchecked = signed.unchecked();
        let what = unchecked.as_ref().map_or("an entry", |entry| &entry.file_name);
        let entry = keys::open(signed, &self.remote.trusted, now()).and_then(|entry| {
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
    pub(super) fn claims(&self, name: &str) -> Result<Vec<(RemoteEntry, Signed)>> {
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
    pub fn accepted(&self, name: &str) -> Vec<(RemoteEntry, Signed)> {
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
    pub fn fetch(
        &self,
        entry: &RemoteEntry,
        staging: &Staging,
        progress: &dyn Progress,
    ) -> Result<Staged> {
        let refuse = |reason: &str| self.refuse(&entry.file_name, reason, Some(entry.blob));
        let temp = staging.receive()?;
        let file = temp.handle().try_clone().map_err(|source| Error::Io {
            action: "open",
            path: temp.path().to_owned(),
            source,
        })?;
        let name = object_names::blob(entry.blob);
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
        let staged = match Staging::received(temp) {
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
