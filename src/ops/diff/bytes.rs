//! How the bytes of two files differ.

use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bytes {
    /// The offset of the first byte that differs, or at which the shorter file ends.
    pub first: u64,
    /// How many bytes differ, if both files have the same length.
    pub count: Option<u64>,
}

impl Bytes {
    pub(super) fn of(left: &[u8], right: &[u8]) -> Self {
        let differ = || left.iter().zip(right).map(|(one, other)| one != other);
        let first = differ().position(|it| it).unwrap_or(left.len().min(right.len()));
        let is_same_length = left.len() == right.len();
        let count = is_same_length.then(|| differ().filter(|it| *it).count() as u64);
        Self { first: first as u64, count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_in_files_of_one_length() {
        let of = |left: &[u8], right: &[u8]| {
            let Bytes { first, count } = Bytes::of(left, right);
            (first, count)
        };
        assert_eq!(of(b"abcd", b"aXcX"), (1, Some(2)));
        assert_eq!(of(b"abcd", b"abXde"), (2, None));
        assert_eq!(of(b"abcd", b"ab"), (2, None));
        assert_eq!(of(b"", b"a"), (0, None));
    }
}
