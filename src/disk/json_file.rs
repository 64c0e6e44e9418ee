//! Small records, each a JSON file in a directory of the cache, so that they survive the loss of the
//! index.
//!
//! A record is written by renaming a synced file and removed by unlinking it. A crash leaves the old
//! record, the new one or none, but never a part of one.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::disk::files;
use crate::disk::nofollow;
use crate::disk::permissions;
use crate::disk::temp;
use crate::error::{IoContext, Result};
use crate::util::hash::digest::Digest;

/// The longest record that is read, in bytes.
const MAX_LENGTH: u64 = 16 << 20;

/// The file name of a record, derived from a text that identifies it.
#[must_use]
pub fn name_of(text: &[u8]) -> String {
    format!("{}.json", &Digest::of(text).to_string()[..32])
}

/// Writes a record into the directory `dir` of the cache, durably. Replaces a record of that name.
pub fn write<T: Serialize>(dir: &Path, name: &str, record: &T) -> Result<()> {
    if !dir.is_dir() {
        permissions::make_dir(dir)?;
        files::sync_dir(dir.parent().unwrap_or(dir))?;
    }
    let path = dir.join(name);
    let mut text = serde_json::to_vec_pretty(record).at("write", &path)?;
    text.push(b'\n');
    temp::write_durably(&path, &text)
}

/// Reads a record; `None` if there is none. Fails if it does not have the form of `T`.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let file = match nofollow::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.at("read", path)?,
    };
    let mut text = Vec::new();
    file.take(MAX_LENGTH).read_to_end(&mut text).at("read", path)?;
    serde_json::from_slice(&text).map(Some).at("read", path)
}

/// The paths of the records in `dir`, sorted. A missing `dir` has none.
pub fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.at("read", dir)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.at("read", dir)?.path();
        let is_temporary = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(temp::TEMP_PREFIX.as_bytes()));
        if !is_temporary && path.extension().is_some_and(|extension| extension == "json") {
            found.push(path);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Removes a record, durably. Returns whether it existed.
pub fn remove(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        removed => removed.at("remove", path)?,
    }
    files::sync_dir(path.parent().unwrap_or(path))?;
    Ok(true)
}

/// Lets the group of the cache write the records in `dir`. Fails if this process does not own it.
pub fn share(dir: &Path) -> Result<()> {
    if dir.is_dir() { permissions::share(dir, dir.parent().unwrap_or(dir)) } else { Ok(()) }
}
