//! The encoding of a manifest: one line of JSON.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{BadManifest, Entry, EntryKind, MAX_ENTRIES, Manifest, Mtime, bad_entry};
use crate::egg::key::EggKey;
use crate::egg::path::EggPath;
use crate::util::hash::digest::Digest;

/// Version of the manifest's encoding.
pub const FORMAT: u32 = 1;

pub(super) const OUT_OF_ORDER: &str = "is out of order or repeated";

impl Manifest {
    /// The bytes whose BLAKE3 is the egg digest: one line of JSON, without the newline.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let encoded = Encoded {
            format: FORMAT,
            file_name: &self.file_name,
            key: &self.key,
            entries: self.entries.iter().map(EncodedEntry::from).collect(),
        };
        serde_json::to_vec(&encoded).expect("a manifest has no value that JSON lacks")
    }

    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// [`BadManifest`] for another encoding or format, for entries that are out of order, repeated or
    /// without their directory, for paths and symlinks that leave the egg, and beyond the limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadManifest> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let decoded = serde_json::from_slice(bytes).map_err(|error| {
            // Another format may have other fields.
            match serde_json::from_slice(bytes) {
                Ok(Version { format }) if format != FORMAT => BadManifest::Format(format),
                _ => error.into(),
            }
        })?;
        let Decoded { format, file_name, key, entries } = decoded;
        if format != FORMAT {
            return Err(BadManifest::Format(format));
        }
        let manifest = Self { key, file_name, entries };
        manifest.check()?;
        Ok(manifest)
    }
}

#[derive(Serialize)]
struct Encoded<'a> {
    format: u32,
    file_name: &'a str,
    key: &'a EggKey,
    entries: Vec<EncodedEntry<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decoded {
    format: u32,
    file_name: String,
    key: EggKey,
    #[serde(deserialize_with = "entries")]
    entries: Vec<Entry>,
}

/// Reads entries one by one and stops at the first that is invalid, so that memory stays bounded: a few
/// KiB of zstd can contain one entry a million times.
fn entries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Entry>, D::Error> {
    struct Entries;

    impl<'de> Visitor<'de> for Entries {
        type Value = Vec<Entry>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("entries")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Entry>, A::Error> {
            let mut entries: Vec<Entry> = Vec::new();
            while let Some(entry) = seq.next_element::<EncodedEntry<'de>>()? {
                let entry = Entry::try_from(entry).map_err(A::Error::custom)?;
                if entries.last().is_some_and(|last| last.path >= entry.path) {
                    return Err(A::Error::custom(bad_entry(&entry, OUT_OF_ORDER)));
                }
                if entries.len() == MAX_ENTRIES {
                    return Err(A::Error::custom("too many entries"));
                }
                entries.push(entry);
            }
            Ok(entries)
        }
    }

    deserializer.deserialize_seq(Entries)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EncodedEntry<'a> {
    #[serde(borrow)]
    path: std::borrow::Cow<'a, str>,
    kind: Kind,
    mode: u32,
    mtime: Mtime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    target: Option<std::borrow::Cow<'a, str>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Directory,
    File,
    Symlink,
}

impl<'a> From<&'a Entry> for EncodedEntry<'a> {
    fn from(entry: &'a Entry) -> Self {
        let (kind, size, digest, target) = match &entry.kind {
            EntryKind::Directory => (Kind::Directory, None, None, None),
            EntryKind::File { size, digest } => (Kind::File, Some(*size), Some(*digest), None),
            EntryKind::Symlink { target } => (Kind::Symlink, None, None, Some((&**target).into())),
        };
        let path = entry.path.as_str().into();
        Self { path, kind, mode: entry.mode, mtime: entry.mtime, size, digest, target }
    }
}

impl TryFrom<EncodedEntry<'_>> for Entry {
    type Error = BadManifest;

    fn try_from(entry: EncodedEntry<'_>) -> Result<Self, BadManifest> {
        let kind = match (entry.kind, entry.size, entry.digest, entry.target) {
            (Kind::Directory, None, None, None) => EntryKind::Directory,
            (Kind::File, Some(size), Some(digest), None) => EntryKind::File { size, digest },
            (Kind::Symlink, None, None, Some(target)) => {
                EntryKind::Symlink { target: target.into_owned() }
            }
            _ => {
                return Err(BadManifest::Entry {
                    path: entry.path.into_owned(),
                    reason: "does not have the fields of its kind",
                });
            }
        };
        let path = match &*entry.path {
            "" => EggPath::root(),
            path => EggPath::new(path)?,
        };
        Ok(Self { path, mode: entry.mode, mtime: entry.mtime, kind })
    }
}
