//! Whether an egg contains the path of the folder in which it was built, so that it works only there.
//!
//! Every byte is searched. Three things do not count, because an egg works without them: bytecode, whose
//! path Python corrects at its import, the debugging information of an object, which names its headers, and
//! the record of where pip found the archive.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;

use crate::egg::bytecode;
use crate::egg::elf;
use crate::egg::manifest::{Entry, EntryKind};
use crate::egg::scan::{Tree, path_of};
use crate::error::{IoContext, Result};
use crate::util::path_search::{Search, SoughtPath};

/// How much is read at once, in bytes.
const BUFFER: usize = 1 << 16;

/// The path of the first file of a listed egg that contains one of the paths. A zipped egg counts as a
/// file that does.
///
/// # Errors
/// [`crate::error::Error::UnsoundEgg`] if another egg has taken its place.
pub fn file_that_contains(tree: &Tree, paths: &[PathBuf]) -> Result<Option<String>> {
    let sought: Vec<SoughtPath> = paths.iter().map(|path| SoughtPath::new(path)).collect();
    let opened = tree.open()?;
    for entry in &tree.manifest.entries {
        let contains = match &entry.kind {
            EntryKind::Symlink { target } => {
                sought.iter().any(|path| path.is_in(target.as_bytes()))
            }
            EntryKind::File { .. } if entry.path.is_root() => true,
            EntryKind::File { .. } if counts(entry) => {
                let searched = contains_any(opened.files.read(entry)?, &sought);
                searched.at("read", &path_of(tree.path(), entry))?
            }
            EntryKind::File { .. } | EntryKind::Directory => false,
        };
        if contains {
            return Ok(Some(entry.path.as_str().to_owned()));
        }
    }
    Ok(None)
}

fn counts(entry: &Entry) -> bool {
    let path = entry.path.as_str();
    !bytecode::is_bytecode(path) && !path.ends_with(".dist-info/direct_url.json")
}

/// Whether a file contains one of the paths, outside of debugging information.
pub fn contains_any(mut file: File, sought: &[SoughtPath]) -> std::io::Result<bool> {
    let mut magic = Vec::new();
    (&mut file).take(elf::MAGIC.len() as u64).read_to_end(&mut magic)?;
    let mut skipped =
        if magic == elf::MAGIC { elf::debugging_information(&file) } else { Vec::new() };
    skipped.sort_unstable_by_key(|range| range.start);
    let mut at = 0;
    for Range { start, end } in skipped {
        if is_in_part(&mut file, at..start, sought)? {
            return Ok(true);
        }
        at = end.max(at);
    }
    is_in_part(&mut file, at..u64::MAX, sought)
}

fn is_in_part(file: &mut File, part: Range<u64>, sought: &[SoughtPath]) -> std::io::Result<bool> {
    // No file is as long as the largest offset.
    if part.is_empty() || i64::try_from(part.start).is_err() {
        return Ok(false);
    }
    file.seek(SeekFrom::Start(part.start))?;
    let mut content = file.take(part.end - part.start);
    let mut searches: Vec<_> = sought.iter().map(SoughtPath::search).collect();
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = content.read(&mut buffer)?;
        if read == 0 {
            return Ok(searches.into_iter().any(Search::finish));
        }
        for search in &mut searches {
            search.add(&buffer[..read]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::egg::scan::Hints;

    /// What in an egg with this file contains `/srv/app`.
    fn found(name: &str, content: &[u8]) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        let egg = folder.path().join("foo-1.0-py3.11.egg");
        std::fs::create_dir_all(egg.join("EGG-INFO")).unwrap();
        std::fs::write(egg.join("EGG-INFO/PKG-INFO"), "Name: foo\nVersion: 1.0\n").unwrap();
        let path = egg.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        let tree = Tree::scan(&egg, &Hints::default()).unwrap();
        file_that_contains(&tree, &[Path::new("/srv/app").to_owned()]).unwrap()
    }

    #[test]
    fn a_path_is_found_in_any_file_that_is_used() {
        assert_eq!(found("a.txt", b"x=/srv/app/parts").as_deref(), Some("a.txt"));
        assert_eq!(found("a.txt", b"x=/srv/app2/parts"), None);
        assert_eq!(found("__pycache__/a.cpython-311.pyc", b"/srv/app/a.py"), None);
        assert_eq!(found("foo-1.0.dist-info/direct_url.json", b"file:///srv/app/a.zip"), None);
        let mut long = vec![b'x'; 3 * BUFFER - 4];
        long.extend(b"/srv/app/parts");
        assert_eq!(found("a.bin", &long).as_deref(), Some("a.bin"));
    }

    #[test]
    fn debugging_information_does_not_count() {
        for (name, loaded, expected) in [
            (".debug_line", false, None),
            (".debug", true, Some("a.so")),
            (".data", false, Some("a.so")),
        ] {
            let object = elf::tests::object_with_section(name, loaded, b"/srv/app/parts/a.h\0");
            assert_eq!(found("a.so", &object).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn a_zipped_egg_is_not_searched() {
        let folder = tempfile::tempdir().unwrap();
        let egg = folder.path().join("foo-1.0-py3.11.egg");
        let mut zip = zip::ZipWriter::new(File::create(&egg).unwrap());
        zip.start_file("EGG-INFO/PKG-INFO", zip::write::SimpleFileOptions::default()).unwrap();
        std::io::Write::write_all(&mut zip, b"Name: foo\nVersion: 1.0\n").unwrap();
        zip.finish().unwrap();
        let tree = Tree::scan(&egg, &Hints::default()).unwrap();
        let found = file_that_contains(&tree, &[Path::new("/srv/app").to_owned()]).unwrap();
        assert_eq!(found.as_deref(), Some(""));
    }
}
