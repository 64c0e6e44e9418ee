//! Opening an index to write it: making it, and migrating it.
//!
//! # File systems
//! Every commit is durable when it returns (`a_missing_sync_is_detected`): `synchronous = EXTRA`
//! also syncs the directory of a rollback journal. The index has a write-ahead log on a local file
//! system, and a rollback journal on a network file system. An index that cannot be written is opened to
//! be read (`read`); then no use is recorded.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};
use tracing::info;

use super::budget::{Budget, restrict};
use super::row::signed;
use super::schema::{APPLICATION_ID, MIGRATIONS, check_version, version_of};
use super::{BUSY_TIMEOUT, FILE_NAME, Index, Open, Patience, check_files, identity, wrap};
use crate::disk::dir::Dir;
use crate::disk::filesystem;
use crate::disk::permissions::Kind;
use crate::error::{OrLog, Result};

impl Index {
    /// Opens the index in the cache directory `root`, making or migrating it if needed.
    ///
    /// # Errors
    /// [`NotAnIndex`](crate::error::Error::NotAnIndex), `NewerSchema` or `DamagedIndex`. A file that is refused is
    /// not changed.
    pub fn open(root: &Dir) -> Result<Self> {
        let path = root.join(FILE_NAME);
        check_files(root)?;
        create(root);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NOFOLLOW
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = Connection::open_with_flags(&path, flags)
            .and_then(Open::restricted)
            .map_err(|source| wrap(&path, source))?;
        let (open, root) = (RefCell::new(open), root.clone());
        let mut index = Self {
            open,
            root,
            path,
            read_only: false,
            patience: Patience::Command,
            identity: None,
        };
        index.migrate()?;
        index.identity = identity(&index.root);
        index
            .set_journal_mode(if filesystem::is_network(index.root.path()) {
                "delete"
            } else {
                "wal"
            })
            .and_then(|()| {
                let connection = &index.open.get_mut().connection;
                connection.pragma_update(None, "synchronous", "EXTRA")
            })
            .map_err(|source| wrap(&index.path, source))?;
        index.measure()?;
        Ok(index)
    }

    /// Sets the journal mode. SQLite does not wait for other processes here, so this does.
    fn set_journal_mode(&self, wanted: &str) -> rusqlite::Result<()> {
        let connection = &self.open.borrow().connection;
        let begin = Instant::now();
        loop {
            let mode: String =
                connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
            if mode == wanted {
                return Ok(());
            }
            match connection.pragma_update(None, "journal_mode", wanted) {
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

    pub(super) fn migrate(&mut self) -> Result<()> {
        let mut version = check_version(&self.open.borrow().connection, &self.path)?;
        while version < MIGRATIONS.len() {
            let path = self.path.clone();
            let (transaction, _) = self.begin()?;
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

/// Makes an empty index if there is none, with the rights of the cache. SQLite gives its logs the owner and
/// mode of the index. A failure is SQLite's to report.
fn create(root: &Dir) {
    match root.create(FILE_NAME, 0o600) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        made => {
            made.and_then(|made| root.rights()?.give(&made, Kind::File)).or_log();
        }
    }
}

impl Open {
    /// A connection that waits for locks and that is restricted.
    pub(super) fn restricted(mut connection: Connection) -> rusqlite::Result<Self> {
        restrict(&connection)?;
        Patience::Command.apply(&mut connection)?;
        let budget = Budget::of(&mut connection)?;
        Ok(Self { connection, budget, alone: None })
    }
}
