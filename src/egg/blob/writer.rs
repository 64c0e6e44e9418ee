//! Writing a blob. docs/format.md describes its bytes, [`crate::egg::blob::reader`] reads them.

use std::io::{Read, Seek, Write};

use blake3::hazmat::ChainingValue;
use rayon::prelude::*;

use crate::egg::blob::frame_layout::{FrameGroup, Layout};
use crate::egg::blob::reader::{BLOCK, Encoding, Frame, HEADER_LEN, Header, Placement};
use crate::egg::manifest::{Entry, EntryKind, Manifest};
use crate::egg::provenance::Provenance;
use crate::util::hash::blake3_subtree;
use crate::util::hash::digest::Digest;

/// zstd's own default: 3.5 times smaller eggs, and fast enough to hide behind a build.
const LEVEL: i32 = 3;
/// How many bytes of content are in memory at once, for each thread.
const BYTES_PER_THREAD: usize = 2 << 20;

/// How the bytes of an egg are stored: what its blob is to be good for. docs/performance.md has the
/// measurements behind the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// As [`crate::egg::blob::frame_layout::FRAME_SIZES`] allows, in bytes.
    pub frame_size: u32,
    /// Store files that are larger than a frame as they are, each from a multiple of [`BLOCK`] on.
    pub clonable: bool,
}

impl Packing {
    /// As small as is quick: every frame is compressed.
    pub const SMALL: Self = Self { frame_size: 256 << 10, clonable: false };
    /// For a file system that clones: a large file is not decoded but shares the blocks of the blob.
    pub const CLONABLE: Self = Self { frame_size: 32 << 10, clonable: true };
}

/// Where the content of files is read from while a blob is written.
pub trait Content: Sync {
    type Error: Send;

