//! Publish: bring an egg to a remote, so that whoever finds it there finds all of it.
//!
//! # Order of writes
//! The blob, then its entry, then the list of its project: a client that finds a name finds what it
//! names, wherever this is cut off. The entry is written only if there is none, so the first build
//! of a key wins everywhere; a list says again what entries say, and the next publisher of a project
//! mends it.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use crate::digest::Digest;
use crate::egg::Egg;
use crate::egg_key::EggKey;
use crate::entry::{self, Entry, Signed};
use crate::error::{Error, Result};
use crate::map::Mapped;
use crate::object_client::Client;
use crate::progress::Progress;
use crate::remote_layout as layout;
use crate::signing::Signer;
use crate::store::Store;
use crate::upstream::Source;

/// How often a list is read and written again that others are writing.
const TRIES: u32 = 12;
/// From this many bytes on it pays to ask whether a blob is there before it is sent.
const LARGE: u64 = 1 << 20;

/// An egg that a remote has now.
#[derive(Debug, Clone)]
pub struct Published {
    /// What the remote says of the egg's key: of this egg or of another build of it.
    pub entry: Entry,
    pub signed: Signed,
    /// Whether it was brought there just now.
    pub is_new: bool,
}

/// Brings one egg to a remote, but for the list of its project.
///
/// # Errors
/// [`Error::DamagedBlob`], [`Error::Miss`] if its blob is gone, [`Error::Refused`] if what is there
/// does not count, or [`Error::Remote`].
pub fn publish(
    source: &Source,
    signer: &Signer,
    store: &Store,
    egg: &Egg,
    progress: &dyn Progress,
) -> Result<Published> {
    let client = &source.client;
    let name = layout::entry(&egg.key);
    if let Some(published) = published(source, &name, &egg.key)? {
        progress.advance(egg.blob_bytes);
        return Ok(published);
    }
    let blob = store.open(egg.digest)?.ok_or_else(|| Error::miss(&egg.file_name))?;
    for frame in 0..blob.frame_count() {
        blob.check_stored(frame).map_err(|bad| store.bad(egg.digest, &bad))?;
        blob.bytes().forget();
    }
    let bytes = blob.into_bytes();
    let digest = digest(&bytes);
    let blob = layout::blob(digest);
    let length = bytes.len() as u64;
    if length >= LARGE && client.length(&blob)? == Some(length) {
        progress.advance(length);
    } else {
        client.upload(&blob, bytes, progress)?;
    }
    let entry = Entry::new(egg, digest);
    let signed = signer.signed(&entry)?;
    if client.create(&name, (signed.line() + "\n").into_bytes())? {
        return Ok(Published { entry, signed, is_new: true });
    }
    // Somebody was faster, or an attempt of ours had arrived after all.
    published(source, &name, &egg.key)?.ok_or_else(|| Error::miss(&egg.file_name))
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
fn published(source: &Source, name: &str, key: &EggKey) -> Result<Option<Published>> {
    let Some(fetched) = source.client.get(name)? else { return Ok(None) };
    let signed = entry::lines(&fetched.bytes).into_iter().next();
    let signed = signed.unwrap_or(Signed { entry: String::new(), signatures: Vec::new() });
    let entry = source.check(&signed, |found| found == key)?;
    Ok(Some(Published { entry, signed, is_new: false }))
}

/// Adds entries to the lists of their projects.
///
/// # Errors
/// [`Error::Remote`], also where others write a list all the time.
pub fn list(client: &Client, published: &[Published]) -> Result<()> {
    let mut lists: BTreeMap<String, Vec<&Published>> = BTreeMap::new();
    for it in published {
        let key = &it.entry.key;
        lists.entry(layout::project(&key.name, &key.python)).or_default().push(it);
    }
    lists.iter().try_for_each(|(name, published)| update(client, name, published))
}

fn update(client: &Client, name: &str, published: &[&Published]) -> Result<()> {
    for attempt in 0..TRIES {
        let found = client.get(name)?;
        let mut lines = found.as_ref().map_or_else(Vec::new, |it| entry::lines(&it.bytes));
        let before = lines.clone();
        for it in published {
            // What the entry says counts, whatever stands in the list.
            let is_same =
                |line: &Signed| line.unchecked().is_ok_and(|listed| listed.key == it.entry.key);
            match lines.iter().position(is_same) {
                Some(at) if lines[at].entry == it.signed.entry => {}
                Some(at) => lines[at] = it.signed.clone(),
                None => lines.push(it.signed.clone()),
            }
        }
        let version = found.map(|it| it.version);
        if lines == before || client.replace(name, entry::text(&lines), version.as_ref())? {
            return Ok(());
        }
        std::thread::sleep(jitter(attempt));
    }
    let reason = format!("{name} is being written by others all the time; run this again");
    Err(Error::Remote { name: client.name().into(), reason })
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
