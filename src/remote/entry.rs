//! An entry: what a remote tells of one egg, signed. docs/remote.md describes its bytes.
//!
//! Pure. What is signed is a text that is never written anew, so there is no question of its
//! canonical form: it is checked first and understood after that.

use serde::{Deserialize, Serialize};

use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::EggKey;
use crate::egg::manifest::Counts;
use crate::egg::provenance::Provenance;
use crate::util::hash::digest::Digest;

/// Version of what is signed: it changes with every change that an older reader would misread.
pub const FORMAT: u32 = 1;
/// Most signatures that one entry has.
pub const MAX_SIGNATURES: usize = 16;
/// Longest entry with its signatures, in bytes.
pub const MAX_LENGTH: usize = 64 << 10;

/// One egg on a remote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteEntry {
    pub format: u32,
    pub key: EggKey,
    pub file_name: String,
    /// The egg digest.
    pub egg: Digest,
    /// BLAKE3 of the blob's bytes.
    pub blob: Digest,
    /// Length of the blob.
    pub blob_bytes: u64,
    pub provenance: Provenance,
}

impl RemoteEntry {
    /// The entry of an egg whose blob has this digest.
    #[must_use]
    pub fn new(egg: &CachedEgg, blob: Digest) -> Self {
        Self {
            format: FORMAT,
            key: egg.key.clone(),
            file_name: egg.file_name.clone(),
            egg: egg.digest,
            blob,
            blob_bytes: egg.blob_bytes,
            provenance: egg.provenance.clone(),
        }
    }

    /// As the index would have the egg, but for what only its blob tells.
    #[must_use]
    pub fn egg(&self) -> CachedEgg {
        CachedEgg {
            digest: self.egg,
            file_name: self.file_name.clone(),
            key: self.key.clone(),
            counts: Counts::default(),
            blob_bytes: self.blob_bytes,
            provenance: self.provenance.clone(),
            used_at: 0,
            uses: 0,
        }
    }

    /// What is signed.
    #[must_use]
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("an entry has nothing that JSON lacks")
    }
}

/// An entry and its signatures, as they are stored: nothing of it is checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// What is signed: the JSON of an [`RemoteEntry`].
    pub entry: String,
    /// In minisign's form, each of one key.
    pub signatures: Vec<String>,
}

/// Why an entry is not one that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEntry {
    #[error("it is not an entry ({0})")]
    Malformed(String),
    #[error("its format is {0}, this eggcache reads {FORMAT}: use a newer eggcache")]
    NewerFormat(u32),
    #[error("it is not signed")]
    Unsigned,
    #[error("it is signed with the key {0}, which is not trusted")]
    UnknownKey(String),
    #[error("it is signed with the key {0}, which was trusted until {1}")]
    ExpiredKey(String, String),
    #[error("its signature of the key {0} is not of this text")]
    WrongSignature(String),
    #[error("it is of another egg, {0}")]
    OtherEgg(String),
}

impl Signed {
    /// One line, without its end.
    #[must_use]
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("a signed entry has nothing that JSON lacks")
    }

    /// # Errors
    /// [`BadEntry::Malformed`]
    pub fn parse(line: &str) -> Result<Self, BadEntry> {
        let malformed = |reason: &str| BadEntry::Malformed(reason.into());
        if line.len() > MAX_LENGTH {
            return Err(malformed("it is too long"));
        }
        let signed: Self =
            serde_json::from_str(line).map_err(|error| BadEntry::Malformed(error.to_string()))?;
        if signed.signatures.len() > MAX_SIGNATURES {
            return Err(malformed("it has too many signatures"));
        }
        Ok(signed)
    }

    /// What the text says, whoever has signed it or not.
    ///
    /// # Errors
    /// [`BadEntry::Malformed`] or [`BadEntry::NewerFormat`].
    pub fn unchecked(&self) -> Result<RemoteEntry, BadEntry> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let malformed = |error: serde_json::Error| BadEntry::Malformed(error.to_string());
        let Format { format } = serde_json::from_str(&self.entry).map_err(malformed)?;
        if format > FORMAT {
            return Err(BadEntry::NewerFormat(format));
        }
        serde_json::from_str(&self.entry).map_err(malformed)
    }
}

/// The entries of a list or a set: one in each line. A line that is none is left out: a list that
/// somebody has damaged has lost an entry, and no more.
#[must_use]
pub fn lines(text: &[u8]) -> Vec<Signed> {
    let text = String::from_utf8_lossy(text);
    text.lines().filter_map(|line| Signed::parse(line).ok()).collect()
}

/// The text of a list or a set.
#[must_use]
pub fn text(entries: &[Signed]) -> Vec<u8> {
    entries.iter().flat_map(|signed| (signed.line() + "\n").into_bytes()).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::egg::key;

    /// The entry of `foo` 1.0.
    pub(crate) fn entry() -> RemoteEntry {
        RemoteEntry {
            format: FORMAT,
            key: key::tests::key(),
            file_name: "foo-1.0-py3.11.egg".into(),
            egg: Digest::of(b"egg"),
            blob: Digest::of(b"blob"),
            blob_bytes: 4,
            provenance: Provenance::default(),
        }
    }

    #[test]
    fn a_line_holds_the_text_that_was_signed() {
        let signed = Signed { entry: entry().text(), signatures: vec!["a\nb".into()] };
        assert!(!signed.line().contains('\n'));
        assert_eq!(Signed::parse(&signed.line()), Ok(signed.clone()));
        assert_eq!(signed.unchecked(), Ok(entry()));
        assert_eq!(lines(&text(&[signed.clone(), signed.clone()])), [signed.clone(), signed]);
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        let signed = |entry: &str| Signed { entry: entry.into(), signatures: Vec::new() };
        let newer = entry().text().replace("\"format\":1", "\"format\":2,\"more\":[]");
        assert_eq!(signed(&newer).unchecked(), Err(BadEntry::NewerFormat(2)));
        let more = entry().text().replace("\"format\":1", "\"format\":1,\"more\":[]");
        for text in ["", "{}", "[]", "{\"format\":1}", more.as_str()] {
            let refused = signed(text).unchecked();
            assert!(matches!(refused, Err(BadEntry::Malformed(_))), "{text}: {refused:?}");
        }
        for line in ["", "{}", "[1]", "{\"entry\":\"\",\"signatures\":[1]}", "\u{fffd}"] {
            assert!(Signed::parse(line).is_err(), "{line}");
        }
        let many = Signed { signatures: vec![String::new(); MAX_SIGNATURES + 1], ..signed("") };
        assert!(Signed::parse(&many.line()).is_err());
        assert!(Signed::parse(&signed(&"a".repeat(MAX_LENGTH)).line()).is_err());
    }

    #[test]
    fn a_damaged_line_is_left_out_of_a_list() {
        let signed = Signed { entry: entry().text(), signatures: Vec::new() };
        let mut damaged = text(&[signed.clone(), signed.clone()]);
        damaged[0] = 0xff;
        assert_eq!(lines(&damaged), [signed]);
    }
}
