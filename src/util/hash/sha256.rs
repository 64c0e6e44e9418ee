//! SHA-256 as `sha256sum` writes it, so that other tools can check what leaves the cache.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest;

/// 32 bytes, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha256([u8; 32]);

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Sha256 {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// As the RECORD of a wheel has it: `sha256=`, and base64 for file names without padding.
    #[must_use]
    pub fn in_record(&self) -> String {
        format!("sha256={}", BASE64_URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// The text is not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 of 64 lower-case hexadecimal digits")]
pub struct NotASha256;

impl FromStr for Sha256 {
    type Err = NotASha256;

    fn from_str(text: &str) -> Result<Self, NotASha256> {
        super::parse_hex(text).map(Self).ok_or(NotASha256)
    }
}

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Computes the digest of everything that is read or written through it.
#[derive(Debug)]
pub struct Hashing<T> {
    inner: T,
    hasher: sha2::Sha256,
    length: u64,
}

impl<T> Hashing<T> {
    pub fn new(inner: T) -> Self {
        Self { inner, hasher: sha2::Sha256::new(), length: 0 }
    }

    /// The digest and the length of these bytes.
    pub fn finish(self) -> (Sha256, u64) {
        (Sha256(self.hasher.finalize().into()), self.length)
    }

    fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.update(&buffer[..read]);
        Ok(read)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn reading_and_writing_give_the_usual_digest() {
        let mut reader = Hashing::new(&b"abc"[..]);
        io::copy(&mut reader, &mut io::sink()).unwrap();
        let mut writer = Hashing::new(io::sink());
        writer.write_all(b"abc").unwrap();
        for (digest, length) in [reader.finish(), writer.finish()] {
            assert_eq!((digest.to_string().as_str(), length), (OF_ABC, 3));
            assert_eq!(OF_ABC.parse(), Ok(digest));
            assert_eq!(serde_json::to_string(&digest).unwrap(), format!("\"{OF_ABC}\""));
        }
    }

    #[test]
    fn a_record_has_it_in_base64() {
        let expected = "sha256=ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0";
        assert_eq!(Sha256::of(b"abc").in_record(), expected);
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "ba78", &OF_ABC.to_uppercase(), &"é".repeat(32), &"g".repeat(64)] {
            assert_eq!(text.parse::<Sha256>(), Err(NotASha256), "{text}");
        }
    }
}
