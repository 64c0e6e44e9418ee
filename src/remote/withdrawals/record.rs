//! What a cache remembers of the withdrawals of its remotes, in `withdrawals/`: for each remote the newest
//! statement that it has seen, and when it has looked for one.
//!
//! A statement counts as long as the keys that have signed it are trusted. So a thief who has signed a
//! high number with a stolen key blocks nothing once that key is not trusted any more.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};
use url::Url;

use super::statement::{self, BadStatement, Checked, Statement, Withdrawn};
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

/// The record of one remote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Another address is another remote.
    url: Url,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    endpoint: Option<Url>,
    /// The keys that have signed the statement, in base64.
    signed_by: Vec<String>,
    statement: Statement,
}

/// The statement that a cache remembers of a remote.
#[derive(Debug, Clone, Default)]
pub struct Remembered(Option<Record>);

impl Remembered {
    /// # Errors
    /// If the record cannot be read.
    pub fn read(root: &Path, remote: &Remote) -> Result<Self> {
        let record: Option<Record> = match open(root)? {
            Some(root) => json_file::read(&root, &name(&remote.name, "json"))?,
            None => None,
        };
        let is_its = |it: &Record| (&it.url, &it.endpoint) == (&remote.url, &remote.endpoint);
        Ok(Self(record.filter(is_its)))
    }

    /// The statement, if enough of the keys that have signed it are still trusted. That the trust in a key
    /// has ended on its date does not bring back what was withdrawn before.
    #[must_use]
    pub fn statement(&self, remote: &Remote) -> Option<&Statement> {
        let record = self.0.as_ref()?;
        let counts =
            |key: &&String| remote.trusted(key).is_some_and(|trusted| trusted.projects.is_empty());
        let counted = record.signed_by.iter().filter(counts).count();
        (counted > 0 && counted >= remote.signatures_needed).then_some(&record.statement)
    }

    /// The identifier of the remote, signed by any key.
    #[must_use]
    pub fn remote_id(&self) -> Option<&str> {
        self.0.as_ref().map(|record| record.statement.remote.as_str())
    }

    /// Judges what a remote has now, and remembers it if it is newer.
    ///
    /// # Errors
    /// If the record cannot be written.
    pub fn update(
        &mut self,
        root: &Path,
        remote: &Remote,
        found: Option<&Checked>,
    ) -> Result<Result<(), BadStatement>> {
        let seen = self.statement(remote);
        let judged = statement::judge(found.map(|it| &it.statement), seen, now());
        // An expired statement is newer than what was seen all the same.
        let is_authentic = matches!(judged, Ok(()) | Err(BadStatement::Expired(_)));
        if let Some(Checked { statement, signed_by }) = found.filter(|_| is_authentic) {
            let (url, endpoint) = (remote.url.clone(), remote.endpoint.clone());
            let (statement, signed_by) = (statement.clone(), signed_by.clone());
            let record = Record { url, endpoint, signed_by, statement };
            if self.0.as_ref() != Some(&record) {
                let path = name(&remote.name, "json");
                json_file::write(&Dir::open(root).at("open", root)?, &path, &record)?;
                self.0 = Some(record);
            }
        }
        Ok(judged)
    }
}

const DIR: &str = "withdrawals";

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

/// All builds that a cache knows to be withdrawn from one of its remotes.
#[derive(Debug, Clone, Default)]
pub struct Withdrawals(HashMap<Digest, Notice>);

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
    /// What the cache at `root` remembers. If its remotes cannot be read, it has none.
    ///
    /// # Errors
    /// If a record cannot be read.
    pub fn of(root: &Path) -> Result<Self> {
        Self::of_remotes(root, &config::read(root, &Trust::default()).or_log().unwrap_or_default())
    }

    /// As [`Withdrawals::of`], for these remotes.
    pub fn of_remotes(root: &Path, remotes: &[Remote]) -> Result<Self> {
        let mut all = Self::default();
        for remote in remotes {
            let remembered = Remembered::read(root, remote)?;
            let statement = remembered.statement(remote);
            all.add(&remote.name, statement.map_or(&[], |it| &it.withdrawn));
        }
        Ok(all)
    }

    pub fn add(&mut self, remote: &str, withdrawn: &[Withdrawn]) {
        self.0.extend(withdrawn.iter().map(|Withdrawn { egg, reason, at, .. }| {
            (*egg, Notice { remote: remote.to_owned(), reason: reason.clone(), at: *at })
        }));
    }

    /// Forgets what a remote has withdrawn.
    pub fn clear(&mut self, remote: &str) {
        self.0.retain(|_, notice| notice.remote != remote);
    }

    #[must_use]
    pub fn get(&self, egg: Digest) -> Option<&Notice> {
        self.0.get(&egg)
    }

    #[must_use]
    pub fn has(&self, egg: Digest) -> bool {
        self.0.contains_key(&egg)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn eggs(&self) -> impl Iterator<Item = Digest> {
        self.0.keys().copied()
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
