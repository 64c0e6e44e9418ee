//! Preflight: the space that copying eggs into a directory would need. Nothing is written.
//!
//! An egg needs more space on disk than its bytes: every file is rounded up to blocks, and every entry
//! needs an inode.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use crate::cache::Blobs;
use crate::cache::extract::{check_names, check_present, check_row};
use crate::disk::filesystem;
use crate::disk::filesystem::Space;
use crate::disk::permissions;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::manifest::{Entry, EntryKind};
use crate::error::{Error, Result};
use crate::remote::withdrawals::record::Withdrawals;
use crate::util::hash::digest::Digest;
use crate::util::threads;

#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(serialize_with = "crate::disk::files::lossy")]
    pub into: PathBuf,
    pub eggs: Vec<Planned>,
    /// Requests that the cache has no egg for, and the file names of eggs whose blob is gone.
    pub missing: Vec<String>,
    /// The space that the eggs to copy need, with new folders above them.
    pub needed: Need,
    /// The block size of the file system, in bytes.
    pub block: u64,
    /// Free bytes for this user; absent if the file system does not report them.
    pub free_bytes: Option<u64>,
    /// Free inodes; absent if the file system creates them as needed.
    pub free_inodes: Option<u64>,
    /// Whether there is enough space for the eggs to copy.
    pub fits: bool,
    /// Whether this user may create files there, or no files are needed.
    pub writable: bool,
}

#[derive(Debug, Serialize)]
pub struct Planned {
    pub file_name: String,
    pub digest: Digest,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    /// It would be copied.
    Copy(Need),
    /// It is already in the directory, complete.
    Present,
    /// Its blob is gone, or not readable by this user.
    Missing {
        #[serde(serialize_with = "crate::error::as_text")]
        reason: Error,
    },
    Failed {
        #[serde(serialize_with = "crate::error::as_text")]
        reason: Error,
    },
}

/// Space on a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Need {
    pub bytes: u64,
    /// Files, directories and symlinks.
    pub inodes: u64,
}

impl Need {
    fn and(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            inodes: self.inodes.saturating_add(other.inodes),
        }
    }
}

impl Report {
    pub fn failed(&self) -> impl Iterator<Item = (&Planned, &Error)> {
        self.eggs.iter().filter_map(|egg| match &egg.outcome {
            Outcome::Failed { reason } => Some((egg, reason)),
            _ => None,
        })
    }
}

/// Plans to copy eggs into the directory `into`, which need not exist. `missing` are further requests
/// that the cache has no egg for.
///
/// # Errors
/// Two eggs must not have the same file name. [`Error::Usage`] if `into` is not a folder.
pub fn preflight(
    blobs: Option<&Blobs>,
    eggs: &[CachedEgg],
    mut missing: Vec<String>,
    into: &Path,
    withdrawals: &Withdrawals,
) -> Result<Report> {
    threads::start_pool()?;
    check_names(eggs)?;
    let (folder, to_create) = existing(into);
    if !folder.is_dir() {
        return Err(Error::Usage(format!("{} is not a folder", folder.display())));
    }
    let writable = permissions::is_writable(&folder);
    let Space { block, free_bytes, free_inodes } = filesystem::space(&folder)?;
    let mut seen = HashSet::new();
    let wanted: Vec<&CachedEgg> = eggs.iter().filter(|egg| seen.insert(egg.digest)).collect();
    let planned: Vec<Planned> = wanted
        .into_par_iter()
        .map(|egg| {
            let checked = withdrawals.check(egg.digest, &egg.file_name);
            let planned = checked.and_then(|()| plan(blobs, egg, into, block));
            let outcome = planned.unwrap_or_else(|reason| match reason {
                Error::MissingBlob { .. } | Error::UnreadableBlob { .. } => {
                    Outcome::Missing { reason }
                }
                reason => Outcome::Failed { reason },
            });
            Planned { file_name: egg.file_name.clone(), digest: egg.digest, outcome }
        })
        .collect();
    let is_missing = |egg: &&Planned| matches!(egg.outcome, Outcome::Missing { .. });
    missing.extend(planned.iter().filter(is_missing).map(|egg| egg.file_name.clone()));
    let folders = Need { bytes: block.saturating_mul(to_create), inodes: to_create };
    let needs = planned.iter().filter_map(|egg| match egg.outcome {
        Outcome::Copy(need) => Some(need),
        _ => None,
    });
    let is_empty = needs.clone().next().is_none();
    let needed = if is_empty { Need::default() } else { needs.fold(folders, Need::and) };
    let fits = free_bytes.is_none_or(|free| needed.bytes <= free)
        && free_inodes.is_none_or(|free| needed.inodes <= free);
    Ok(Report {
        into: into.to_owned(),
        eggs: planned,
        missing,
        needed,
        block,
        free_bytes,
        free_inodes,
        fits,
        writable: writable || is_empty,
    })
}

