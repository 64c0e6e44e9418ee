//! Opening an index to read it, which leaves every file as it is and makes none.
//!
//! SQLite alone cannot do that: to read a database with a write-ahead log, it makes the log and the shared
//! memory beside it, and leaves both behind. So what is beside the index decides how it is read.
//!
//! | beside the index | how it is read |
//! |---|---|
//! | a log and its shared memory | As SQLite reads a database that it must not write (`mode=ro`), and the shared memory too (`readonly_shm`). A living writer knows of this reader. After a dead one, SQLite reads the log into memory. |
//! | a rollback journal, or a network file system | As SQLite does (`mode=ro`), with its locks. |
//! | nothing | No writer is active. SQLite reads the file without locks (`immutable`), and each query is repeated if the file has changed meanwhile or a writer has come ([`Stamp`]). |
//! | a log alone, or the journal of a dead writer | Both are copied to a private directory. SQLite completes or rolls back the write in the copy, which then becomes an index in memory. |
//!
//! An index of an older schema, or without all of its rows, is copied into memory, and migrated and
//! completed there.

use std::cell::RefCell;
use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::backup::Backup;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tracing::debug;

use super::budget::restrict;
use super::schema::{APPLICATION_ID, MIGRATIONS, check_version};
use super::{FILE_NAME, Index, Open, Patience, beside_of, check_files, is_denied, wrap};
use crate::disk::dir::{Dir, Stat};
use crate::disk::filesystem;
use crate::error::{Error, IoContext, Result, Unwritable};

/// How often a reader tries again when writers come and go.
const ATTEMPTS: usize = 100;
/// The largest index that is copied, in bytes.
const LARGEST_COPY: u64 = 1 << 30;
/// The longest period in which two changes of a file can have the same time.
const TICK: Duration = Duration::from_millis(20);

/// A file whose change is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    identity: (u64, u64),
    len: u64,
    // Not the ctime: SQLite changes the owner of a log or journal that it opens as root, to what it is.
    modified: (i64, u32),
}

impl Seen {
    fn in_dir(root: &Dir, suffix: &str) -> Option<Self> {
        let of = |found: Stat| Self {
            identity: found.identity(),
            len: found.len(),
            modified: found.modified_exactly(),
        };
        root.stat(beside_of(suffix)).ok().map(of)
    }

    fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How long ago it was modified; `None` if that is in the future.
    fn age(&self) -> Option<Duration> {
        let (seconds, nanos) = self.modified;
        let modified = UNIX_EPOCH + Duration::new(u64::try_from(seconds).ok()?, nanos);
        SystemTime::now().duration_since(modified).ok()
    }
}

/// The index and what is beside it, at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    index: Option<Seen>,
    log: Option<Seen>,
    journal: Option<Seen>,
    has_shared_memory: bool,
}

impl Stamp {
    pub(super) fn of(root: &Dir) -> Self {
        Self {
            index: Seen::in_dir(root, ""),
            log: Seen::in_dir(root, "-wal"),
            journal: Seen::in_dir(root, "-journal"),
            has_shared_memory: Seen::in_dir(root, "-shm").is_some(),
        }
    }

    /// As [`Stamp::of`]. If the index has just changed, waits until a further change has another time.
    fn settled(root: &Dir) -> Self {
        let age = Seen::in_dir(root, "").and_then(|index| index.age());
        if let Some(rest) = age.and_then(|age| TICK.checked_sub(age)) {
            std::thread::sleep(rest);
        }
        Self::of(root)
    }

    fn way(&self, is_network: bool) -> Way {
        let has_log = self.log.is_some_and(|log| !log.is_empty());
        if self.log.is_some() && self.has_shared_memory {
            Way::WithLocks
        } else if has_log {
            Way::OfCopy
        } else if is_network || self.journal.is_some_and(|journal| !journal.is_empty()) {
            Way::WithLocks
        } else {
            Way::Alone
        }
    }
}

