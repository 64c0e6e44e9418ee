//! What one file of an egg tells, whatever the cache has: each is opened at most once.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use crate::disk::boundary::{Boundary, Location, is_library_folder, is_system};
use crate::egg::bytecode;
use crate::egg::completeness;
use crate::egg::elf;
use crate::egg::manifest::{Entry, EntryKind};
use crate::egg::metadata;
use crate::egg::name::EggName;
use crate::egg::scan::{self, Hints, Tree};
use crate::error::{Error, IoContext, Result};
use crate::util::hash::digest::Digest;

use super::installed_egg::InstalledEgg;
use super::report::{Finding, FindingKind};

/// Where an installer notes what it has installed; from buildout 5 on a temporary file.
pub const INSTALLED_FROM: &str = ".dist-info/direct_url.json";
/// How much of that is read, in bytes.
const MAX_INSTALLED_FROM: u64 = 1 << 16;

/// What was read of one file.
#[derive(Debug, Default)]
pub struct Content {
    pub digest: Option<Digest>,
    /// Its beginning, where that says something.
    pub head: Vec<u8>,
    /// Where a shared object looks for libraries.
    pub run_paths: Vec<String>,
    pub error: Option<String>,
}

impl Content {
    /// Reads what is needed of one file.
    #[must_use]
    pub fn read(egg: &Path, entry: &Entry, hash: bool) -> Self {
        let mut content = Self::default();
        let EntryKind::File { .. } = entry.kind else { return content };
        let head = if bytecode::source_of(entry.path.as_str()).is_some() {
            bytecode::HEADER as u64
        } else if entry.path.as_str().ends_with(INSTALLED_FROM) {
            MAX_INSTALLED_FROM
        } else {
            0
        };
        let is_object = is_shared_object(entry.path.file_name());
        if head > 0 || is_object || hash {
            let path = scan::path_of(egg, entry);
            let read = content.read_into(&path, head, is_object, hash);
            content.error = read.err().map(|error| error.to_string());
        }
        content
    }

    fn read_into(&mut self, path: &Path, head: u64, object: bool, hash: bool) -> Result<()> {
        let mut file = File::open(path).at("open", path)?;
        if object {
            self.run_paths = elf::run_paths(&file);
            file.rewind().at("read", path)?;
        }
        (&file).take(head).read_to_end(&mut self.head).at("read", path)?;
        if hash {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&self.head).update_reader(&file).at("read", path)?;
            self.digest = Some(hasher.finalize().into());
        }
        Ok(())
    }

    /// What of a file at `path` is outside of the buildout and worth a note; answers also whether a
    /// shared object looks for libraries next to itself.
    #[must_use]
    pub fn outside(&self, place: &Boundary, path: &Path) -> (Vec<(FindingKind, String)>, bool) {
        let mut notes = Vec::new();
        let mut is_relative = false;
        let own = path.parent().unwrap_or(path);
        for folder in &self.run_paths {
            let expanded = folder.replace("${ORIGIN}", "$ORIGIN");
            let relative = expanded.strip_prefix("$ORIGIN").map(|it| it.trim_start_matches('/'));
            let what = match (place.locate(own, Path::new(relative.unwrap_or(folder))), relative) {
                (Location::Inside(_), Some(_)) => {
                    is_relative = true;
                    continue;
                }
                (Location::Outside(real), None) if is_library_folder(&real) => continue,
                (Location::Inside(_), None) => "an absolute path",
                (Location::Outside(_), _) => "outside the buildout",
            };
            notes.push((FindingKind::RunPath, format!("looks for libraries in {folder}, {what}")));
        }
        if path.to_str().is_some_and(|path| path.ends_with(INSTALLED_FROM))
            && let Some(from) = installed_from(&self.head)
            && let Location::Outside(real) = place.locate(own, Path::new(&from))
            && real.exists()
            && !is_system(&real)
        {
            let what = "says that the egg was installed from a file outside that is still there";
            notes.push((FindingKind::Path, what.to_owned()));
        }
        (notes, is_relative)
    }
}

/// The file or folder that a `direct_url.json` names (PEP 610).
fn installed_from(text: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct DirectUrl {
        url: String,
    }
    let DirectUrl { url } = serde_json::from_slice(text).ok()?;
    url.strip_prefix("file://").map(str::to_owned)
}

#[must_use]
pub fn is_file(entry: &Entry) -> bool {
    matches!(entry.kind, EntryKind::File { .. })
}

#[must_use]
pub fn is_shared_object(name: &str) -> bool {
    name.ends_with(".so") || name.contains(".so.")
}

/// What an egg lacks that every egg has.
#[must_use]
pub fn incomplete(egg: &InstalledEgg) -> Option<String> {
    let root = egg.entries.first()?;
    if is_file(root) {
        return match Tree::scan(&egg.path, &Hints::default()) {
            Err(Error::UnsoundEgg { reason, .. }) => Some(reason),
            _ => None,
        };
    }
    let has_metadata = egg.entries.iter().any(|entry| {
        let is_empty = matches!(entry.kind, EntryKind::File { size: 0, .. });
        metadata::is_metadata_path(entry.path.as_str()) && !is_empty
    });
    if !has_metadata {
        return Some("has no metadata with a name and a version".to_owned());
    }
    // What cannot be read has been told.
    completeness::half_copied(&egg.path, &egg.entries).ok().flatten()
}

/// Extension modules of which there is none for the Python of the egg.
#[must_use]
pub fn other_python(egg: &InstalledEgg, short: &Path) -> Vec<Finding> {
    let Ok(EggName { python, .. }) = egg.file_name.parse() else { return Vec::new() };
    let wrong = completeness::other_python(&python, &egg.entries);
    wrong
        .into_iter()
        .map(|(module, pythons)| {
            let what = format!("is compiled for Python {pythons}, the egg is for {python}");
            Finding::new(FindingKind::OtherPython, &short.join(module), what).of_egg(&egg.file_name)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_an_egg_was_installed_from_is_worth_a_note_if_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(top.join("app")).unwrap();
        std::fs::write(top.join("a.whl"), "").unwrap();
        let place = Boundary::new(&top.join("app")).unwrap();
        let path = top.join("app/a-1.dist-info/direct_url.json");
        let notes = |file: &Path| {
            let head = format!("{{\"url\": \"file://{}\", \"dir_info\": {{}}}}", file.display());
            let content = Content { head: head.into_bytes(), ..Content::default() };
            content.outside(&place, &path).0
        };
        assert_eq!(notes(&top.join("a.whl")).len(), 1);
        assert_eq!(notes(&top.join("gone.whl")), []);
        assert_eq!(notes(&top.join("app/src")), []);
        assert_eq!(installed_from(b"{\"url\": \"https://host/a\"}"), None);
        assert_eq!(installed_from(b"no json"), None);
    }
}
