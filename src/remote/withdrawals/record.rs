//! What a cache remembers of the withdrawals of its remotes, in `withdrawals/`: for each remote its
//! statements ([`Memory`]), and when it has looked for one.
//!
//! A record is that of a remote's name, whatever the address: its statements say of which remote they are.
//! It is in force until the remote is removed, also while the configuration cannot be read.

use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::path::Path;

use serde::Serialize;

use super::memory::Memory;
use super::statement::Withdrawn;
use crate::cache::trust::Trust;
use crate::disk::dir::Dir;
use crate::disk::json_file;
use crate::disk::temp::Temp;
use crate::error::{Error, IoContext, OrLog, Result};
use crate::remote::config::{self, Remote};
use crate::util::clock::now;
use crate::util::hash::digest::Digest;

/// How often a run looks for withdrawals that would not ask a remote for anything else, in seconds.
const PERIOD: i64 = 86_400;

/// What a cache remembers of a remote.
///
/// # Errors
/// If the record cannot be read.
pub fn read(root: &Path, remote: &str) -> Result<Memory> {
    let Some(root) = open(root)? else { return Ok(Memory::default()) };
    Ok(json_file::read(&root, &name(remote, "json"))?.unwrap_or_default())
}

/// Records that cannot be read, by the name of their file.
///
/// # Errors
/// If they cannot be listed.
pub fn unreadable(root: &Dir) -> Result<Vec<(String, Error)>> {
    json_file::unreadable::<Memory>(root, DIR)
}

/// # Errors
/// If the record cannot be written.
pub fn write(root: &Path, remote: &str, memory: &Memory) -> Result<()> {
    json_file::write(&Dir::open(root).at("open", root)?, &name(remote, "json"), memory)
}

/// How many builds are no longer withdrawn if a remote is configured as `after`, or removed.
#[must_use]
pub fn lost(root: &Path, before: &Remote, after: Option<&Remote>) -> usize {
    let memory = read(root, &before.name).or_log().unwrap_or_default();
    let left = after.map(|after| memory.withdrawn(after)).unwrap_or_default();
    memory.withdrawn(before).iter().filter(|it| !left.iter().any(|left| left.egg == it.egg)).count()
}

/// The directory of the records. Its name is part of the cache's format.
pub const DIR: &str = "withdrawals";

/// The name of a file about a remote, below the cache.
fn name(remote: &str, extension: &str) -> String {
    format!("{DIR}/{remote}.{extension}")
}

/// The cache directory; `None` if there is none.
fn open(root: &Path) -> Result<Option<Dir>> {
    match Dir::open(root) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some).at("open", root),
    }
}

/// Whether no run has looked for the withdrawals of a remote for a day.
#[must_use]
pub fn is_due(root: &Path, remote: &str) -> bool {
    let looked = Dir::open(root).and_then(|root| root.stat(name(remote, "looked")));
    !looked.is_ok_and(|looked| (0..PERIOD).contains(&(now() - looked.modified())))
}

/// Notes that a run has looked for the withdrawals of a remote. The time of an empty file is enough, and
/// may get lost.
pub fn note_looked(root: &Path, remote: &str) -> Result<()> {
    let (root, path) = (Dir::open(root).at("open", root)?, name(remote, "looked"));
    json_file::make_dir(&root, DIR)?;
    let tmp = root.subdir("tmp").at("open", &root.join("tmp"))?;
    Temp::file(&tmp)?.persist(&root, &path).at("write", &root.join(&path))
}

/// Forgets what a remote has withdrawn, for one that is removed.
pub fn forget(root: &Path, remote: &str) -> Result<()> {
    let Some(root) = open(root)? else { return Ok(()) };
    for extension in ["json", "looked"] {
        json_file::remove(&root, &name(remote, extension))?;
    }
    Ok(())
}

/// All builds that a cache knows to be withdrawn, by the remotes that have withdrawn them.
#[derive(Debug, Clone, Default)]
pub struct Withdrawals(BTreeMap<String, HashMap<Digest, Notice>>);

/// Why an egg must not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// The name of the remote that has withdrawn it.
    pub remote: String,
    pub reason: String,
    /// Seconds since the Unix epoch.
    pub at: i64,
}

impl Withdrawals {
    /// What the cache at `root` remembers.
    ///
    /// # Errors
    /// If a record cannot be read.
    pub fn of(root: &Path) -> Result<Self> {
        let (all, error) = Self::readable(root);
        error.map_or(Ok(all), Err)
    }

    /// As far as records can be read, and the first error of another one. Without the configuration of a
    /// remote, nobody knows whose signatures count: then all that it ever withdrew is withdrawn.
    #[must_use]
    pub fn readable(root: &Path) -> (Self, Option<Error>) {
        let mut all = Self::default();
        let records = open(root).and_then(|root| {
            root.map_or(Ok(Vec::new()), |root| json_file::read_all::<Memory>(&root, DIR))
        });
        let records = match records {
            Ok(records) if records.is_empty() => return (all, None),
            Ok(records) => records,
            Err(error) => return (all, Some(error)),
        };
        let remotes = config::read(root, &Trust::default()).or_log().unwrap_or_default();
        let mut unreadable = None;
        for (file, memory) in records {
            let name = file.strip_suffix(".json").unwrap_or(&file);
            let remote = remotes.iter().find(|it| it.name == name);
            match memory {
                Ok(memory) => all.set(
                    name,
                    match remote {
                        Some(remote) => memory.withdrawn(remote),
                        None => memory.all_withdrawn(),
                    },
                ),
                Err(error) => unreadable = unreadable.or(Some(error)),
            }
        }
        (all, unreadable)
    }

    /// Replaces what a remote has withdrawn.
    pub fn set<'a>(&mut self, remote: &str, withdrawn: impl IntoIterator<Item = &'a Withdrawn>) {
        let notice = |it: &Withdrawn| {
            let (remote, reason) = (remote.to_owned(), it.reason.clone());
            (it.egg, Notice { remote, reason, at: it.at })
        };
        self.0.insert(remote.to_owned(), withdrawn.into_iter().map(notice).collect());
    }

    #[must_use]
    pub fn get(&self, egg: Digest) -> Option<&Notice> {
        self.0.values().find_map(|of_remote| of_remote.get(&egg))
    }

    #[must_use]
    pub fn has(&self, egg: Digest) -> bool {
        self.get(egg).is_some()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.values().all(HashMap::is_empty)
    }

    pub fn eggs(&self) -> impl Iterator<Item = Digest> {
        self.0.values().flat_map(HashMap::keys).copied()
    }

    /// # Errors
    /// [`Error::Withdrawn`]
    pub fn check(&self, egg: Digest, file_name: &str) -> Result<()> {
        match self.get(egg) {
            None => Ok(()),
            Some(notice) => Err(notice.error(file_name)),
        }
    }
}

impl Notice {
    /// The error about an egg that must not be used.
    #[must_use]
    pub fn error(&self, what: &str) -> Error {
        let Self { remote, reason, .. } = self.clone();
        Error::Withdrawn { what: what.to_owned(), name: remote, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::super::statement::tests::statement;
    use super::*;

    #[test]
    fn what_one_remote_allows_again_stays_withdrawn_by_another_one() {
        let withdrawn = statement(1, &["foo"]).withdrawn;
        let mut all = Withdrawals::default();
        all.set("a", &withdrawn);
        all.set("b", &withdrawn);
        all.set("b", []);
        assert_eq!(all.get(Digest::of(b"foo")).map(|it| it.remote.as_str()), Some("a"));
        all.set("a", []);
        assert!(all.is_empty() && !all.has(Digest::of(b"foo")));
    }
}
