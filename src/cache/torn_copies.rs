//! Which directories eggs are copied into, so that a power cut can be told there.
//!
//! Eggs are not synced before they are renamed into place: a sync for each would cost more than the
//! copy. A power cut can therefore leave an egg under its final name whose files are empty or cut
//! off. So before the first egg goes to a directory, a record of that directory is made durable in
//! `copies/`, with what identifies this start of the machine. Whoever comes back to the directory
//! after another start looks at the eggs that were copied there since the record was made, and
//! removes torn copies.
//!
//! This is the one place where something is removed that is not the cache's, so it takes proof. A
//! copy is torn if it has nothing but what the egg has, an entry of it has the mtime that only a copy
//! has, and every difference is one that an interrupted copy makes: files are missing, cut off, zero,
//! or have the mode or the time of their making. What cannot be looked at, and what the cache does
//! not have, is left alone. No failure here keeps a cache from being used.
//!
//! A cache that cannot be written, or whose disk is full, has no records: what is copied from it is
//! only as safe as any other copy. A directory that another machine serves needs none: what is closed
//! there is on its way to the server.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::ops::Deref;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::cache::blobs::Blobs;
use crate::cache::index::Index;
use crate::disk::files;
use crate::disk::filesystem;
use crate::disk::permissions;
use crate::disk::temp;
use crate::egg::blob::frame_layout::FrameGroup;
use crate::egg::blob::reader::{Blob, Decoder};
use crate::egg::bytecode::is_bytecode;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::manifest::{Entry, EntryKind, Manifest};
use crate::egg::scan;
use crate::error::{Error, IoContext, Result};
use crate::util::clock::now;
use crate::util::hash::digest::Digest;
use crate::util::machine;
use crate::util::threads;

/// After how long the record of a directory that is gone is forgotten: it may only be out of reach.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(30 * 24);
/// How much earlier than its record an egg may seem to have been copied, in seconds.
const CLOCK_STEP: i64 = 3600;

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// The eggs directory, for people who read it.
    dir: String,
    /// What tells this start of the machine from every other.
    boot: String,
    /// Seconds since the Unix epoch: nothing was copied before under this start.
    since: i64,
}

fn records(root: &Path) -> PathBuf {
    root.join("copies")
}

/// The record of a directory, which is known by its name and by what stands under it.
fn record_of(root: &Path, dir: &Path) -> Option<PathBuf> {
    let inode = dir.metadata().ok()?.ino().to_le_bytes();
    let digest = Digest::of(&[dir.as_os_str().as_encoded_bytes(), &inode].concat()).to_string();
    Some(records(root).join(format!("{}.json", &digest[..32])))
}

/// Removes what a power cut has left torn in `dir`, which is canonical, if the machine went down
/// since eggs were copied there; answers their names.
pub fn check(root: &Path, blobs: &Blobs, index: &Index, dir: &Path) -> Vec<String> {
    checked(root, blobs, index, dir).unwrap_or_default()
}

fn checked(root: &Path, blobs: &Blobs, index: &Index, dir: &Path) -> Option<Vec<String>> {
    let (path, boot) = (record_of(root, dir)?, machine::boot_id()?);
    let record = || {
        let text = fs::read(&path).ok()?;
        // One that cannot be read is of a start that is over, too.
        Some(serde_json::from_slice::<Record>(&text).ok())
    };
    let is_over = |record: &Option<Record>| record.as_ref().is_none_or(|it| it.boot != boot);
    record().filter(is_over)?;
    if !permissions::is_writable(&records(root)) || !permissions::is_writable(dir) {
        return None;
    }
    // One process looks, and others that came at the same time wait and find that it is done.
    let lock = File::open(dir).ok()?;
    lock.lock().ok()?;
    let record = record().filter(is_over)?;
    threads::start_pool().ok()?;
    let removed = remove_torn(blobs, index, dir, record.map_or(i64::MIN, |record| record.since));
    write(&path, dir, boot).ok()?;
    Some(removed)
}

/// Makes the record of a directory that eggs are about to be copied to, if it has none. A cache whose
/// disk is full, or that this user may not write, still serves what it has, without a record.
///
/// # Errors
/// If the record cannot be written for another reason.
pub fn begin(root: &Path, dir: &Path) -> Result<()> {
    let (Some(path), Some(boot)) = (record_of(root, dir), machine::boot_id()) else {
        return Ok(());
    };
    if path.exists() || filesystem::is_network(dir) {
        return Ok(());
    }
    let made = permissions::make_dir(&records(root))
        .and_then(|()| files::sync_dir(root))
        .and_then(|()| write(&path, dir, boot));
    match made {
        Err(error) if error.is_full() || error.is_forbidden() => Ok(()),
        made => made,
    }
}

