//! Reading a blob: one immutable file that stores one egg. docs/reference/format.md describes its
//! bytes.
//!
//! This code works on bytes in memory, from any source, and trusts none of them. The chain of proof:
//! the blob's name is the digest of the manifest's first line; that line has the digest of every file;
//! the decoded content must match these digests. Frames have digests of their stored bytes, too, which
//! find damage that decoding does not show.

use std::ops::{Deref, Range};

use blake3::hazmat::ChainingValue;

use crate::egg::blob::frame_layout::{self, Layout};
use crate::egg::blob::header::{Encoding, Frame, HEADER_LEN, Header, Placement};
use crate::egg::blob::{BadBlob, damaged};
use crate::egg::cached_egg::CachedEgg;
use crate::egg::manifest::{BadManifest, EntryKind, Manifest};
use crate::egg::provenance::Provenance;
use crate::util::hash::blake3_subtree;
use crate::util::hash::digest::Digest;

/// The unit in which file systems clone, in bytes: content to be cloned begins at a multiple of it.
pub const BLOCK: usize = 4096;
/// The largest manifest that is decoded, in bytes.
pub const MAX_MANIFEST: u64 = 64 << 20;
/// The longest gap of zeros before a frame, in bytes: enough to align frames for cloning.
pub const MAX_GAP: u64 = 1 << 16;

/// An open blob. Its manifest is checked, its frames are not.
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

    /// Reads the header and the manifest, and checks everything except the bytes of the frames. No length
    /// that the bytes claim is allocated before it is bounded.
    pub fn open(bytes: B) -> Result<Self, BadBlob> {
        let header = Header::decode(&bytes)?;
        if header.blob_len != bytes.len() as u64 {
            return Err(damaged(format!(
                "it has {} bytes instead of {}",
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
            _ => return Err(damaged("the lengths in its header contradict each other")),
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

    /// The size of every frame of a large file except its last, in bytes of content.
    #[must_use]
    pub fn frame_size(&self) -> u32 {
        self.frame_size
    }

    pub(crate) fn bytes(&self) -> &B {
        &self.bytes
    }

    #[must_use]
    pub fn into_bytes(self) -> B {
        self.bytes
    }

    /// The offset in the blob of a large file that is stored uncompressed, in one piece that begins at a
    /// multiple of [`BLOCK`]; `None` if it is stored otherwise.
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

    /// The content of a frame, not yet checked against the digests of its files. Fails unless it decodes
    /// to exactly its size. The content is in the decoder's memory: it stays as it is checked, even if
    /// the blob changes.
    pub fn decode<'a>(
        &'a self,
        frame: usize,
        decoder: &'a mut Decoder,
    ) -> Result<&'a [u8], BadBlob> {
        let size = self.layout.frame_sizes[frame] as usize;
        match self.frames[frame].encoding {
            Encoding::Raw => {
                let buffer = decoder.buffer(size);
                buffer.copy_from_slice(self.stored(frame));
                Ok(buffer)
            }
            Encoding::Zstd => decoder
                .decode(self.stored(frame), size)
                .ok_or_else(|| damaged(format!("frame {frame} does not decode"))),
        }
    }

    /// The files of a [`frame_layout::FrameGroup::Small`], each checked. The error names the first file
    /// whose content does not match its digest.
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
    pub fn check_large(&self, entry: usize, frames: &[ChainingValue]) -> Result<(), BadBlob> {
        check_digest(&self.manifest, entry, blake3_subtree::merge(frames))
    }

    /// Checks the stored bytes of a frame.
    pub fn check_stored(&self, frame: usize) -> Result<(), BadBlob> {
        if Digest::of(self.stored(frame)) == self.frames[frame].digest {
            Ok(())
        } else {
            Err(damaged(format!("frame {frame} does not match its checksum")))
        }
    }

    /// Checks that all bytes between the manifest and the frames are zero.
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

/// Checks that the frames follow one another, with small gaps at most, up to the end of the data.
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
        return Err(damaged("its manifest is too large"));
    }
    let does_not_decode = |_| damaged("its manifest does not decode");
    let decoder = zstd::stream::read::Decoder::with_buffer(stored).map_err(does_not_decode)?;
    // Reserved, not filled: growing step by step would take twice the memory.
    let mut text = Vec::with_capacity(usize::try_from(size + 1).expect("at most MAX_MANIFEST"));
    // Reading one byte more than promised shows if there is more. Memory is only used as it is filled.
    decoder.take(size + 1).read_to_end(&mut text).map_err(does_not_decode)?;
    if text.len() as u64 == size { Ok(text) } else { Err(damaged("its manifest has another size")) }
}

fn split_lines(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&byte| byte == b'\n')?;
    let (content, rest) = (&text[..at], &text[at + 1..]);
    let placement = rest.strip_suffix(b"\n")?;
    (!placement.contains(&b'\n')).then_some((content, placement))
}

/// Decodes frames, one after another, into a buffer that it reuses.
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

    /// The buffer, with this size in bytes and any content.
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
