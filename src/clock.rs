//! The time, as the index and records keep it, and as people read it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since the Unix epoch.
#[must_use]
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The day of a time in seconds since the Unix epoch, in UTC: `2026-11-24`.
#[must_use]
pub fn shown_day(seconds: i64) -> String {
    shown(seconds, "%Y-%m-%d")
}

/// As [`shown_day`], with the minute: `2026-11-24 10:30 UTC`.
#[must_use]
pub fn shown_minute(seconds: i64) -> String {
    shown(seconds, "%Y-%m-%d %H:%M UTC")
}

fn shown(seconds: i64, format: &str) -> String {
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| "?".into(), |time| time.strftime(format).to_string())
}
