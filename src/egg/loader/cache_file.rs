//! The loader's cache of glibc, `/etc/ld.so.cache`: which libraries are in the folders of `ld.so.conf`.
//!
//! After the magic come the number of entries (at 20) and, from 48 on, the entries of 24 bytes each. An
//! entry has the offsets of the library's name (at 4) and path (at 8), both ended by a zero byte. Numbers
//! are in the order of this machine. Old files have another table before that.

use std::collections::HashMap;
use std::path::PathBuf;

use memchr::{memchr, memmem};

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;

/// The paths of libraries by their names. Nothing of a file that is none.
pub fn libraries(file: &[u8]) -> HashMap<String, Vec<PathBuf>> {
    let mut found: HashMap<String, Vec<PathBuf>> = HashMap::new();
    let Some(start) = memmem::find(file, MAGIC) else { return found };
    let table = &file[start..];
    let count = number_at(table, MAGIC.len()).unwrap_or_default();
    let entries = table.get(HEADER..).unwrap_or_default().chunks_exact(ENTRY).take(count);
    for entry in entries {
        let text = |at| text_at(table, number_at(entry, at)?);
        if let (Some(name), Some(path)) = (text(4), text(8)) {
            found.entry(name.to_owned()).or_default().push(path.into());
        }
    }
    found
}

fn number_at(bytes: &[u8], at: usize) -> Option<usize> {
    let number = bytes.get(at..)?.first_chunk()?;
    usize::try_from(u32::from_ne_bytes(*number)).ok()
}

fn text_at(bytes: &[u8], at: usize) -> Option<&str> {
    let rest = bytes.get(at..)?;
    std::str::from_utf8(&rest[..memchr(0, rest)?]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(entries: &[(u32, u32)], strings: &[u8]) -> Vec<u8> {
        let mut file = b"ld.so-1.7.0\0".to_vec();
        file.extend(MAGIC);
        file.extend(u32::try_from(entries.len()).unwrap().to_ne_bytes());
        file.resize(12 + HEADER, 0);
        let begin = u32::try_from(HEADER + entries.len() * ENTRY).unwrap();
        for (name, path) in entries {
            file.extend([0, begin + name, begin + path, 0, 0, 0].map(u32::to_ne_bytes).concat());
        }
        file.extend(strings);
        file
    }

    #[test]
    fn names_and_paths_are_read() {
        let content = file(&[(0, 5), (0, 10)], b"a.so\0/1/a\0/2/a\0");
        let found = libraries(&content);
        assert_eq!(found["a.so"], [PathBuf::from("/1/a"), PathBuf::from("/2/a")]);
    }

    #[test]
    fn a_broken_file_has_fewer_libraries() {
        let content = file(&[(0, 5), (900, 5), (0, u32::MAX - 200)], b"a.so\0/1/a\0");
        assert_eq!(libraries(&content)["a.so"], [PathBuf::from("/1/a")]);
        for length in 0..content.len() {
            libraries(&content[..length]);
        }
        assert!(libraries(b"no cache").is_empty());
    }
}
