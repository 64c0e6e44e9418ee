//! Parsers of option values.

use std::env;

use crate::error::Error;
use crate::ops::bundle::Mtimes;
use crate::util::clock;
use crate::util::hash::sha256::Sha256;

/// The variable that names the time of a reproducible build.
pub(super) const SOURCE_DATE: &str = "SOURCE_DATE_EPOCH";

/// The time that the environment sets, in seconds since the Unix epoch.
pub(super) fn source_date() -> Result<Option<i64>, Error> {
    /// The last second of the year 9999, which every standard can write.
    const LATEST: i64 = 253_402_300_799;
    let Some(text) = env::var_os(SOURCE_DATE) else { return Ok(None) };
    let text = text.to_string_lossy();
    match text.parse() {
        Ok(time @ 0..=LATEST) => Ok(Some(time)),
        _ => Err(Error::Usage(format!("{SOURCE_DATE}={text}: not seconds since 1970"))),
    }
}

pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1".into()),
        Ok(number) => Ok(number),
        Err(_) => Err("not a number".into()),
    }
}

pub(super) fn sha256(text: &str) -> Result<String, String> {
    let digest: Result<Sha256, _> = text.to_ascii_lowercase().parse();
    digest.map(|digest| digest.to_string()).map_err(|_| "not 64 hexadecimal digits".into())
}

/// The beginning of a day in UTC, in seconds since the Unix epoch.
pub(super) fn day(text: &str) -> Result<i64, String> {
    clock::day(text).ok_or_else(|| "not a date like 2027-01-31".into())
}

pub(super) fn mtimes(text: &str) -> Result<Mtimes, String> {
    /// The latest time that every archive format can hold.
    const LATEST: u64 = (1 << 33) - 1;
    if text == "source" {
        return Ok(Mtimes::Source);
    }
    let mtime = text.parse().ok().filter(|mtime| *mtime <= LATEST);
    mtime.map(Mtimes::Given).ok_or_else(|| "neither seconds since 1970 nor `source`".into())
}
