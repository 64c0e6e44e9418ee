//! The index: which eggs the cache has. The only module that knows SQL.
//!
//! # Locking
//! SQLite's write lock is the only lock of the cache. A writer takes it with `BEGIN IMMEDIATE`,
//! holds it for a short while, and waits for it for up to [`BUSY_TIMEOUT`].
//!
//! How it is opened, migrated, and told apart by file systems, is in `open`.

mod names;
mod open;
#[cfg(test)]
mod query_plans;
mod regret;
mod row;
mod usage;
mod writer;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, Row, TransactionBehavior};

use crate::disk::files;
use crate::disk::permissions;
use crate::egg::cached_egg::CachedEgg;
use crate::error::{Error, IoContext, Result};
use crate::util::clock::now;
use crate::util::hash::digest::Digest;

pub use regret::Regrets;
use row::{digest_of, eggs};
pub use usage::{DAY, Day, Tally, Usage, day_of};
pub use writer::Writer;

/// Name of the index in the cache directory.
pub const FILE_NAME: &str = "index.sqlite";
/// How long a writer waits for another.
pub const BUSY_TIMEOUT: Duration = Duration::from_mins(1);
/// How long recording a use waits.
const USE_TIMEOUT: Duration = Duration::from_millis(500);
/// How often a writer that waits looks again. SQLite's own steps grow to 100 ms, which gives the
/// lock to whoever happens to look when it is free.
const BUSY_STEP: Duration = Duration::from_millis(2);

fn wait(tries: i32) -> bool {
    wait_for(BUSY_TIMEOUT, tries)
}

fn wait_briefly(tries: i32) -> bool {
    wait_for(USE_TIMEOUT, tries)
}

/// SQLite's busy handler: whether to try once more, after `tries` times.
fn wait_for(timeout: Duration, tries: i32) -> bool {
    std::thread::sleep(BUSY_STEP);
    BUSY_STEP * tries.unsigned_abs() < timeout
}

#[derive(Debug)]
pub struct Index {
    connection: Connection,
    path: PathBuf,
    read_only: bool,
    /// Of the file that was opened.
    identity: Option<(u64, u64)>,
}

