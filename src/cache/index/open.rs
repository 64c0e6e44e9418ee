//! Opening and migrating an index.
//!
//! # Compatibility
//! `migrations/` is an append-only list; `user_version` counts how many have run. Each runs in one
//! transaction. An index with more migrations than this program knows is refused.
//!
//! # File systems
//! Every commit is durable when it returns (`a_missing_sync_is_detected`): `synchronous = EXTRA`
//! also syncs the directory of a rollback journal. The index has a write-ahead log on a local file
//! system, and a rollback journal on a network file system. An index that cannot be written is opened
//! read-only; then no use is recorded.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use tracing::info;

use super::row::signed;
use super::{BUSY_TIMEOUT, FILE_NAME, Index, beside_of, check_files, identity, wait, wrap};
use crate::disk::dir::Dir;
use crate::disk::filesystem;
use crate::error::{Error, Result, Unwritable};

const MIGRATIONS: [&str; 4] = [
    include_str!("../../../migrations/0001_create_eggs.sql"),
    include_str!("../../../migrations/0002_create_evicted.sql"),
    include_str!("../../../migrations/0003_create_regrets.sql"),
    include_str!("../../../migrations/0004_create_days.sql"),
];
/// The `PRAGMA application_id` of an index, `EggC`, which distinguishes it from other databases.
const APPLICATION_ID: i64 = 0x4567_6743;

impl Index {
    /// Opens the index in the cache directory `root`, making or migrating it if needed.
    ///
    /// # Errors
    /// [`Error::NotAnIndex`] or [`Error::NewerSchema`]. A file that is refused is not changed.
    pub fn open(root: &Dir) -> Result<Self> {
        let path = root.join(FILE_NAME);
        check_files(root)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NOFOLLOW
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags)
            .and_then(|mut connection| connection.busy_handler(Some(wait)).map(|()| connection))
            .map_err(|source| wrap(&path, source))?;
        let root = root.clone();
        let mut index = Self { connection, root, path, read_only: false, identity: None };
        index.migrate()?;
        index.identity = identity(&index.root);
        index
            .set_journal_mode(if filesystem::is_network(index.root.path()) {
                "delete"
            } else {
                "wal"
            })
            .and_then(|()| index.connection.pragma_update(None, "synchronous", "EXTRA"))
            .map_err(|source| wrap(&index.path, source))?;
        Ok(index)
    }

    /// Sets the journal mode. SQLite does not wait for other processes here, so this does.
    fn set_journal_mode(&self, wanted: &str) -> rusqlite::Result<()> {
        let begin = Instant::now();
        loop {
            let mode: String =
                self.connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
            if mode == wanted {
                return Ok(());
            }
            match self.connection.pragma_update(None, "journal_mode", wanted) {
                Err(error)
                    if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                        && begin.elapsed() < BUSY_TIMEOUT =>
                {
                    std::thread::sleep(Duration::from_millis(5));
                }
                changed => return changed,
            }
        }
    }

    /// Opens the index of a cache that this process cannot write.
    ///
    /// # Errors
    /// As [`Index::open`]; also if the index does not exist, or [`Error::ReadOnly`] if it has an older
    /// schema.
    pub fn open_read_only(root: &Dir) -> Result<Self> {
        let path = root.join(FILE_NAME);
        check_files(root)?;
        // A write-ahead log needs its files beside the database even for reading. If they do not exist
        // and cannot be made, no writer is active, and the database file alone is complete.
        let attempts = ["mode=ro", "immutable=1"].map(|how| {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
                | OpenFlags::SQLITE_OPEN_NOFOLLOW
                | OpenFlags::SQLITE_OPEN_URI
                | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let uri = format!("file:{}?{how}", uri_path(&path));
            let mut connection = Connection::open_with_flags(uri, flags)?;
            connection.busy_handler(Some(wait))?;
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
            Ok(connection)
        });
        let [log, alone] = attempts;
        // Files left by a writer that died are part of the index, and only a writer can process them.
        let is_open = ["-journal", "-wal"]
            .into_iter()
            .any(|beside| root.stat(beside_of(beside)).is_ok_and(|found| found.len() > 0));
        if log.is_err() && is_open {
            return Err(Error::ReadOnly {
                path: root.path().to_owned(),
                reason: Unwritable::Unfinished,
            });
        }
        let connection = log.or(alone).map_err(|source: rusqlite::Error| wrap(&path, source))?;
        let root = root.clone();
        let index = Self { connection, root, path, read_only: true, identity: None };
        let version = index.check_version()?;
        if version < MIGRATIONS.len() {
            return Err(Error::ReadOnly {
                path: index.root.path().to_owned(),
                reason: Unwritable::OlderSchema,
            });
        }
        Ok(index)
    }

    fn check_version(&self) -> Result<usize> {
        check_version(&self.connection, &self.path)
    }

    fn migrate(&mut self) -> Result<()> {
        let mut version = self.check_version()?;
        while version < MIGRATIONS.len() {
            let path = self.path.clone();
            let transaction = self.begin()?;
            // Another process may have migrated it while this one waited for the lock.
            version = version_of(&transaction, &path)?;
            if let Some(migration) = MIGRATIONS.get(version) {
                transaction
                    .execute_batch(migration)
                    .and_then(|()| {
                        transaction.pragma_update(None, "application_id", APPLICATION_ID)
                    })
                    .and_then(|()| {
                        transaction.pragma_update(None, "user_version", signed(version as u64 + 1))
                    })
                    .map_err(|source| wrap(&path, source))?;
                transaction.commit().map_err(|source| wrap(&path, source))?;
                version += 1;
                info!(version, "migrated the index");
            }
        }
        Ok(())
    }
}

/// How many migrations have run, read in one transaction.
fn check_version(connection: &Connection, path: &Path) -> Result<usize> {
    let transaction = connection.unchecked_transaction().map_err(|source| wrap(path, source))?;
    version_of(&transaction, path)
}

fn version_of(connection: &Connection, path: &Path) -> Result<usize> {
    let number = |sql: &str| {
        connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(|it| wrap(path, it))
    };
    // The first query begins the read transaction of the others.
    let is_empty = number("SELECT count(*) FROM sqlite_schema")? == 0;
    let (version, id) = (number("PRAGMA user_version")?, number("PRAGMA application_id")?);
    let is_new = version == 0 && id == 0 && is_empty;
    if !is_new && id != APPLICATION_ID {
        return Err(Error::NotAnIndex { path: path.to_owned() });
    }
    let known = MIGRATIONS.len();
    usize::try_from(version)
        .ok()
        .filter(|&version| version <= known)
        .ok_or_else(|| Error::NewerSchema { path: path.to_owned(), found: version, known })
}

/// Escapes a path for SQLite's URIs.
fn uri_path(path: &Path) -> String {
    use std::fmt::Write;
    let mut uri = String::new();
    for &byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            uri.push(byte.into());
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}
