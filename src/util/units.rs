//! Lengths of time and sizes as people write them.

/// An age in seconds: `90d`, `12h`, `1y 2mo`. A day is 24 hours here, a month 30 days, a year 365.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub fn age(text: &str) -> Result<i64, String> {
    // What jiff says of it is about its own formats.
    let span: jiff::Span = text.trim().parse().map_err(|_: jiff::Error| {
        if is_number(text) {
            format!("an age has a unit: {0}d or {0}h", text.trim())
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
    if total < 0 { Err("an age is not negative".into()) } else { Ok(total) }
}

/// A size in bytes: `500MB`, `20GiB`.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub fn size(text: &str) -> Result<u64, String> {
    if text.len() > 1 && is_number(text) {
        return Err(format!("a size has a unit: {text}MB or {text}GiB"));
    }
    let size = text.parse::<bytesize::ByteSize>();
    size.map(|size| size.as_u64())
        .map_err(|_| "a size is a number with a unit: 500MB, 20GiB".into())
}

fn is_number(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit())
}

/// A size in bytes, for people: `1.5 MiB`.
#[must_use]
pub fn shown_size(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().iec().to_string()
}

/// A length of time in seconds, for people: `0.4 s`, `2 min 5 s`, `3 d 4 h`.
#[must_use]
pub fn shown_time(seconds: f64) -> String {
    if seconds < 59.5 {
        let digits = usize::from(seconds < 9.95);
        return format!("{seconds:.digits$} s");
    }
    #[expect(clippy::cast_possible_truncation, reason = "it saturates, after an eternity")]
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

/// A count, for people: `6,604`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_counts_are_shown_in_units_that_fit() {
        let times = [0.0, 0.44, 9.96, 59.6, 61.0, 3600.0, 3661.0, 90_061.0, 864_000.0];
        let shown = times.map(shown_time);
        let expected =
            ["0.0 s", "0.4 s", "10 s", "1 min", "1 min 1 s", "1 h", "1 h 1 min", "1 d 1 h", "10 d"];
        assert_eq!(shown, expected);
        assert_eq!([0, 999, 1000, 1_234_567].map(shown_count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(shown_size(1536), "1.5 KiB");
    }

    #[test]
    fn ages_and_sizes_are_read() {
        assert_eq!(age("90d"), Ok(90 * 86_400));
        assert_eq!(age("1y 2h"), Ok(365 * 86_400 + 7200));
        assert_eq!(age("12h"), Ok(12 * 3600));
        assert!(age("soon").is_err() && age("-1d").is_err());
        assert_eq!(size("20GiB"), Ok(20 << 30));
        assert_eq!(size("500MB"), Ok(500_000_000));
        assert!(size("much").is_err() && size("20").is_err());
        assert_eq!(age("10").unwrap_err(), "an age has a unit: 10d or 10h");
        assert!(age("soon").unwrap_err().contains("90d"));
        assert!(age("").unwrap_err().contains("90d"));
        assert!(size("10XB").unwrap_err().contains("500MB"));
    }
}
