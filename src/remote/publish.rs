//! Publish: bring an egg to a remote, so that whoever finds it there finds all of it.
//!
//! # Order of writes
//! The blob, then its entry, then the list of its project: a client that finds a name finds what it
//! names, wherever this is cut off. The entry is written only if there is none, so the first build
//! of a key wins everywhere; a list says again what entries say, and the next publisher of a project
//! mends it.
//!
//! # Beside a `gc` of the remote
//! `gc` takes the line out of the list, then the entry, then the blob if nothing names it and it is not
//! young (`remote_gc`). What is published meanwhile is whole at the end:
//!
//! - The entry is gone: the blob is brought anew, and is young. Where it was there already and was not
//!   sent, it is asked for again after the entry is written, and sent if it went in between. From then
//!   on the entry names it, and `gc` looks at the entries once more before it removes a blob.
//! - The entry is still there: nothing is brought. If it goes after that, the list may name an egg
//!   that is gone. Whoever looks for the egg misses it, builds it and publishes that, and the line in
//!   the list is replaced.
//! - The entry is there and its blob is gone, by a fault or a `gc` that stood still between its last
//!   look and the removal: the blob is brought, or, if this is another build, the entry replaced.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use rayon::prelude::*;

use crate::cache::Blobs;
use crate::disk::mmap::Mapped;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::EggKey;
use crate::error::{Error, Result};
use crate::remote::client::{Client, Version};
use crate::remote::config::Remote;
use crate::remote::entry::{self, RemoteEntry, Signed};
use crate::remote::keys::{Signer, Trusted};
use crate::remote::object_names;
use crate::remote::source::Source;
use crate::util::clock::{self, now};
use crate::util::hash::digest::Digest;
use crate::util::progress::Progress;

/// How often a list is read and written again that others are writing.
const TRIES: u32 = 12;
/// From this many bytes on it pays to ask whether a blob is there before it is sent.
const LARGE: u64 = 1 << 20;

/// An egg that a remote has now.
#[derive(Debug, Clone)]
pub struct Published {
    /// What the remote says of the egg's key: of this egg or of another build of it.
    pub entry: RemoteEntry,
    pub signed: Signed,
    /// Whether it was brought there just now.
    pub is_new: bool,
}

/// Whether this key may write there, as far as that can be told before.
///
/// # Errors
/// [`Error::Remote`]
pub fn check(remote: &Remote, signer: &Signer) -> Result<()> {
    let no = |reason: String| Err(Error::Remote { name: remote.name.clone(), reason });
    if remote.is_web() {
        return no("a web server is only read; push to the store that it serves".into());
    }
    let (name, key) = (&remote.name, &signer.public);
    match remote.trusted(key) {
        None => no(format!("nobody trusts this key there: `eggcache trust {name} {key}`")),
        Some(Trusted { until: Some(until), .. }) if *until <= now() => {
            let (id, day) = (signer.id(), clock::shown_day(*until));
            no(format!("the key {id} counts there until {day}: sign with another"))
        }
        Some(_) => Ok(()),
    }
}

/// Brings one egg to a remote, but for the list of its project. What the remote has of the eggs `lost` is
/// not what it should be: it is brought again.
///
/// # Errors
/// [`Error::DamagedBlob`], [`Error::Miss`] if its blob is gone, [`Error::Refused`] if what is there
/// does not count, or [`Error::Remote`].
pub fn publish(
    source: &Source,
    signer: &Signer,
    blobs: &Blobs,
    egg: &CachedEgg,
    lost: &HashSet<Digest>,
    progress: &dyn Progress,
) -> Result<Published> {
    let client = &source.client;
    let name = object_names::entry(&egg.key);
    let there = published(source, &name, &egg.key)?;
    if let Some((there, _)) = &there
        && !lost.contains(&there.entry.egg)
        && client.length(&object_names::blob(there.entry.blob))? == Some(there.entry.blob_bytes)
    {
        progress.advance(egg.blob_bytes);
        return Ok(there.clone());
    }
    let blob = blobs.open(egg.digest)?.ok_or_else(|| Error::miss(&egg.file_name))?;
    for frame in 0..blob.frame_count() {
        blob.check_stored(frame).map_err(|bad| blobs.error_for(egg.digest, &bad))?;
        blob.bytes().forget();
    }
    let bytes = blob.into_bytes();
    let digest = digest(&bytes);
    let blob = object_names::blob(digest);
    let length = bytes.len() as u64;
    let mut left = Some(bytes);
    if length >= LARGE && !lost.contains(&egg.digest) && client.length(&blob)? == Some(length) {
        progress.advance(length);
    } else if let Some(bytes) = left.take() {
        client.upload(&blob, bytes, progress)?;
    }
    let mut version = match there {
        // It had lost its blob, and has it again.
        Some((there, _)) if there.entry.blob == digest => {
            return Ok(Published { is_new: true, ..there });
        }
        there => there.map(|(_, version)| version),
    };
    let entry = RemoteEntry::new(egg, digest);
    let line = signer.signed(&entry)?;
    for attempt in 0..TRIES {
        if client.replace(&name, (line.line() + "\n").into_bytes(), version.as_ref())? {
            // While nothing named it, a `gc` may have removed what was there.
            if let Some(bytes) = left
                && client.length(&blob)? != Some(length)
            {
                client.upload(&blob, bytes, progress)?;
            }
            return Ok(Published { entry, signed: line, is_new: true });
        }
        // Somebody was faster, or an attempt of ours had arrived after all.
        if let Some((there, _)) = published(source, &name, &egg.key)? {
            return Ok(there);
        }
        // Or whoever had it has removed it.
        version = None;
        std::thread::sleep(jitter(attempt));
    }
    Err(busy(client, &name))
}