/// The existing folder at or above a path, and how many folders are missing below it.
fn existing(into: &Path) -> (PathBuf, u64) {
    let mut here = into;
    let mut to_create = 0;
    while here.symlink_metadata().is_err() {
        to_create += 1;
        match here.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => here = parent,
            None => return (PathBuf::from("."), to_create),
        }
    }
    (here.to_owned(), to_create)
}

fn plan(blobs: Option<&Blobs>, egg: &CachedEgg, into: &Path, block: u64) -> Result<Outcome> {
    let blobs = blobs.ok_or_else(|| Error::miss(&egg.digest))?;
    let missing = || Error::MissingBlob { path: blobs.path(egg.digest) };
    let blob = blobs.open(egg.digest)?.ok_or_else(missing)?;
    check_row(blobs, egg, &blob)?;
    let target = into.join(&blob.manifest.file_name);
    if target.symlink_metadata().is_ok() {
        check_present(&target, &blob.manifest)?;
        return Ok(Outcome::Present);
    }
    Ok(Outcome::Copy(need(&blob.manifest.entries, block)))
}

/// The space that the entries of an egg need. A directory needs blocks for the names in it, as on ext4,
/// and a symlink one block, although some file systems store short targets without one.
fn need(entries: &[Entry], block: u64) -> Need {
    /// Bytes that a name needs in its directory besides its own.
    const NAME: u64 = 12;
    let mut names: HashMap<&str, u64> = HashMap::new();
    for entry in entries.iter().filter(|entry| !entry.path.is_root()) {
        let path = entry.path.as_str();
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        *names.entry(folder).or_default() += NAME + name.len() as u64;
    }
    let blocks = |bytes: u64| bytes.div_ceil(block).saturating_mul(block);
    let bytes = entries.iter().map(|entry| match &entry.kind {
        EntryKind::File { size, .. } => blocks(*size),
        EntryKind::Symlink { .. } => block,
        EntryKind::Directory => {
            blocks(names.get(entry.path.as_str()).copied().unwrap_or_default().max(1))
        }
    });
    Need { bytes: bytes.fold(0, u64::saturating_add), inodes: entries.len() as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egg::manifest::Mtime;
    use crate::egg::path::EggPath;

    fn entry(path: &str, kind: EntryKind) -> Entry {
        let path = if path.is_empty() { EggPath::root() } else { EggPath::new(path).unwrap() };
        Entry { path, mode: 0o644, mtime: Mtime(0, 0), kind }
    }

    fn file(path: &str, size: u64) -> Entry {
        entry(path, EntryKind::File { size, digest: Digest::of(b"") })
    }

    #[test]
    fn files_need_whole_blocks_and_entries_need_inodes() {
        let entries = [
            entry("", EntryKind::Directory),
            file("a", 1),
            file("b", 4096),
            file("c", 4097),
            file("empty", 0),
            entry("l", EntryKind::Symlink { target: "a".into() }),
        ];
        assert_eq!(need(&entries, 4096), Need { bytes: 6 * 4096, inodes: 6 });
        assert_eq!(need(&entries, 1).bytes, 1 + 4096 + 4097 + 1 + 5 * 12 + 9);
    }

    #[test]
    fn a_directory_with_many_names_needs_more_blocks() {
        let mut entries = vec![entry("", EntryKind::Directory)];
        entries.extend((0..1000).map(|number| file(&format!("file-{number:04}"), 0)));
        assert_eq!(need(&entries, 4096), Need { bytes: 6 * 4096, inodes: 1001 });
    }

    #[test]
    fn missing_folders_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| existing(&dir.path().join(name));
        assert_eq!(at(""), (dir.path().to_owned(), 0));
        assert_eq!(at("a/b/c"), (dir.path().to_owned(), 3));
        assert_eq!(existing(Path::new("no/such")), (PathBuf::from("."), 2));
    }
}