    /// Fills `buffer` with the bytes of a file from `offset` on.
    ///
    /// # Errors
    /// If there are fewer bytes, or if the file is no longer the one that was listed.
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

/// What has been written.
#[derive(Debug, Clone)]
pub struct Written {
    pub digest: Digest,
    /// Length of the blob in bytes.
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

/// Writes the egg of `manifest` to `output` and puts the digests of its files into the manifest.
///
/// Frames are read and compressed in parallel; a few are in memory at a time, and `spool` takes
/// them until their number is known, which the manifest in front of them needs. It is empty.
///
/// # Errors
/// [`WriteError`]; `output` is then incomplete.
pub fn write<S: Content>(
    manifest: &mut Manifest,
    provenance: Provenance,
    packing: Packing,
    source: &S,
    mut spool: impl Read + Write + Seek,
    mut output: impl Write,
) -> Result<Written, WriteError<S::Error>> {
    let layout = Layout::of(&manifest.entries, packing.frame_size);
    let at_once = (BYTES_PER_THREAD / packing.frame_size as usize).max(1);
    for &entry in &layout.empty {
        set_digest(manifest, entry, Digest::of(b""));
    }
    let jobs: Vec<Job<'_>> = layout.groups.iter().flat_map(Job::of).collect();
    let mut frames = Vec::with_capacity(jobs.len());
    let mut offset: u64 = 0;
    let mut subtrees: Vec<ChainingValue> = Vec::new();
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
            frames.push(Frame {
                offset,
                stored: encoded.stored.len() as u64,
                encoding: encoded.encoding,
                digest: encoded.stored_digest,
            });
            offset += encoded.stored.len() as u64;
            match encoded.hashes {
                Hashes::Files(files) => {
                    for (entry, digest) in files {
                        set_digest(manifest, entry, digest);
                    }
                }
                Hashes::Subtree(value) => {
                    subtrees.push(value);
                    if let &Job::Part { entry, last: true, .. } = job {
                        set_digest(manifest, entry, blake3_subtree::merge(&subtrees));
                        subtrees.clear();
                    }
                }
            }
        }
    }
    let content = manifest.encode();
    let digest = Digest::of(&content);
    let placement = Placement { frame_size: packing.frame_size, frames, provenance };
    let mut text = content;
    text.push(b'\n');
    serde_json::to_writer(&mut text, &placement).expect("memory takes every byte");
    text.push(b'\n');
    let stored = zstd::bulk::compress(&text, LEVEL)?;
    let manifest_end = (HEADER_LEN + stored.len()) as u64;
    let gap = if packing.clonable { gap_before_block(manifest_end) } else { &[] };
    let data_offset = manifest_end + gap.len() as u64;
    let len = data_offset + offset;
    let header = Header {
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

/// Zeros from `offset` to the next block.
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

/// One frame to be written.
enum Job<'a> {
    Files { frame: usize, entries: &'a [usize] },
    Part { frame: usize, entry: usize, part: usize, last: bool },
}

impl<'a> Job<'a> {
    fn of(unit: &'a FrameGroup) -> Vec<Self> {
        match unit {
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;
    use crate::egg::blob::reader::{Blob, Decoder};
    use crate::egg::manifest::Mtime;
    use crate::egg::manifest::tests::manifest;
    use crate::egg::path::EggPath;

    type Files = Vec<(String, Vec<u8>)>;

    const PACKINGS: [Packing; 2] = [Packing::SMALL, Packing::CLONABLE];

    fn blob_of(files: &Files) -> Vec<u8> {
        packed(files, Packing::SMALL)
    }

    fn packed(files: &Files, packing: Packing) -> Vec<u8> {
        let unknown = Digest::of(b"not read yet");
        let entry = |path: &EggPath, kind| Entry {
            path: path.clone(),
            mode: 0o755,
            mtime: Mtime(1_600_000_000, 0),
            kind,
        };
        let mut entries = vec![entry(&EggPath::root(), EntryKind::Directory)];
        for (path, content) in files {
            let kind = EntryKind::File { size: content.len() as u64, digest: unknown };
            entries.push(entry(&EggPath::new(path.as_str()).unwrap(), kind));
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        let contents: HashMap<&str, &Vec<u8>> =
            files.iter().map(|(path, content)| (path.as_str(), content)).collect();
        let source = |entry: &Entry| contents[entry.path.as_str()].clone();
        let mut blob = Vec::new();
        let mut manifest = manifest(entries);
        let (provenance, spool) = (Provenance::default(), Cursor::new(Vec::new()));
        let written = write(&mut manifest, provenance, packing, &source, spool, &mut blob).unwrap();
        assert_eq!(written.len, blob.len() as u64);
        assert_eq!(written.digest, Digest::of(&manifest.encode()));
        blob
    }

    fn files_of(blob: &[u8]) -> Result<Files, crate::egg::blob::reader::BadBlob> {
        let blob = Blob::open(blob)?;
        blob.check_gaps()?;
        let mut decoder = Decoder::new();
        let mut files = Vec::new();
        let path = |entry: usize| blob.manifest.entries[entry].path.as_str().to_owned();
        files.extend(blob.layout.empty.iter().map(|&entry| (path(entry), Vec::new())));
        for unit in &blob.layout.groups {
            match unit {
                FrameGroup::Small { frame, entries } => {
                    blob.check_stored(*frame)?;
                    let found = blob.small_files(*frame, entries, &mut decoder)?;
                    files.extend(found.map(|(entry, content)| (path(entry), content.to_vec())));
                }
                FrameGroup::Large { entry, frames } => {
                    let (mut whole, mut subtrees) = (Vec::new(), Vec::new());
                    for (part, frame) in frames.clone().enumerate() {
                        blob.check_stored(frame)?;
                        let content = blob.decode(frame, &mut decoder)?;
                        subtrees.push(blake3_subtree::of_frame(part, blob.frame_size(), content));
                        whole.extend_from_slice(content);
                    }
                    blob.check_large(*entry, &subtrees)?;
                    files.push((path(*entry), whole));
                }
            }
        }
        files.sort();
        Ok(files)
    }

    /// Content that compresses, and content that does not.
    fn content(size: usize, dense: bool) -> Vec<u8> {
        if !dense {
            return b"import os\n".iter().copied().cycle().take(size).collect();
        }
        let mut bytes = vec![0; size];
        blake3::Hasher::new().update(&size.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn sample(packing: Packing) -> Files {
        let frame = packing.frame_size as usize;
        [0, 1, 500, frame - 1, frame, frame + 1, 3 * frame + 7]
            .into_iter()
            .flat_map(|size| [(size, false), (size, true)])
            .map(|(size, dense)| (format!("{size:07}{dense}"), content(size, dense)))
            .collect()
    }

    #[test]
    fn files_at_the_boundaries_survive() {
        for packing in PACKINGS {
            let mut files = sample(packing);
            files.sort();
            assert_eq!(files_of(&packed(&files, packing)).unwrap(), files);
        }
    }

    #[test]
    fn the_same_egg_gives_the_same_blob() {
        for packing in PACKINGS {
            let files = sample(packing);
            assert_eq!(packed(&files, packing), packed(&files, packing));
        }
    }

    #[test]
    fn the_egg_digest_does_not_depend_on_the_packing() {
        let digests = PACKINGS.map(|packing| {
            Blob::open(&packed(&sample(Packing::SMALL), packing)[..]).unwrap().digest
        });
        assert_eq!(digests[0], digests[1]);
    }

    #[test]
    fn a_large_file_of_a_clonable_blob_lies_there_in_blocks() {
        for (packing, is_clonable) in [(Packing::CLONABLE, true), (Packing::SMALL, false)] {
            let bytes = packed(&sample(packing), packing);
            let blob = Blob::open(&bytes[..]).unwrap();
            let mut large = 0;
            for unit in &blob.layout.groups {
                let FrameGroup::Large { entry, frames } = unit else { continue };
                let name = blob.manifest.entries[*entry].path.as_str();
                let Some(at) = blob.raw_offset(frames.clone()) else {
                    assert!(!is_clonable, "{name}");
                    continue;
                };
                large += 1;
                let content = content(name[..7].parse().unwrap(), name.ends_with("true"));
                let at = usize::try_from(at).unwrap();
                assert_eq!(
                    (at % 4096, &bytes[at..at + content.len()]),
                    (0, &content[..]),
                    "{name}"
                );
            }
            assert_eq!(large, if is_clonable { 4 } else { 0 });
        }
    }

    #[test]
    fn every_truncation_is_found() {
        let blob = blob_of(&vec![("a".into(), content(5000, true)), ("b".into(), Vec::new())]);
        for len in (0..blob.len()).step_by(7) {
            assert!(files_of(&blob[..len]).is_err(), "{len}");
        }
        let mut longer = blob;
        longer.push(0);
        assert!(files_of(&longer).is_err());
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let blob =
            blob_of(&vec![("a".into(), content(700, false)), ("b".into(), content(300, true))]);
        for bit in 0..blob.len() * 8 {
            let mut bad = blob.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(files_of(&bad).is_err(), "bit {bit} of {}", blob.len() * 8);
        }
    }

    #[test]
    fn every_flipped_byte_of_a_clonable_blob_is_found() {
        let large = content(Packing::CLONABLE.frame_size as usize + 9, false);
        let blob =
            packed(&vec![("a".into(), large), ("b".into(), content(9, true))], Packing::CLONABLE);
        for byte in (0..blob.len()).step_by(101) {
            let mut bad = blob.clone();
            bad[byte] ^= 1;
            assert!(files_of(&bad).is_err(), "byte {byte} of {}", blob.len());
        }
    }

    #[test]
    fn a_newer_format_says_so() {
        let mut blob = blob_of(&Vec::new());
        blob[8] = 2;
        assert!(matches!(
            Blob::open(&blob[..]),
            Err(crate::egg::blob::reader::BadBlob::Damaged(_))
        ));
        let digest = Digest::of(&blob[..96]);
        blob[96..HEADER_LEN].copy_from_slice(digest.as_bytes());
        assert!(matches!(
            Blob::open(&blob[..]),
            Err(crate::egg::blob::reader::BadBlob::NewerFormat(2))
        ));
    }

    /// Rewrites the second line of the manifest, and every checksum that covers it.
    fn with_placement(blob: &[u8], change: impl Fn(&mut serde_json::Value)) -> Vec<u8> {
        let number = |at: usize| {
            let bytes = blob[at..at + 8].try_into().unwrap();
            usize::try_from(u64::from_le_bytes(bytes)).unwrap()
        };
        let (stored, data) = (number(16), number(32));
        let text = zstd::decode_all(&blob[HEADER_LEN..HEADER_LEN + stored]).unwrap();
        let at = text.iter().position(|&byte| byte == b'\n').unwrap();
        let mut placement: serde_json::Value = serde_json::from_slice(&text[at + 1..]).unwrap();
        change(&mut placement);
        let mut text = text[..=at].to_vec();
        text.extend(placement.to_string().bytes().chain([b'\n']));
        let manifest = zstd::bulk::compress(&text, LEVEL).unwrap();
        let header = Header {
            manifest_stored: manifest.len() as u64,
            manifest_size: text.len() as u64,
            data_offset: (HEADER_LEN + manifest.len()) as u64,
            blob_len: (HEADER_LEN + manifest.len() + blob.len() - data) as u64,
            manifest_digest: Digest::of(&manifest),
        };
        [&header.encode()[..], &manifest, &blob[data..]].concat()
    }

    #[test]
    fn a_hostile_placement_is_refused() {
        let files = vec![
            ("a".into(), content(Packing::SMALL.frame_size as usize, false)),
            ("b".into(), content(9, true)),
        ];
        let blob = blob_of(&files);
        assert_eq!(files_of(&with_placement(&blob, |_| ())).unwrap(), files);
        for (what, path, value) in [
            ("no frame size", "/frame_size", 0_u64),
            ("an odd frame size", "/frame_size", u64::from(Packing::SMALL.frame_size) - 1),
            ("a tiny frame size", "/frame_size", 1),
            ("a huge frame size", "/frame_size", 1 << 31),
            ("an offset beyond the end", "/frames/1/offset", u64::MAX),
            ("a length beyond the end", "/frames/1/stored", u64::MAX),
            ("overlapping frames", "/frames/1/offset", 0),
            ("a frame that is cut off", "/frames/0/stored", 10),
        ] {
            let bad = with_placement(&blob, |placement| {
                *placement.pointer_mut(path).unwrap() = value.into();
            });
            assert!(files_of(&bad).is_err(), "{what}");
        }
        let fewer = with_placement(&blob, |placement| {
            placement["frames"].as_array_mut().unwrap().pop();
        });
        assert!(files_of(&fewer).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn any_files_survive(
            files in prop::collection::btree_map(
                "[a-z]{1,6}",
                (0_usize..3 * Packing::SMALL.frame_size as usize, any::<bool>()),
                0..8,
            )
        ) {
            let files: Files =
                files.into_iter().map(|(path, (size, dense))| (path, content(size, dense))).collect();
            for packing in PACKINGS {
                prop_assert_eq!(&files_of(&packed(&files, packing)).unwrap(), &files);
            }
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), header: bool) {
            let mut blob = if header { blob_of(&Vec::new())[..8].to_vec() } else { Vec::new() };
            blob.extend(bytes);
            prop_assert!(Blob::open(&blob[..]).is_err());
        }
    }
}