/// How an index is read.
#[derive(Debug, PartialEq)]
enum Way {
    WithLocks,
    Alone,
    OfCopy,
}

impl Index {
    /// Opens the index in the cache directory `root` to read it. Changes no file and makes none. If there is
    /// no index, this is a new one in memory, which is not complete.
    ///
    /// # Errors
    /// As [`Index::open`], or [`Error::ReadOnly`] if it is too large to be copied.
    pub fn open_to_read(root: &Dir) -> Result<Self> {
        check_files(root)?;
        if Seen::in_dir(root, "").is_none_or(|index| index.is_empty()) {
            return Self::in_memory(root);
        }
        let index = Self::reader(Open::to_read(root)?, root);
        let version = index.reading(|open| check_version(&open.connection, &index.path))?;
        if version == MIGRATIONS.len() {
            index.measure()?;
            if index.is_complete()? {
                return Ok(index);
            }
        }
        debug!(version, "copied the index into memory");
        let memory = index.reading(|open| copied(&open.connection, &index.path))?;
        Self::migrated(memory, root)
    }

    /// An index without rows, which is not complete.
    pub fn in_memory(root: &Dir) -> Result<Self> {
        let memory = Connection::open_in_memory();
        Self::migrated(memory.map_err(|source| wrap(&root.join(FILE_NAME), source))?, root)
    }

    fn migrated(memory: Connection, root: &Dir) -> Result<Self> {
        let open = Open::restricted(memory);
        let open = open.map_err(|source| wrap(&root.join(FILE_NAME), source))?;
        let mut index = Self::reader(open, root);
        index.migrate()?;
        index.measure()?;
        Ok(index)
    }

    fn reader(open: Open, root: &Dir) -> Self {
        let path = root.join(FILE_NAME);
        let (open, root) = (RefCell::new(open), root.clone());
        Self { open, root, path, read_only: true, patience: Patience::Command, identity: None }
    }

    /// Reads from the index. If this reader has no locks, and a writer has changed the index meanwhile,
    /// opens it again and repeats the query.
    pub(super) fn reading<T>(&self, query: impl Fn(&Open) -> Result<T>) -> Result<T> {
        for _ in 0..ATTEMPTS {
            let answer = query(&self.open.borrow());
            if self.open.borrow().is_unchanged(&self.root) {
                return answer;
            }
            debug!("the index has changed while it was read");
            self.open.replace(Open::to_read(&self.root)?);
            self.measure()?;
        }
        Err(Error::ReplacedIndex { path: self.path.clone() })
    }
}

impl Open {
    fn is_unchanged(&self, root: &Dir) -> bool {
        self.alone.is_none_or(|before| before == Stamp::of(root))
    }

    /// Opens the file, or a copy of it.
    fn to_read(root: &Dir) -> Result<Self> {
        let path = root.join(FILE_NAME);
        let is_network = filesystem::is_network(root.path());
        for _ in 0..ATTEMPTS {
            let mut before = Stamp::of(root);
            let way = before.way(is_network);
            let connected = match way {
                Way::WithLocks => Some(connected(&path, "mode=ro&readonly_shm=1")),
                Way::Alone => {
                    before = Stamp::settled(root);
                    Some(connected(&path, "immutable=1"))
                }
                Way::OfCopy => None,
            };
            let (opened, is_copy) = match connected {
                None => (unfinished(root), true),
                Some(Err(error)) if is_unfinished(&error) && !is_denied(&path) => {
                    (unfinished(root), true)
                }
                Some(opened) => (opened.map_err(|error| wrap(&path, error)), false),
            };
            let has_locks = way == Way::WithLocks && !is_copy && opened.is_ok();
            if !has_locks && Stamp::of(root) != before {
                continue; // a writer has come or gone
            }
            let alone = (way == Way::Alone && !is_copy).then_some(before);
            return opened.map(|open| Self { alone, ..open });
        }
        Err(Error::ReplacedIndex { path })
    }
}

