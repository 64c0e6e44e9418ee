//! Which directories eggs are copied into, so that a power cut can be told there.
//!
//! Eggs are not synced before they are renamed into place: a sync for each would cost more than the
//! copy. A power cut can therefore leave an egg under its final name whose files are empty or cut
//! off. So before the first egg goes to a directory, a record of that directory is made durable in
//! `copies/`, with what identifies this start of the machine. Whoever comes back to the directory
//! after another start looks at every egg there that the cache knows, content included, and removes
//! what is a copy that is not whole; what looks like another build is left alone.
//!
//! A cache that cannot be written, or whose disk is full, has no records: what is copied from it is
//! only as safe as any other copy.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::ops::Deref;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::blob::{Blob, Decoder};
use crate::cache::Cache;
use crate::difference::{difference, is_bytecode};
use crate::digest::Digest;
use crate::egg::Egg;
use crate::error::{Error, IoContext, Result};
use crate::fs as files;
use crate::layout::Unit;
use crate::manifest::{Entry, EntryKind, Manifest};
use crate::store::Store;
use crate::temp;
use crate::tree;

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// The eggs directory, for people who read it.
    dir: String,
    /// What tells this start of the machine from every other.
    boot: String,
}

fn records(root: &Path) -> PathBuf {
    root.join("copies")
}

fn record_of(root: &Path, dir: &Path) -> PathBuf {
    let digest = Digest::of(dir.as_os_str().as_encoded_bytes()).to_string();
    records(root).join(format!("{}.json", &digest[..32]))
}

/// Removes what a power cut has left incomplete in `dir`, which is canonical, if the machine went
/// down since eggs were copied there; answers their names.
///
/// # Errors
/// If an egg cannot be read or removed, or the record not be written.
pub fn check(cache: &Cache, dir: &Path) -> Result<Vec<String>> {
    let path = record_of(cache.root(), dir);
    let Some(boot) = files::boot_id() else { return Ok(Vec::new()) };
    let text = match fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.at("read", &path)?,
    };
    // One that cannot be read is of a start that is over, too.
    if serde_json::from_slice(&text).is_ok_and(|record: Record| record.boot == boot) {
        return Ok(Vec::new());
    }
    let removed = remove_torn(cache, dir)?;
    write(&path, dir, boot)?;
    Ok(removed)
}

/// As [`check`], and makes the record if there is none: eggs are about to be copied to `dir`. A cache
/// whose disk is full still serves what it has, without a record.
///
/// # Errors
/// As [`check`].
pub fn begin(cache: &Cache, dir: &Path) -> Result<Vec<String>> {
    let removed = check(cache, dir)?;
    let path = record_of(cache.root(), dir);
    if let Some(boot) = files::boot_id()
        && cache.check_writable().is_ok()
        && !path.exists()
    {
        let made = files::make_dir(&records(cache.root()))
            .and_then(|()| files::sync_dir(cache.root()))
            .and_then(|()| write(&path, dir, boot));
        match made {
            Err(error) if error.is_full() => {}
            made => made?,
        }
    }
    Ok(removed)
}

fn write(path: &Path, dir: &Path, boot: String) -> Result<()> {
    let record = Record { dir: dir.display().to_string(), boot };
    temp::write_durably(path, &serde_json::to_vec(&record).expect("two texts"))
}

/// Lets the group of the cache write the records.
///
/// # Errors
/// If this process does not own their directory.
pub fn share(root: &Path) -> Result<()> {
    let dir = records(root);
    if dir.is_dir() { files::share(&dir) } else { Ok(()) }
}

/// Removes the records of directories that are gone, and what writing one left behind.
///
/// # Errors
/// If the records cannot be listed.
pub fn forget_gone(root: &Path) -> Result<()> {
    temp::sweep(&records(root))?;
    for entry in fs::read_dir(records(root)).into_iter().flatten().flatten() {
        let record = fs::read(entry.path()).ok().and_then(|it| serde_json::from_slice(&it).ok());
        if record.is_some_and(|record: Record| !Path::new(&record.dir).exists()) {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

fn remove_torn(cache: &Cache, dir: &Path) -> Result<Vec<String>> {
    let mut known: HashMap<String, Vec<Egg>> = HashMap::new();
    for egg in cache.index.all()? {
        known.entry(egg.file_name.clone()).or_default().push(egg);
    }
    let known: Vec<(String, Vec<Egg>)> =
        known.into_iter().filter(|(name, _)| dir.join(name).symlink_metadata().is_ok()).collect();
    let store = &cache.store;
    let mut torn = known
        .into_par_iter()
        .map(|(name, eggs)| Ok(is_torn(store, &dir.join(&name), &eggs)?.then_some(name)))
        .filter_map(Result::transpose)
        .collect::<Result<Vec<String>>>()?;
    torn.sort_unstable();
    torn.iter().try_for_each(|name| temp::remove_whole(&dir.join(name)))?;
    Ok(torn)
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
fn is_torn(store: &Store, path: &Path, eggs: &[Egg]) -> Result<bool> {
    let found = match tree::list(path) {
        Ok(found) => found,
        Err(Error::UnsoundEgg { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut torn = false;
    for egg in eggs {
        // Without its blob nothing can be said.
        let Ok(Some(blob)) = store.open(egg.digest) else { continue };
        match state(&blob, path, &found)? {
            State::Whole => return Ok(false),
            State::Torn => torn = true,
            State::Other => {}
        }
    }
    Ok(torn)
}

fn state<B: Deref<Target = [u8]>>(blob: &Blob<B>, egg: &Path, found: &[Entry]) -> Result<State> {
    let manifest = &blob.manifest;
    if !is_part(manifest, found) {
        return Ok(State::Other);
    }
    let mut state = match difference(manifest, found) {
        None => State::Whole,
        Some(_) => State::Torn,
    };
    let mut decoder = Decoder::new();
    let mut compare = |entry: usize, offset: u64, content: &[u8]| -> Result<()> {
        let path = tree::path_of(egg, &manifest.entries[entry]);
        state = match (&state, compare(&path, offset, content)?) {
            (State::Other, _) | (_, State::Other) => State::Other,
            (State::Whole, State::Whole) => State::Whole,
            _ => State::Torn,
        };
        Ok(())
    };
    for unit in &blob.layout.units {
        match unit {
            Unit::Small { frame, entries } => {
                let Ok(files) = blob.small_files(*frame, entries, &mut decoder) else {
                    return Ok(State::Other);
                };
                for (entry, content) in files {
                    compare(entry, 0, content)?;
                }
            }
            Unit::Large { entry, frames } => {
                for (part, frame) in frames.clone().enumerate() {
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

/// Compares the part of a file at `offset` with what should be there.
fn compare(path: &Path, offset: u64, expected: &[u8]) -> Result<State> {
    let mut found = Vec::with_capacity(expected.len());
    match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(State::Torn),
        file => {
            let mut file = file.at("open", path)?;
            file.seek(SeekFrom::Start(offset)).at("read", path)?;
            file.take(expected.len() as u64).read_to_end(&mut found).at("read", path)?;
        }
    }
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
        (None, _) => is_bytecode(entry),
        (Some(EntryKind::File { size, .. }), EntryKind::File { size: found, .. }) => found <= size,
        (Some(EntryKind::Directory), EntryKind::Directory) => true,
        (Some(EntryKind::Symlink { target }), EntryKind::Symlink { target: found }) => {
            target.starts_with(found.as_str())
        }
        _ => false,
    })
}
