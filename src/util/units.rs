//! Ages, sizes and counts as people write them.

/// Reads an age such as `90d`, `12h` or `1y 2mo`, in seconds. A day has 24 hours, a month 30 days, a
/// year 365.
///
/// # Errors
/// The reason, as the end of a sentence.
pub fn age(text: &str) -> Result<i64, String> {
    // jiff's own message would describe jiff's formats.
    let span: jiff::Span = text.trim().parse().map_err(|_: jiff::Error| {
        if is_number(text) {
            format!("an age needs a unit: {0}d or {0}h", text.trim())
        } else {
            "an age is a number with a unit: 90d, 12h, 1y (m is minutes, mo months)".to_owned()
        }
    })?;
    let days = i64::from(span.get_years()) * 365
        + i64::from(span.get_months()) * 30
        + i64::from(span.get_weeks()) * 7
        + i64::from(span.get_days());
    let seconds = i64::from(span.get_hours()) * 3600 + span.get_minutes() * 60 + span.get_seconds();
    let total = days * 86_400 + seconds;
    if total < 0 { Err("an age cannot be negative".into()) } else { Ok(total) }
}

/// Reads a size such as `500MB` or `20GiB`, in bytes.
///
/// # Errors
/// The reason, as the end of a sentence.
pub fn size(text: &str) -> Result<u64, String> {
    if text.len() > 1 && is_number(text) {
        return Err(format!("a size needs a unit: {text}MB or {text}GiB"));
    }
    let size = text.parse::<bytesize::ByteSize>();
    size.map(|size| size.as_u64())
        .map_err(|_| "a size is a number with a unit: 500MB, 20GiB".into())
}

fn is_number(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit())
}

/// Formats a size in bytes: `1.5 MiB`.
#[must_use]
pub fn shown_size(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().iec().to_string()
}

/// Formats a duration in seconds: `0.4 s`, `2 min 5 s`, `3 d 4 h`.
#[must_use]
pub fn shown_time(seconds: f64) -> String {
    if seconds < 59.5 {
        let digits = usize::from(seconds < 9.95);
        return format!("{seconds:.digits$} s");
    }
    #[expect(clippy::cast_possible_truncation, reason = "it saturates")]
    let whole = seconds.round() as i64;
    let units = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let first = units.iter().position(|&(length, _)| whole >= length).unwrap_or(units.len() - 1);
    let (mut rest, mut parts) = (whole, Vec::new());
    for (length, unit) in &units[first..units.len().min(first + 2)] {
        let count = rest / length;
        rest %= length;
        if count > 0 {
            parts.push(format!("{count} {unit}"));
        }
    }
    parts.join(" ")
}

/// Formats a count: `6,604`.
#[must_use]
pub fn shown_count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun, for people: `1 egg`, `6,604 entries`.
#[must_use]
pub fn counted(count: impl TryInto<u64>, noun: &str) -> String {
    match count.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {noun}"),
        count => format!("{} {}", shown_count(count), plural(noun)),
    }
}

/// The end of a statement about the first of several things: ` (and 2 more scripts)`; empty if there are no more.
#[must_use]
pub fn and_more(count: usize, noun: &str) -> String {
    match count {
        0 => String::new(),
        1 => format!(" (and 1 more {noun})"),
        count => format!(" (and {} more {})", shown_count(count as u64), plural(noun)),
    }
}

/// The regular plural of a noun.
fn plural(noun: &str) -> String {
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ if noun.ends_with(['s', 'x']) => format!("{noun}es"),
        _ => format!("{noun}s"),
    }
}

/// A share in whole percent, for people: `46%`.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "whole percent are shown")]
pub fn shown_percent(part: u64, whole: u64) -> String {
    format!("{:.0}%", part as f64 * 100.0 / whole.max(1) as f64)
}

/// A length of time in the largest unit that divides it, for people: `90 days`.
#[must_use]
pub fn shown_span(seconds: i64) -> String {
    for (length, unit) in [(86_400, "day"), (3600, "hour"), (60, "minute")] {
        if seconds % length == 0 && seconds != 0 {
            return counted(seconds / length, unit);
        }
    }
    counted(seconds, "second")
}

