//! Writing a blob. docs/reference/format.md describes its bytes, and [`crate::egg::blob::reader`] reads
//! them.

use std::io::{Read, Seek, Write};

use blake3::hazmat::ChainingValue;
use rayon::prelude::*;

use crate::egg::blob::frame_layout::{FrameGroup, Layout};
use crate::egg::blob::header::{Encoding, Frame, HEADER_LEN, Header, Placement, format_of};
use crate::egg::blob::reader::BLOCK;
use crate::egg::manifest::{Entry, EntryKind, Manifest};
use crate::egg::provenance::Provenance;
use crate::util::hash::blake3_subtree;
use crate::util::hash::digest::Digest;

/// zstd's own default: it makes eggs 3.5 times smaller, and takes little time compared to a build.
pub(super) const LEVEL: i32 = 3;
/// How much content is in memory at once, in bytes for each thread.
const BYTES_PER_THREAD: usize = 2 << 20;

/// How an egg is stored, depending on what its blob is optimised for. docs/explanation/performance.md
/// has the measurements behind the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// One of [`crate::egg::blob::frame_layout::FRAME_SIZES`], in bytes.
    pub frame_size: u32,
    /// Whether to store files larger than a frame uncompressed, each from a multiple of [`BLOCK`].
    pub clonable: bool,
}

impl Packing {
    /// Small blobs: every frame is compressed.
    pub const SMALL: Self = Self { frame_size: 256 << 10, clonable: false };
    /// For a file system that clones: a copied large file shares the blocks of the blob.
    pub const CLONABLE: Self = Self { frame_size: 32 << 10, clonable: true };
}

/// The source of the files' content while a blob is written.
pub trait Content: Sync {
    type Error: Send;

    /// Fills `buffer` with the bytes of a file from `offset` on. Fails if there are fewer bytes, or if the
    /// file has changed since it was listed.
    fn read(&self, entry: &Entry, offset: u64, buffer: &mut [u8]) -> Result<(), Self::Error>;
}

/// Content in memory.
impl<F: Fn(&Entry) -> Vec<u8> + Sync> Content for F {
    type Error = std::convert::Infallible;

    fn read(&self, entry: &Entry, offset: u64, buffer: &mut [u8]) -> Result<(), Self::Error> {
        let at = usize::try_from(offset).expect("content in memory");
        buffer.copy_from_slice(&self(entry)[at..at + buffer.len()]);
        Ok(())
    }
}

/// A blob that has been written.
#[derive(Debug, Clone)]
pub struct Written {
    pub digest: Digest,
    /// Length of the blob, in bytes.
    pub len: u64,
}

/// Why a blob could not be written.
#[derive(Debug)]
pub enum WriteError<E> {
    Content(E),
    Output(std::io::Error),
}

impl<E> From<std::io::Error> for WriteError<E> {
    fn from(error: std::io::Error) -> Self {
        Self::Output(error)
    }
}

/// Writes the egg of `manifest` to `output`, and puts the digests of its files into the manifest. On
/// failure, `output` is incomplete.
///
/// Frames are read and compressed in parallel, a few at a time. `spool`, which is empty, stores them
/// until all are known: the manifest, which comes before them, lists them.
pub fn write<S: Content>(
    manifest: &mut Manifest,
    provenance: Provenance,
    packing: Packing,
    source: &S,
    mut spool: impl Read + Write + Seek,
    mut output: impl Write,
) -> Result<Written, WriteError<S::Error>> {
    let layout = Layout::of(&manifest.entries, packing.frame_size);
    for &entry in &layout.empty {
        set_digest(manifest, entry, Digest::of(b""));
    }
    let (frames, data_len) = write_frames(manifest, &layout, packing, source, &mut spool)?;
    let mut text = manifest.encode();
    let digest = Digest::of(&text);
    let format = format_of(&manifest.key, &provenance);
    let placement = Placement { frame_size: packing.frame_size, frames, provenance };
    text.push(b'\n');
    serde_json::to_writer(&mut text, &placement).expect("memory takes every byte");
    text.push(b'\n');
    let stored = zstd::bulk::compress(&text, LEVEL)?;
    let manifest_end = (HEADER_LEN + stored.len()) as u64;
    let gap = if packing.clonable { gap_before_block(manifest_end) } else { &[] };
    let data_offset = manifest_end + gap.len() as u64;
    let len = data_offset + data_len;
    let header = Header {
        format,
        manifest_stored: stored.len() as u64,
        manifest_size: text.len() as u64,
        data_offset,
        blob_len: len,
        manifest_digest: Digest::of(&stored),
    };
    output.write_all(&header.encode())?;
    output.write_all(&stored)?;
    output.write_all(gap)?;
    spool.rewind()?;
    std::io::copy(&mut spool, &mut output)?;
    output.flush()?;
    Ok(Written { digest, len })
}

