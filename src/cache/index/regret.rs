//! Regrets: evicted eggs that were needed again.

use rusqlite::{Connection, Row, params};
use serde::Serialize;

use super::row::{count, key_of, key_values, signed, total};
use super::{Index, Writer, wrap};
use crate::cache::retention::plan::{EvictReason, Evicted};
use crate::egg::key::EggKey;
use crate::error::Result;
use crate::util::hash::digest::Digest;

/// How long an eviction is remembered, in seconds.
const MEMORY: i64 = 365 * 86_400;

/// The first column of the key.
const KEY: usize = 1;

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
                   FROM regrets WHERE evicted_at >= ?";
        let regrets = |row: &Row<'_>| {
            let (evicted, asked) = (count(row, 0)?, count(row, 1)?);
            Ok(Regrets { evicted, asked, asked_bytes: total(row, 2)?, limit_bytes: count(row, 3)? })
        };
        self.read(|open| open.connection.query_row(sql, [now - MEMORY], regrets))
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

    /// Remembers an egg that is evicted, unless no limit would have kept it.
    pub fn remember(&self, evicted: &Evicted, now: i64) -> Result<()> {
        let Evicted { egg, reason, limit_bytes, .. } = evicted;
        let digest = egg.digest.to_string();
        let reason = match reason {
            EvictReason::MaxAge => "max-age",
            EvictReason::KeepVersions => "keep-versions",
            EvictReason::MaxSize => "max-size",
            // No limit would have kept it.
            EvictReason::SignedBy | EvictReason::Withdrawn | EvictReason::Named => return Ok(()),
        };
        let rest = params![signed(egg.blob_bytes), egg.used_at, now, reason, signed(*limit_bytes)];
        let values = [params![digest, egg.file_name], &key_values(&egg.key), rest].concat();
        self.execute(
            "INSERT INTO regrets (digest, file_name, name, version, python, abi, platform, libc, \
             generation, source_sha256, variant, environment, spelling, blob_bytes, used_at, \
             evicted_at, reason, limit_bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
    let mut statement = connection.prepare_cached(
        "SELECT id, name, version, python, abi, platform, libc, generation, source_sha256, variant, \
         environment, spelling FROM regrets WHERE name = ? AND asked_at IS NULL",
    )?;
    let rows = statement.query_map([name], |row| Ok((row.get(0)?, key_of(row, KEY)?)))?;
    rows.collect()
}
