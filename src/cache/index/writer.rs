//! Changing the index under its write lock.

use std::path::Path;

use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension, Params, Statement, ToSql, params};

use super::budget::Budget;
use super::row::{COLUMNS, bounded, eggs, key_values, signed};
use super::{Tally, is_complete, wrap};
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::EggKey;
use crate::error::Result;
use crate::util::hash::digest::Digest;

/// SQLite's page cache while all rows are written, in KiB: enough for the index of 100,000 eggs. Keys
/// arrive unsorted, so pages that do not fit would be written and read again and again.
const LARGE_PAGE_CACHE: i64 = 64 << 10;
/// SQLite's default, in KiB.
const PAGE_CACHE: i64 = 2000;

/// The index, while this process holds its write lock.
#[derive(Debug)]
pub struct Writer<'a> {
    pub(super) connection: &'a Connection,
    pub(super) budget: &'a Budget,
    pub(super) path: &'a Path,
}

impl Writer<'_> {
    /// Runs a statement within its budget.
    fn run<T>(
        &self,
        sql: &str,
        run: impl FnOnce(&mut Statement<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        self.budget.refill();
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| run(&mut statement))
            .map_err(|source| wrap(self.path, source))
    }

    pub(super) fn execute(&self, sql: &str, parameters: impl Params) -> Result<()> {
        self.run(sql, |statement| statement.execute(parameters).map(drop))
    }

    fn eggs(&self, rest: &str, parameters: &[&dyn ToSql]) -> Result<Vec<CachedEgg>> {
        self.budget.refill();
        eggs(self.connection, self.budget, rest, parameters)
            .map_err(|source| wrap(self.path, source))
    }

    /// The value that a change of one row returns; `None` if there is no row.
    fn returned<T: FromSql>(&self, sql: &str, parameters: impl Params) -> Result<Option<T>> {
        self.run(sql, |statement| statement.query_row(parameters, |row| row.get(0)).optional())
    }

    /// The egg of a key.
    pub fn of_key(&self, key: &EggKey) -> Result<Option<CachedEgg>> {
        self.eggs(
            "WHERE name = ? AND version = ? AND python = ? AND abi = ? AND platform = ? \
             AND libc = ? AND generation = ? AND source_sha256 = ? AND variant = ? \
             AND environment = ? AND spelling = ?",
            &key_values(key),
        )
        .map(|mut found| found.pop())
    }

    /// The eggs of a version of a project, both spelled as in the key.
    pub fn of_version(&self, name: &str, version: &str) -> Result<Vec<CachedEgg>> {
        self.eggs("WHERE name = ? AND version = ?", &[&name, &version])
    }

    pub fn of_digest(&self, digest: Digest) -> Result<Option<CachedEgg>> {
        Ok(self.eggs("WHERE digest = ?", &[&digest.to_string()])?.pop())
    }

    /// All eggs, unsorted.
    pub fn all(&self) -> Result<Vec<CachedEgg>> {
        self.eggs("", &[])
    }

    pub fn has(&self, digest: Digest) -> Result<bool> {
        self.run("SELECT 1 FROM eggs WHERE digest = ?", |statement| {
            statement.exists([digest.to_string()])
        })
    }

    /// Inserts the row of an egg, which then no longer counts as evicted. Fails if there is an egg of this
    /// digest or key.
    pub fn insert(&self, egg: &CachedEgg) -> Result<()> {
        let CachedEgg { digest, file_name, key, counts, blob_bytes, provenance, used_at, uses } =
            egg;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let replaces = provenance.replaces.map(|digest| digest.to_string()).unwrap_or_default();
        let rest = params![
            signed(counts.files),
            signed(counts.directories),
            signed(counts.symlinks),
            signed(counts.bytes),
            signed(*blob_bytes),
            provenance.added_at,
            provenance.eggcache,
            text(&provenance.buildout),
            text(&provenance.setuptools),
            text(&provenance.source),
            provenance.build_seconds,
            replaces,
            used_at,
            signed(*uses),
            text(&provenance.archive_url),
            text(&provenance.choice),
        ];
        let digest = digest.to_string();
        let values = [params![digest, file_name], &key_values(key), rest].concat();
        let marks = vec!["?"; values.len()].join(", ");
        self.execute(&format!("INSERT INTO eggs ({COLUMNS}) VALUES ({marks})"), &values[..])?;
        self.forget_evicted(egg.digest)
    }

    /// Deletes the row of an egg and marks the egg as evicted: its blob is to be removed too.
    pub fn evict(&self, digest: Digest, now: i64) -> Result<()> {
        let bytes = bounded("blob_bytes");
        let sql = format!("DELETE FROM eggs WHERE digest = ? RETURNING {bytes}");
        if let Some(bytes) = self.returned::<i64>(&sql, [digest.to_string()])? {
            let evicted_bytes = bytes.unsigned_abs();
            self.tally(&Tally { evicted: 1, evicted_bytes, ..Tally::default() }, now)?;
        }
        self.execute("DELETE FROM choices WHERE digest = ?", [digest.to_string()])?;
        self.execute(
            "INSERT OR REPLACE INTO evicted (digest, evicted_at) VALUES (?, ?)",
            params![digest.to_string(), now],
        )
    }

    /// Whether an egg was evicted and its blob may still exist.
    pub fn is_evicted(&self, digest: Digest) -> Result<bool> {
        self.run("SELECT 1 FROM evicted WHERE digest = ?", |statement| {
            statement.exists([digest.to_string()])
        })
    }

    /// Removes the mark of an evicted egg: its blob is gone.
    pub fn forget_evicted(&self, digest: Digest) -> Result<()> {
        self.execute("DELETE FROM evicted WHERE digest = ?", [digest.to_string()])
    }

    /// Deletes the row of an egg, and nothing else.
    pub fn delete(&self, digest: Digest) -> Result<()> {
        self.execute("DELETE FROM eggs WHERE digest = ?", [digest.to_string()])
    }

    pub fn touch(&self, digest: Digest, now: i64) -> Result<()> {
        self.execute(
            "UPDATE eggs SET used_at = max(used_at, ?2) WHERE digest = ?1",
            params![digest.to_string(), now],
        )
    }

    /// Counts one use of an egg. Returns how many seconds its build took, if known.
    pub fn use_once(&self, digest: Digest, now: i64) -> Result<Option<f64>> {
        let uses = bounded("uses");
        let sql = format!(
            "UPDATE eggs SET uses = {uses} + 1, used_at = max(used_at, ?2) WHERE digest = ?1 \
             RETURNING build_seconds"
        );
        let seconds: Option<Option<f64>> = self.returned(&sql, params![digest.to_string(), now])?;
        Ok(seconds.flatten())
    }

    /// Replaces all rows with `eggs`. The index is then complete.
    pub fn replace_all<'e>(&self, eggs: impl IntoIterator<Item = &'e CachedEgg>) -> Result<()> {
        let set_page_cache = |kibibytes: i64| {
            // Negative means KiB, not pages.
            self.connection
                .pragma_update(None, "cache_size", -kibibytes)
                .map_err(|source| wrap(self.path, source))
        };
        self.execute("DELETE FROM eggs", [])?;
        set_page_cache(LARGE_PAGE_CACHE)?;
        eggs.into_iter().try_for_each(|egg| self.insert(egg))?;
        set_page_cache(PAGE_CACHE)?;
        self.execute("UPDATE state SET is_complete = 1", [])
    }

    /// As [`super::Index::is_complete`].
    pub fn is_complete(&self) -> Result<bool> {
        is_complete(self.connection).map_err(|source| wrap(self.path, source))
    }
}
