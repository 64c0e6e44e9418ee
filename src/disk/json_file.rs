//! Small records, each a JSON file in a directory of the cache, so that they survive the loss of the
//! index.
//!
//! A record is written by renaming a synced file and removed by unlinking it. A crash leaves the old
//! record, the new one or none, but never a part of one.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::disk::dir::Dir;
use crate::disk::files;
use crate::disk::permissions::Kind;
use crate::disk::temp;
use crate::error::{Error, IoContext, OrLog, Result};
use crate::util::hash::digest::Digest;

/// The longest record that is read, in bytes.
const MAX_LENGTH: u64 = 16 << 20;
/// The most records in a directory, and the most bytes of all of them that are read together.
const MAX_RECORDS: usize = 100_000;
const MAX_TOTAL: u64 = 1 << 29;

/// The file name of a record, derived from a text that identifies it.
#[must_use]
pub fn name_of(text: &[u8]) -> String {
    format!("{}.json", &Digest::of(text).to_string()[..32])
}

/// Writes a record below the cache, durably; `path` is a directory and a name, or a name. Replaces a
/// record of that name.
pub fn write<T: Serialize>(root: &Dir, path: &str, record: &T) -> Result<()> {
    write_kind(root, path, record, Kind::File)
}

/// As [`write()`], for a record that only its owner may write, in a shared cache too.
pub fn write_own<T: Serialize>(root: &Dir, path: &str, record: &T) -> Result<()> {
    write_kind(root, path, record, Kind::Own)
}

/// As [`write()`], without waiting for the disk: after a crash, the record may be damaged or gone.
pub fn write_briefly<T: Serialize>(root: &Dir, path: &str, record: &T) -> Result<()> {
    let (dir, name) = match path.rsplit_once('/') {
        None => (root.clone(), path),
        Some((dir, name)) => (root.make_dir(dir).at("make directory", &root.join(dir))?.0, name),
    };
    let text = serde_json::to_vec(record).at("write", &root.join(path))?;
    temp::write_briefly(&dir, name, &text, Kind::File)
}

fn write_kind<T: Serialize>(root: &Dir, path: &str, record: &T, kind: Kind) -> Result<()> {
    let (dir, name) = match path.rsplit_once('/') {
        None => (root.clone(), path),
        Some((dir, name)) => (make_dir(root, dir)?, name),
    };
    let mut text = serde_json::to_vec_pretty(record).at("write", &root.join(path))?;
    text.push(b'\n');
    temp::write_durably(&dir, name, &text, kind)
}

/// Makes a directory for records durably, if it is missing.
pub fn make_dir(root: &Dir, dir: &str) -> Result<Dir> {
    let (made, is_new) = root.make_dir(dir).at("make directory", &root.join(dir))?;
    if is_new {
        root.sync().at("sync", root.path())?;
    }
    Ok(made)
}

/// Reads a record; `None` if there is none. Fails if it does not have the form of `T`.
pub fn read<T: DeserializeOwned>(root: &Dir, path: &str) -> Result<Option<T>> {
    Ok(read_with_owner(root, path)?.map(|(record, _)| record))
}

/// As [`read`], with the metadata of the file that was read.
pub fn read_with_owner<T: DeserializeOwned>(
    root: &Dir,
    path: &str,
) -> Result<Option<(T, Metadata)>> {
    let at = root.join(path);
    let file = match root.read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.at("read", &at)?,
    };
    let metadata = file.metadata().at("read", &at)?;
    let text = files::read_opened(file, MAX_LENGTH).at("read", &at)?;
    let damaged =
        |error: serde_json::Error| Error::DamagedRecord { path: at, reason: error.to_string() };
    let record = serde_json::from_slice(&text).map_err(damaged)?;
    Ok(Some((record, metadata)))
}

/// All records in the directory `dir` of the cache, by name, in its order. A missing `dir` has none.
///
/// # Errors
/// If `dir` cannot be listed. Each record that cannot be read has its own error.
pub fn read_all<T: DeserializeOwned>(root: &Dir, dir: &str) -> Result<Vec<(String, Result<T>)>> {
    let mut total = 0;
    let mut records = Vec::new();
    for name in list(root, dir)? {
        let path = format!("{dir}/{name}");
        // Of what is not a file, the length has no meaning, and it is not read.
        total += root.stat(&path).map_or(0, |found| found.len().min(MAX_LENGTH));
        let record = if total <= MAX_TOTAL { read(root, &path) } else { Err(too_many(root, dir)) };
        // A record that was removed meanwhile is none.
        records.extend(record.transpose().map(|record| (name, record)));
    }
    Ok(records)
}

/// The names of the records in `dir` that cannot be read, each with its error.
///
/// # Errors
/// If `dir` cannot be listed.
pub fn unreadable<T: DeserializeOwned>(root: &Dir, dir: &str) -> Result<Vec<(String, Error)>> {
    let records = read_all::<T>(root, dir)?;
    Ok(records.into_iter().filter_map(|(name, record)| Some((name, record.err()?))).collect())
}

/// The names of the records in the directory `dir` of the cache, sorted. A missing `dir` has none.
pub fn list(root: &Dir, dir: &str) -> Result<Vec<String>> {
    let at = root.join(dir);
    let names = match root.subdir(dir).and_then(|dir| dir.names()) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        names => names.at("read", &at)?,
    };
    let mut found = Vec::new();
    for name in names {
        let Ok(name) = name.at("read", &at)?.into_string() else { continue };
        let is_record = Path::new(&name).extension().is_some_and(|extension| extension == "json");
        if is_record && !name.starts_with(temp::TEMP_PREFIX) {
            found.push(name);
        }
        if found.len() > MAX_RECORDS {
            return Err(too_many(root, dir));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn too_many(root: &Dir, dir: &str) -> Error {
    let reason = format!("it has more than {MAX_RECORDS} records or {MAX_TOTAL} bytes");
    let source = std::io::Error::new(ErrorKind::FileTooLarge, reason);
    Error::Io { action: "read", path: root.join(dir), source }
}

/// Removes the records in a directory that were last written more than `age` seconds before `now`, and
/// its temporary files.
pub fn forget_old(root: &Dir, dir: &str, age: i64, now: i64) -> Result<()> {
    forget_old_unless(root, dir, age, now, |_| false)
}

/// As [`forget_old`], except the records that are needed, by their names without `.json`.
pub fn forget_old_unless(
    root: &Dir,
    dir: &str,
    age: i64,
    now: i64,
    is_needed: impl Fn(&str) -> bool,
) -> Result<()> {
    temp::sweep_below(root, dir)?;
    for name in list(root, dir)? {
        if name.strip_suffix(".json").is_some_and(&is_needed) {
            continue;
        }
        let record = format!("{dir}/{name}");
        let written = root.stat(&record).map(|found| found.modified());
        if written.is_ok_and(|written| now.saturating_sub(written) > age) {
            remove(root, &record).or_log();
        }
    }
    Ok(())
}

/// Removes a record, durably. Returns whether it existed.
pub fn remove(root: &Dir, path: &str) -> Result<bool> {
    match root.remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        removed => removed.at("remove", &root.join(path))?,
    }
    let dir = path.rsplit_once('/').map_or(".", |(dir, _)| dir);
    root.subdir(dir).and_then(|dir| dir.sync()).at("sync", &root.join(dir))?;
    Ok(true)
}
