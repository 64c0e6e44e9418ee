//! Publishing: pushes an egg to a remote, so that a client that finds its name there finds all of it.
//!
//! # Order of writes
//! First the blob, then its entry, then the list of its project. So whatever a client finds refers only
//! to objects that exist, even after a push that was cut off. An entry is only written if there is
//! none, so the first build of a key wins everywhere. A list repeats the entries, and the next
//! push of a project repairs it.
//!
//! # At the same time as a `gc` of the remote
//! `gc` removes the line from the list, then the entry, then the blob if nothing refers to it and it is
//! older than the grace period (`ops::remote::gc`). An egg that is pushed meanwhile is complete in the
//! end:
//!
//! - The entry is gone, and the blob too: the push creates the blob, so no plan of a `gc` contains it.
//! - The entry is gone, and the blob exists: a `gc` may be about to remove it. A small blob is uploaded
//!   again, so that it is young. After the push has written the entry, it checks the blob once more, and
//!   uploads it if `gc` has removed it in between. From then on the entry refers to it, and `gc` looks for
//!   such an entry right before it removes a blob.
//! - The entry still exists: the push uploads nothing. If `gc` removes the entry later, the list may
//!   name an egg that is gone. A client that looks for this egg misses it, builds it and pushes it, which
//!   replaces the line in the list.
//! - The entry exists without its blob, after a fault or after a `gc` that was suspended between its last
//!   check and the removal: the push uploads the blob, or replaces the entry if this is another build.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use rayon::prelude::*;

use crate::cache::Blobs;
use crate::disk::mmap::Mapped;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::EggKey;
use crate::error::{Error, Result};
use crate::remote::checked_remote::CheckedRemote;
use crate::remote::client::{Client, Version};
use crate::remote::config::Remote;
use crate::remote::contended_write::until_written;
use crate::remote::entry::{self, RemoteEntry, Signed};
use crate::remote::keys::{Signer, Trusted};
use crate::remote::object_names;
use crate::util::clock::{self, now};
use crate::util::hash::digest::Digest;
use crate::util::progress::Progress;

/// Blobs of at least this many bytes are uploaded only if the remote does not have them. For smaller ones
/// an upload costs no more than the question.
const LARGE: u64 = 1 << 20;

/// An egg that a remote has now.
#[derive(Debug, Clone)]
pub struct Published {
    /// The remote's entry of the egg's key: for this egg or for another build of it.
    pub entry: RemoteEntry,
    pub signed: Signed,
    /// Whether this push has uploaded it.
    pub is_new: bool,
}

/// Checks without a request whether this key may push to a remote.
///
/// # Errors
/// [`Error::ForeignRemotes`], [`Error::WebServer`], [`Error::UntrustedSigner`] or
/// [`Error::ExpiredSigner`]
pub fn check(remote: &Remote, signer: &Signer) -> Result<()> {
    remote.check_own()?;
    let (name, id) = (remote.name.clone(), signer.id());
    if remote.is_web() {
        return Err(Error::WebServer { name, what: "is read-only" });
    }
    match remote.trusted(&signer.public) {
        None => Err(Error::UntrustedSigner { name, id, key: signer.public.clone() }),
        Some(Trusted { until: Some(until), .. }) if *until <= now() => {
            Err(Error::ExpiredSigner { name, id, day: clock::shown_day(*until) })
        }
        Some(_) => Ok(()),
    }
}

