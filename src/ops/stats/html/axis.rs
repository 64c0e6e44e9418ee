//! The top of the vertical axis of a chart: a round number whose half is round as well.

/// The leading digits of round numbers.
const ROUND: [u64; 7] = [1, 2, 3, 4, 5, 6, 8];

/// For counts up to `most`. The half is a whole number.
pub fn top_of_counts(most: u64) -> u64 {
    round_up(most, |top| top.is_multiple_of(2))
}

/// For sizes up to `most` bytes: round in the unit in which it is shown.
pub fn top_of_sizes(most: u64) -> u64 {
    let units = (0..=6).map(|power| 1 << (10 * power));
    let unit: u64 = units.rev().find(|&unit| unit <= most).unwrap_or(1);
    round_up(most.div_ceil(unit), |_| true).min(1024).saturating_mul(unit)
}

/// The smallest round number that is at least `most` and fits.
fn round_up(most: u64, fits: impl Fn(u64) -> bool) -> u64 {
    let powers = std::iter::successors(Some(1_u64), |power| power.checked_mul(10));
    let mut tops = powers.flat_map(|power| ROUND.map(|digit| digit.saturating_mul(power)));
    tops.find(|&top| top >= most && fits(top)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_of_counts_is_round_and_even() {
        let counts = [0, 1, 2, 3, 7, 10, 11, 29, 30, 61, 99, 101, 1234];
        let expected = [2, 2, 2, 4, 8, 10, 20, 30, 30, 80, 100, 200, 2000];
        assert_eq!(counts.map(top_of_counts), expected);
        assert!(top_of_counts(u64::MAX) == u64::MAX);
    }

    #[test]
    fn the_top_of_sizes_is_round_in_its_unit() {
        const MIB: u64 = 1 << 20;
        let sizes = [0, 700, 1024, 1025, 113 * MIB, 1001 * MIB, 1023 * MIB, 3 * 1024 * MIB + 1];
        let expected = [1, 800, 1024, 2048, 200 * MIB, 1024 * MIB, 1024 * MIB, 4096 * MIB];
        assert_eq!(sizes.map(top_of_sizes), expected);
        assert!(top_of_sizes(u64::MAX) == u64::MAX);
    }
}
