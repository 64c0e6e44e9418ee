//! One remote whose answers are checked: an entry is only used if a trusted key has signed it, and a blob
//! only if it is the one that its entry names.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::warn;

use crate::cache::{Staged, Staging};
use crate::egg::arrival::Arrival;
use crate::egg::key::EggKey;
use crate::error::{Error, OrLog, Result};
use crate::remote::client::{Client, ListEnd, MAX_LIST, Patience, first_line};
use crate::remote::config::{self, Remote};
use crate::remote::entry::{BadEntry, RemoteEntry, Signed};
use crate::remote::line_filter::{Filtered, Line, LineFilter, Room};
use crate::remote::object_names;
use crate::remote::signature::{self, Trust};
use crate::remote::withdrawals::record::Notice;
use crate::remote::withdrawals::run::RunWithdrawals;
use crate::util::clock::now;
use crate::util::environment::Environment;
use crate::util::hash::digest::Digest;
use crate::util::progress::Progress;
use crate::util::units::shown_limit;

/// After this many forged entries and blobs a remote is not used any more.
const MOST_FORGED: usize = 3;
/// Most refusals that are counted.
const MOST_COUNTED: usize = 10_000;

/// A remote, its client, and what was refused of it.
#[derive(Debug)]
pub struct CheckedRemote {
    pub client: Client,
    pub remote: Remote,
    pub withdrawals: Arc<RunWithdrawals>,
    refusals: Mutex<Refusals>,
    room: Room,
}

#[derive(Debug, Default)]
struct Refusals {
    /// The first sentence.
    first: Option<String>,
    sentences: BTreeSet<String>,
    /// The keys of refused entries, which may be forged, each with its sentence.
    keys: HashMap<EggKey, String>,
    /// Digests of content that no trusted key can have signed.
    forged: HashSet<Digest>,
}

impl CheckedRemote {
    pub fn new(
        remote: &Remote,
        withdrawals: &Arc<RunWithdrawals>,
        patience: Patience,
        environment: &Environment,
    ) -> Result<Self> {
        Ok(Self::with_client(Client::new(remote, patience, environment)?, remote, withdrawals))
    }

    pub(super) fn with_client(
        client: Client,
        remote: &Remote,
        withdrawals: &Arc<RunWithdrawals>,
    ) -> Self {
        let (remote, withdrawals) = (remote.clone(), Arc::clone(withdrawals));
        Self { client, remote, withdrawals, refusals: Mutex::default(), room: Room::default() }
    }

