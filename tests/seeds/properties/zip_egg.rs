//! Properties of zipped eggs and of the native code in them.

use std::io::Cursor;
use std::path::Path;

use eggcache::internals::manifest::{Entry, EntryKind, Manifest};
use eggcache::internals::name::same_version;
use eggcache::internals::native::Native;
use eggcache::internals::scan::{Hints, Tree};

use super::assert_sound;
use crate::forge;

/// A zipped egg of x 1.0. The first byte says how the rest becomes one: `e` puts it into a sound
/// egg as native code; `m` splits it into members, each one byte for the length of its name, two
/// for the length of its content, then both; anything else uses the input as it is.
pub fn zip_egg(input: &[u8]) -> bool {
    let Some((how, rest)) = input.split_first() else { return false };
    match how {
        b'e' => {
            let name = "x.cpython-311-x86_64-linux-gnu.so";
            let native = Native::inspect(name, Cursor::new(rest));
            if let Some(native) = &native {
                let libc = native.libc();
                assert!(libc.is_empty() || libc == "musl" || libc.starts_with("glibc "), "{libc}");
                assert_eq!(native.abi(""), "cpython-311-x86_64-linux-gnu");
            }
            let metadata = b"Name: x\nVersion: 1.0\n";
            let members = [
                forge::Member { name: b"EGG-INFO/PKG-INFO", content: metadata },
                forge::Member { name: name.as_bytes(), content: rest },
            ];
            let tree = scan(&forge::zip(&members)).expect("the egg itself is sound");
            let libc = native.as_ref().map(Native::libc).unwrap_or_default();
            assert_eq!(tree.manifest.key.libc, libc, "the scan finds the same libc");
            native.is_some()
        }
        b'm' => {
            let members = members(rest);
            let tree = scan(&forge::zip(&members));
            for forge::Member { name, .. } in &members {
                let outside = name.starts_with(b"/")
                    || name.split(|&byte| byte == b'/').any(|part| part == b"..");
                assert!(tree.is_none() || !outside, "{:?}", String::from_utf8_lossy(name));
            }
            tree.is_some()
        }
        _ => scan(rest).is_some(),
    }
}

pub fn members(mut input: &[u8]) -> Vec<forge::Member<'_>> {
    let mut members = Vec::new();
    while let [name, low, high, rest @ ..] = input
        && members.len() < 64
    {
        let (name, rest) = rest.split_at(rest.len().min(usize::from(*name)));
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let (content, rest) = rest.split_at(rest.len().min(length));
        members.push(forge::Member { name, content });
        input = rest;
    }
    members
}

/// Writes the bytes to a file and scans that as an egg.
fn scan(egg: &[u8]) -> Option<Tree> {
    // In memory if there is such a file system, so that the disk does not limit the speed.
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let dir = tempfile::tempdir_in(parent).unwrap();
    let path = dir.path().join("x-1.0-py3.11.egg");
    std::fs::write(&path, egg).unwrap();
    let tree = Tree::scan(&path, &Hints::default()).ok()?;
    let Manifest { key, entries, .. } = &tree.manifest;
    assert_eq!((&*key.name, &*key.python), ("x", "cp311"));
    assert!(same_version(&key.version, "1.0"), "{}", key.version);
    let [Entry { kind: EntryKind::File { size, .. }, .. }] = &entries[..] else {
        panic!("a zipped egg is one file");
    };
    assert_eq!(*size, egg.len() as u64);
    assert_sound(&tree.manifest);
    Some(tree)
}