fn busy(client: &Client, name: &str) -> Error {
    let reason = format!("{name} is being written by others all the time; run this again");
    Error::Remote { name: client.name().into(), reason }
}

/// The digest of a blob's bytes, of which few are in memory at a time.
fn digest(bytes: &Mapped) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for piece in bytes.chunks(1 << 20) {
        hasher.update(piece);
        bytes.forget();
    }
    Digest::from(*hasher.finalize().as_bytes())
}

/// What the remote says of a key.
fn published(source: &Source, name: &str, key: &EggKey) -> Result<Option<(Published, Version)>> {
    let Some(fetched) = source.client.get(name)? else { return Ok(None) };
    let signed = entry::lines(&fetched.bytes).into_iter().next();
    let signed = signed.unwrap_or(Signed { entry: String::new(), signatures: Vec::new() });
    let entry = source.check(&signed, |found| found == key)?;
    Ok(Some((Published { entry, signed, is_new: false }, fetched.version)))
}

/// Adds entries to the lists of their projects.
///
/// # Errors
/// [`Error::Remote`], also where others write a list all the time.
pub fn list(client: &Client, published: &[Published]) -> Result<()> {
    let mut lists: BTreeMap<String, Vec<&Published>> = BTreeMap::new();
    for it in published {
        let key = &it.entry.key;
        lists.entry(object_names::project(&key.name, &key.python)).or_default().push(it);
    }
    let add = |(name, published): (&String, &Vec<&Published>)| {
        rewrite(client, name, |lines| with(lines, published)).map(drop)
    };
    // One that cannot be written does not keep the others.
    let results: Vec<Result<()>> = lists.par_iter().map(add).collect();
    results.into_iter().collect()
}

/// The lines of a list, and those of entries that it lacks.
fn with(mut lines: Vec<Signed>, published: &[&Published]) -> Vec<Signed> {
    for it in published {
        // What the entry says counts, whatever stands in the list.
        let is_same =
            |line: &Signed| line.unchecked().is_ok_and(|listed| listed.key == it.entry.key);
        match lines.iter().position(is_same) {
            // It has one more of a key that takes the place of another just now.
            Some(at)
                if lines[at].entry == it.signed.entry
                    && lines[at].signatures.len() > it.signed.signatures.len() => {}
            Some(at) => lines[at] = it.signed.clone(),
            None => lines.push(it.signed.clone()),
        }
    }
    lines
}

/// Changes the lines of a list or a set, again if somebody else has written it meanwhile, and answers
/// whether it had to be written. One of no lines stays: no store removes just this version of one.
///
/// # Errors
/// [`Error::Remote`], also where others write it all the time.
pub fn rewrite(
    client: &Client,
    name: &str,
    change: impl Fn(Vec<Signed>) -> Vec<Signed>,
) -> Result<bool> {
    for attempt in 0..TRIES {
        let found = client.get(name)?;
        let before = found.as_ref().map_or(&[][..], |it| &it.bytes);
        let text = entry::text(&change(entry::lines(before)));
        if text == before {
            return Ok(false);
        }
        if client.replace(name, text, found.map(|it| it.version).as_ref())? {
            return Ok(true);
        }
        std::thread::sleep(jitter(attempt));
    }
    Err(busy(client, name))
}

/// Tells which eggs the buildouts of a set use.
///
/// # Errors
/// [`Error::Remote`]
pub fn set(client: &Client, name: &str, entries: &[Signed]) -> Result<()> {
    let text = entry::text(entries);
    let found = client.get(name)?;
    if found.as_ref().is_some_and(|found| found.bytes == text) {
        return Ok(());
    }
    // Whoever is faster knows as much.
    client.replace(name, text, found.map(|it| it.version).as_ref()).map(drop)
}

/// How long to wait after an attempt that somebody else was faster than: longer each time, and never
/// as long as the others.
pub fn jitter(attempt: u32) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    let most = 20u64 << attempt.min(6);
    Duration::from_millis(most / 2 + random % most)
}