fn write(path: &Path, dir: &Path, boot: String) -> Result<()> {
    let record = Record { dir: dir.display().to_string(), boot, since: now() };
    temp::write_durably(path, &serde_json::to_vec(&record).expect("texts and a number"))
}

/// Lets the group of the cache write the records.
///
/// # Errors
/// If this process does not own their directory.
pub fn share(root: &Path) -> Result<()> {
    let dir = records(root);
    if dir.is_dir() { permissions::share(&dir, root) } else { Ok(()) }
}

/// Removes the records of directories that are gone for long, and what writing one left behind.
///
/// # Errors
/// If the records cannot be listed.
pub fn forget_gone(root: &Path) -> Result<()> {
    temp::sweep(&records(root))?;
    for entry in fs::read_dir(records(root)).into_iter().flatten().flatten() {
        let record = fs::read(entry.path()).ok().and_then(|it| serde_json::from_slice(&it).ok());
        let is_gone =
            record.is_some_and(|it: Record| Path::new(&it.dir).try_exists().is_ok_and(|it| !it));
        let written = entry.metadata().and_then(|metadata| metadata.modified());
        let age = written.ok().and_then(|written| written.elapsed().ok());
        if is_gone && age.is_some_and(|age| age > FORGOTTEN_AFTER) {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

fn remove_torn(blobs: &Blobs, index: &Index, dir: &Path, since: i64) -> Vec<String> {
    let mut known: HashMap<String, Vec<CachedEgg>> = HashMap::new();
    for egg in index.all().unwrap_or_default() {
        known.entry(egg.file_name.clone()).or_default().push(egg);
    }
    // The renaming of a copy into place sets its ctime.
    let is_recent = |name: &str| {
        let metadata = dir.join(name).symlink_metadata();
        metadata.is_ok_and(|metadata| metadata.ctime() >= since.saturating_sub(CLOCK_STEP))
    };
    let known: Vec<(String, Vec<CachedEgg>)> =
        known.into_iter().filter(|(name, _)| is_recent(name)).collect();
    let mut torn: Vec<String> = known
        .into_par_iter()
        .filter(|(name, eggs)| is_torn(blobs, &dir.join(name), eggs, since).unwrap_or(false))
        .map(|(name, _)| name)
        .collect();
    torn.sort_unstable();
    torn.retain(|name| temp::remove_whole(&dir.join(name)).is_ok());
    torn
}

/// What stands under the name of an egg.
#[derive(PartialEq)]
enum State {
    Whole,
    /// Nothing but a part of it: what was not written is missing, cut off or zero.
    Torn,
    Other,
}

/// Whether what stands at `path` is a torn copy of one of the eggs, and a whole one of none.
fn is_torn(blobs: &Blobs, path: &Path, eggs: &[CachedEgg], since: i64) -> Result<bool> {
    let found = match scan::list(path) {
        Ok(found) => found,
        Err(Error::UnsoundEgg { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut torn = false;
    for egg in eggs {
        // Without its blob nothing can be said.
        let Ok(Some(blob)) = blobs.open(egg.digest) else { continue };
        match state(&blob, path, &found, since)? {
            State::Whole => return Ok(false),
            State::Torn => torn = true,
            State::Other => {}
        }
    }
    Ok(torn)
}

fn state<B: Deref<Target = [u8]>>(
    blob: &Blob<B>,
    egg: &Path,
    found: &[Entry],
    since: i64,
) -> Result<State> {
    let manifest = &blob.manifest;
    if !is_part(manifest, found) || !is_copy(manifest, found) {
        return Ok(State::Other);
    }
    let found: HashMap<&str, &Entry> = found.iter().map(|it| (it.path.as_str(), it)).collect();
    let mask = permissions::mode_mask(egg.parent().unwrap_or(egg));
    let is_finished = |entry: &Entry| {
        found.get(entry.path.as_str()).is_some_and(|found| is_finished(entry, found, mask, since))
    };
    let is_whole = manifest.entries.iter().all(is_finished);
    let mut state = if is_whole { State::Whole } else { State::Torn };
    let mut decoder = Decoder::new();
    let mut compare = |entry: usize, offset: u64, content: &[u8]| -> Result<()> {
        let path = scan::path_of(egg, &manifest.entries[entry]);
        state = match (&state, compare(&path, offset, content)?) {
            (State::Other, _) | (_, State::Other) => State::Other,
            (State::Whole, State::Whole) => State::Whole,
            _ => State::Torn,
        };
        Ok(())
    };
    for unit in &blob.layout.groups {
        match unit {
            FrameGroup::Small { frame, entries } => {
                let Ok(files) = blob.small_files(*frame, entries, &mut decoder) else {
                    return Ok(State::Other);
                };
                for (entry, content) in files {
                    compare(entry, 0, content)?;
                }
            }
            FrameGroup::Large { entry, frames } => {
                for (part, frame) in frames.clone().enumerate() {
                    // A blob that is damaged itself proves nothing.
                    if blob.check_stored(frame).is_err() {
                        return Ok(State::Other);
                    }
                    let Ok(content) = blob.decode(frame, &mut decoder) else {
                        return Ok(State::Other);
                    };
                    compare(*entry, part as u64 * u64::from(blob.frame_size()), content)?;
                }
            }
        }
    }
    Ok(state)
}

/// Whether anything there has the mtime of the egg, which only a copy gives it, or nothing there has
/// any content, which no egg is without.
fn is_copy(manifest: &Manifest, found: &[Entry]) -> bool {
    let expected: HashMap<&str, &Entry> =
        manifest.entries.iter().map(|entry| (entry.path.as_str(), entry)).collect();
    let has_mtime = |entry: &Entry| {
        expected.get(entry.path.as_str()).is_some_and(|expected| expected.mtime == entry.mtime)
    };
    let has_content =
        |entry: &Entry| matches!(entry.kind, EntryKind::File { size, .. } if size > 0);
    found.iter().any(has_mtime) || !found.iter().any(has_content)
}

/// Whether an entry is as a copy leaves it, or as somebody has made it since, content apart: not if
/// it has the mode or the time of its making.
fn is_finished(entry: &Entry, found: &Entry, mask: u32, since: i64) -> bool {
    let made = match entry.kind {
        EntryKind::Directory => entry.mode | 0o700,
        _ => entry.mode,
    };
    let has_mode = found.mode == entry.mode || found.mode != made & !mask;
    let is_older = found.mtime.0 < since.saturating_sub(CLOCK_STEP);
    match (&entry.kind, &found.kind) {
        (EntryKind::Symlink { target }, EntryKind::Symlink { target: other }) => target == other,
        // Python's bytecode changes the mtime of its directory.
        (EntryKind::Directory, _) => has_mode,
        _ => has_mode && (found.mtime == entry.mtime || is_older),
    }
}

/// Compares the part of a file at `offset` with what should be there.
fn compare(path: &Path, offset: u64, expected: &[u8]) -> Result<State> {
    let mut found = Vec::with_capacity(expected.len());
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(offset))?;
        file.take(expected.len() as u64).read_to_end(&mut found)
    });
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(State::Torn),
        read => read.at("read", path)?,
    };
    if found == expected {
        return Ok(State::Whole);
    }
    let is_torn = found.chunks(PAGE).zip(expected.chunks(PAGE)).all(|(found, expected)| {
        expected.starts_with(found) || found.iter().all(|&byte| byte == 0)
    });
    Ok(if is_torn { State::Torn } else { State::Other })
}

/// Smallest piece in which a file system writes a file.
const PAGE: usize = 512;

/// Whether nothing is there but what the egg has, and no file has more than it should.
fn is_part(manifest: &Manifest, found: &[Entry]) -> bool {
    let expected: HashMap<&str, &EntryKind> =
        manifest.entries.iter().map(|entry| (entry.path.as_str(), &entry.kind)).collect();
    found.iter().all(|entry| match (expected.get(entry.path.as_str()), &entry.kind) {
        (None, _) => is_bytecode(entry.path.as_str()),
        (Some(EntryKind::File { size, .. }), EntryKind::File { size: found, .. }) => found <= size,
        (Some(EntryKind::Directory), EntryKind::Directory) => true,
        (Some(EntryKind::Symlink { target }), EntryKind::Symlink { target: found }) => {
            target.starts_with(found.as_str())
        }
        _ => false,
    })
}
