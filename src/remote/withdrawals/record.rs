//! What a cache remembers of the withdrawals of its remotes, in `withdrawals/`: for each remote its
//! statements ([`Memory`]), and when it has looked for one.
//!
//! A record is that of a remote's name, whatever the address: its statements say of which remote they are.
//! It is in force until the remote is removed, also while the configuration cannot be read.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::contents;
use super::memory::Memory;
use super::statement::{BadStatement, Checked, Withdrawn};
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
/// How long to wait for another process that writes a record, and how long between two tries.
const LOCK_WAIT: Duration = Duration::from_secs(1);
const LOCK_STEP: Duration = Duration::from_millis(2);

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

/// Judges the statement that a remote has now, and remembers it ([`Memory::learn`]). Returns what the cache
/// knows now, also if it cannot write its record. A record that cannot be read stays as it is.
pub fn learn(
    root: &Path,
    remote: &Remote,
    found: Option<&Checked>,
) -> (Memory, Result<(), BadStatement>) {
    // Else a process that has seen an older statement could overwrite a newer one.
    let _lock = found.and_then(|_| lock(root).or_log());
    let before = read(root, &remote.name).or_log();
    let mut memory = before.clone().unwrap_or_default();
    let judged = memory.learn(remote, found, now());
    if before.is_some_and(|before| before != memory) {
        write(root, &remote.name, &memory).or_log();
        contents::note_locked(root, memory.all_withdrawn().into_iter().map(|it| it.egg)).or_log();
    }
    (memory, judged)
}

/// Locks the records until the handle is dropped.
///
/// # Errors
/// If they cannot be locked, or another process keeps them locked: that only delays this one.
pub(super) fn lock(root: &Path) -> Result<File> {
    let root = Dir::open(root).at("open", root)?;
    let dir = json_file::make_dir(&root, DIR)?;
    let handle = dir.handle().try_clone().at("lock", dir.path())?;
    let begun = Instant::now();
    loop {
        match handle.try_lock() {
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_WAIT => {
                thread::sleep(LOCK_STEP);
            }
            locked => {
                locked.map_err(std::io::Error::from).at("lock", dir.path())?;
                return Ok(handle);
            }
        }
    }
}

fn write(root: &Path, remote: &str, memory: &Memory) -> Result<()> {
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
    /// The error about an egg that was made again as it was when it was withdrawn.
    #[must_use]
    pub fn again_error(&self, what: &str) -> Error {
        let Self { remote: name, reason, .. } = self.clone();
        Error::WithdrawnAgain { what: what.to_owned(), name, reason }
    }

    /// The error about an egg that must not be used.
    #[must_use]
    pub fn error(&self, what: &str) -> Error {
        let Self { remote, reason, .. } = self.clone();
        Error::Withdrawn { what: what.to_owned(), name: remote, reason }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::memory::tests::{checked, remote};
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

    #[test]
    fn a_process_that_has_seen_an_older_list_waits_for_one_that_writes_a_newer_one() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("tmp")).unwrap();
        let remote = remote(&["a"], 1);
        let lock = lock(root.path()).unwrap();
        thread::scope(|scope| {
            let (root, remote) = (root.path(), &remote);
            let older = scope.spawn(move || {
                let list = checked(statement(4, &["foo"]), &["a"]);
                learn(root, remote, Some(&list)).1
            });
            thread::sleep(Duration::from_millis(100));
            let mut memory = Memory::default();
            let newer = checked(statement(5, &["foo"]), &["a"]);
            memory.learn(remote, Some(&newer), newer.statement.signed_at).unwrap();
            write(root, &remote.name, &memory).unwrap();
            drop(lock);
            let judged = older.join().unwrap();
            assert_eq!(judged, Err(BadStatement::Old { found: 4, seen: 5 }));
        });
    }

    #[test]
    fn records_that_stay_locked_are_written_all_the_same() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("tmp")).unwrap();
        let _lock = lock(root.path()).unwrap();
        let list = checked(statement(4, &["foo"]), &["a"]);
        let (memory, _) = learn(root.path(), &remote(&["a"], 1), Some(&list));
        assert_eq!(read(root.path(), "team").unwrap(), memory);
        assert_eq!(memory.all_withdrawn().len(), 1);
    }
}
