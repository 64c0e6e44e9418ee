//! Conversion between a row of the index and an egg.

use rusqlite::{Connection, Row, ToSql};

use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::EggKey;
use crate::egg::manifest::Counts;
use crate::egg::provenance::Provenance;
use crate::util::hash::digest::Digest;

pub(super) const COLUMNS: &str = "digest, file_name, name, version, python, abi, platform, libc, \
     generation, source_sha256, variant, environment, files, directories, symlinks, bytes, \
     blob_bytes, added_at, eggcache, buildout, setuptools, source, build_seconds, replaces, \
     used_at, uses";

pub(super) fn eggs(
    connection: &Connection,
    rest: &str,
    parameters: impl rusqlite::Params,
) -> rusqlite::Result<Vec<CachedEgg>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM eggs {rest}"))?;
    let rows = statement.query_map(parameters, egg)?;
    rows.collect()
}

/// The values of a key, in the order of the columns.
pub(super) fn key_values(key: &EggKey) -> [&dyn ToSql; 10] {
    [
        &key.name,
        &key.version,
        &key.python,
        &key.abi,
        &key.platform,
        &key.libc,
        &key.generation,
        &key.source_sha256,
        &key.variant,
        &key.environment,
    ]
}

/// Reads a row of [`COLUMNS`] by position: looking columns up by name would take most of the time of a
/// long list.
pub(super) fn egg(row: &Row<'_>) -> rusqlite::Result<CachedEgg> {
    let count = |column: usize| row.get::<_, i64>(column).map(i64::unsigned_abs);
    let known = |column: usize| {
        row.get::<_, String>(column).map(|text| Some(text).filter(|text| !text.is_empty()))
    };
    let digest = |column: usize| digest_of(row, column);
    Ok(CachedEgg {
        digest: digest(0)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?,
        file_name: row.get(1)?,
        key: key_of(row, 2)?,
        counts: Counts {
            files: count(12)?,
            directories: count(13)?,
            symlinks: count(14)?,
            bytes: count(15)?,
        },
        blob_bytes: count(16)?,
        provenance: Provenance {
            added_at: row.get(17)?,
            eggcache: row.get(18)?,
            buildout: known(19)?,
            setuptools: known(20)?,
            source: known(21)?,
            build_seconds: row.get(22)?,
            replaces: digest(23)?,
        },
        used_at: row.get(24)?,
        uses: count(25)?,
    })
}

/// Reads a key whose columns begin at `first`, in the order of [`key_values`].
pub(super) fn key_of(row: &Row<'_>, first: usize) -> rusqlite::Result<EggKey> {
    Ok(EggKey {
        name: row.get(first)?,
        version: row.get(first + 1)?,
        python: row.get(first + 2)?,
        abi: row.get(first + 3)?,
        platform: row.get(first + 4)?,
        libc: row.get(first + 5)?,
        generation: row.get(first + 6)?,
        source_sha256: row.get(first + 7)?,
        variant: row.get(first + 8)?,
        environment: row.get(first + 9)?,
    })
}

/// Reads a digest; `None` if the column is empty.
pub(super) fn digest_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Digest>> {
    let text: String = row.get(column)?;
    let digest = Some(text).filter(|text| !text.is_empty()).map(|text| text.parse::<Digest>());
    digest.transpose().map_err(|error| {
        let kind = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(error))
    })
}

/// Converts a count for SQLite, whose integers are signed. No real count exceeds their range.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
