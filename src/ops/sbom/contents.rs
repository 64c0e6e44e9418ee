//! What an egg itself says: its core metadata, its requirements, and the shared objects that it carries.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek};
use std::path::Path;

use serde::Serialize;

use crate::disk::files::read_opened;
use crate::egg::dependency::{self, Dependency};
use crate::egg::files::EggFiles;
use crate::egg::license::License;
use crate::egg::manifest::{Entry, EntryKind};
use crate::egg::metadata::{self, MAX_METADATA, Metadata};
use crate::egg::native::Native;
use crate::error::{Error, IoContext, Result};
use crate::util::hash::sha256::{Hashing, Sha256};

/// The requirements of an egg with an `EGG-INFO`.
pub const REQUIRES: &str = "EGG-INFO/requires.txt";
/// How much of a zipped egg is inflated, in bytes: its members can overlap.
const MAX_INFLATED: u64 = 1 << 30;

/// A shared object in an egg.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Library {
    /// Relative to the egg.
    pub path: String,
    pub sha256: Sha256,
}

impl Library {
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Whether it is a library that the egg carries for its extension modules, and not such a module: it is
    /// in the folder of a repaired wheel, or has the name of a library.
    #[must_use]
    pub fn is_carried(&self) -> bool {
        let in_folder = self
            .path
            .split('/')
            .any(|part| part.ends_with(".libs") || part == ".libs" || part.ends_with(".dylibs"));
        in_folder || self.file_name().starts_with("lib")
    }
}

/// What was read of an egg.
#[derive(Debug, Default)]
pub struct Contents {
    pub metadata: Option<Metadata>,
    pub summary: String,
    pub license: License,
    pub dependencies: Vec<Dependency>,
    /// Sorted by path.
    pub libraries: Vec<Library>,
    /// The mtime of its newest file that is no bytecode, in seconds since the Unix epoch.
    pub newest: i64,
}

impl Contents {
    pub fn of(egg: &Path) -> Result<Self> {
        Self::read(egg, |path| is_text(path) || is_shared_object(path))
    }

    /// The core metadata alone.
    pub fn metadata_of(egg: &Path) -> Result<Option<Metadata>> {
        Ok(Self::read(egg, metadata::is_metadata_path)?.metadata)
    }

    /// Reads the files of an egg that are wanted, by their paths in it.
    fn read(egg: &Path, is_wanted: fn(&str) -> bool) -> Result<Self> {
        let files = EggFiles::open(egg)?;
        let entries = files.list()?.entries;
        let is_source = |entry: &&Entry| {
            matches!(entry.kind, EntryKind::File { .. }) && !entry.path.as_str().ends_with(".pyc")
        };
        let newest = entries.iter().filter(is_source).map(|entry| entry.mtime.0).max();
        let mut contents = Self { newest: newest.unwrap_or(0), ..Self::default() };
        match entries.first().map(|entry| &entry.kind) {
            Some(EntryKind::Directory) => contents.read_directory(&files, &entries, is_wanted)?,
            Some(EntryKind::File { .. }) => {
                contents.read_zip(egg, files.read(&entries[0])?, is_wanted)?;
            }
            _ => {
                let reason = "it is a symlink".to_owned();
                return Err(Error::UnsoundEgg { path: egg.to_owned(), reason });
            }
        }
        contents.libraries.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        Ok(contents)
    }

    fn read_directory(
        &mut self,
        files: &EggFiles,
        entries: &[Entry],
        is_wanted: fn(&str) -> bool,
    ) -> Result<()> {
        for entry in entries.iter().filter(|it| is_wanted(it.path.as_str())) {
            let EntryKind::File { size, .. } = entry.kind else { continue };
            let path = entry.path.as_str();
            let at = || files.path_of(entry);
            if is_text(path) && size <= MAX_METADATA {
                let text = read_opened(files.read(entry)?, MAX_METADATA).at("read", &at())?;
                self.add_text(path, &text);
            } else if !is_text(path) {
                let library = library(path, files.read(entry)?).at("read", &at())?;
                self.libraries.extend(library);
            }
        }
        Ok(())
    }

