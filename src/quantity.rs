//! Lengths of time and sizes as people write them.

/// An age in seconds: `90d`, `12h`, `1y 2mo`. A day is 24 hours here, a month 30 days, a year 365.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub fn age(text: &str) -> Result<i64, String> {
    let span: jiff::Span = text.parse().map_err(|error: jiff::Error| error.to_string())?;
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
    if text.len() > 1 && text.bytes().all(|c| c.is_ascii_digit()) {
        return Err(format!("a size has a unit: {text}MB or {text}GiB"));
    }
    text.parse::<bytesize::ByteSize>().map(|size| size.as_u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_sizes_are_read() {
        assert_eq!(age("90d"), Ok(90 * 86_400));
        assert_eq!(age("1y 2h"), Ok(365 * 86_400 + 7200));
        assert_eq!(age("12h"), Ok(12 * 3600));
        assert!(age("soon").is_err() && age("-1d").is_err());
        assert_eq!(size("20GiB"), Ok(20 << 30));
        assert_eq!(size("500MB"), Ok(500_000_000));
        assert!(size("much").is_err() && size("20").is_err());
    }
}
