//! Reading a blob: one immutable file that holds one egg. docs/format.md describes its bytes.
//!
//! Pure: it works on bytes in memory, wherever they come from, and believes none of them. The
//! chain of proof is: the blob's name is the digest of the manifest's first line; that line holds
//! the digest of every file; what is decoded must have these digests. Frames have digests of their
//! own, of the stored bytes, which find damage that decoding would not show.

use std::ops::{Deref, Range};

use blake3::hazmat::ChainingValue;
use serde::{Deserialize, Serialize};

use crate::egg::blob::frame_layout::{self, Layout};
use crate::egg::cached_egg::CachedEgg;
use crate::egg::manifest::{BadManifest, EntryKind, Manifest};
use crate::egg::provenance::Provenance;
use crate::util::hash::blake3_subtree;
use crate::util::hash::digest::Digest;

pub(crate) const MAGIC: [u8; 8] = *b"\x89egg\r\n\x1a\n";
/// Version of the blob format that this crate writes, and the newest that it reads.
pub const FORMAT: u32 = 1;
/// What file systems clone in, in bytes: what is to be cloned begins at a multiple.
pub const BLOCK: usize = 4096;
/// Length of the header in bytes.
pub const HEADER_LEN: usize = 128;
/// Largest manifest that is decoded, in bytes.
pub const MAX_MANIFEST: u64 = 64 << 20;
/// Longest gap of zeros before a frame, in bytes: enough to align frames for cloning.
pub const MAX_GAP: u64 = 1 << 16;

/// Why bytes are not a blob that can be used.
#[derive(Debug, thiserror::Error)]
pub enum BadBlob {
    #[error("it is not a blob of eggcache")]
    Foreign,
    #[error("its format is {0}")]
    NewerFormat(u32),
    #[error("{0}")]
    Damaged(String),
    #[error(transparent)]
    Manifest(#[from] BadManifest),
}

fn damaged(reason: impl Into<String>) -> BadBlob {
    BadBlob::Damaged(reason.into())
}

/// The fixed first part of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
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
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.manifest_stored.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.manifest_size.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.data_offset.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.blob_len.to_le_bytes());
        bytes[48..80].copy_from_slice(self.manifest_digest.as_bytes());
        let digest = Digest::of(&bytes[..96]);
        bytes[96..].copy_from_slice(digest.as_bytes());
        bytes
    }

    fn decode(blob: &[u8]) -> Result<Self, BadBlob> {
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
        // Every format keeps magic, version and checksum in their places, so a flipped bit is no
        // newer format.
        if Digest::of(&header[..96]) != digest_at(96) {
            return Err(damaged("its header does not match its checksum"));
        }
        let format = u32::from_le_bytes(header[8..12].try_into().expect("four bytes"));
        if format > FORMAT {
            return Err(BadBlob::NewerFormat(format));
        }
        if format != FORMAT || header[12..16] != [0; 4] || header[80..96] != [0; 16] {
            return Err(damaged("its header has no meaning"));
        }
        Ok(Self {
            manifest_stored: u64_at(16),
            manifest_size: u64_at(24),
            data_offset: u64_at(32),
            blob_len: u64_at(40),
            manifest_digest: digest_at(48),
        })
    }
}

/// How a frame's content is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    Raw,
    Zstd,
}

/// Where one frame's stored bytes are. Its content's size follows from the layout rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frame {
    /// Bytes from the beginning of the data.
    pub offset: u64,
    /// Stored bytes.
    pub stored: u64,
    pub encoding: Encoding,
    /// BLAKE3 of the stored bytes.
    pub digest: Digest,
}

/// The manifest's second line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Placement {
    pub frame_size: u32,
    pub frames: Vec<Frame>,
    pub provenance: Provenance,
}

/// An opened blob: manifest checked, frames not yet.
#[derive(Debug)]
pub struct Blob<B> {
    bytes: B,
    pub digest: Digest,
    pub manifest: Manifest,
    pub provenance: Provenance,
    pub layout: Layout,
    frame_size: u32,
    frames: Vec<Frame>,
    data_offset: usize,
}

impl<B: Deref<Target = [u8]>> Blob<B> {
    /// The index row for this blob.
    #[must_use]
    pub fn cached_egg(&self) -> CachedEgg {
        CachedEgg::new(self.digest, &self.manifest, self.len(), self.provenance.clone())
    }

