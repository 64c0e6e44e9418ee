//! Finding torn copies: eggs in an eggs directory that a power cut left incomplete.
//!
//! Eggs are not synced before they are renamed into place: a sync for each would take longer than the
//! copy. A power cut can therefore leave an egg under its final name whose files are empty or cut off.
//! So before the first egg is copied to a directory, a record of that directory is made durable in
//! `copies/`, with the machine's boot id. The next process that uses the directory after another boot
//! checks the eggs that were copied there since the record was made, and removes torn copies.
//!
//! No other code removes eggs outside the cache without being asked, so it requires proof. A copy is torn if it
//! has no entries that the egg does not have, an entry has an mtime that only a copy has, and an
//! interrupted copy explains every difference: files are missing, cut off or zero, or have the mtime
//! of a new file. Eggs that cannot be read, and those that the cache does not have, are left alone.
//! No failure here prevents the use of a cache.
//!
//! Several processes may check one directory at once: no lock keeps them apart, because
//! every user who can read a directory can lock it. Each removes an egg only if it is still the
//! one that it has examined, and not a new copy that another process has put in its place.
//!
//! A cache that cannot be written, or whose disk is full, has no records: its copies are only as safe as
//! any other copy. An eggs directory on a network file system needs none: a closed file is on its way to
//! the server.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::ops::Deref;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rayon::prelude::*;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

use crate::cache::blobs::Blobs;
use crate::cache::index::Index;
use crate::disk::dir::Dir;
use crate::disk::filesystem;
use crate::disk::json_file;
use crate::disk::temp;
use crate::disk::{nofollow, permissions};
use crate::egg::blob::frame_layout::FrameGroup;
use crate::egg::blob::reader::{Blob, Decoder};
use crate::egg::bytecode::is_bytecode;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::manifest::{Entry, EntryKind, Manifest};
use crate::egg::scan;
use crate::error::{Error, IoContext, OrLog, Result};
use crate::util::clock::now;
use crate::util::hash::digest::Digest;
use crate::util::machine;
use crate::util::threads;

/// The age at which the record of a missing directory is forgotten, in seconds: it may only be
/// unmounted.
const FORGOTTEN_AFTER: i64 = 30 * 86_400;
/// How much earlier than its record an egg may appear to have been copied, in seconds.
const CLOCK_STEP: i64 = 3600;

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// The eggs directory, for people who read the record.
    dir: String,
    /// The machine's boot id.
    boot: String,
    /// Seconds since the Unix epoch: nothing was copied earlier during this boot.
    since: i64,
}

/// The directory of the records. Its name is part of the cache's format.
const RECORDS: &str = "copies";
/// The longest record that is read, in bytes: it has one path.
const MAX_RECORD: u64 = 1 << 16;

/// The path of a directory's record below the cache, derived from the directory's path and inode.
fn record_of(dir: &Path) -> Option<String> {
    let inode = dir.metadata().ok()?.ino().to_le_bytes();
    let digest = Digest::of(&[dir.as_os_str().as_encoded_bytes(), &inode].concat()).to_string();
    Some(format!("{RECORDS}/{}.json", &digest[..32]))
}

/// Removes torn copies from `dir`, a canonical path, if the machine was rebooted since eggs were copied
/// there. Returns their names.
pub fn remove(root: &Dir, blobs: &Blobs, index: &Index, dir: &Path) -> Vec<String> {
    check(root, blobs, index, dir).unwrap_or_default()
}

fn check(root: &Dir, blobs: &Blobs, index: &Index, dir: &Path) -> Option<Vec<String>> {
    let (path, boot) = (record_of(dir)?, machine::boot_id()?);
    let record = || {
        let text = root.read_short(&path, MAX_RECORD).ok()?;
        // A record that has another form is from an earlier boot, too.
        Some(serde_json::from_slice::<Record>(&text).ok())
    };
    let is_over = |record: &Option<Record>| record.as_ref().is_none_or(|it| it.boot != boot);
    let record = record().filter(is_over)?;
    if !root.is_writable(RECORDS) || !permissions::is_writable(dir) {
        return None;
    }
    threads::start_pool().or_log()?;
    // A time in the future is as good as none: no egg was copied after it.
    let since = record.map_or(i64::MIN, |record| record.since);
    let since = if since > now() { i64::MIN } else { since };
    debug!(dir = %dir.display(), since, "the machine was rebooted since eggs were copied there");
    let removed = remove_torn(blobs, index, dir, since);
    write(root, &path, dir, boot).or_log()?;
    Some(removed)
}

/// Makes the record of a directory before eggs are copied to it, if it has none. A full disk or a missing
/// permission is not an error: the cache then serves its eggs without a record.
pub fn begin(root: &Dir, dir: &Path) -> Result<()> {
    let (Some(path), Some(boot)) = (record_of(dir), machine::boot_id()) else {
        return Ok(());
    };
    if root.stat(&path).is_ok() || filesystem::is_network(dir) {
        return Ok(());
    }
    let made = root
        .make_dir(RECORDS)
        .at("make directory", &root.join(RECORDS))
        .and_then(|_| root.sync().at("sync", root.path()))
        .and_then(|()| write(root, &path, dir, boot));
    match made {
        Err(error) if error.is_full() || error.is_forbidden() => {
            debug!(%error, dir = %dir.display(), "no record: a power cut can leave torn copies");
            Ok(())
        }
        made => made,
    }
}

