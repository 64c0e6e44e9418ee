//! Regrets: eggs that were taken out, why, and whether they were needed again.

use rusqlite::{Connection, Row, params};
use serde::Serialize;

use super::row::{count, digest_of, key_of, key_values, signed, time, total};
use super::{Index, Writer, wrap};
use crate::cache::miss::{Eviction, Gone};
use crate::cache::retention::plan::Evicted;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::EggKey;
use crate::error::Result;
use crate::util::hash::digest::Digest;

/// How long an eviction is remembered, in seconds.
const MEMORY: i64 = 365 * 86_400;

/// The first column of the key.
const KEY: usize = 1;
/// The columns of a key, in the order of [`key_of`].
const KEY_COLUMNS: &str = "name, version, python, abi, platform, libc, generation, source_sha256, variant, \
                           environment, spelling";
/// The most evictions of a project that are read.
const MOST: usize = 10_000;

/// The known cost of evictions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Regrets {
    /// How many eggs were evicted in the last year.
    pub evicted: u64,
    /// How many of them were needed again.
    pub asked: u64,
    /// The size of the blobs that were needed again.
    pub asked_bytes: u64,
    /// The size limit that would have kept all eggs that were needed again; 0 if there are none.
    pub limit_bytes: u64,
}

impl Index {
    /// The regrets of the last year. `now` is in seconds since the Unix epoch.
    pub fn regrets(&self, now: i64) -> Result<Regrets> {
        let sql = "SELECT count(*), count(asked_at), \
                   total(blob_bytes) FILTER (WHERE asked_at IS NOT NULL), \
                   ifnull(max(limit_bytes) FILTER (WHERE asked_at IS NOT NULL), 0) \
                   FROM regrets WHERE evicted_at >= ? \
                   AND reason IN ('max-age', 'keep-versions', 'max-size')";
        let regrets = |row: &Row<'_>| {
            let (evicted, asked) = (count(row, 0)?, count(row, 1)?);
            Ok(Regrets { evicted, asked, asked_bytes: total(row, 2)?, limit_bytes: count(row, 3)? })
        };
        self.read(|open| open.connection.query_row(sql, [now - MEMORY], regrets))
    }

    /// How many eggs were added or used after `now`, in seconds since the Unix epoch. This reads every row.
    pub fn times_after(&self, now: i64) -> Result<u64> {
        let sql = "SELECT count(*) FROM eggs WHERE used_at > ?1 OR added_at > ?1";
        self.read(|open| open.connection.query_row(sql, [now], |row| count(row, 0)))
    }

    /// The eggs of a project that were taken out in the last year, by its PEP 503 name, oldest first. `now` is
    /// in seconds since the Unix epoch.
    pub fn evictions(&self, name: &str, now: i64) -> Result<Vec<Eviction>> {
        let sql = format!(
            "SELECT evicted_at, {KEY_COLUMNS}, reason, digest FROM regrets WHERE name = ? LIMIT {MOST}"
        );
        let eviction = |row: &Row<'_>| {
            let reason: String = row.get(KEY + 11)?;
            let (digest, key) = (digest_of(row, KEY + 12)?, key_of(row, KEY)?);
            Ok(Eviction { digest, key, at: time(row, 0, now)?, why: Gone::of(&reason) })
        };
        let mut evictions = self.read(|open| {
            let mut statement = open.connection.prepare_cached(&sql)?;
            let rows = statement.query_map([name], eviction)?;
            rows.collect::<rusqlite::Result<Vec<Eviction>>>()
        })?;
        evictions.retain(|it| it.at >= now - MEMORY);
        evictions.sort_by_key(|it| it.at);
        Ok(evictions)
    }

    /// Records that missing eggs of a project were needed, if they were evicted. Gives up as
    /// [`Index::record`] does.
    pub fn record_miss(&mut self, name: &str, is_asked: impl Fn(&EggKey) -> bool, now: i64) {
        self.write_briefly(|writer| writer.regret_some(name, is_asked, now));
    }

    /// As [`Index::record_miss`], for one egg by its digest.
    pub fn record_miss_of(&mut self, digest: Digest, now: i64) {
        self.write_briefly(|writer| writer.regret_digest(digest, now));
    }
}

