//! The fixed parts of a blob: its header, and the placement of its frames. docs/reference/format.md
//! describes them byte by byte.

use serde::{Deserialize, Serialize};

use crate::egg::blob::{BadBlob, damaged};
use crate::egg::key::EggKey;
use crate::egg::provenance::Provenance;
use crate::util::hash::digest::Digest;

pub(crate) const MAGIC: [u8; 8] = *b"\x89egg\r\n\x1a\n";
/// The newest version of the blob format that this crate reads.
pub const FORMAT: u32 = 3;
/// The version of a blob with neither of the fields below, which every eggcache reads.
const FIRST_FORMAT: u32 = 1;
/// Version 2 has more fields of provenance.
const EXTENDED_FORMAT: u32 = 2;
/// Version 3 has the spelling of the file name in the egg key.
const SPELT_FORMAT: u32 = 3;
/// Length of the header, in bytes.
pub const HEADER_LEN: usize = 128;

/// The first part of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub format: u32,
    pub manifest_stored: u64,
    pub manifest_size: u64,
    pub data_offset: u64,
    pub blob_len: u64,
    pub manifest_digest: Digest,
}

impl Header {
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.format.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.manifest_stored.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.manifest_size.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.data_offset.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.blob_len.to_le_bytes());
        bytes[48..80].copy_from_slice(self.manifest_digest.as_bytes());
        let digest = Digest::of(&bytes[..96]);
        bytes[96..].copy_from_slice(digest.as_bytes());
        bytes
    }

    pub fn decode(blob: &[u8]) -> Result<Self, BadBlob> {
        if blob.is_empty() {
            return Err(damaged("it is empty"));
        }
        if !blob.starts_with(&MAGIC) {
            return Err(BadBlob::Foreign);
        }
        let header = blob.get(..HEADER_LEN).ok_or_else(|| damaged("its header is cut off"))?;
        let u64_at = |at: usize| {
            u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes were asked for"))
        };
        let digest_at = |at: usize| {
            let bytes: [u8; 32] = header[at..at + 32].try_into().expect("a digest has 32 bytes");
            Digest::from(bytes)
        };
        // Magic, version and checksum have the same place in every format, so a flipped bit does not
        // look like a newer format.
        if Digest::of(&header[..96]) != digest_at(96) {
            return Err(damaged("its header does not match its checksum"));
        }
        let format = u32::from_le_bytes(header[8..12].try_into().expect("four bytes"));
        if format > FORMAT {
            return Err(BadBlob::NewerFormat(format));
        }
        if format < FIRST_FORMAT || header[12..16] != [0; 4] || header[80..96] != [0; 16] {
            return Err(damaged("its header is invalid"));
        }
        Ok(Self {
            format,
            manifest_stored: u64_at(16),
            manifest_size: u64_at(24),
            data_offset: u64_at(32),
            blob_len: u64_at(40),
            manifest_digest: digest_at(48),
        })
    }
}

/// The smallest format that has every field of a blob.
pub(crate) fn format_of(key: &EggKey, provenance: &Provenance) -> u32 {
    if !key.spelling.is_empty() {
        SPELT_FORMAT
    } else if provenance.is_extended() {
        EXTENDED_FORMAT
    } else {
        FIRST_FORMAT
    }
}

/// How a frame's content is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    Raw,
    Zstd,
}

/// The place of one frame's stored bytes. The size of its content follows from the layout rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame {
    /// Bytes from the beginning of the data.
    pub offset: u64,
    /// Number of stored bytes.
    pub stored: u64,
    pub encoding: Encoding,
    /// BLAKE3 of the stored bytes.
    pub digest: Digest,
}

/// The second line of the manifest.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Placement {
    pub frame_size: u32,
    pub frames: Vec<Frame>,
    pub provenance: Provenance,
}
