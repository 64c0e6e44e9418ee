//! Round trips of blobs, and damaged and hostile ones.

use std::collections::HashMap;
use std::io::Cursor;

use proptest::prelude::*;

use super::BadBlob;
use super::frame_layout::FrameGroup;
use super::header::{HEADER_LEN, Header};
use super::reader::{Blob, Decoder};
use super::writer::{LEVEL, Packing, write};
use crate::egg::manifest::tests::manifest;
use crate::egg::manifest::{Entry, EntryKind, Mtime};
use crate::egg::path::EggPath;
use crate::egg::provenance::Provenance;
use crate::util::hash::blake3_subtree;
use crate::util::hash::digest::Digest;

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

fn files_of(blob: &[u8]) -> Result<Files, BadBlob> {
    let blob = Blob::open(blob)?;
    blob.check_gaps()?;
    let mut decoder = Decoder::new();
    let mut files = Vec::new();
    let path = |entry: usize| blob.manifest.entries[entry].path.as_str().to_owned();
    files.extend(blob.layout.empty.iter().map(|&entry| (path(entry), Vec::new())));
    for group in &blob.layout.groups {
        match group {
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
fn files_of_boundary_sizes_survive() {
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
    let digests = PACKINGS
        .map(|packing| Blob::open(&packed(&sample(Packing::SMALL), packing)[..]).unwrap().digest);
    assert_eq!(digests[0], digests[1]);
}

#[test]
fn large_files_of_a_clonable_blob_begin_at_a_block() {
    for (packing, is_clonable) in [(Packing::CLONABLE, true), (Packing::SMALL, false)] {
        let bytes = packed(&sample(packing), packing);
        let blob = Blob::open(&bytes[..]).unwrap();
        let mut large = 0;
        for group in &blob.layout.groups {
            let FrameGroup::Large { entry, frames } = group else { continue };
            let name = blob.manifest.entries[*entry].path.as_str();
            let Some(at) = blob.raw_offset(frames.clone()) else {
                assert!(!is_clonable, "{name}");
                continue;
            };
            large += 1;
            let content = content(name[..7].parse().unwrap(), name.ends_with("true"));
            let at = usize::try_from(at).unwrap();
            assert_eq!((at % 4096, &bytes[at..at + content.len()]), (0, &content[..]), "{name}");
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
    let blob = blob_of(&vec![("a".into(), content(700, false)), ("b".into(), content(300, true))]);
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
fn a_newer_format_is_recognised() {
    let mut blob = blob_of(&Vec::new());
    blob[8] = 4;
    assert!(matches!(Blob::open(&blob[..]), Err(BadBlob::Damaged(_))));
    let digest = Digest::of(&blob[..96]);
    blob[96..HEADER_LEN].copy_from_slice(digest.as_bytes());
    assert!(matches!(Blob::open(&blob[..]), Err(BadBlob::NewerFormat(4))));
}

/// Changes the second line of the manifest, and updates every checksum that covers it.
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
        format: 1,
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