/// Writes all frames to `spool`, and returns them with the number of bytes written.
fn write_frames<S: Content>(
    manifest: &mut Manifest,
    layout: &Layout,
    packing: Packing,
    source: &S,
    mut spool: impl Write,
) -> Result<(Vec<Frame>, u64), WriteError<S::Error>> {
    let jobs: Vec<Job<'_>> = layout.groups.iter().flat_map(Job::of).collect();
    let mut frames = Vec::with_capacity(jobs.len());
    let mut offset: u64 = 0;
    let mut subtrees: Vec<ChainingValue> = Vec::new();
    let at_once = (BYTES_PER_THREAD / packing.frame_size as usize).max(1);
    for batch in jobs.chunks(at_once * rayon::current_num_threads()) {
        let encoded: Vec<_> = batch
            .par_iter()
            .map_init(
                || Encoder::new(packing),
                |encoder, job| encoder.encode(job, &manifest.entries, &layout.frame_sizes, source),
            )
            .collect();
        for (job, encoded) in batch.iter().zip(encoded) {
            let encoded = encoded.map_err(WriteError::Content)?;
            if packing.clonable && matches!(job, Job::Part { part: 0, .. }) {
                let gap = gap_before_block(offset);
                spool.write_all(gap)?;
                offset += gap.len() as u64;
            }
            spool.write_all(&encoded.stored)?;
            let stored = encoded.stored.len() as u64;
            let Encoded { encoding, stored_digest: digest, hashes, .. } = encoded;
            frames.push(Frame { offset, stored, encoding, digest });
            offset += stored;
            set_digests(manifest, job, hashes, &mut subtrees);
        }
    }
    Ok((frames, offset))
}

/// Puts the digests of a frame's files into the manifest. `subtrees` collects the chaining values of a
/// large file until its last frame.
fn set_digests(
    manifest: &mut Manifest,
    job: &Job<'_>,
    hashes: Hashes,
    subtrees: &mut Vec<ChainingValue>,
) {
    match hashes {
        Hashes::Files(files) => {
            for (entry, digest) in files {
                set_digest(manifest, entry, digest);
            }
        }
        Hashes::Subtree(value) => {
            subtrees.push(value);
            if let &Job::Part { entry, last: true, .. } = job {
                set_digest(manifest, entry, blake3_subtree::merge(subtrees));
                subtrees.clear();
            }
        }
    }
}

/// The zeros from `offset` to the next block.
fn gap_before_block(offset: u64) -> &'static [u8] {
    static ZEROS: [u8; BLOCK] = [0; BLOCK];
    &ZEROS[..usize::try_from(offset.next_multiple_of(BLOCK as u64) - offset)
        .expect("less than a block")]
}

fn set_digest(manifest: &mut Manifest, entry: usize, found: Digest) {
    if let EntryKind::File { digest, .. } = &mut manifest.entries[entry].kind {
        *digest = found;
    }
}

/// One frame to write.
enum Job<'a> {
    Files { frame: usize, entries: &'a [usize] },
    Part { frame: usize, entry: usize, part: usize, last: bool },
}

impl<'a> Job<'a> {
    fn of(group: &'a FrameGroup) -> Vec<Self> {
        match group {
            FrameGroup::Small { frame, entries } => vec![Self::Files { frame: *frame, entries }],
            FrameGroup::Large { entry, frames } => frames
                .clone()
                .enumerate()
                .map(|(part, frame)| Self::Part {
                    frame,
                    entry: *entry,
                    part,
                    last: frame + 1 == frames.end,
                })
                .collect(),
        }
    }
}

struct Encoded {
    stored: Vec<u8>,
    encoding: Encoding,
    stored_digest: Digest,
    hashes: Hashes,
}

enum Hashes {
    Files(Vec<(usize, Digest)>),
    Subtree(ChainingValue),
}

struct Encoder {
    packing: Packing,
    zstd: zstd::bulk::Compressor<'static>,
    content: Vec<u8>,
}

impl Encoder {
    fn new(packing: Packing) -> Self {
        let zstd = zstd::bulk::Compressor::new(LEVEL).expect("memory for a zstd context");
        Self { packing, zstd, content: vec![0; packing.frame_size as usize] }
    }

    fn encode<S: Content>(
        &mut self,
        job: &Job<'_>,
        entries: &[Entry],
        frame_sizes: &[u32],
        source: &S,
    ) -> Result<Encoded, S::Error> {
        let frame_size = self.packing.frame_size;
        let (size, hashes) = match *job {
            Job::Files { frame, entries: files } => {
                let mut digests = Vec::with_capacity(files.len());
                let mut rest = &mut self.content[..frame_sizes[frame] as usize];
                for &file in files {
                    let EntryKind::File { size, .. } = entries[file].kind else {
                        unreachable!("the layout names files only");
                    };
                    let size = usize::try_from(size).expect("at most a frame");
                    let (content, after) = rest.split_at_mut(size);
                    source.read(&entries[file], 0, content)?;
                    digests.push((file, Digest::of(content)));
                    rest = after;
                }
                (frame_sizes[frame], Hashes::Files(digests))
            }
            Job::Part { frame, entry, part, .. } => {
                let content = &mut self.content[..frame_sizes[frame] as usize];
                source.read(&entries[entry], part as u64 * u64::from(frame_size), content)?;
                let value = blake3_subtree::of_frame(part, frame_size, content);
                (frame_sizes[frame], Hashes::Subtree(value))
            }
        };
        let content = &self.content[..size as usize];
        let stays_raw = self.packing.clonable && matches!(job, Job::Part { .. });
        let compressed = (!stays_raw).then(|| self.zstd.compress(content));
        let (encoding, stored) = match compressed {
            Some(Ok(stored)) if stored.len() < content.len() => (Encoding::Zstd, stored),
            _ => (Encoding::Raw, content.to_vec()),
        };
        Ok(Encoded { encoding, stored_digest: Digest::of(&stored), stored, hashes })
    }
}