    /// Reads header and manifest, and checks everything but the frames' bytes.
    ///
    /// # Errors
    /// [`BadBlob`]; no length that the bytes claim is allocated before it is bounded.
    pub fn open(bytes: B) -> Result<Self, BadBlob> {
        let header = Header::decode(&bytes)?;
        if header.blob_len != bytes.len() as u64 {
            return Err(damaged(format!(
                "it has {} bytes in place of {}",
                bytes.len(),
                header.blob_len
            )));
        }
        let stored_end = (HEADER_LEN as u64).checked_add(header.manifest_stored);
        let stored = match stored_end {
            Some(end)
                if end <= header.data_offset
                    && header.data_offset - end <= MAX_GAP
                    && header.data_offset <= header.blob_len =>
            {
                #[expect(clippy::cast_possible_truncation, reason = "below the length of a slice")]
                &bytes[HEADER_LEN..end as usize]
            }
            _ => return Err(damaged("its header's lengths contradict each other")),
        };
        if Digest::of(stored) != header.manifest_digest {
            return Err(damaged("its manifest does not match its checksum"));
        }
        let text = decode_manifest(stored, header.manifest_size)?;
        let (content, placement) = split_lines(&text)
            .ok_or_else(|| damaged("its manifest does not consist of two lines"))?;
        let digest = Digest::of(content);
        let manifest = Manifest::decode(content)?;
        let Placement { frame_size, frames, provenance } =
            serde_json::from_slice(placement).map_err(BadManifest::from)?;
        if !frame_size.is_power_of_two() || !frame_layout::FRAME_SIZES.contains(&frame_size) {
            return Err(damaged("its frame size is out of range"));
        }
        if frame_layout::count_frames(&manifest.entries, frame_size) != frames.len() as u64 {
            return Err(damaged("its frames do not hold its files"));
        }
        let layout = Layout::of(&manifest.entries, frame_size);
        check_frames(&frames, &layout.frame_sizes, header.blob_len - header.data_offset)?;
        for &entry in &layout.empty {
            check_digest(&manifest, entry, Digest::of(b""))?;
        }
        let data_offset = usize::try_from(header.data_offset).expect("below the length of a slice");
        Ok(Self { bytes, digest, manifest, provenance, layout, frame_size, frames, data_offset })
    }

    /// Length of the blob, in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    #[must_use]
    pub fn frame_count(&self) -> usize {
        self.frames.len()
    }

    /// Size in bytes of the content of every frame of a large file but its last.
    #[must_use]
    pub fn frame_size(&self) -> u32 {
        self.frame_size
    }

    pub(crate) fn bytes(&self) -> &B {
        &self.bytes
    }

    /// The bytes themselves.
    #[must_use]
    pub fn into_bytes(self) -> B {
        self.bytes
    }

    /// Where the content of a large file lies in the blob as it is, in whole blocks of
    /// [`BLOCK`] but for the last; `None` if it lies there otherwise.
    #[must_use]
    pub fn raw_offset(&self, frames: Range<usize>) -> Option<u64> {
        let frames = &self.frames[frames];
        let begin = self.data_offset as u64 + frames.first()?.offset;
        let is_raw = frames.iter().all(|frame| frame.encoding == Encoding::Raw);
        let is_one =
            frames.windows(2).all(|pair| pair[0].offset + pair[0].stored == pair[1].offset);
        (is_raw && is_one && begin.is_multiple_of(BLOCK as u64)).then_some(begin)
    }

    fn stored(&self, frame: usize) -> &[u8] {
        let Frame { offset, stored, .. } = self.frames[frame];
        let range = |at: u64| usize::try_from(at).expect("checked against the blob's length");
        &self.bytes[self.data_offset..][range(offset)..range(offset + stored)]
    }

    /// The content of a frame, not yet checked against the digests of its files.
    ///
    /// # Errors
    /// [`BadBlob`] where it does not decode to exactly its size.
    pub fn decode<'a>(
        &'a self,
        frame: usize,
        decoder: &'a mut Decoder,
    ) -> Result<&'a [u8], BadBlob> {
        let size = self.layout.frame_sizes[frame] as usize;
        match self.frames[frame].encoding {
            Encoding::Raw => Ok(self.stored(frame)),
            Encoding::Zstd => decoder
                .decode(self.stored(frame), size)
                .ok_or_else(|| damaged(format!("frame {frame} does not decode"))),
        }
    }

    /// The files of a small unit with their content, each checked.
    ///
    /// # Errors
    /// [`BadBlob`] naming the first file whose content does not have its digest.
    pub fn small_files<'a>(
        &'a self,
        frame: usize,
        entries: &'a [usize],
        decoder: &'a mut Decoder,
    ) -> Result<impl Iterator<Item = (usize, &'a [u8])>, BadBlob> {
        let content = self.decode(frame, decoder)?;
        let mut at = 0;
        let files = entries.iter().map(move |&entry| {
            let EntryKind::File { size, .. } = self.manifest.entries[entry].kind else {
                unreachable!("the layout names files only");
            };
            let size = usize::try_from(size).expect("at most a frame");
            at += size;
            (entry, &content[at - size..at])
        });
        for (entry, content) in files.clone() {
            check_digest(&self.manifest, entry, Digest::of(content))?;
        }
        Ok(files)
    }

    /// Checks a large file against the chaining values of its frames.
    ///
    /// # Errors
    /// [`BadBlob`] naming the file.
    pub fn check_large(&self, entry: usize, frames: &[ChainingValue]) -> Result<(), BadBlob> {
        check_digest(&self.manifest, entry, blake3_subtree::merge(frames))
    }

    /// Checks the stored bytes of a frame.
    ///
    /// # Errors
    /// [`BadBlob`] naming the frame.
    pub fn check_stored(&self, frame: usize) -> Result<(), BadBlob> {
        if Digest::of(self.stored(frame)) == self.frames[frame].digest {
            Ok(())
        } else {
            Err(damaged(format!("frame {frame} does not match its checksum")))
        }
    }

    /// Checks that everything between and after manifest and frames is zero.
    ///
    /// # Errors
    /// [`BadBlob`] if there is anything.
    pub fn check_gaps(&self) -> Result<(), BadBlob> {
        let header = Header::decode(&self.bytes)?;
        let range = |at: u64| usize::try_from(at).expect("checked against the blob's length");
        let mut from = HEADER_LEN + range(header.manifest_stored);
        for frame in &self.frames {
            let begin = self.data_offset + range(frame.offset);
            if self.bytes[from..begin].iter().any(|&byte| byte != 0) {
                return Err(damaged("there are bytes between its frames"));
            }
            from = begin + range(frame.stored);
        }
        if self.bytes[from..].iter().any(|&byte| byte != 0) {
            return Err(damaged("there are bytes after its manifest"));
        }
        Ok(())
    }
}

