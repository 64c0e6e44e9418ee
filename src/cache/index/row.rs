//! Conversion between a row of the index and an egg.

use rusqlite::{Connection, Row, ToSql, ffi};

use super::budget::{Budget, failure};
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::EggKey;
use crate::egg::manifest::{Counts, MAX_SIZE, is_file_name};
use crate::egg::provenance::Provenance;
use crate::util::clock::now;
use crate::util::hash::digest::Digest;

/// The most that is read of a count or a size, which is more than any egg has.
const MOST: i64 = MAX_SIZE.cast_signed();
/// No sum of build times comes near it.
const MOST_SECONDS: f64 = 1e12;

pub(super) const COLUMNS: &str = "digest, file_name, name, version, python, abi, platform, libc, \
     generation, source_sha256, variant, environment, spelling, files, directories, symlinks, bytes, \
     blob_bytes, added_at, eggcache, buildout, setuptools, source, build_seconds, replaces, \
     used_at, uses, archive_url, choice";

/// The eggs of a query. Fails if a row cannot be that of an egg, or if the index cannot have as many.
pub(super) fn eggs(
    connection: &Connection,
    budget: &Budget,
    rest: &str,
    parameters: &[&dyn ToSql],
) -> rusqlite::Result<Vec<CachedEgg>> {
    let now = now();
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM eggs {rest}"))?;
    let rows = statement.query_map(parameters, |row| {
        let egg = egg(row, now)?;
        budget.take(size_of_row(&egg))?;
        Ok(egg)
    })?;
    rows.collect()
}

/// The fewest bytes that the index needs for the row of an egg.
fn size_of_row(egg: &CachedEgg) -> usize {
    let CachedEgg { file_name, key, provenance, .. } = egg;
    let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let texts = [file_name, &key.name, &key.version, &key.variant, &key.environment];
    Digest::HEX_LEN
        + texts.iter().map(|text| text.len()).sum::<usize>()
        + provenance.eggcache.len()
        + optional(&provenance.source)
}

/// The values of a key, in the order of the columns.
pub(super) fn key_values(key: &EggKey) -> [&dyn ToSql; 11] {
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
        &key.spelling,
    ]
}

/// Reads a row of [`COLUMNS`] by position: looking columns up by name would take most of the time of a
/// long list.
fn egg(row: &Row<'_>, now: i64) -> rusqlite::Result<CachedEgg> {
    let known = |column: usize| {
        row.get::<_, String>(column).map(|text| Some(text).filter(|text| !text.is_empty()))
    };
    let file_name: String = row.get(1)?;
    if !is_file_name(&file_name) {
        let what = format!("a row has the file name {file_name:?}");
        return Err(failure(ffi::SQLITE_CORRUPT, &what));
    }
    Ok(CachedEgg {
        digest: digest_of(row, 0)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?,
        file_name,
        key: key_of(row, 2)?,
        counts: Counts {
            files: count(row, 13)?,
            directories: count(row, 14)?,
            symlinks: count(row, 15)?,
            bytes: count(row, 16)?,
        },
        blob_bytes: count(row, 17)?,
        provenance: Provenance {
            added_at: time(row, 18, now)?,
            eggcache: row.get(19)?,
            buildout: known(20)?,
            setuptools: known(21)?,
            source: known(22)?,
            archive_url: known(27)?,
            choice: known(28)?,
            build_seconds: seconds(row, 23)?,
            replaces: digest_of(row, 24)?,
        },
        used_at: time(row, 25, now)?,
        uses: count(row, 26)?,
    })
}

/// Reads a count or a size. Those that no egg can have become the nearest that one can have, so that sums
/// of them do not overflow; `verify` finds them.
pub(super) fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|count| count.clamp(0, MOST).unsigned_abs())
}

/// A count in SQL, as [`count`] reads it: a sum that overflows would not be an integer.
pub(super) fn bounded(column: &str) -> String {
    format!("max(0, min({column}, {MOST}))")
}

/// Reads a sum of counts, as [`count`].
pub(super) fn total(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    #[expect(clippy::cast_precision_loss, reason = "2^44 is exact")]
    let most = MOST as f64;
    let total = row.get::<_, f64>(column)?.clamp(0.0, most);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
    Ok(total as u64)
}

/// Reads a time in seconds since the Unix epoch. A time in the future counts as now: an egg with such a
/// last use would be the last to be evicted for ever.
pub(super) fn time(row: &Row<'_>, column: usize, now: i64) -> rusqlite::Result<i64> {
    row.get::<_, i64>(column).map(|time| time.min(now).max(0))
}

/// Reads a duration in seconds; `None` if it is unknown or none.
pub(super) fn seconds(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<f64>> {
    let seconds = row.get::<_, Option<f64>>(column)?;
    Ok(seconds.filter(|seconds| (0.0..MOST_SECONDS).contains(seconds)))
}

/// Reads a key whose columns begin at `first`, in the order of [`key_values`].
pub(super) fn key_of(row: &Row<'_>, first: usize) -> rusqlite::Result<EggKey> {
    let key = EggKey {
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
        spelling: row.get(first + 10)?,
    };
    match key.flaw() {
        None => Ok(key),
        Some(what) => Err(failure(ffi::SQLITE_CORRUPT, &format!("a row {what}"))),
    }
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
