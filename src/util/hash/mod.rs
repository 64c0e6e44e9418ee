//! Digests of content: BLAKE3, which names eggs, and SHA-256, which names source archives.

pub mod blake3_subtree;
pub mod digest;
pub mod sha256;

/// Whether a text consists of lower-case hexadecimal digits.
#[must_use]
pub fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// Reads 32 bytes from 64 lower-case hexadecimal digits.
fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let hash = blake3::Hash::from_hex(text).ok().filter(|_| is_lower_hex(text))?;
    Some(*hash.as_bytes())
}
