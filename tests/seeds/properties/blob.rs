//! Properties of blobs: arbitrary ones, valid ones, and those of the writer.

use std::collections::BTreeMap;
use std::io::Cursor;

use blake3::hazmat::HasherExt;
use eggcache::Digest;
use eggcache::Provenance;
use eggcache::internals::EggPath;
use eggcache::internals::frame_layout::{FRAME_SIZES, FrameGroup, Layout};
use eggcache::internals::manifest::{Entry, EntryKind, Manifest, Mtime};
use eggcache::internals::reader::{Blob, Decoder};
use eggcache::internals::writer::{self, Packing};

use super::assert_sound;
use crate::forge;

/// How many frames of an input are decoded: enough for every rule, few enough for many inputs.
const FRAMES: usize = 64;

/// A blob. The first byte says how the rest becomes one: `s` seals the two lines of a manifest and
/// frames; `g` and `d` also insert a gap behind the manifest, of zeros or of other bytes; `m`
/// corrects digests, sizes and offsets as well; anything else uses the input as it is.
pub fn blob(input: &[u8]) -> bool {
    let Some((how, rest)) = input.split_first() else { return false };
    let lines = || {
        let at = |from: usize| {
            rest[from..].iter().position(|&byte| byte == b'\n').map(|at| from + at + 1)
        };
        at(0).and_then(at).map(|end| rest.split_at(end))
    };
    match (how, lines()) {
        (b's', Some((text, data))) => opens(&forge::seal(text, b"", data)),
        (b'g', Some((text, data))) => opens(&forge::seal(text, &[0; 500], data)),
        (b'd', Some((text, data))) => opens(&forge::seal(text, b"\0\0x", data)),
        (b'm', Some((text, data))) => mended(text, data).is_some_and(|blob| {
            assert!(opens(&blob), "a valid blob is accepted");
            true
        }),
        _ => opens(rest),
    }
}

/// Whether the bytes are a blob whose content matches its manifest.
fn opens(bytes: &[u8]) -> bool {
    let Ok(blob) = Blob::open(bytes) else { return false };
    assert_sound(&blob.manifest);
    let sizes = &blob.layout.frame_sizes;
    assert_eq!(blob.frame_count(), sizes.len());
    assert_eq!(blob.len(), bytes.len() as u64);
    assert!(sizes.iter().all(|size| (1..=blob.frame_size()).contains(size)));
    let mut sound = blob.check_gaps().is_ok();
    let mut decoder = Decoder::new();
    for unit in &blob.layout.groups {
        let frames = match unit {
            FrameGroup::Small { frame, .. } => *frame..frame + 1,
            FrameGroup::Large { frames, .. } => frames.clone(),
        };
        if frames.end > FRAMES {
            break;
        }
        let mut content: Vec<u8> = Vec::new();
        let mut subtrees = Vec::new();
        let mut whole = true;
        for (part, frame) in frames.enumerate() {
            sound &= blob.check_stored(frame).is_ok();
            let Ok(found) = blob.decode(frame, &mut decoder) else {
                whole = false;
                break;
            };
            assert_eq!(found.len(), sizes[frame] as usize);
            let mut hasher = blake3::Hasher::new();
            hasher.set_input_offset(part as u64 * u64::from(blob.frame_size()));
            subtrees.push(hasher.update(found).finalize_non_root());
            content.extend_from_slice(found);
        }
        sound &= whole && is_accepted_if_right(&blob, unit, &content, &subtrees);
    }
    sound
}

/// Asserts that a frame group is accepted exactly if each of its files has the digest in the
/// manifest; returns whether it was accepted.
fn is_accepted_if_right(
    blob: &Blob<&[u8]>,
    unit: &FrameGroup,
    content: &[u8],
    subtrees: &[blake3::hazmat::ChainingValue],
) -> bool {
    let is_right = |entry: usize, content: &[u8]| {
        let EntryKind::File { size, digest } = blob.manifest.entries[entry].kind else {
            panic!("content of something that is not a file");
        };
        assert_eq!(size, content.len() as u64);
        digest == Digest::of(content)
    };
    match unit {
        FrameGroup::Small { frame, entries } => {
            let (mut right, mut at) = (true, 0);
            for &entry in entries {
                let EntryKind::File { size, .. } = blob.manifest.entries[entry].kind else {
                    panic!("the layout names files only");
                };
                let size = usize::try_from(size).unwrap();
                right &= is_right(entry, &content[at..at + size]);
                at += size;
            }
            assert_eq!(at, content.len());
            let mut decoder = Decoder::new();
            let files = blob.small_files(*frame, entries, &mut decoder);
            assert_eq!(files.is_ok(), right);
            if let Ok(files) = files {
                assert_eq!(files.flat_map(|(_, file)| file.to_vec()).collect::<Vec<_>>(), content);
            }
            right
        }
        FrameGroup::Large { entry, .. } => {
            let right = is_right(*entry, content);
            assert_eq!(blob.check_large(*entry, subtrees).is_ok(), right);
            right
        }
    }
}

