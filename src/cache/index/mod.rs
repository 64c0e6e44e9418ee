//! The index: an SQLite database with one row for each egg. The only module that knows SQL.
//!
//! # Locking
//! SQLite's write lock is the only lock of the cache. A writer takes it with `BEGIN IMMEDIATE`, holds it
//! for a short while, and waits for it up to [`BUSY_TIMEOUT`], or less ([`Index::set_patience`]).
//!
//! `open` opens it to write it, and describes how it depends on the file system; `read` opens it to read it
//! and leaves no trace. `schema` has the migrations and checks the schema, and `budget` bounds what an index
//! of somebody else can cost.

mod budget;
mod choices;
mod names;
mod open;
#[cfg(test)]
mod query_plans;
mod read;
mod regret;
mod row;
mod schema;
mod usage;
mod writer;

use std::cell::RefCell;
use std::collections::HashSet;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, Row, TransactionBehavior};

use crate::disk::dir::Dir;
use crate::egg::cached_egg::CachedEgg;
use crate::error::{Error, IoContext, OrLog, Owner, Result, Unwritable};
use crate::util::clock::now;
use crate::util::hash::digest::Digest;

use budget::{Budget, ENDLESS, failure, is_used_up};
use read::Stamp;
pub use read::is_index;
pub use regret::Regrets;
use row::{digest_of, eggs};
use tracing::{debug, trace, warn};
pub use usage::{DAY, Day, Tally, Usage, day_of};
pub use writer::Writer;

/// The name of the index in the cache directory.
pub const FILE_NAME: &str = "index.sqlite";
/// How long a writer waits for the write lock.
pub const BUSY_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a buildout waits for the write lock, which it needs for nothing but to store eggs.
const RUN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long recording a use waits for the write lock.
const USE_TIMEOUT: Duration = Duration::from_millis(500);
/// How often a waiting writer tries again. SQLite's own steps grow to 100 ms, so the lock would go to
/// whichever process happens to try while it is free.
const BUSY_STEP: Duration = Duration::from_millis(2);

/// After how long a command says that it waits.
const LONG: Duration = Duration::from_secs(2);

/// What to do when a command has waited for the write lock for a while.
static ON_WAIT: OnceLock<Box<dyn Fn() + Send + Sync>> = OnceLock::new();

/// Calls `tell` whenever a command has waited for the write lock for two seconds. The first call counts.
pub fn on_wait(tell: impl Fn() + Send + Sync + 'static) {
    let _ = ON_WAIT.set(Box::new(tell));
}

/// How long to wait for the locks of other processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// A command: [`BUSY_TIMEOUT`].
    Command,
    /// A buildout: [`RUN_TIMEOUT`].
    Run,
    /// What is not worth waiting for: [`USE_TIMEOUT`].
    Brief,
}

impl Patience {
    fn apply(self, connection: &mut Connection) -> rusqlite::Result<()> {
        connection.busy_handler(Some(match self {
            Self::Command => |tries: i32| {
                if BUSY_STEP * tries.unsigned_abs() == LONG {
                    ON_WAIT.get().inspect(|tell| tell());
                }
                wait_for(BUSY_TIMEOUT, tries)
            },
            Self::Run => |tries| wait_for(RUN_TIMEOUT, tries),
            Self::Brief => |tries| wait_for(USE_TIMEOUT, tries),
        }))
    }
}

/// SQLite's busy handler: returns whether to try again, after `tries` times. Steps are counted, not time: on a
/// busy machine a step takes longer, and so does whatever holds the lock.
fn wait_for(timeout: Duration, tries: i32) -> bool {
    std::thread::sleep(BUSY_STEP);
    BUSY_STEP * tries.unsigned_abs() < timeout
}

#[derive(Debug)]
pub struct Index {
    /// A reader without locks replaces it when the file has changed.
    open: RefCell<Open>,
    root: Dir,
    path: PathBuf,
    read_only: bool,
    patience: Patience,
    /// The identity of the open file.
    identity: Option<(u64, u64)>,
}

/// An open database.
#[derive(Debug)]
struct Open {
    connection: Connection,
    budget: Budget,
    /// The state of the file, if it is read without locks.
    alone: Option<Stamp>,
}

