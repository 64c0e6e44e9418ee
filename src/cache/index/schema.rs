//! The schema of an index: its migrations, and the check that an index has the schema of its version and
//! nothing else.
//!
//! # Compatibility
//! `migrations/` is an append-only list; `user_version` counts how many have run. An index with more
//! migrations than this program knows is refused.

use std::path::Path;

use rusqlite::{Connection, ffi};

use super::budget::failure;
use super::wrap;
use crate::error::{Error, Result};
use crate::util::hash::digest::Digest;

pub const MIGRATIONS: [&str; 7] = [
    include_str!("../../../migrations/0001_create_eggs.sql"),
    include_str!("../../../migrations/0002_create_evicted.sql"),
    include_str!("../../../migrations/0003_create_regrets.sql"),
    include_str!("../../../migrations/0004_create_days.sql"),
    include_str!("../../../migrations/0005_create_choices.sql"),
    include_str!("../../../migrations/0006_add_spelling.sql"),
    include_str!("../../../migrations/0007_widen_regrets.sql"),
];
/// The digest of the schema after each migration. A test compares them with the migrations: to run those
/// for each index that is opened would take longer than everything else.
const SCHEMAS: [&str; MIGRATIONS.len()] = [
    "cad86d4a12de6faf0fa6744ba4d69a69d04dd27cddd08957358e3565e5441db1",
    "134d6887131366d066fc9aa6cf4520f98e79f8c17f2f67f984d832b2bcd1f947",
    "bffc51415015c40376dd2eacd2199ed8397ed530747713f4a61efb527ca1104c",
    "13ad18cd42882bdae9ee68077b806ee5f304ede33df452b55c082431c96bdc90",
    "d895999f015add962e771079f14f28f7ca252323fccae48f5038e6bcdb848a57",
    "1cade14f553b59152c8002503a81d01b921ca3ee81aa465fb06edf3e8a82e7fc",
    "655a09b4afad69a66b9920dad549185bf160ac0a8c420534adc0ea26c3933f3e",
];
/// The `PRAGMA application_id` of an index, `EggC`, which distinguishes it from other databases.
pub const APPLICATION_ID: i64 = 0x4567_6743;
/// An index has far fewer tables and indexes.
const MOST_ENTRIES: usize = 100;

/// How many migrations have run, read in one transaction.
///
/// # Errors
/// [`Error::NotAnIndex`], [`Error::NewerSchema`], or [`Error::DamagedIndex`] if its schema is not that of
/// its version: triggers and views would act, other tables or columns may cost anything.
pub fn check_version(connection: &Connection, path: &Path) -> Result<usize> {
    let transaction = connection.unchecked_transaction().map_err(|source| wrap(path, source))?;
    version_of(&transaction, path)
}

/// As [`check_version`], within a transaction.
pub fn version_of(connection: &Connection, path: &Path) -> Result<usize> {
    let number = |sql: &str| {
        connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(|it| wrap(path, it))
    };
    // The first query begins the read transaction of the others.
    let schema = schema_of(connection).map_err(|source| wrap(path, source))?;
    let (version, id) = (number("PRAGMA user_version")?, number("PRAGMA application_id")?);
    let is_new = version == 0 && id == 0 && schema.is_empty();
    if !is_new && id != APPLICATION_ID {
        return Err(Error::NotAnIndex { path: path.to_owned() });
    }
    let known = MIGRATIONS.len();
    let version = usize::try_from(version)
        .ok()
        .filter(|&version| version <= known)
        .ok_or_else(|| Error::NewerSchema { path: path.to_owned(), found: version, known })?;
    let is_expected = match version.checked_sub(1) {
        None => schema.is_empty(),
        Some(last) => Digest::of(schema.as_bytes()).to_string() == SCHEMAS[last],
    };
    if !is_expected {
        let what = format!("its schema is not that of version {version}");
        let source = failure(ffi::SQLITE_CORRUPT, &what);
        return Err(Error::DamagedIndex { path: path.to_owned(), source });
    }
    Ok(version)
}

/// All tables, indexes, triggers and views with their SQL, sorted, without comments.
fn schema_of(connection: &Connection) -> rusqlite::Result<String> {
    let mut statement =
        connection.prepare_cached("SELECT type, name, tbl_name, sql FROM sqlite_schema")?;
    let entry = |row: &rusqlite::Row<'_>| {
        let text =
            |column: usize| row.get::<_, Option<String>>(column).map(Option::unwrap_or_default);
        let [kind, name, table, sql] = [text(0)?, text(1)?, text(2)?, text(3)?];
        Ok(format!("{kind} {name:?} {table:?} {}\n", normalized(&sql)))
    };
    let entries = statement.query_map([], entry)?.take(MOST_ENTRIES);
    let mut entries = entries.collect::<rusqlite::Result<Vec<String>>>()?;
    entries.sort_unstable();
    Ok(entries.concat())
}

/// SQL without its line comments, and with one space for each run of white space. What is quoted stays
/// as it is.
fn normalized(sql: &str) -> String {
    let mut kept = String::with_capacity(sql.len());
    let mut characters = sql.chars().peekable();
    let mut quote = None;
    while let Some(mut c) = characters.next() {
        if quote.is_none() && c == '-' && characters.peek() == Some(&'-') {
            characters.by_ref().find(|&c| c == '\n');
            c = ' ';
        }
        match quote {
            Some(end) => quote = Some(end).filter(|&end| end != c),
            None if matches!(c, '\'' | '"' | '`') => quote = Some(c),
            None if c.is_ascii_whitespace() && kept.ends_with(' ') => continue,
            None if c.is_ascii_whitespace() => c = ' ',
            None => {}
        }
        kept.push(c);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_has_the_schema_that_its_migrations_make() {
        let connection = Connection::open_in_memory().unwrap();
        let schemas = MIGRATIONS.map(|migration| {
            connection.execute_batch(migration).unwrap();
            Digest::of(schema_of(&connection).unwrap().as_bytes()).to_string()
        });
        assert_eq!(schemas, SCHEMAS);
    }

    #[test]
    fn only_comments_and_white_space_outside_of_quotes_are_ignored() {
        let table = "CREATE TABLE t ( a TEXT )";
        assert_eq!(normalized("CREATE  TABLE t (\n    -- x's\n\n    a TEXT\n)"), table);
        for (one, other) in [
            ("CHECK (a = 'b')", "CHECK (a = 'b-- ')"),
            ("CHECK (a = 'b')", "CHECK (a = 'b ')"),
            ("a /* x */ TEXT", "a TEXT"),
            ("CHECK (a = '--\n')", "CHECK (a = '-- \n')"),
            ("\"a--\nb\" TEXT", "\"a\" TEXT"),
        ] {
            assert_ne!(normalized(one), normalized(other), "{one}");
        }
    }
}
