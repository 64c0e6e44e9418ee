//! The current time, and times as text.

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

/// As [`shown_day`], to the minute: `2026-11-24 10:30 UTC`.
#[must_use]
pub fn shown_minute(seconds: i64) -> String {
    shown(seconds, "%Y-%m-%d %H:%M UTC")
}

/// A time in UTC as standards write it (ISO 8601): `2026-11-24T10:30:00Z`.
#[must_use]
pub fn standard(seconds: i64) -> String {
    shown(seconds, "%Y-%m-%dT%H:%M:%SZ")
}

/// The beginning of a day such as `2026-11-24` in UTC, in seconds since the Unix epoch.
#[must_use]
pub fn day(text: &str) -> Option<i64> {
    let date: jiff::civil::Date = text.parse().ok()?;
    let begin = jiff::tz::TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0));
    begin.ok().map(jiff::Timestamp::as_second)
}

fn shown(seconds: i64, format: &str) -> String {
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| "?".into(), |time| time.strftime(format).to_string())
}
