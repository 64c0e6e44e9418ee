//! One row of the index and one egg.

use rusqlite::{Connection, Row, ToSql};

use crate::blob::Provenance;
use crate::digest::Digest;
use crate::egg::Egg;
use crate::egg_key::EggKey;
use crate::manifest::Counts;

pub(super) const COLUMNS: &str = "digest, file_name, name, version, python, abi, platform, libc, \
     generation, source_sha256, variant, environment, files, directories, symlinks, bytes, \
     blob_bytes, added_at, eggcache, buildout, setuptools, source, build_seconds, replaces, \
     used_at, uses";

pub(super) fn eggs(
    connection: &Connection,
    rest: &str,
    parameters: impl rusqlite::Params,
) -> rusqlite::Result<Vec<Egg>> {
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

pub(super) fn egg(row: &Row<'_>) -> rusqlite::Result<Egg> {
    let count = |column: &str| row.get::<_, i64>(column).map(i64::unsigned_abs);
    let known = |column: &str| {
        row.get::<_, String>(column).map(|text| Some(text).filter(|text| !text.is_empty()))
    };
    let digest = |column: &str| digest_of(row, column);
    Ok(Egg {
        digest: digest("digest")?.ok_or(rusqlite::Error::QueryReturnedNoRows)?,
        file_name: row.get("file_name")?,
        key: EggKey {
            name: row.get("name")?,
            version: row.get("version")?,
            python: row.get("python")?,
            abi: row.get("abi")?,
            platform: row.get("platform")?,
            libc: row.get("libc")?,
            generation: row.get("generation")?,
            source_sha256: row.get("source_sha256")?,
            variant: row.get("variant")?,
            environment: row.get("environment")?,
        },
        counts: Counts {
            files: count("files")?,
            directories: count("directories")?,
            symlinks: count("symlinks")?,
            bytes: count("bytes")?,
        },
        blob_bytes: count("blob_bytes")?,
        provenance: Provenance {
            added_at: row.get("added_at")?,
            eggcache: row.get("eggcache")?,
            buildout: known("buildout")?,
            setuptools: known("setuptools")?,
            source: known("source")?,
            build_seconds: row.get("build_seconds")?,
            replaces: digest("replaces")?,
        },
        used_at: row.get("used_at")?,
        uses: count("uses")?,
    })
}

/// The digest in a column; `None` if it is ''.
pub(super) fn digest_of(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Digest>> {
    let text: String = row.get(column)?;
    let digest = Some(text).filter(|text| !text.is_empty()).map(|text| text.parse::<Digest>());
    digest.transpose().map_err(|error| {
        let kind = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(0, kind, Box::new(error))
    })
}

/// SQLite's integers are signed; no count comes near the end of their range.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