fn write(root: &Dir, path: &str, dir: &Path, boot: String) -> Result<()> {
    let record = Record { dir: dir.display().to_string(), boot, since: now() };
    json_file::write(root, path, &record)
}

/// Removes old records of directories that are gone, and temporary files.
pub fn forget_gone(root: &Dir) -> Result<()> {
    temp::sweep_below(root, RECORDS)?;
    for name in json_file::list(root, RECORDS)? {
        let path = format!("{RECORDS}/{name}");
        let text = root.read_short(&path, MAX_RECORD).or_log();
        let record = text.and_then(|it| serde_json::from_slice(&it).ok());
        let is_gone =
            record.is_some_and(|it: Record| Path::new(&it.dir).try_exists().is_ok_and(|it| !it));
        let written = root.stat(&path).map(|found| found.modified());
        let is_old = written.is_ok_and(|written| now().saturating_sub(written) > FORGOTTEN_AFTER);
        if is_gone && is_old {
            root.remove_file(&path).or_log();
        }
    }
    Ok(())
}

fn remove_torn(blobs: &Blobs, index: &Index, dir: &Path, since: i64) -> Vec<String> {
    let mut known: HashMap<String, Vec<CachedEgg>> = HashMap::new();
    for egg in index.all().or_log().unwrap_or_default() {
        known.entry(egg.file_name.clone()).or_default().push(egg);
    }
    // Renaming a copy into place sets its ctime.
    let is_recent = |name: &str| {
        let metadata = dir.join(name).symlink_metadata();
        metadata.is_ok_and(|metadata| metadata.ctime() >= since.saturating_sub(CLOCK_STEP))
    };
    let known: Vec<(String, Vec<CachedEgg>)> =
        known.into_iter().filter(|(name, _)| is_recent(name)).collect();
    let mut torn: Vec<String> = known
        .into_par_iter()
        .filter(|(name, eggs)| {
            remove_if_torn(blobs, &dir.join(name), eggs, since).or_log() == Some(true)
        })
        .map(|(name, _)| name)
        .collect();
    torn.sort_unstable();
    torn
}

/// Removes the file or directory at `path` if it is torn. Returns whether it was removed.
fn remove_if_torn(blobs: &Blobs, path: &Path, eggs: &[CachedEgg], since: i64) -> Result<bool> {
    // Open from before the first look until after the removal, so that its inode is not used again.
    let examined = match nofollow::open(path) {
        Err(error) if is_nothing_to_examine(&error) => return Ok(false),
        opened => opened.at("open", path)?,
    };
    if !is_torn(blobs, path, eggs, since)? {
        return Ok(false);
    }
    let removed = temp::remove_whole_if(path, &examined);
    warn!(path = %path.display(), ?removed, "torn copy");
    removed
}

/// Whether an egg is a symlink, which is no copy, or gone.
fn is_nothing_to_examine(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || Errno::from_io_error(error) == Some(Errno::LOOP)
}

/// The state of the file or directory with the name of an egg.
#[derive(PartialEq)]
enum State {
    Whole,
    /// A part of the egg: the rest is missing, cut off or zero.
    Torn,
    Other,
}

/// Whether the file or directory at `path` is a torn copy of one of the eggs and a whole copy of none.
fn is_torn(blobs: &Blobs, path: &Path, eggs: &[CachedEgg], since: i64) -> Result<bool> {
    let found = match scan::list(path) {
        Ok(found) => found,
        Err(Error::UnsoundEgg { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut torn = false;
    for egg in eggs {
        // Without its blob there is no proof.
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
    let is_finished = |entry: &Entry| {
        found.get(entry.path.as_str()).is_some_and(|found| is_finished(entry, found, since))
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
    for group in &blob.layout.groups {
        match group {
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
                    // A damaged blob is no proof.
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

/// Whether the found entries come from a copy of the egg: one has the egg's mtime, or no file has any
/// content, which is the case in no egg.
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

/// Whether an entry, apart from its content, is as a copy leaves it or was changed since: not if it has
/// the mtime of a new file.
fn is_finished(entry: &Entry, found: &Entry, since: i64) -> bool {
    let is_older = found.mtime.0 < since.saturating_sub(CLOCK_STEP);
    match (&entry.kind, &found.kind) {
        (EntryKind::Symlink { target }, EntryKind::Symlink { target: other }) => target == other,
        // Python's bytecode changes the mtime of its directory.
        (EntryKind::Directory, _) => true,
        _ => found.mtime == entry.mtime || is_older,
    }
}

/// Compares the part of a file at `offset` with what should be there.
fn compare(path: &Path, offset: u64, expected: &[u8]) -> Result<State> {
    let mut found = Vec::with_capacity(expected.len());
    let read = nofollow::open(path).and_then(|mut file| {
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

/// The smallest unit in which a file system writes a file.
const PAGE: usize = 512;

/// Whether the egg has all entries that were found, and no file is longer than the egg's.
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