    fn read_zip(&mut self, egg: &Path, file: File, is_wanted: fn(&str) -> bool) -> Result<()> {
        let unsound = |reason: String| Error::UnsoundEgg { path: egg.to_owned(), reason };
        let bad = |error: zip::result::ZipError| unsound(error.to_string());
        let mut zip = zip::ZipArchive::new(BufReader::new(file)).map_err(bad)?;
        let mut rest = MAX_INFLATED;
        for index in 0..zip.len() {
            let member = zip.by_index(index).map_err(bad)?;
            let path = member.name().map_err(bad)?.into_owned();
            if !is_wanted(&path) {
                continue;
            }
            let mut content = Vec::new();
            let limit = if is_text(&path) { MAX_METADATA.min(rest) } else { rest };
            let read = member.take(limit).read_to_end(&mut content).at("read", egg)?;
            rest -= read as u64;
            if rest == 0 {
                return Err(unsound("it is too large for a zipped egg".into()));
            }
            if is_text(&path) {
                self.add_text(&path, &content);
            } else {
                self.libraries.extend(library(&path, Cursor::new(content)).at("read", egg)?);
            }
        }
        Ok(())
    }

    /// Adds the text of a metadata file, or of the requirements.
    pub fn add_text(&mut self, path: &str, text: &[u8]) {
        if path == REQUIRES {
            self.dependencies.extend(dependency::of_requires_txt(&String::from_utf8_lossy(text)));
            return;
        }
        let found = metadata::parse(text);
        if found.is_none() || self.metadata.is_some() {
            return;
        }
        self.metadata = found;
        let Ok((headers, _)) = mailparse::parse_headers(text) else { return };
        let summary = mailparse::MailHeaderMap::get_first_value(&headers[..], "Summary");
        let summary = summary.unwrap_or_default();
        let line = summary.lines().next().unwrap_or_default().trim();
        self.summary = if line == "UNKNOWN" { String::new() } else { line.to_owned() };
        self.license = License::of(&headers);
        self.dependencies.extend(dependency::of_headers(&headers));
    }
}

fn is_text(path: &str) -> bool {
    path == REQUIRES || metadata::is_metadata_path(path)
}

/// Whether a file has the name of a shared object: `_a.so`, `libb.so.1`, `c.dylib`, `d.pyd`, `e.dll`.
fn is_shared_object(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    [".so", ".dylib", ".pyd", ".dll"].iter().any(|suffix| name.ends_with(suffix))
        || name.contains(".so.") && name.ends_with(|c: char| c.is_ascii_digit())
}

/// The library in a file; `None` if it is no native code.
fn library(path: &str, mut content: impl Read + Seek) -> io::Result<Option<Library>> {
    let file_name = path.rsplit('/').next().unwrap_or_default();
    if Native::inspect(file_name, &mut content).is_none() {
        return Ok(None);
    }
    content.rewind()?;
    let mut hashing = Hashing::new(content);
    io::copy(&mut hashing, &mut io::sink())?;
    Ok(Some(Library { path: path.to_owned(), sha256: hashing.finish().0 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_shared_objects_are_recognized() {
        for path in ["a/_b.so", "x.libs/libz-1f.so.1", "libc.so.6.1", "d.dylib", "d.pyd", "d.dll"] {
            assert!(is_shared_object(path), "{path}");
        }
        for path in ["a.py", "so", "a.so.py", "notes.so.txt"] {
            assert!(!is_shared_object(path), "{path}");
        }
    }

    #[test]
    fn a_carried_library_is_told_from_an_extension_module() {
        let library = |path: &str| Library { path: path.into(), sha256: Sha256::of(b"") };
        for path in ["x.libs/z-1f.so.1", "x/.dylibs/z.dylib", "x/.libs/z.so", "x/libz.so"] {
            assert!(library(path).is_carried(), "{path}");
        }
        assert!(!library("x/_z.cpython-311-x86_64-linux-gnu.so").is_carried());
    }
}
