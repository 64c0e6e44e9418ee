//! What an index may do, and what it may cost.
//!
//! Others may have written it: a member of a group, or the author of a checkout that contains a cache.
//! So nothing in it acts (no trigger, no view, no function with effects), and reading it is bounded: the
//! pages of a damaged or hostile index can lead to each other, so that a table of a few pages never
//! ends. Every row of an honest index has its own bytes in the file, and a step of SQLite's virtual
//! machine reads only a few of them. So both are bounded by the size of the index.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, ffi};

/// The longest text or row, in bytes.
const LONGEST: i32 = 1 << 16;
/// How many steps SQLite makes between two looks at the budget.
const PERIOD: u16 = 1000;
/// Steps for every statement, and more for each byte of the index.
const FEWEST_STEPS: i64 = 500_000;
const STEPS_PER_BYTE: i64 = 4;
/// A larger index counts as one of this size: a file with holes can have any size.
const LARGEST: i64 = 1 << 30;
/// Bytes of text that every query may return.
const FEWEST_BYTES: i64 = 1 << 16;

/// Restricts a connection before its first query.
pub fn restrict(connection: &Connection) -> rusqlite::Result<()> {
    for (config, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
    ] {
        connection.set_db_config(config, on)?;
    }
    for (limit, most) in [
        (Limit::SQLITE_LIMIT_LENGTH, LONGEST),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, LONGEST),
        (Limit::SQLITE_LIMIT_COLUMN, 100),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, 100),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 10),
        (Limit::SQLITE_LIMIT_FUNCTION_ARG, 10),
        (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 100),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 0),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        connection.set_limit(limit, most)?;
    }
    connection.pragma_update(None, "cell_size_check", true)
}

/// The steps and bytes that the current statement may still take.
#[derive(Debug)]
pub struct Budget {
    steps: Arc<AtomicI64>,
    bytes: Cell<i64>,
    /// The size of the index when it was last looked at.
    size: Cell<i64>,
}

impl Budget {
    /// Bounds all further statements of a connection.
    pub fn of(connection: &mut Connection) -> rusqlite::Result<Self> {
        let steps = Arc::new(AtomicI64::new(FEWEST_STEPS));
        let left = Arc::clone(&steps);
        let is_used_up = move || left.fetch_sub(PERIOD.into(), Ordering::Relaxed) <= 0;
        connection.progress_handler(PERIOD.into(), Some(is_used_up))?;
        Ok(Self { steps, bytes: Cell::new(FEWEST_BYTES), size: Cell::new(0) })
    }

    /// Begins a statement.
    pub fn refill(&self) {
        let size = self.size.get();
        self.steps.store(FEWEST_STEPS + STEPS_PER_BYTE * size, Ordering::Relaxed);
        self.bytes.set(FEWEST_BYTES + size);
    }

    /// Looks at the size of the index, and returns whether it has grown. Not done before each statement,
    /// because it would take longer than most of them.
    pub fn measure(&self, connection: &Connection) -> rusqlite::Result<bool> {
        self.refill();
        let of = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        let size = of("page_count")?.saturating_mul(of("page_size")?).clamp(0, LARGEST);
        Ok(self.size.replace(size) < size)
    }

    /// Takes the bytes of a row. Fails if the index cannot have that many.
    pub fn take(&self, bytes: usize) -> rusqlite::Result<()> {
        let left = self.bytes.get().saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.bytes.set(left);
        if left < 0 { Err(failure(ffi::SQLITE_INTERRUPT, ENDLESS)) } else { Ok(()) }
    }
}

pub const ENDLESS: &str = "its tables have no end";

/// Whether a statement has used up its budget.
pub fn is_used_up(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}

/// An error as of SQLite, for what it does not check.
pub fn failure(code: i32, what: &str) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(what.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_without_end_is_stopped() {
        let mut connection = Connection::open_in_memory().unwrap();
        restrict(&connection).unwrap();
        let budget = Budget::of(&mut connection).unwrap();
        let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT 1 FROM n) \
                       SELECT count(*) FROM n";
        for _ in 0..2 {
            budget.refill();
            let counted = connection.query_row(endless, [], |row| row.get::<_, i64>(0));
            assert!(is_used_up(&counted.unwrap_err()));
        }
        budget.refill();
        assert!(connection.query_row("SELECT 1", [], |_| Ok(())).is_ok());
    }

    #[test]
    fn a_row_that_the_index_has_no_bytes_for_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        let budget = Budget::of(&mut connection).unwrap();
        let some = usize::try_from(FEWEST_BYTES).unwrap();
        budget.refill();
        assert!(budget.take(some).is_ok());
        assert!(is_used_up(&budget.take(1).unwrap_err()));
        connection.execute_batch("CREATE TABLE t (x)").unwrap();
        assert!(budget.measure(&connection).unwrap() && !budget.measure(&connection).unwrap());
        budget.refill();
        assert!(budget.take(some + 1).is_ok());
    }

    #[test]
    fn triggers_views_and_long_texts_do_nothing() {
        let connection = Connection::open_in_memory().unwrap();
        restrict(&connection).unwrap();
        let run = |sql: &str| connection.execute_batch(sql);
        run("CREATE TABLE t (x); CREATE TABLE u (x); CREATE VIEW v AS SELECT * FROM t;
             CREATE TRIGGER r AFTER INSERT ON t BEGIN INSERT INTO u VALUES (1); END;
             INSERT INTO t VALUES (1)")
        .unwrap();
        let count = connection.query_row("SELECT count(*) FROM u", [], |row| row.get::<_, i64>(0));
        assert_eq!(count, Ok(0));
        for refused in [
            "SELECT * FROM v",
            "SELECT zeroblob(1000000)",
            "ATTACH ':memory:' AS other",
            "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = ''",
        ] {
            assert!(run(refused).is_err(), "{refused}");
        }
    }
}
