//! Properties that hold for arbitrary input. The fuzz targets search for input that breaks one;
//! `cargo test` tries the seeds in `fuzz/seeds`.
//!
//! Each property takes the input and returns whether it was accepted as what it claims to be.

pub mod blob;
pub mod bytecode;
pub mod elf;
pub mod entry;
pub mod on_disk;
pub mod statement;
pub mod texts;
pub mod wheel;
pub mod zip_egg;

use std::collections::BTreeMap;
use std::path::{Component, Path};

use eggcache::internals::frame_layout::{FRAME_SIZES, Layout, count_frames};
use eggcache::internals::manifest::{EntryKind, Manifest};
use eggcache::internals::metadata;
use eggcache::internals::name::{EggName, normalize_name, same_version};

pub type Property = fn(&[u8]) -> bool;

pub const TARGETS: [(&str, Property); 16] = [
    ("manifest", manifest),
    ("blob", blob::blob),
    ("egg_name", egg_name),
    ("metadata", core_metadata),
    ("zip_egg", zip_egg::zip_egg),
    ("round_trip", blob::round_trip),
    ("elf", elf::object),
    ("entry_list", entry::list),
    ("statement", statement::statement),
    ("policy", texts::policy),
    ("buildout_file", texts::buildout_file),
    ("cache_file", on_disk::cache_file),
    ("requests", on_disk::requests),
    ("archive", on_disk::archive),
    ("wheel", wheel::wheel),
    ("bytecode", bytecode::bytecode),
];

/// The first line of a manifest.
pub fn manifest(input: &[u8]) -> bool {
    let Ok(manifest) = Manifest::decode(input) else { return false };
    assert_sound(&manifest);
    let encoded = manifest.encode();
    assert!(!encoded.contains(&b'\n'), "a manifest is one line");
    assert_eq!(Manifest::decode(&encoded).unwrap(), manifest);
    true
}

fn assert_sound(manifest: &Manifest) {
    manifest.check().unwrap();
    let mut name = Path::new(&manifest.file_name).components();
    assert!(matches!((name.next(), name.next()), (Some(Component::Normal(_)), None)));
    let mut seen: BTreeMap<&str, &EntryKind> = BTreeMap::new();
    for entry in &manifest.entries {
        let path = entry.path.as_str();
        let parts = Path::new(path).components();
        assert!(parts.clone().all(|part| matches!(part, Component::Normal(_))), "{path:?}");
        assert_eq!(parts.as_path().as_os_str().len(), path.len(), "{path:?}");
        if let Some(parent) = entry.path.parent() {
            assert_eq!(seen.get(parent), Some(&&EntryKind::Directory), "{path:?}");
        }
        assert!(seen.insert(path, &entry.kind).is_none(), "{path:?}");
        assert!(entry.mode <= 0o777 && entry.mtime.1 < 1_000_000_000, "{path:?}");
    }
    let links = manifest.entries.iter().filter(|it| matches!(it.kind, EntryKind::Symlink { .. }));
    for link in links.take(8) {
        let stays = stays(&mut String::new(), link.path.as_str(), &seen, &mut 0);
        assert!(stays, "{:?}", link.path);
    }
    for frame_size in [*FRAME_SIZES.start(), *FRAME_SIZES.end()] {
        let count = count_frames(&manifest.entries, frame_size);
        if count <= 1 << 12 {
            let layout = Layout::of(&manifest.entries, frame_size);
            assert_eq!(layout.frame_sizes.len() as u64, count);
            let bytes: u64 = layout.frame_sizes.iter().map(|&size| u64::from(size)).sum();
            assert_eq!(bytes, manifest.counts().bytes);
        }
    }
}

/// Whether walking along `path` from `here`, through symlinks, stays inside the egg. Resolves one
/// symlink inside another, as a kernel does; `links` counts them.
fn stays(here: &mut String, path: &str, egg: &BTreeMap<&str, &EntryKind>, links: &mut u32) -> bool {
    assert!(*links < 1000, "a loop of symlinks was accepted");
    if path.starts_with('/') {
        return false;
    }
    for part in path.split('/') {
        let before = here.len();
        match part {
            "" | "." => {}
            ".." if here.is_empty() => return false,
            ".." => here.truncate(here.rfind('/').unwrap_or_default()),
            part => {
                if !here.is_empty() {
                    here.push('/');
                }
                here.push_str(part);
                if let Some(EntryKind::Symlink { target }) = egg.get(here.as_str()) {
                    here.truncate(before);
                    *links += 1;
                    if !stays(here, target, egg, links) {
                        return false;
                    }
                }
            }
        }
    }
    true
}

/// The file name of an egg.
pub fn egg_name(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let normalized = normalize_name(text);
    assert_eq!(normalize_name(&normalized), normalized);
    assert!(!normalized.contains(['_', '.']) && !normalized.contains("--"));
    assert!(!normalized.starts_with('-') && !normalized.ends_with('-'));
    if text.is_ascii() {
        assert_eq!(normalized, as_pep_503_says(text));
    }
    let Ok(name) = text.parse::<EggName>() else { return false };
    let EggName { name: project, version, python, platform } = &name;
    let with = |before: &str, part: &str| match part {
        "" => String::new(),
        part => format!("{before}{part}"),
    };
    let printed = format!("{project}-{version}{}{}.egg", with("-py", python), with("-", platform));
    assert_eq!(printed, text, "each name has one interpretation");
    assert!(!project.is_empty() && !version.is_empty());
    assert!(!project.contains('-') && !version.contains('-') && !python.contains('-'));
    assert!(!text.contains(['/', '\0']) && !text.starts_with('.'));
    assert!(name.has_version(version), "it has its own version");
    assert!(name.has_version(&version.replace('_', "-")), "unescaped as well");
    assert!(same_version(version, version));
    assert_eq!(same_version(version, project), same_version(project, version));
    true
}

/// `re.sub(r"[-_.]+", "-", name).lower()`, applied to a name without separators at its ends.
fn as_pep_503_says(name: &str) -> String {
    let mut normalized = String::new();
    for c in name.trim_matches(['-', '_', '.']).chars() {
        if !matches!(c, '-' | '_' | '.') {
            normalized.push(c.to_ascii_lowercase());
        } else if !normalized.ends_with('-') {
            normalized.push('-');
        }
    }
    normalized
}

/// A `PKG-INFO` or `METADATA` file.
pub fn core_metadata(input: &[u8]) -> bool {
    let found = metadata::parse(input);
    if let Some(body) = input.windows(2).position(|pair| pair == b"\n\n") {
        assert_eq!(metadata::parse(&input[..=body]), found, "the description does not count");
    }
    let Some(found) = found else { return false };
    for value in [&found.name, &found.version] {
        assert!(!value.is_empty() && value.trim() == value);
        assert!(value.len() <= 255, "it fits into a file name");
    }
    let is_plain =
        |value: &str| value.bytes().all(|c| c.is_ascii_graphic()) && !value.contains("=?");
    if is_plain(&found.name) && is_plain(&found.version) {
        let text = format!("Version: {}\nName: {}\n", found.version, found.name);
        assert_eq!(metadata::parse(text.as_bytes()), Some(found));
    }
    true
}