/// A size as people type it for a limit: `10.0 kB`, not `9.8 KiB`.
#[must_use]
pub fn shown_limit(bytes: u64) -> String {
    let size = bytesize::ByteSize::b(bytes).display();
    let is_decimal = bytes.is_multiple_of(1000) && !bytes.is_multiple_of(1024);
    if is_decimal { size.si().to_string() } else { size.iec().to_string() }
}

/// A size limit that [`size`] reads, rounded up so that `bytes` fit: `728KiB`.
#[must_use]
pub fn limit_argument(bytes: u64) -> String {
    /// A number below this is shown in the next smaller unit, or rounding up would add too much.
    const SMALLEST: u64 = 10;
    let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let fits = |(length, _): &&(u64, &str)| bytes.div_ceil(*length) >= SMALLEST;
    let (length, unit) = units.iter().find(fits).unwrap_or(&(1, "B"));
    format!("{}{unit}", bytes.div_ceil(*length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_has_the_right_plural() {
        let counts = [(1, "egg"), (0, "egg"), (2, "entry"), (3, "day"), (2000, "miss")];
        let shown = counts.map(|(count, noun)| counted(count, noun));
        assert_eq!(shown, ["1 egg", "0 eggs", "2 entries", "3 days", "2,000 misses"]);
    }

    #[test]
    fn a_share_is_shown_in_whole_percent() {
        let shown = [(1, 3), (2, 3), (0, 0)].map(|(part, whole)| shown_percent(part, whole));
        assert_eq!(shown, ["33%", "67%", "0%"]);
    }

    #[test]
    fn a_span_is_shown_in_its_largest_whole_unit() {
        let shown = [90 * 86_400, 86_400, 90 * 60, 61, 0].map(shown_span);
        assert_eq!(shown, ["90 days", "1 day", "90 minutes", "61 seconds", "0 seconds"]);
    }

    #[test]
    fn a_limit_is_shown_in_the_units_it_was_typed_in() {
        let limits = ["10kB", "500MB", "20GiB", "1B"].map(|text| size(text).unwrap());
        assert_eq!(limits.map(shown_limit), ["10.0 kB", "500.0 MB", "20.0 GiB", "1 B"]);
    }

    #[test]
    fn a_limit_argument_is_read_as_at_least_that_size() {
        for bytes in [0, 1, 9999, 10_240, 745_062, 10 << 20, 123_456_789_012, 1 << 50] {
            let read = size(&limit_argument(bytes)).unwrap();
            assert!(read >= bytes && read <= bytes + bytes / 10, "{bytes}: {read}");
        }
        assert_eq!(limit_argument(745_062), "728KiB");
    }

    #[test]
    fn times_and_counts_are_formatted() {
        let times = [0.0, 0.44, 9.96, 59.6, 61.0, 3600.0, 3661.0, 90_061.0, 864_000.0];
        let shown = times.map(shown_time);
        let expected =
            ["0.0 s", "0.4 s", "10 s", "1 min", "1 min 1 s", "1 h", "1 h 1 min", "1 d 1 h", "10 d"];
        assert_eq!(shown, expected);
        assert_eq!([0, 999, 1000, 1_234_567].map(shown_count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(shown_size(1536), "1.5 KiB");
    }

    #[test]
    fn ages_and_sizes_are_parsed() {
        assert_eq!(age("90d"), Ok(90 * 86_400));
        assert_eq!(age("1y 2h"), Ok(365 * 86_400 + 7200));
        assert_eq!(age("12h"), Ok(12 * 3600));
        assert!(age("soon").is_err() && age("-1d").is_err());
        assert_eq!(size("20GiB"), Ok(20 << 30));
        assert_eq!(size("500MB"), Ok(500_000_000));
        assert!(size("much").is_err() && size("20").is_err());
        assert_eq!(age("10").unwrap_err(), "an age needs a unit: 10d or 10h");
        assert!(age("soon").unwrap_err().contains("90d"));
        assert!(age("").unwrap_err().contains("90d"));
        assert!(size("10XB").unwrap_err().contains("500MB"));
    }
}
