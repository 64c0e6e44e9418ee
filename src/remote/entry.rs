//! An entry: the signed statement of a remote about one egg. docs/reference/remote.md describes
//! its bytes.
//!
//! Pure. An entry is signed as a text that is never serialised again, so it needs no canonical form: its
//! signature is checked first, and only then is it parsed.

use serde::{Deserialize, Serialize};

use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::EggKey;
use crate::egg::manifest::Counts;
use crate::egg::name::{EggName, normalize_name};
use crate::egg::path::EggPath;
use crate::egg::provenance::Provenance;
use crate::util::hash::digest::Digest;

/// Version of the signed text. It changes with every change that an older reader would misread.
pub const FORMAT: u32 = 3;
/// The version of an entry without newer fields, which an older reader knows, too.
const FIRST_FORMAT: u32 = 1;
/// The version of an entry with the newer fields of provenance, and without a spelling in its key.
const EXTENDED_FORMAT: u32 = 2;
/// Most signatures of one entry.
pub const MAX_SIGNATURES: usize = 16;
/// Longest entry with its signatures, in bytes.
pub const MAX_LENGTH: usize = 64 << 10;
/// Longest object of an entry, in bytes: a line with its line end.
pub const MAX_OBJECT: usize = MAX_LENGTH + 2;

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
    /// The entry of an egg whose blob has this digest and this many bytes. The index may have another length:
    /// a blob is replaced when its egg gets more provenance.
    #[must_use]
    pub fn new(egg: &CachedEgg, blob: Digest, blob_bytes: u64) -> Self {
        Self {
            format: format_of(egg),
            key: egg.key.clone(),
            file_name: egg.file_name.clone(),
            egg: egg.digest,
            blob,
            blob_bytes,
            provenance: egg.provenance.clone(),
        }
    }

    /// The egg as the index would have it, without the counts, which only the blob has.
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

    /// Checks that its file name is the name of an egg of its project and version: an egg that is copied
    /// under another name would take the place of another project's egg.
    ///
    /// # Errors
    /// [`BadEntry::Malformed`]
    pub fn check_name(&self) -> Result<(), BadEntry> {
        let malformed = |reason: &str| Err(BadEntry::Malformed(reason.into()));
        let Ok(name) = self.file_name.parse::<EggName>() else {
            return malformed("its file name is not an egg name");
        };
        if EggPath::new(self.file_name.as_str()).is_err() {
            return malformed("its file name is not an egg name");
        }
        if normalize_name(&name.name) != self.key.name || !name.has_version(&self.key.version) {
            return malformed("its file name is that of another egg");
        }
        Ok(())
    }

    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("every field of an entry has a form in JSON")
    }
}

/// The smallest format that has every field of the entry of an egg.
fn format_of(egg: &CachedEgg) -> u32 {
    if !egg.key.spelling.is_empty() {
        FORMAT
    } else if egg.provenance.is_extended() {
        EXTENDED_FORMAT
    } else {
        FIRST_FORMAT
    }
}

/// An entry and its signatures as they are stored. Nothing of it is checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// The signed text: the JSON of a [`RemoteEntry`].
    pub entry: String,
    /// In minisign's form, one for each key.
    pub signatures: Vec<String>,
}

/// Why an entry is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEntry {
    #[error("the entry is malformed ({0})")]
    Malformed(String),
    #[error("the entry has format {0} of a newer eggcache; this one reads up to {FORMAT}")]
    NewerFormat(u32),
    #[error("the entry is not signed")]
    Unsigned,
    #[error("it is signed by key {0}, which is not trusted")]
    UnknownKey(String),
    #[error("it is signed by key {0}, which was trusted until {1}")]
    ExpiredKey(String, String),
    #[error("it is signed by key {0}, which is not trusted for this project")]
    OtherProject(String),
    #[error("it has {counted} of {needed} signatures by trusted keys")]
    TooFewSignatures { counted: usize, needed: usize },
    #[error("the signature by key {0} does not match its content")]
    WrongSignature(String),
    #[error("it was withdrawn: {0}")]
    Withdrawn(String),
    #[error("the entry is for another egg, {0}")]
    OtherEgg(String),
}

impl Signed {
    /// One line, without the line break.
    #[must_use]
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("texts have a form in JSON")
    }

    /// Reads a line. Returns [`BadEntry::Malformed`] for a line of another form.
    pub fn parse(line: &str) -> Result<Self, BadEntry> {
        Self::parse_at_most(line, MAX_LENGTH)
    }

    /// As [`Signed::parse`], for a line of at most `most` bytes.
    pub(super) fn parse_at_most(line: &str, most: usize) -> Result<Self, BadEntry> {
        let malformed = |reason: &str| BadEntry::Malformed(reason.into());
        if line.len() > most {
            return Err(malformed("it is too long"));
        }
        let signed: Self =
            serde_json::from_str(line).map_err(|error| BadEntry::Malformed(error.to_string()))?;
        if signed.signatures.len() > MAX_SIGNATURES {
            return Err(malformed("it has too many signatures"));
        }
        Ok(signed)
    }

    /// Parses the signed text without a check of the signatures.
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

/// The entries of a list or a set, one in each line. Other lines are skipped, so a damaged list loses
/// the damaged entries and keeps the rest.
#[must_use]
pub fn lines(text: &[u8]) -> Vec<Signed> {
    let text = String::from_utf8_lossy(text);
    text.lines().filter_map(|line| Signed::parse(line).ok()).collect()
}

/// The text of a list or a set, or of a single entry.
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
            format: FIRST_FORMAT,
            key: key::tests::key(),
            file_name: "foo-1.0-py3.11.egg".into(),
            egg: Digest::of(b"egg"),
            blob: Digest::of(b"blob"),
            blob_bytes: 4,
            provenance: Provenance::default(),
        }
    }

    #[test]
    fn a_line_preserves_the_signed_text() {
        let signed = Signed { entry: entry().text(), signatures: vec!["a\nb".into()] };
        assert!(!signed.line().contains('\n'));
        assert_eq!(Signed::parse(&signed.line()), Ok(signed.clone()));
        assert_eq!(signed.unchecked(), Ok(entry()));
        assert_eq!(lines(&text(&[signed.clone(), signed.clone()])), [signed.clone(), signed]);
    }

    #[test]
    fn an_entry_has_the_smallest_format_that_has_its_fields() {
        let format = |change: fn(&mut CachedEgg)| {
            let mut egg = entry().egg();
            change(&mut egg);
            RemoteEntry::new(&egg, Digest::of(b"blob"), 1).format
        };
        assert_eq!(format(|_| ()), 1);
        assert_eq!(format(|egg| egg.provenance.choice = Some("a".into())), 2);
        assert_eq!(format(|egg| egg.key.spelling = "f_oo".into()), 3);
    }

    #[test]
    fn malformed_entries_are_refused() {
        let signed = |entry: &str| Signed { entry: entry.into(), signatures: Vec::new() };
        let newer = entry().text().replace("\"format\":1", "\"format\":4,\"more\":[]");
        assert_eq!(signed(&newer).unchecked(), Err(BadEntry::NewerFormat(4)));
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
    fn damaged_lines_of_a_list_are_skipped() {
        let signed = Signed { entry: entry().text(), signatures: Vec::new() };
        let mut damaged = text(&[signed.clone(), signed.clone()]);
        damaged[0] = 0xff;
        assert_eq!(lines(&damaged), [signed]);
    }
}