impl Writer<'_> {
    /// Forgets old evictions.
    pub fn forget_regrets(&self, now: i64) -> Result<()> {
        self.execute("DELETE FROM regrets WHERE evicted_at < ?", [now - MEMORY])
    }

    /// Sets all times that are in the future to `now`: they count as now, and would do so for ever.
    pub fn mend_times(&self, now: i64) -> Result<()> {
        for sql in [
            "UPDATE eggs SET used_at = min(used_at, ?1), added_at = min(added_at, ?1) \
             WHERE used_at > ?1 OR added_at > ?1",
            "UPDATE evicted SET evicted_at = ?1 WHERE evicted_at > ?1",
            "UPDATE regrets SET evicted_at = min(evicted_at, ?1), used_at = min(used_at, ?1), \
             asked_at = min(asked_at, ?1) WHERE evicted_at > ?1 OR used_at > ?1 OR asked_at > ?1",
        ] {
            self.execute(sql, [now])?;
        }
        Ok(())
    }

    /// Remembers an egg that is evicted.
    pub fn remember(&self, evicted: &Evicted, now: i64) -> Result<()> {
        self.remember_gone(&evicted.egg, Gone::from(evicted.reason), evicted.limit_bytes, now)
    }

    /// Remembers an egg whose blob is damaged or missing, if the index has it.
    pub fn remember_damaged(&self, digest: Digest, now: i64) -> Result<()> {
        match self.of_digest(digest)? {
            Some(egg) => self.remember_gone(&egg, Gone::Damaged, 0, now),
            None => Ok(()),
        }
    }

    /// `limit_bytes` is the size limit that would have kept it; 0 if there is none.
    fn remember_gone(&self, egg: &CachedEgg, why: Gone, limit_bytes: u64, now: i64) -> Result<()> {
        let digest = egg.digest.to_string();
        let (bytes, limit, why) = (signed(egg.blob_bytes), signed(limit_bytes), why.name());
        let rest = params![bytes, egg.used_at, now, why, limit];
        let values = [params![digest, egg.file_name], &key_values(&egg.key), rest].concat();
        let marks = vec!["?"; values.len()].join(", ");
        self.execute(
            &format!(
                "INSERT INTO regrets (digest, file_name, {KEY_COLUMNS}, blob_bytes, used_at, evicted_at, \
                 reason, limit_bytes) VALUES ({marks})"
            ),
            &values[..],
        )
    }

    /// Records that an egg of this key is stored. If one was evicted, it was needed again.
    pub fn regret(&self, key: &EggKey, now: i64) -> Result<()> {
        self.regret_some(&key.name, |evicted| evicted == key, now)
    }

    fn regret_digest(&self, digest: Digest, now: i64) -> Result<()> {
        self.execute(
            "UPDATE regrets SET asked_at = ?2 WHERE digest = ?1 AND asked_at IS NULL",
            params![digest.to_string(), now],
        )
    }

    fn regret_some(&self, name: &str, is_asked: impl Fn(&EggKey) -> bool, now: i64) -> Result<()> {
        let evicted = not_asked(self.connection, name).map_err(|it| wrap(self.path, it))?;
        for (id, _) in evicted.iter().filter(|(_, key)| is_asked(key)) {
            self.execute("UPDATE regrets SET asked_at = ?2 WHERE id = ?1", params![id, now])?;
        }
        Ok(())
    }
}

/// Evicted eggs of a project that have not been needed again.
fn not_asked(connection: &Connection, name: &str) -> rusqlite::Result<Vec<(i64, EggKey)>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT id, {KEY_COLUMNS} FROM regrets WHERE name = ? AND asked_at IS NULL"
    ))?;
    let rows = statement.query_map([name], |row| Ok((row.get(0)?, key_of(row, KEY)?)))?;
    rows.collect()
}