fn check_digest(manifest: &Manifest, entry: usize, found: Digest) -> Result<(), BadBlob> {
    let entry = &manifest.entries[entry];
    match entry.kind {
        EntryKind::File { digest, .. } if digest == found => Ok(()),
        _ => Err(damaged(format!("{} does not have its digest", entry.path))),
    }
}

/// Frames lie one after another, with no more than a small gap, up to the end of the data.
fn check_frames(frames: &[Frame], sizes: &[u32], data_len: u64) -> Result<(), BadBlob> {
    let mut end: u64 = 0;
    for (frame, &size) in frames.iter().zip(sizes) {
        let fits = match frame.encoding {
            Encoding::Raw => frame.stored == u64::from(size),
            Encoding::Zstd => frame.stored > 0 && frame.stored < u64::from(size),
        };
        if !fits || frame.offset < end || frame.offset - end > MAX_GAP || frame.offset > data_len {
            return Err(damaged("its frames contradict each other"));
        }
        end = frame.offset + frame.stored;
    }
    if end == data_len { Ok(()) } else { Err(damaged("its frames do not fill it")) }
}

fn decode_manifest(stored: &[u8], size: u64) -> Result<Vec<u8>, BadBlob> {
    use std::io::Read;
    if size > MAX_MANIFEST {
        return Err(damaged("its manifest is larger than any"));
    }
    let does_not_decode = |_| damaged("its manifest does not decode");
    let decoder = zstd::stream::read::Decoder::with_buffer(stored).map_err(does_not_decode)?;
    // Reserved, not filled: growing step by step would take twice as much in the end.
    let mut text = Vec::with_capacity(usize::try_from(size + 1).expect("at most MAX_MANIFEST"));
    // One byte more than promised shows that there is more; memory grows with what is decoded only.
    decoder.take(size + 1).read_to_end(&mut text).map_err(does_not_decode)?;
    if text.len() as u64 == size { Ok(text) } else { Err(damaged("its manifest has another size")) }
}

fn split_lines(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&byte| byte == b'\n')?;
    let (content, rest) = (&text[..at], &text[at + 1..]);
    let placement = rest.strip_suffix(b"\n")?;
    (!placement.contains(&b'\n')).then_some((content, placement))
}

/// Decodes frames, one after another, into one buffer that it keeps.
pub struct Decoder {
    zstd: zstd::bulk::Decompressor<'static>,
    buffer: Vec<u8>,
}

impl Decoder {
    /// # Panics
    /// If there is no memory for a zstd context.
    #[must_use]
    pub fn new() -> Self {
        let zstd = zstd::bulk::Decompressor::new().expect("memory for a zstd context");
        Self { zstd, buffer: Vec::new() }
    }

    /// The buffer, of this size in bytes, with anything in it.
    pub(crate) fn buffer(&mut self, size: usize) -> &mut [u8] {
        if self.buffer.len() < size {
            self.buffer.resize(size, 0);
        }
        &mut self.buffer[..size]
    }

    fn decode(&mut self, stored: &[u8], size: usize) -> Option<&[u8]> {
        self.buffer(size);
        let buffer = &mut self.buffer[..size];
        let decoded = self.zstd.decompress_to_buffer(stored, buffer).ok()?;
        (decoded == size).then_some(&self.buffer[..size])
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("buffer", &self.buffer.len()).finish_non_exhaustive()
    }
}
