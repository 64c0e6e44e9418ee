//! The content of one file of an egg: facts that need no cache. Each file is opened at most once.

use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use crate::disk::boundary::{Boundary, Location, is_library_folder, is_system};
use crate::egg::bytecode;
use crate::egg::completeness;
use crate::egg::elf;
use crate::egg::files::EggFiles;
use crate::egg::manifest::{Entry, EntryKind};
use crate::egg::metadata;
use crate::egg::name::EggName;
use crate::egg::scan::{Hints, Tree};
use crate::error::{Error, IoContext, Result};
use crate::util::hash::digest::Digest;

use super::installed_egg::InstalledEgg;
use super::report::{Finding, FindingKind};

/// Where an installer notes what it has installed. From buildout 5 on that is a temporary file.
pub const INSTALLED_FROM: &str = ".dist-info/direct_url.json";
/// How much of that note is read, in bytes.
const MAX_INSTALLED_FROM: u64 = 1 << 16;

/// The parts of a file that were read.
#[derive(Debug, Default)]
pub struct Content {
    pub digest: Option<Digest>,
    /// Its beginning, if that has information.
    pub head: Vec<u8>,
    /// Where a shared object looks for libraries.
    pub run_paths: Vec<String>,
    /// The libraries that a shared object with run paths needs.
    pub needed: Vec<String>,
    pub error: Option<String>,
}

/// References from a file to other paths.
#[derive(Debug, Default)]
pub struct FileReferences {
    /// References that leave the buildout or tie it to its place.
    pub notes: Vec<(FindingKind, String)>,
    /// Whether a shared object looks for libraries relative to its own folder.
    pub has_relative_run_path: bool,
}

impl Content {
    /// Reads the parts of a file that a check needs.
    #[must_use]
    pub fn read(egg: &EggFiles, entry: &Entry, hash: bool) -> Self {
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
            let read = content.read_into(egg, entry, (head, is_object, hash));
            content.error = read.err().map(|error| error.to_string());
        }
        content
    }

    fn read_into(
        &mut self,
        egg: &EggFiles,
        entry: &Entry,
        (head, object, hash): (u64, bool, bool),
    ) -> Result<()> {
        let path = &egg.path_of(entry);
        let mut file = egg.read(entry)?;
        if object {
            self.run_paths = elf::run_paths(&file);
            file.rewind().at("read", path)?;
            if !self.run_paths.is_empty() {
                self.needed = elf::needed_libraries(&file);
                file.rewind().at("read", path)?;
            }
        }
        (&file).take(head).read_to_end(&mut self.head).at("read", path)?;
        if hash {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&self.head).update_reader(&file).at("read", path)?;
            self.digest = Some(hasher.finalize().into());
        }
        Ok(())
    }

    /// The references in a file at `path`.
    #[must_use]
    pub fn references(&self, boundary: &Boundary, path: &Path) -> FileReferences {
        let mut references = FileReferences::default();
        let folder = path.parent().unwrap_or(path);
        for run_path in &self.run_paths {
            let expanded = run_path.replace("${ORIGIN}", "$ORIGIN");
            let relative =
                expanded.strip_prefix("$ORIGIN").map(|rest| rest.trim_start_matches('/'));
            let target = boundary.locate(folder, Path::new(relative.unwrap_or(run_path)));
            let reason = match (target, relative) {
                (Location::Inside(_), Some(_)) => {
                    references.has_relative_run_path = true;
                    continue;
                }
                (Location::Outside(real), None) if is_library_folder(&real) => continue,
                (Location::Inside(_), None) => {
                    "an absolute path; one that begins with $ORIGIN moves with the buildout"
                }
                (Location::Outside(_), _) => "outside the buildout",
            };
            let note = format!("looks for libraries in {run_path}, {reason}");
            references.notes.push((FindingKind::RunPath, note));
        }
        if path.to_str().is_some_and(|path| path.ends_with(INSTALLED_FROM))
            && self.is_installed_from_outside(boundary, folder)
        {
            let note = "installed from a file outside the buildout that still exists";
            references.notes.push((FindingKind::Path, note.to_owned()));
        }
        references
    }

    /// Whether this `direct_url.json` names something outside that still exists.
    fn is_installed_from_outside(&self, boundary: &Boundary, folder: &Path) -> bool {
        let Some(from) = installed_from(&self.head) else { return false };
        let Location::Outside(real) = boundary.locate(folder, &from) else { return false };
        real.exists() && !is_system(&real)
    }
}

/// The file or folder in a `direct_url.json` (PEP 610).
fn installed_from(text: &[u8]) -> Option<PathBuf> {
    #[derive(serde::Deserialize)]
    struct DirectUrl {
        url: String,
    }
    let DirectUrl { url } = serde_json::from_slice(text).ok()?;
    url.strip_prefix("file://").map(PathBuf::from)
}

#[must_use]
pub fn is_file(entry: &Entry) -> bool {
    matches!(entry.kind, EntryKind::File { .. })
}

#[must_use]
pub fn is_shared_object(name: &str) -> bool {
    name.ends_with(".so") || name.contains(".so.")
}

/// Why an egg cannot be complete, if every egg has what it lacks.
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
        return Some("no metadata with a name and a version".to_owned());
    }
    // A file that cannot be read is a finding of its own.
    egg.open().and_then(|files| completeness::half_copied(&files, &egg.entries)).ok().flatten()
}

/// Problems with extension modules that the egg does not have for its own Python.
#[must_use]
pub fn other_python(egg: &InstalledEgg, short: &Path) -> Vec<Finding> {
    let Ok(EggName { python, .. }) = egg.file_name.parse() else { return Vec::new() };
    let wrong = completeness::other_python(&python, &egg.entries).into_iter();
    let finding = |(module, pythons): (&str, String)| {
        let what = format!("compiled for Python {pythons}, but the egg is for Python {python}");
        let finding = Finding::new(FindingKind::OtherPython, &short.join(module), what);
        finding.in_egg(Some(&egg.file_name))
    };
    wrong.map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_of_an_egg_is_noted_while_it_exists() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(top.join("app")).unwrap();
        std::fs::write(top.join("a.whl"), "").unwrap();
        let boundary = Boundary::new(&top.join("app")).unwrap();
        let path = top.join("app/a-1.dist-info/direct_url.json");
        let notes = |file: &Path| {
            let head = format!("{{\"url\": \"file://{}\", \"dir_info\": {{}}}}", file.display());
            let content = Content { head: head.into_bytes(), ..Content::default() };
            content.references(&boundary, &path).notes
        };
        assert_eq!(notes(&top.join("a.whl")).len(), 1);
        assert_eq!(notes(&top.join("gone.whl")), []);
        assert_eq!(notes(&top.join("app/src")), []);
        assert_eq!(installed_from(b"{\"url\": \"https://host/a\"}"), None);
        assert_eq!(installed_from(b"no json"), None);
    }
}