impl Index {
    /// Whether it has a row for every egg. A new index does not until it is rebuilt.
    pub fn is_complete(&self) -> Result<bool> {
        self.read(|open| is_complete(&open.connection))
    }

    /// Runs a query.
    fn read<T>(&self, query: impl Fn(&Open) -> rusqlite::Result<T>) -> Result<T> {
        self.reading(|open| open.budgeted(&query).map_err(|source| wrap(&self.path, source)))
    }

    /// Looks at the size of the index, which bounds what its queries cost.
    fn measure(&self) -> Result<()> {
        let Open { connection, budget, .. } = &*self.open.borrow();
        budget.measure(connection).map(drop).map_err(|source| wrap(&self.path, source))
    }

    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// The first damage that SQLite finds, if there is any.
    #[must_use]
    pub fn damage(&self) -> Option<String> {
        let check = |row: &Row<'_>| row.get::<_, String>(0);
        let found =
            self.read(|open| open.connection.query_row("PRAGMA integrity_check(1)", [], check));
        match found {
            // A file that is marked as read-only is of no use either.
            Ok(found) if found == "ok" && !self.read_only => {
                let is_read_only = self.open.borrow().connection.is_readonly(rusqlite::MAIN_DB);
                (is_read_only != Ok(false)).then(|| "it is marked as read-only".into())
            }
            Ok(found) if found == "ok" => None,
            Ok(found) => Some(found),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Renames a damaged index and its log, and returns the new path.
    pub fn set_aside(root: &Dir) -> Result<PathBuf> {
        let seconds = now();
        let aside_of = |suffix: &str| format!("index.set-aside-{seconds}{suffix}");
        let mut aside = aside_of("");
        let mut another = 0;
        while root.stat(&aside).is_ok() {
            another += 1;
            aside = aside_of(&format!("-{another}"));
        }
        // SQLite deletes a log without its index, so the index is renamed first.
        for log in BESIDE {
            let from = beside_of(log);
            match root.rename(&from, root, format!("{aside}{log}")) {
                Err(error) if !log.is_empty() && error.kind() == std::io::ErrorKind::NotFound => {}
                renamed => renamed.at("set aside", &root.join(from))?,
            }
        }
        let aside = root.join(aside);
        warn!(aside = %aside.display(), "set the index aside");
        Ok(aside)
    }

    /// Sets how long writing waits for the locks of other processes.
    pub fn set_patience(&mut self, patience: Patience) {
        self.patience = patience;
        patience.apply(&mut self.open.get_mut().connection).or_log();
    }

    /// Takes the write lock. Fails if another index has taken the place of this one: the lock of an index
    /// that was set aside has no meaning to other processes.
    fn begin(&mut self) -> Result<(rusqlite::Transaction<'_>, &Budget)> {
        let path = &self.path;
        let begun = Instant::now();
        let Open { connection, budget, .. } = self.open.get_mut();
        budget.refill();
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|source| wrap(path, source))?;
        let ms = begun.elapsed().as_millis();
        if ms >= BUSY_STEP.as_millis() {
            debug!(ms, "waited for the write lock");
        }
        if self.identity.is_some() && self.identity != identity(&self.root) {
            return Err(Error::ReplacedIndex { path: path.clone() });
        }
        budget.measure(&transaction).map_err(|source| wrap(path, source))?;
        Ok((transaction, budget))
    }

    /// Takes the write lock and runs `work`. All of its changes become durable, or none if it fails.
    pub fn write<T>(&mut self, work: impl FnOnce(&mut Writer<'_>) -> Result<T>) -> Result<T> {
        let path = self.path.clone();
        let (transaction, budget) = self.begin()?;
        let done = work(&mut Writer { connection: &transaction, budget, path: &path })?;
        let begun = Instant::now();
        transaction.commit().map_err(|source| wrap(&path, source))?;
        trace!(ms = begun.elapsed().as_millis(), "committed");
        Ok(done)
    }

    fn eggs(&self, rest: &str, parameters: &[&dyn rusqlite::ToSql]) -> Result<Vec<CachedEgg>> {
        self.read(|open| eggs(&open.connection, &open.budget, rest, parameters))
    }

    // The rows are sorted here, because SQLite would first collect all of them, whatever their number.

    /// All eggs, by name, version as text, and time added.
    pub fn all(&self) -> Result<Vec<CachedEgg>> {
        self.eggs("", &[]).map(in_list_order)
    }

    /// The eggs of one project, by its PEP 503 name, oldest first.
    pub fn of_project(&self, name: &str) -> Result<Vec<CachedEgg>> {
        self.eggs("WHERE name = ?", &[&name]).map(oldest_first)
    }

    /// Eggs whose name contains `name`, or whose file name or digest contains `text`, in the order of
    /// [`Index::all`]. This reads every row.
    pub fn containing(&self, name: &str, text: &str) -> Result<Vec<CachedEgg>> {
        let rest = "WHERE instr(name, ?1) OR instr(file_name, ?2) OR instr(digest, ?2)";
        self.eggs(rest, &[&name, &text]).map(in_list_order)
    }

    pub fn of_file_name(&self, file_name: &str) -> Result<Vec<CachedEgg>> {
        self.eggs("WHERE file_name = ?", &[&file_name]).map(oldest_first)
    }

    pub fn of_digest(&self, digest: Digest) -> Result<Option<CachedEgg>> {
        Ok(self.eggs("WHERE digest = ?", &[&digest.to_string()])?.pop())
    }

    /// Eggs whose digest begins with `prefix`, which is lower-case hexadecimal digits.
    pub fn of_digest_prefix(&self, prefix: &str) -> Result<Vec<CachedEgg>> {
        // `g` sorts after the last digit, and the table is in the order of digests.
        self.eggs("WHERE digest >= ?1 AND digest < ?1 || 'g' ORDER BY digest", &[&prefix])
    }

    /// The digests of evicted eggs whose blobs may still exist.
    pub fn evicted(&self) -> Result<HashSet<Digest>> {
        self.read(|open| {
            let mut statement = open.connection.prepare_cached("SELECT digest FROM evicted")?;
            let rows = statement.query_map([], |row| digest_of(row, 0))?;
            rows.filter_map(Result::transpose).collect()
        })
    }

    /// Sets the last use of eggs to `now`, without counting a use. Gives up as [`Index::record`] does.
    pub fn touch(&mut self, digests: &[Digest], now: i64) {
        self.write_briefly(|writer| {
            digests.iter().try_for_each(|&digest| writer.touch(digest, now))
        });
    }

    /// Moves the write-ahead log into the database, so that closing the index later has nothing to do.
    /// Gives up after a short while.
    pub fn checkpoint(&mut self) {
        if !self.read_only {
            let connection = &mut self.open.get_mut().connection;
            Patience::Brief.apply(connection).or_log();
            let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
            connection.query_row(checkpoint, [], |_| Ok(())).or_log();
            self.patience.apply(connection).or_log();
        }
    }

    /// Writes something that is not worth waiting or failing for.
    fn write_briefly(&mut self, work: impl FnOnce(&mut Writer<'_>) -> Result<()>) {
        if self.read_only {
            return;
        }
        Patience::Brief.apply(&mut self.open.get_mut().connection).or_log();
        self.write(work).or_log();
        self.patience.apply(&mut self.open.get_mut().connection).or_log();
    }
}

impl Open {
    /// Runs a query within its budget. The index may have grown since its size was known.
    fn budgeted<T>(&self, query: impl Fn(&Self) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        self.budget.refill();
        match query(self) {
            Err(error) if is_used_up(&error) && self.budget.measure(&self.connection)? => {
                query(self)
            }
            answer => answer,
        }
    }
}

fn in_list_order(mut eggs: Vec<CachedEgg>) -> Vec<CachedEgg> {
    let place = |egg: &CachedEgg| (egg.provenance.added_at, egg.digest);
    eggs.sort_unstable_by(|a, b| {
        let by_key = (&a.key.name, &a.key.version).cmp(&(&b.key.name, &b.key.version));
        by_key.then_with(|| place(a).cmp(&place(b)))
    });
    eggs
}

fn oldest_first(mut eggs: Vec<CachedEgg>) -> Vec<CachedEgg> {
    eggs.sort_unstable_by_key(|egg| (egg.provenance.added_at, egg.digest));
    eggs
}

fn is_complete(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT is_complete FROM state", [], |row| row.get(0))
}

fn wrap(path: &Path, source: rusqlite::Error) -> Error {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => Error::NotAnIndex { path },
        // Unknown: a table or column is missing, although the migrations made it. Read-only: the file is
        // marked so, because an index that this user may not write is never written.
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::Unknown | ErrorCode::TooBig) => {
            Error::DamagedIndex { path, source }
        }
        Some(ErrorCode::OperationInterrupted) => {
            let source = failure(rusqlite::ffi::SQLITE_CORRUPT, ENDLESS);
            Error::DamagedIndex { path, source }
        }
        Some(ErrorCode::CannotOpen) if is_denied(&path) => {
            Error::UnreadableIndex { owner: Owner::of(&path), path }
        }
        Some(ErrorCode::ReadOnly) if is_moved(&source) => Error::ReplacedIndex { path },
        Some(ErrorCode::ReadOnly) => Error::DamagedIndex { path, source },
        Some(ErrorCode::DatabaseBusy) => Error::LockedIndex { path },
        None if !matches!(source, rusqlite::Error::QueryReturnedNoRows) => {
            Error::DamagedIndex { path, source }
        }
        _ => Error::Index { path, source },
    }
}

/// The suffixes of the index and of the files that SQLite keeps beside it: its log, the index of the log,
/// and its rollback journal.
const BESIDE: [&str; 4] = ["", "-wal", "-shm", "-journal"];

/// The name of a file that SQLite keeps beside the index.
fn beside_of(suffix: &str) -> String {
    format!("{FILE_NAME}{suffix}")
}

fn identity(root: &Dir) -> Option<(u64, u64)> {
    root.stat(FILE_NAME).ok().map(|found| found.identity())
}

/// Refuses what SQLite must not open:
///
/// - Links, FIFOs and everything else that is not a file: it would wait for a FIFO. It follows no link itself.
/// - Shared memory with a second name, which SQLite overwrites without a look at it.
/// - A rollback journal that names a super-journal, which can be any file outside of the cache. SQLite writes
///   such a journal only for several databases, which eggcache never has.
fn check_files(root: &Dir) -> Result<()> {
    for suffix in BESIDE {
        let name = beside_of(suffix);
        let Some(found) = root.find(&name).at("open", &root.join(&name))? else { continue };
        let has_another_name = suffix == "-shm" && found.has_other_names();
        let is_foreign =
            suffix == "-journal" && found.is_file() && names_super_journal(root, &name);
        if !found.is_file() || has_another_name || is_foreign {
            return Err(Error::NotAnIndex { path: root.join(name) });
        }
    }
    Ok(())
}

/// Whether a rollback journal ends as one does that names a super-journal (SQLite's `pager.c`).
fn names_super_journal(root: &Dir, journal: &str) -> bool {
    const MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
    let end = || {
        let file = root.read(journal)?;
        let mut end = [0; MAGIC.len()];
        let at = file.metadata()?.len().saturating_sub(end.len() as u64);
        file.read_exact_at(&mut end, at).map(|()| end)
    };
    end().is_ok_and(|end: [u8; 8]| end == MAGIC)
}

/// Whether permissions keep this process from reading a file. SQLite only says that it cannot. The file is
/// not opened, because closing it would release SQLite's locks on it.
fn is_denied(path: &Path) -> bool {
    use rustix::fs::{Access, access};
    access(path, Access::READ_OK) == Err(rustix::io::Errno::ACCESS)
}

/// Whether the file was renamed while it was open, as `reindex` does with a damaged index.
fn is_moved(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::SQLITE_READONLY_DBMOVED;
    error.sqlite_error().is_some_and(|error| error.extended_code == SQLITE_READONLY_DBMOVED)
}

/// The reason why the disk accepts no writes, if this is such an error.
#[must_use]
pub(crate) fn unwritable(error: &rusqlite::Error) -> Option<Unwritable> {
    use rusqlite::ffi;
    match error.sqlite_error()?.extended_code {
        ffi::SQLITE_FULL => Some(Unwritable::NoSpace),
        ffi::SQLITE_IOERR_SHMSIZE | ffi::SQLITE_IOERR_WRITE => Some(Unwritable::Disk),
        _ => None,
    }
}