/// Whether there is an index in a directory, by its `application_id`; also if this user may not read it.
pub fn is_index(root: &Dir) -> bool {
    if !root.stat(FILE_NAME).is_ok_and(|found| found.is_file() && found.len() > 0) {
        return false;
    }
    let path = root.join(FILE_NAME);
    let id = file(&path, "immutable=1").and_then(|connection| {
        connection.pragma_query_value(None, "application_id", |row| row.get::<_, i64>(0))
    });
    id == Ok(APPLICATION_ID) || is_denied(&path)
}

fn connected(path: &Path, how: &str) -> rusqlite::Result<Open> {
    let open = Open::restricted(file(path, how)?)?;
    open.connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(open)
}

fn file(path: &Path, how: &str) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let uri = format!("file:{}?{how}", uri_path(path));
    Connection::open_with_flags(uri, flags)
}

/// Whether a dead writer has left its rollback journal or a log without an index of it, or the shared memory
/// was lost.
fn is_unfinished(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi;
    error.sqlite_error().is_some_and(|error| {
        matches!(error.code, ErrorCode::CannotOpen | ErrorCode::FileLockingProtocolFailed)
            || matches!(
                error.extended_code,
                ffi::SQLITE_READONLY_ROLLBACK
                    | ffi::SQLITE_READONLY_RECOVERY
                    | ffi::SQLITE_READONLY_CANTINIT
            )
    })
}

/// An index whose last writer has died, without the write that it left unfinished: a copy in memory.
fn unfinished(root: &Dir) -> Result<Open> {
    let path = root.join(FILE_NAME);
    let private = Permissions::from_mode(0o700);
    let dir = tempfile::Builder::new().permissions(private).tempdir();
    let dir = dir.at("make a temporary folder for", &path)?;
    for name in ["", "-wal", "-journal"].map(beside_of) {
        copy_file(root, &name, &dir.path().join(&name))?;
    }
    let copy = || {
        let connection = Connection::open(dir.path().join(FILE_NAME))?;
        restrict(&connection)?;
        Ok(connection)
    };
    let connection = copy().map_err(|source| wrap(&path, source))?;
    let memory = copied(&connection, &path)?;
    Open::restricted(memory).map_err(|source| wrap(&path, source))
}

fn copy_file(root: &Dir, name: &str, to: &Path) -> Result<()> {
    let from = root.join(name);
    let file = match root.read(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file.at("read", &from)?,
    };
    let found = file.metadata().at("read", &from)?;
    if !found.is_file() || found.len() > LARGEST_COPY {
        let path = root.path().to_owned();
        return Err(Error::ReadOnly { path, reason: Unwritable::Unfinished });
    }
    let mut copy =
        File::options().write(true).create_new(true).mode(0o600).open(to).at("write", to)?;
    io::copy(&mut file.take(found.len()), &mut copy).map(drop).at("copy", &from)
}