    /// Waits until it is known what the remote has withdrawn.
    pub fn settle_withdrawals(&self) {
        self.withdrawals.settle(&self.client);
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn verify(&self, signed: &Signed) -> Result<RemoteEntry, BadEntry> {
        signature::verified(signed, self.remote.trust(), now())
    }

    /// Whether a trusted key has signed an entry.
    pub(super) fn is_valid(&self, signed: &Signed) -> bool {
        self.verify(signed).is_ok()
    }

    /// Checks the signatures of an entry, and that it is for a wanted egg.
    ///
    /// # Errors
    /// [`Error::Refused`]
    pub fn check(
        &self,
        signed: &Signed,
        is_wanted: impl Fn(&EggKey) -> bool,
    ) -> Result<RemoteEntry> {
        self.settle_withdrawals();
        self.check_by(self.remote.trust(), signed, |entry| {
            if !is_wanted(&entry.key) {
                return Err(BadEntry::OtherEgg(entry.file_name.clone()));
            }
            let notice = self.withdrawals.notice(entry.egg);
            notice.map_or(Ok(()), |notice| Err(BadEntry::Withdrawn(notice.reason)))
        })
    }

    /// As [`CheckedRemote::check`], for an entry that is there and is not used: one signature is enough, and
    /// its egg may be withdrawn.
    ///
    /// # Errors
    /// [`Error::Refused`]
    pub(super) fn check_incomplete(
        &self,
        signed: &Signed,
        is_wanted: impl Fn(&EggKey) -> bool,
    ) -> Result<RemoteEntry> {
        self.check_by(Trust::any(&self.remote.trusted), signed, |entry| {
            let other = || BadEntry::OtherEgg(entry.file_name.clone());
            is_wanted(&entry.key).then_some(()).ok_or_else(other)
        })
    }

    fn check_by(
        &self,
        trust: Trust<'_>,
        signed: &Signed,
        is_usable: impl Fn(&RemoteEntry) -> Result<(), BadEntry>,
    ) -> Result<RemoteEntry> {
        let checked = signature::verified(signed, trust, now()).and_then(|entry| {
            is_usable(&entry)?;
            entry.check_name().map(|()| entry)
        });
        checked.map_err(|bad| {
            let is_forged = !matches!(
                bad,
                BadEntry::UnknownKey(_)
                    | BadEntry::ExpiredKey(..)
                    | BadEntry::NewerFormat(_)
                    | BadEntry::TooFewSignatures { .. }
                    | BadEntry::Withdrawn(_)
            );
            let forged = is_forged.then(|| Digest::of(signed.line().as_bytes()));
            let unchecked = signed.unchecked();
            let what = unchecked.as_ref().map_or("an entry", |entry| &entry.file_name);
            let error = self.refuse(what, &bad.to_string(), forged);
            if let Ok(entry) = unchecked {
                self.note_refused(entry.key, &error);
            }
            error
        })
    }

    fn note_refused(&self, key: EggKey, error: &Error) {
        let mut refusals = self.refusals();
        if refusals.keys.len() < MOST_COUNTED {
            refusals.keys.insert(key, error.to_string());
        }
    }

    /// Why an entry of such a key was refused, if one was: the first of several sentences in their order.
    pub fn refusal(&self, is_it: &dyn Fn(&EggKey) -> bool) -> Option<String> {
        let refusals = self.refusals();
        let is_it = |(key, _): &(&EggKey, &String)| is_it(key);
        refusals.keys.iter().filter(is_it).map(|(_, sentence)| sentence).min().cloned()
    }

    /// Counts a refusal and returns its error. After a few forged entries or blobs the remote is not
    /// used any more.
    pub(super) fn refuse(&self, what: &str, reason: &str, forged: Option<Digest>) -> Error {
        let name = self.client.name().to_owned();
        // Anybody may have written it, and it ends in a log.
        let (what, reason) = (first_line(what), first_line(reason));
        warn!(remote = name, what, reason, is_forged = forged.is_some(), "refused");
        let error = Error::Refused { name, what, reason };
        let mut refusals = self.refusals();
        refusals.first.get_or_insert_with(|| error.to_string());
        if refusals.sentences.len() < MOST_COUNTED {
            refusals.sentences.insert(error.to_string());
        }
        refusals.forged.extend(forged);
        if refusals.forged.len() >= MOST_FORGED {
            self.client.give_up("too many of its entries and blobs are invalid");
        }
        error
    }

    /// The lines of a list or a set that a trusted key has signed, and a few of the others.
    /// [`CheckedRemote::check`] says which line counts. `belongs` is whether an entry belongs in this list.
    ///
    /// # Errors
    /// [`Error::Refused`] for an object that is not a list, or [`Error::Remote`].
    pub(super) fn lines(&self, name: &str, belongs: impl Fn(&EggKey) -> bool) -> Result<Vec<Line>> {
        let verify = |signed: &Signed| {
            let (entry, wrong) = signature::counted(signed, self.remote.trust(), now());
            (entry.map(drop), wrong)
        };
        let mut filter = LineFilter::new(&self.room, &verify, &belongs);
        let end = self.client.read_lines(name, |line| filter.line(line))?;
        let Filtered { lines, has_lines, excess } = filter.end();
        let excess = excess.or_else(|| {
            let limit = shown_limit(MAX_LIST);
            (end == ListEnd::TooLarge).then(|| format!("it is larger than {limit}"))
        });
        if let Some(reason) = excess {
            self.refuse(name, &reason, None);
        } else if let ListEnd::Complete { digest, is_empty: false } = end
            && !has_lines
        {
            // For example, the login page of a network.
            return Err(self.refuse(name, "it is not a list of entries", Some(digest)));
        }
        Ok(lines)
    }

    /// The valid entries of a list or a set; none if it cannot be read.
    #[must_use]
    pub fn valid_lines(&self, name: &str) -> Vec<Line> {
        let mut lines = self.lines(name, |_| true).or_log().unwrap_or_default();
        lines.retain(|(entry, signed)| self.check(signed, |key| *key == entry.key).is_ok());
        lines
    }

    /// That an egg arrives now by an entry of this remote.
    pub(super) fn arrival(&self, signed: &Signed) -> Arrival {
        let Remote { name, url, trusted, .. } = &self.remote;
        let url = config::without_secrets(url);
        let keys = signature::signer_ids(signed, trusted);
        let mut other_keys = signature::named_ids(signed);
        other_keys.retain(|id| !keys.contains(id));
        let other_keys = other_keys.into_iter().collect();
        Arrival { arrived_at: now(), remote: name.clone(), url: url.into(), keys, other_keys }
    }

    /// Downloads the blob of a checked entry. [`Upstream`](crate::remote::upstream::Upstream) adds how it
    /// came.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is another blob or a withdrawn build that was made again, [`Error::Miss`] if
    /// there is none, or [`Error::Remote`].
    pub(super) fn fetch(
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
            // It answers, but its blob has another length than the signed one.
            Error::Remote { reason, .. } if self.client.down().is_none() && !progress.is_over() => {
                refuse(&reason)
            }
            error => error,
        })?;
        if digest.ok_or_else(|| Error::miss(&entry.file_name))? != entry.blob {
            return Err(refuse("its blob does not match the digest in its entry"));
        }
        let staged = match Staging::received(temp) {
            Err(Error::DamagedBlob { reason, .. }) => return Err(refuse(&reason)),
            staged => staged?,
        };
        if staged.written.digest != entry.egg
            || staged.manifest.key != entry.key
            || staged.manifest.file_name != entry.file_name
        {
            return Err(refuse("its blob contains another egg"));
        }
        if let Some(Notice { reason, .. }) = self.withdrawals.notice_of_content(&staged.manifest) {
            let reason = format!("it has the same content as a build that was withdrawn: {reason}");
            return Err(self.refuse(&entry.file_name, &reason, None));
        }
        Ok(staged)
    }

    /// Everything that is wrong with the remote, in one sentence: the first refusal and the number of
    /// further ones, and why the remote is not used any more.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let refusals = self.refusals();
        let more = match refusals.sentences.len() {
            0 | 1 => String::new(),
            all => format!("; and {} more", all - 1),
        };
        self.with_end(refusals.first.as_ref().map(|first| format!("{first}{more}")))
    }

    /// As [`CheckedRemote::warning`], after [`CheckedRemote::first_warning`] was shown.
    #[must_use]
    pub fn later_warning(&self) -> Option<String> {
        let refusals = self.refusals();
        refusals.first.as_ref()?;
        let name = self.client.name();
        self.with_end(match refusals.sentences.len().saturating_sub(1) {
            0 => None,
            1 => Some(format!("remote {name}: 1 more of its entries and blobs is refused")),
            more => {
                Some(format!("remote {name}: {more} more of its entries and blobs are refused"))
            }
        })
    }

    /// What was refused, and why the remote is not used any more.
    fn with_end(&self, refused: Option<String>) -> Option<String> {
        match (refused, self.client.down()) {
            (refused, None) => refused,
            (None, Some(reason)) => Some(self.down_warning(&reason)),
            (Some(refused), Some(reason)) => {
                Some(format!("{refused}; {reason}{}", self.consequence()))
            }
        }
    }

    /// The first thing that is wrong with the remote. Unlike [`CheckedRemote::warning`], this stays the
    /// same once there is one, so it can be shown at once.
    #[must_use]
    pub fn first_warning(&self) -> Option<String> {
        let first = self.refusals().first.clone();
        first.or_else(|| self.client.down().map(|reason| self.down_warning(&reason)))
    }

    fn down_warning(&self, reason: &str) -> String {
        format!("remote {}: {reason}{}", self.client.name(), self.consequence())
    }

    fn consequence(&self) -> &'static str {
        if self.client.is_optional() { "; continuing without it" } else { "" }
    }
}