/// Checks that the signatures of this key count for a project.
///
/// # Errors
/// [`Error::OtherProject`]
pub fn check_project(remote: &Remote, signer: &Signer, project: &str) -> Result<()> {
    match remote.trusted(&signer.public) {
        Some(trusted) if !trusted.covers(project) => Err(Error::OtherProject {
            name: remote.name.clone(),
            id: signer.id(),
            key: signer.public.clone(),
            project: project.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Pushes one egg, without the list of its project. An egg in `broken` is pushed again, because what
/// the remote has of it is unusable. A build that is withdrawn is replaced by another one.
///
/// Without a signer, this signs nothing: it only restores the blob of an entry of exactly this egg, and
/// returns `None` if the remote has no entry for it. So an egg that others have built is not passed off as
/// one of this builder.
///
/// # Errors
/// [`Error::OtherProject`], [`Error::Withdrawn`], [`Error::WithdrawnAgain`], [`Error::DamagedBlob`],
/// [`Error::Miss`] if the cache has no blob of it, [`Error::Refused`] if the entry of the remote is invalid,
/// or [`Error::Remote`].
pub fn publish(
    remote: &CheckedRemote,
    signer: Option<&Signer>,
    blobs: &Blobs,
    egg: &CachedEgg,
    broken: &HashSet<Digest>,
    progress: &dyn Progress,
) -> Result<Option<Published>> {
    if let Some(signer) = signer {
        check_project(&remote.remote, signer, &egg.key.name)?;
    }
    remote.settle_withdrawals();
    if let Some(notice) = remote.withdrawals.notice(egg.digest) {
        return Err(notice.error(&egg.file_name));
    }
    check_content(remote, blobs, egg)?;
    let client = &remote.client;
    let name = object_names::entry(&egg.key);
    let existing = existing(remote, &name, &egg.key)?;
    if let Some((existing, _)) = &existing
        && !broken.contains(&existing.entry.egg)
        && !remote.withdrawals.has(existing.entry.egg)
        && client.length(&object_names::blob(existing.entry.blob))?
            == Some(existing.entry.blob_bytes)
    {
        progress.advance(egg.blob_bytes);
        return Ok(Some(existing.clone()));
    }
    if signer.is_none() && existing.is_none() {
        progress.advance(egg.blob_bytes);
        return Ok(None);
    }
    let blob = OutgoingBlob::new(checked_bytes(blobs, egg)?);
    let is_listed =
        existing.as_ref().is_some_and(|(existing, _)| existing.entry.blob == blob.digest);
    if signer.is_none() && !is_listed {
        progress.advance(egg.blob_bytes);
        return Ok(None);
    }
    let may_vanish = blob.send(client, broken.contains(&egg.digest), progress)?;
    let mut version = match existing {
        // It had lost its blob, and has it again.
        Some((existing, _)) if existing.entry.blob == blob.digest => {
            blob.send_if_gone(client, may_vanish, progress)?;
            return Ok(Some(Published { is_new: true, ..existing }));
        }
        existing => existing.map(|(_, version)| version),
    };
    let Some(signer) = signer else { return Ok(None) };
    let entry = RemoteEntry::new(egg, blob.digest, blob.length());
    let published = Published { signed: signer.signed(&entry)?, entry, is_new: true };
    let text = entry::text(std::slice::from_ref(&published.signed));
    let published = until_written(client, &name, || {
        if client.replace(&name, text.clone(), version.as_ref())? {
            blob.send_if_gone(client, may_vanish, progress)?;
            return Ok(Some(published.clone()));
        }
        // Another process wrote the entry first, or has removed it since, or an earlier attempt of this
        // one has arrived without its answer.
        version = None;
        Ok(self::existing(remote, &name, &egg.key)?.map(|(existing, _)| existing))
    })?;
    Ok(Some(published))
}

/// Checks that an egg is not a withdrawn build that was made again. Opens its blob only if its key is that
/// of a withdrawn build.
fn check_content(remote: &CheckedRemote, blobs: &Blobs, egg: &CachedEgg) -> Result<()> {
    if !remote.withdrawals.can_be_made_again(egg) {
        return Ok(());
    }
    let blob = blobs.open(egg.digest)?.ok_or_else(|| Error::miss(&egg.file_name))?;
    match remote.withdrawals.notice_of_content(&blob.manifest) {
        None => Ok(()),
        Some(notice) => Err(notice.again_error(&egg.file_name)),
    }
}

/// A blob on its way to a remote.
struct OutgoingBlob {
    bytes: Arc<Mapped>,
    digest: Digest,
    /// The name of its object.
    name: String,
}

impl OutgoingBlob {
    fn new(bytes: Mapped) -> Self {
        let digest = digest(&bytes);
        Self { bytes: Arc::new(bytes), digest, name: object_names::blob(digest) }
    }

    fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Makes sure that the remote has the blob. Returns whether a `gc` may remove it nevertheless,
    /// because an object of this name existed before. A `broken` one is overwritten.
    fn send(&self, client: &Client, broken: bool, progress: &dyn Progress) -> Result<bool> {
        let upload = || client.upload(&self.name, Arc::clone(&self.bytes), progress);
        if self.length() < LARGE {
            if !broken && client.upload_new(&self.name, Arc::clone(&self.bytes), progress)? {
                return Ok(false);
            }
            return upload().map(|()| true);
        }
        let found = client.length(&self.name)?;
        if found == Some(self.length()) && !broken {
            progress.advance(self.length());
        } else {
            upload()?;
        }
        Ok(found.is_some())
    }

    /// Uploads the blob once more if it may have vanished before something referred to it, and has.
    fn send_if_gone(
        &self,
        client: &Client,
        may_vanish: bool,
        progress: &dyn Progress,
    ) -> Result<()> {
        if !may_vanish {
            return Ok(());
        }
        let found = client.exclusively(|| client.length(&self.name))?;
        if found != Some(self.length()) {
            client.upload(&self.name, Arc::clone(&self.bytes), progress)?;
        }
        Ok(())
    }
}

/// The bytes of an egg's blob, after a check against the checksums in it.
fn checked_bytes(blobs: &Blobs, egg: &CachedEgg) -> Result<Mapped> {
    let blob = blobs.open(egg.digest)?.ok_or_else(|| Error::miss(&egg.file_name))?;
    for frame in 0..blob.frame_count() {
        blob.check_stored(frame).map_err(|bad| blobs.error_for(egg.digest, &bad))?;
        blob.bytes().forget();
    }
    Ok(blob.into_bytes())
}

/// The digest of a blob's bytes, with only a few of them in memory at a time.
fn digest(bytes: &Mapped) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for piece in bytes.chunks(1 << 20) {
        hasher.update(piece);
        bytes.forget();
    }
    Digest::from(*hasher.finalize().as_bytes())
}

/// The entry that a remote has of a key. It may still lack signatures: the first build stays all the same.
fn existing(
    remote: &CheckedRemote,
    name: &str,
    key: &EggKey,
) -> Result<Option<(Published, Version)>> {
    let Some(fetched) = remote.client.get_short(name, entry::MAX_OBJECT)? else { return Ok(None) };
    let signed = entry::lines(&fetched.bytes).into_iter().next().unwrap_or_default();
    let entry = remote.check_incomplete(&signed, |found| found == key)?;
    Ok(Some((Published { entry, signed, is_new: false }, fetched.version)))
}

/// Adds entries to the lists of their projects.
pub fn list(client: &Client, published: &[Published]) -> Result<()> {
    let mut lists: BTreeMap<String, Vec<&Published>> = BTreeMap::new();
    for it in published {
        let key = &it.entry.key;
        lists.entry(object_names::project(&key.name, &key.python)).or_default().push(it);
    }
    let add = |(name, published): (&String, &Vec<&Published>)| {
        rewrite(client, name, |lines| with(lines, published)).map(drop)
    };
    // A list that cannot be written does not prevent the others.
    let results: Vec<Result<()>> = lists.par_iter().map(add).collect();
    results.into_iter().collect()
}

/// The lines of a list, together with those of entries that it lacks.
fn with(mut lines: Vec<Signed>, published: &[&Published]) -> Vec<Signed> {
    for it in published {
        // The entry is authoritative, whatever the list says.
        let is_same =
            |line: &Signed| line.unchecked().is_ok_and(|listed| listed.key == it.entry.key);
        match lines.iter().position(is_same) {
            // `sign` has added a signature since this push read the entry.
            Some(at)
                if lines[at].entry == it.signed.entry
                    && lines[at].signatures.len() > it.signed.signatures.len() => {}
            Some(at) => lines[at] = it.signed.clone(),
            None => lines.push(it.signed.clone()),
        }
    }
    lines
}

/// Changes the lines of a list or a set, again if another process has written it meanwhile. Returns
/// whether there was a change. An object without lines stays: no store removes exactly one version.
pub fn rewrite(
    client: &Client,
    name: &str,
    change: impl Fn(Vec<Signed>) -> Vec<Signed>,
) -> Result<bool> {
    until_written(client, name, || {
        let found = client.get(name)?;
        let before = found.as_ref().map_or(&[][..], |it| &it.bytes);
        let text = entry::text(&change(entry::lines(before)));
        if text == before {
            return Ok(Some(false));
        }
        let is_written = client.replace(name, text, found.map(|it| it.version).as_ref())?;
        Ok(is_written.then_some(true))
    })
}

/// Writes the set of the eggs that the buildouts of a configuration use.
pub fn set(client: &Client, name: &str, entries: &[Signed]) -> Result<()> {
    let text = entry::text(entries);
    let found = client.get(name)?;
    if found.as_ref().is_some_and(|found| found.bytes == text) {
        return Ok(());
    }
    // If another process is faster, its set is as good as this one.
    client.replace(name, text, found.map(|it| it.version).as_ref()).map(drop)
}