/// A copy of an index in memory.
fn copied(from: &Connection, path: &Path) -> Result<Connection> {
    let size = || -> rusqlite::Result<i64> {
        let of = |pragma| from.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        Ok(of("page_count")?.saturating_mul(of("page_size")?))
    };
    let size = size().map_err(|source| wrap(path, source))?;
    if u64::try_from(size).unwrap_or_default() > LARGEST_COPY {
        let root = path.parent().unwrap_or(path).to_owned();
        return Err(Error::ReadOnly { path: root, reason: Unwritable::OlderSchema });
    }
    let copied = || {
        let mut memory = Connection::open_in_memory()?;
        Backup::new(from, &mut memory)?.run_to_completion(i32::MAX, Duration::ZERO, None)?;
        Ok(memory)
    };
    copied().map_err(|source| wrap(path, source))
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::cache::index::Usage;
    use crate::egg::cached_egg::CachedEgg;
    use crate::egg::manifest::tests::manifest;
    use crate::egg::provenance::Provenance;
    use crate::util::hash::digest::Digest;

    const EGGS: usize = 300;

    /// A complete index in which every egg was used as often as the others.
    fn filled(root: &Dir) -> Vec<Digest> {
        let egg = |number: usize| {
            let digest = Digest::of(&number.to_le_bytes());
            let mut egg = CachedEgg::new(digest, &manifest(Vec::new()), 1, Provenance::default());
            egg.key.version = number.to_string();
            egg
        };
        let eggs: Vec<CachedEgg> = (0..EGGS).map(egg).collect();
        Index::open(root).unwrap().write(|writer| writer.replace_all(&eggs)).unwrap();
        eggs.into_iter().map(|egg| egg.digest).collect()
    }

    fn names(root: &Dir) -> Vec<String> {
        root.names().unwrap().map(|name| name.unwrap().into_string().unwrap()).collect()
    }

    #[test]
    fn a_reader_without_locks_sees_what_a_later_writer_commits() {
        let dir = tempfile::tempdir().unwrap();
        let root = &Dir::open(dir.path()).unwrap();
        let eggs = filled(root);
        let reader = Index::open_to_read(root).unwrap();
        assert_eq!(names(root), [FILE_NAME]);
        assert!(reader.open.borrow().alone.is_some());
        let mut writer = Index::open(root).unwrap();
        writer.record(&Usage { hits: eggs.clone(), ..Usage::default() }, 1);
        assert!(reader.all().unwrap().iter().all(|egg| egg.uses == 1));
        assert!(reader.open.borrow().alone.is_none());
        writer.record(&Usage { hits: eggs, ..Usage::default() }, 1);
        drop(writer);
        assert!(reader.all().unwrap().iter().all(|egg| egg.uses == 2));
        assert!(Index::open_to_read(root).unwrap().of_project("foo").is_ok());
    }

    /// The writer opens and closes the index each time, so that readers begin without locks, with them, and
    /// while the log comes and goes.
    #[test]
    fn readers_never_see_a_part_of_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let root = &Dir::open(dir.path()).unwrap();
        let eggs = filled(root);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let kept = Index::open_to_read(root).unwrap();
                    while !is_over.load(Ordering::Relaxed) {
                        for index in [&kept, &Index::open_to_read(root).unwrap()] {
                            let all = index.all().unwrap();
                            assert_eq!(all.len(), EGGS);
                            assert!(all.iter().all(|egg| egg.uses == all[0].uses));
                        }
                    }
                });
            }
            for round in 0..60 {
                let mut writer = Index::open(root).unwrap();
                writer.record(&Usage { hits: eggs.clone(), ..Usage::default() }, 1);
                if round % 3 == 0 {
                    writer.checkpoint();
                }
            }
            is_over.store(true, Ordering::Relaxed);
        });
        let uses = Index::open_to_read(root).unwrap().all().unwrap()[0].uses;
        assert_eq!(uses, 60);
    }

    #[test]
    fn what_is_beside_an_index_decides_how_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let root = &Dir::open(dir.path()).unwrap();
        let way = |files: &[(&str, &str)]| {
            for suffix in ["-wal", "-shm", "-journal"] {
                let _ = root.remove_file(beside_of(suffix));
            }
            for (suffix, content) in files {
                std::fs::write(root.join(beside_of(suffix)), content).unwrap();
            }
            Stamp::of(root).way(false)
        };
        assert_eq!(way(&[]), Way::Alone);
        assert_eq!(way(&[("-wal", "")]), Way::Alone);
        assert_eq!(way(&[("-shm", "x")]), Way::Alone);
        assert_eq!(way(&[("-journal", "")]), Way::Alone);
        assert_eq!(way(&[("-wal", ""), ("-shm", "")]), Way::WithLocks);
        assert_eq!(way(&[("-wal", "x"), ("-shm", "x")]), Way::WithLocks);
        assert_eq!(way(&[("-journal", "x")]), Way::WithLocks);
        assert_eq!(way(&[("-wal", "x")]), Way::OfCopy);
        assert_eq!(Stamp::of(root).way(true), Way::OfCopy);
    }
}