impl Index {
    /// Whether it has a row for every egg in the store. A new index does not, until it is rebuilt.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn is_complete(&self) -> Result<bool> {
        is_complete(&self.connection, &self.path)
    }

    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Lets the group of the cache write the index. SQLite gives its log the same mode.
    ///
    /// # Errors
    /// If this process does not own it.
    pub fn share(&self) -> Result<()> {
        for beside in ["", "-wal", "-shm"] {
            let path = beside_of(&self.path, beside);
            if path.exists() {
                permissions::share(&path, path.parent().unwrap_or(&path))?;
            }
        }
        Ok(())
    }

    /// What SQLite finds wrong with its file first, if anything.
    #[must_use]
    pub fn damage(&self) -> Option<String> {
        let check = |row: &Row<'_>| row.get::<_, String>(0);
        match self.connection.query_row("PRAGMA integrity_check(1)", [], check) {
            // One that says of itself that it must not be written is of no use either.
            Ok(found) if found == "ok" && !self.read_only => {
                let is_read_only = self.connection.is_readonly(rusqlite::MAIN_DB);
                (is_read_only != Ok(false)).then(|| "it says that it must not be written".into())
            }
            Ok(found) if found == "ok" => None,
            Ok(found) => Some(found),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Gives an index that is damaged another name, and its log with it; answers that name.
    ///
    /// # Errors
    /// If it cannot be renamed.
    pub fn set_aside(root: &Path) -> Result<PathBuf> {
        let index = root.join(FILE_NAME);
        let seconds = now();
        let mut aside = index.with_extension(format!("set-aside-{seconds}"));
        let mut another = 0;
        while aside.exists() {
            another += 1;
            aside = index.with_extension(format!("set-aside-{seconds}-{another}"));
        }
        // A log without its index is deleted by SQLite, so the index goes first.
        for log in ["", "-wal", "-shm"] {
            let from = beside_of(&index, log);
            match std::fs::rename(&from, beside_of(&aside, log)) {
                Err(error) if !log.is_empty() && error.kind() == std::io::ErrorKind::NotFound => {}
                renamed => renamed.at("set aside", &from)?,
            }
        }
        Ok(aside)
    }

    /// Takes the write lock of the index that is in its place: one that was set aside meanwhile has a
    /// lock that nobody else respects.
    fn begin(&mut self) -> Result<rusqlite::Transaction<'_>> {
        let path = &self.path;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|source| wrap(path, source))?;
        if self.identity.is_some() && self.identity != identity(path) {
            return Err(Error::ReplacedIndex { path: path.clone() });
        }
        Ok(transaction)
    }

    /// Takes the write lock, does `work`, and makes all of it durable or none.
    ///
    /// # Errors
    /// What `work` returns, or what SQLite says.
    pub fn write<T>(&mut self, work: impl FnOnce(&mut Writer<'_>) -> Result<T>) -> Result<T> {
        let path = self.path.clone();
        let transaction = self.begin()?;
        let done = work(&mut Writer { connection: &transaction, path: &path })?;
        transaction.commit().map_err(|source| wrap(&path, source))?;
        Ok(done)
    }

    fn eggs(&self, rest: &str, parameters: impl rusqlite::Params) -> Result<Vec<CachedEgg>> {
        eggs(&self.connection, rest, parameters).map_err(|source| wrap(&self.path, source))
    }

    /// All eggs, by name, version as text, and when they were added.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn all(&self) -> Result<Vec<CachedEgg>> {
        self.eggs("ORDER BY name, version, added_at, digest", [])
    }

    /// Eggs of one project, by its PEP 503 name, the first that was added first.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn of_project(&self, name: &str) -> Result<Vec<CachedEgg>> {
        self.eggs("WHERE name = ? ORDER BY added_at, digest", [name])
    }

    /// Eggs whose name contains `name`, or whose file name or digest contains `text`, in the order of
    /// [`Index::all`]. This looks at every row.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn containing(&self, name: &str, text: &str) -> Result<Vec<CachedEgg>> {
        let rest = "WHERE instr(name, ?1) OR instr(file_name, ?2) OR instr(digest, ?2) \
                    ORDER BY name, version, added_at, digest";
        self.eggs(rest, [name, text])
    }

    /// # Errors
    /// What SQLite says.
    pub fn of_file_name(&self, file_name: &str) -> Result<Vec<CachedEgg>> {
        self.eggs("WHERE file_name = ? ORDER BY added_at, digest", [file_name])
    }

    /// # Errors
    /// What SQLite says.
    pub fn of_digest(&self, digest: Digest) -> Result<Option<CachedEgg>> {
        Ok(self.eggs("WHERE digest = ?", [digest.to_string()])?.pop())
    }

    /// Eggs whose digest begins with `prefix`, lower-case hexadecimal digits.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn of_digest_prefix(&self, prefix: &str) -> Result<Vec<CachedEgg>> {
        // `g` follows the last digit.
        self.eggs("WHERE digest >= ?1 AND digest < ?1 || 'g' ORDER BY digest", [prefix])
    }

    /// Digests of eggs that were evicted and whose blobs may still be there.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn evicted(&self) -> Result<HashSet<Digest>> {
        let digests = || {
            let mut statement = self.connection.prepare_cached("SELECT digest FROM evicted")?;
            let rows = statement.query_map([], |row| digest_of(row, 0))?;
            rows.filter_map(Result::transpose).collect::<rusqlite::Result<HashSet<Digest>>>()
        };
        digests().map_err(|source| wrap(&self.path, source))
    }

    /// Makes eggs as young as `now`, without counting a use. Not, as with [`Index::record`], if that
    /// takes waiting.
    pub fn touch(&mut self, digests: &[Digest], now: i64) {
        self.write_briefly(|writer| {
            digests.iter().try_for_each(|&digest| writer.touch(digest, now))
        });
    }

    /// Brings what is in the write-ahead log to its place, so that nothing is left to do when the index
    /// is closed. What cannot be done in a short while is left.
    pub fn checkpoint(&mut self) {
        if !self.read_only {
            let _ = self.connection.busy_handler(Some(wait_briefly));
            let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
            let _ = self.connection.query_row(checkpoint, [], |_| Ok(()));
            let _ = self.connection.busy_handler(Some(wait));
        }
    }

    /// Writes what is worth no waiting and no error.
    fn write_briefly(&mut self, work: impl FnOnce(&mut Writer<'_>) -> Result<()>) {
        if self.read_only {
            return;
        }
        let _ = self.connection.busy_handler(Some(wait_briefly));
        let _ = self.write(work);
        let _ = self.connection.busy_handler(Some(wait));
    }
}

fn is_complete(connection: &Connection, path: &Path) -> Result<bool> {
    connection
        .query_row("SELECT is_complete FROM state", [], |row| row.get(0))
        .map_err(|source| wrap(path, source))
}

fn wrap(path: &Path, source: rusqlite::Error) -> Error {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => Error::NotAnIndex { path },
        // Unknown: a table or a column that is not there, although the migrations made all. Read-only:
        // a file that says so of itself, as files that this user may not write are not written.
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::Unknown) => {
            Error::DamagedIndex { path, source }
        }
        Some(ErrorCode::ReadOnly) if is_moved(&source) => Error::ReplacedIndex { path },
        Some(ErrorCode::ReadOnly) => Error::DamagedIndex { path, source },
        None if !matches!(source, rusqlite::Error::QueryReturnedNoRows) => {
            Error::DamagedIndex { path, source }
        }
        _ => Error::Index { path, source },
    }
}

/// A file that SQLite keeps beside the index: its log, or its rollback journal.
fn beside_of(index: &Path, suffix: &str) -> PathBuf {
    let mut path = index.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    path.metadata().ok().map(|metadata| files::identity(&metadata))
}

/// Whether the file was renamed under this process, which `reindex` does with a damaged one.
fn is_moved(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::SQLITE_READONLY_DBMOVED;
    error.sqlite_error().is_some_and(|error| error.extended_code == SQLITE_READONLY_DBMOVED)
}

/// Why nothing can be written, if SQLite says that the disk takes no more.
#[must_use]
pub(crate) fn unwritable(error: &rusqlite::Error) -> Option<&'static str> {
    use rusqlite::ffi;
    match error.sqlite_error()?.extended_code {
        ffi::SQLITE_FULL => Some("there is no space left on its disk"),
        ffi::SQLITE_IOERR_SHMSIZE | ffi::SQLITE_IOERR_WRITE => {
            Some("its disk takes no more: it is full, over a quota or failing")
        }
        _ => None,
    }
}