/// A valid blob with the sizes of a manifest and content made from `data`; `None` if the manifest
/// is invalid or the egg too large.
fn mended(text: &[u8], data: &[u8]) -> Option<Vec<u8>> {
    let mut lines = text.split(|&byte| byte == b'\n');
    let mut manifest = Manifest::decode(lines.next()?).ok()?;
    let mut placement: serde_json::Value = serde_json::from_slice(lines.next()?).ok()?;
    let frame_size = u32::try_from(placement["frame_size"].as_u64()?).ok()?;
    if !frame_size.is_power_of_two()
        || !FRAME_SIZES.contains(&frame_size)
        || manifest.counts().bytes > 1 << 20
        || data.is_empty()
    {
        return None;
    }
    serde_json::from_value::<Provenance>(placement["provenance"].clone()).ok()?;
    let layout = Layout::of(&manifest.entries, frame_size);
    let mut bytes = data.iter().copied().cycle();
    for entry in &mut manifest.entries {
        if let EntryKind::File { size: 0, digest } = &mut entry.kind {
            *digest = Digest::of(b"");
        }
    }
    let (mut stored, mut frames) = (Vec::new(), Vec::new());
    for unit in &layout.groups {
        let (files, parts) = match unit {
            FrameGroup::Small { frame, entries } => (entries.clone(), *frame..frame + 1),
            FrameGroup::Large { entry, frames } => (vec![*entry], frames.clone()),
        };
        let mut content = Vec::new();
        for file in files {
            let EntryKind::File { size, digest } = &mut manifest.entries[file].kind else {
                panic!("the layout names files only");
            };
            let file: Vec<u8> = bytes.by_ref().take(usize::try_from(*size).unwrap()).collect();
            *digest = Digest::of(&file);
            content.extend(file);
        }
        let mut rest = &content[..];
        for part in parts {
            let (content, after) = rest.split_at(layout.frame_sizes[part] as usize);
            let dense = zstd::bulk::compress(content, 1).unwrap();
            let (kept, encoding) =
                if dense.len() < content.len() { (&*dense, "zstd") } else { (content, "raw") };
            frames.push(forge::frame(stored.len() as u64, kept, encoding));
            stored.extend_from_slice(kept);
            rest = after;
        }
    }
    let frames = format!("[{}]", frames.join(","));
    placement = serde_json::json!({
        "frame_size": frame_size,
        "frames": serde_json::from_str::<serde_json::Value>(&frames).unwrap(),
        "provenance": placement["provenance"],
    });
    let text = [&manifest.encode()[..], b"\n", placement.to_string().as_bytes(), b"\n"].concat();
    Some(forge::seal(&text, b"", &stored))
}

/// An egg of arbitrary files. Each is one byte for the length of its path, one for its kind, two
/// for its size, then the path, one byte for the length of a pattern, and the pattern that fills
/// it.
pub fn round_trip(input: &[u8]) -> bool {
    let mut entries: BTreeMap<EggPath, (EntryKind, Vec<u8>)> = BTreeMap::new();
    entries.insert(EggPath::root(), (EntryKind::Directory, Vec::new()));
    let mut input = input;
    let mut total = 0;
    while let [length, kind, low, high, rest @ ..] = input {
        let (path, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        let Some((seed, rest)) = rest.split_first() else { break };
        let (seed, rest) = rest.split_at(rest.len().min(usize::from(*seed)));
        input = rest;
        let Ok(path) = EggPath::new(String::from_utf8_lossy(path)) else { continue };
        let (kind, content) = match kind % 8 {
            0 => (EntryKind::Directory, Vec::new()),
            1 => (EntryKind::Symlink { target: String::from_utf8_lossy(seed).into() }, Vec::new()),
            scale => {
                let size = usize::from(u16::from_le_bytes([*low, *high])) * usize::from(scale - 1);
                let content: Vec<u8> = seed.iter().copied().cycle().take(size).collect();
                total += content.len();
                let kind = EntryKind::File { size: content.len() as u64, digest: Digest::of(b"?") };
                (kind, content)
            }
        };
        for (at, _) in path.as_str().match_indices('/') {
            let parent = EggPath::new(&path.as_str()[..at]).unwrap();
            entries.entry(parent).or_insert((EntryKind::Directory, Vec::new()));
        }
        entries.insert(path, (kind, content));
    }
    let entry = |(path, (kind, _)): (&EggPath, &(EntryKind, Vec<u8>))| Entry {
        path: path.clone(),
        mode: 0o755,
        mtime: Mtime(1, 2),
        kind: kind.clone(),
    };
    let empty = Manifest::decode(forge::content(&forge::directory("")).as_bytes()).unwrap();
    let mut manifest = Manifest { entries: entries.iter().map(entry).collect(), ..empty };
    if total > 2 << 20 || manifest.check().is_err() {
        return false;
    }
    let source = |entry: &Entry| entries[&entry.path].1.clone();
    for packing in [Packing::SMALL, Packing::CLONABLE] {
        let (spool, mut bytes) = (Cursor::new(Vec::new()), Vec::new());
        let provenance = Provenance::default();
        let written = writer::write(&mut manifest, provenance, packing, &source, spool, &mut bytes);
        let digest = written.unwrap().digest;
        let opened = Blob::open(&bytes[..]).unwrap();
        assert_eq!((opened.digest, &opened.manifest), (digest, &manifest));
        for (entry, (_, content)) in manifest.entries.iter().zip(entries.values()) {
            if let EntryKind::File { digest, .. } = entry.kind {
                assert_eq!(digest, Digest::of(content), "{:?}", entry.path);
            }
        }
        assert!(opens(&bytes), "a written blob can be read");
    }
    true
}
