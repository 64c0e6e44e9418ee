//! Shared libraries that an egg needs and that this machine had, but has in another version by now.
//!
//! A library is looked for as the dynamic loader does: in the run paths of the object, in `LD_LIBRARY_PATH`,
//! in the loader's cache and in the default folders; also in the library folder of Python, which can be among
//! the run paths of its program. A library that is in none of them may still be there at
//! run time: another egg can have loaded it (`libtorch.so` of a wheel), or Python itself has it. So it counts
//! as replaced only if another version of it is found where it was looked for. Then a new build of the egg
//! links to that version. Where none is, a new build could not link to one either.

mod cache_file;

use std::cell::OnceCell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::egg::elf;
use crate::egg::manifest::{Entry, EntryKind};

/// The loader's cache of glibc; musl has none.
const CACHE_FILE: &str = "/etc/ld.so.cache";
/// Where a loader looks last. Those of other architectures are in the cache.
const DEFAULT_FOLDERS: [&str; 5] = ["/lib", "/usr/local/lib", "/usr/lib", "/lib64", "/usr/lib64"];

/// Looks for libraries on this machine, for each at most once.
#[derive(Debug)]
pub struct Loader {
    /// `LD_LIBRARY_PATH`, that of Python, and the default folders.
    folders: Vec<PathBuf>,
    cache_file: PathBuf,
    cached: OnceCell<HashMap<String, Vec<PathBuf>>>,
    /// Whether a library was replaced, by its name, the kind of the object, and its run paths.
    replaced: HashMap<(String, Machine, Vec<PathBuf>), bool>,
}

/// The word size, byte order and instruction set of an object. Of the files of a name, the loader takes the
/// first for its own.
type Machine = [u8; 4];

impl Loader {
    /// `library_path` is the variable `LD_LIBRARY_PATH`, and `of_python` the folder of Python's libraries.
    #[must_use]
    pub fn new(library_path: Option<&OsStr>, of_python: Option<&Path>) -> Self {
        let listed = library_path.unwrap_or_default().as_bytes();
        let listed =
            listed.split(|byte| b":;".contains(byte)).map(|it| Path::new(OsStr::from_bytes(it)));
        let folders = listed.chain(of_python).chain(DEFAULT_FOLDERS.iter().map(Path::new));
        let folders = folders.filter(|folder| folder.is_absolute()).map(Path::to_owned);
        Self {
            folders: folders.collect(),
            cache_file: CACHE_FILE.into(),
            cached: OnceCell::new(),
            replaced: HashMap::new(),
        }
    }

    /// The first library that an egg at `path` needs and that was replaced.
    pub fn replaced_library(&mut self, path: &Path, entries: &[Entry]) -> Option<String> {
        let is_object = |entry: &&Entry| {
            matches!(entry.kind, EntryKind::File { .. }) && entry.path.file_name().contains(".so")
        };
        let is_own = |name: &str| entries.iter().any(|entry| entry.path.file_name() == name);
        entries.iter().filter(is_object).find_map(|entry| {
            let object = path.join(entry.path.as_str());
            let mut replaced = self.replaced_by(&object);
            replaced.retain(|name| !is_own(name));
            replaced.into_iter().next()
        })
    }

    /// The libraries of one object that were replaced.
    fn replaced_by(&mut self, object: &Path) -> Vec<String> {
        let (Some(machine), Ok(content)) = (machine_of(object), File::open(object)) else {
            return Vec::new();
        };
        let mut needed = elf::needed_libraries(&content);
        needed.retain(|name| stem_of(name).is_some_and(|(_, has_version)| has_version));
        let origin = object.parent().unwrap_or(Path::new("/"));
        let Some(run_paths) = run_paths(&content, origin) else { return Vec::new() };
        needed.retain(|name| {
            let question = (name.clone(), machine, run_paths.clone());
            if let Some(known) = self.replaced.get(&question) {
                return *known;
            }
            let is_replaced = !self.has(name, machine, &run_paths)
                && self.has_other_version(name, machine, &run_paths);
            self.replaced.insert(question, is_replaced);
            is_replaced
        });
        needed
    }

    /// Whether this machine has a library for an object where it looks without run paths; `None` if this is no
    /// object.
    #[must_use]
    pub fn has_by_default(&self, object: &Path, name: &str) -> Option<bool> {
        Some(self.has(name, machine_of(object)?, &[]))
    }

    fn has(&self, name: &str, machine: Machine, run_paths: &[PathBuf]) -> bool {
        let fits = |path: &Path| machine_of(path) == Some(machine);
        self.cached().get(name).into_iter().flatten().any(|path| fits(path))
            || run_paths.iter().chain(&self.folders).any(|folder| fits(&folder.join(name)))
    }

    fn has_other_version(&self, name: &str, machine: Machine, run_paths: &[PathBuf]) -> bool {
        let Some((stem, _)) = stem_of(name) else { return false };
        let is_other = |other: &str| stem_of(other).is_some_and(|(it, _)| it == stem);
        let fits = |path: &Path| machine_of(path) == Some(machine);
        let in_folder = |folder: &PathBuf| {
            let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
            names.map(|it| it.path()).any(|path| {
                path.file_name().and_then(OsStr::to_str).is_some_and(is_other) && fits(&path)
            })
        };
        let cached = self.cached().iter().filter(|(other, _)| is_other(other));
        cached.flat_map(|(_, paths)| paths).any(|path| fits(path))
            || run_paths.iter().chain(&self.folders).any(in_folder)
    }

    fn cached(&self) -> &HashMap<String, Vec<PathBuf>> {
        self.cached.get_or_init(|| {
            let content = std::fs::read(&self.cache_file).unwrap_or_default();
            cache_file::libraries(&content)
        })
    }
}

/// The run paths of an object in the folder `origin`; `None` if one of them cannot be known here.
fn run_paths(object: &File, origin: &Path) -> Option<Vec<PathBuf>> {
    expanded(&elf::run_paths(object), origin)
}

/// The folders of run paths, for an object in the folder `origin`; `None` if one of them cannot be known here.
#[must_use]
pub fn expanded(run_paths: &[String], origin: &Path) -> Option<Vec<PathBuf>> {
    let origin = origin.to_str()?;
    let resolved = run_paths.iter().map(|folder| {
        let folder = folder.replace("${ORIGIN}", origin).replace("$ORIGIN", origin);
        (!folder.contains('$')).then(|| PathBuf::from(folder))
    });
    resolved.collect()
}

/// The name of a library without its version, and whether it has one: `libfoo` of `libfoo.so.1` and of
/// `libfoo-5.3.so`.
fn stem_of(name: &str) -> Option<(&str, bool)> {
    let (before, after) = name.split_once(".so")?;
    if !(after.is_empty() || after.starts_with('.')) || !before.starts_with("lib") {
        return None;
    }
    let is_version = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    match before.rsplit_once('-') {
        Some((stem, version)) if is_version(version) => Some((stem, true)),
        _ => Some((before, !after.is_empty())),
    }
}

/// What machine an object is for; `None` if this is no object.
fn machine_of(path: &Path) -> Option<Machine> {
    let mut header = [0; 20];
    File::open(path).ok()?.read_exact(&mut header).ok()?;
    header.starts_with(&elf::MAGIC).then(|| [header[4], header[5], header[18], header[19]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egg::elf::tests::object_that_needs;
    use crate::egg::scan;

    /// A folder with an egg whose module needs `libfoo.so.1` and has this run path, and with libraries.
    fn folder(run_path: &str, libraries: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in ["egg/sub", "lib"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let object = object_that_needs(&["libfoo.so.1", "libbar.so"], run_path);
        std::fs::write(folder.path().join("egg/sub/_a.so"), &object).unwrap();
        for name in libraries {
            std::fs::write(folder.path().join(name), &object).unwrap();
        }
        folder
    }

    fn replaced(folder: &tempfile::TempDir, library_path: Option<&Path>) -> Option<String> {
        let egg = folder.path().join("egg");
        let mut loader = Loader::new(library_path.map(Path::as_os_str), None);
        loader.cache_file = folder.path().join("no-cache");
        loader.replaced_library(&egg, &scan::list(&egg).unwrap())
    }

    #[test]
    fn a_library_is_replaced_if_only_another_version_is_there() {
        let run_path = "$ORIGIN/../../lib";
        for (libraries, expected) in [
            (&["lib/libfoo.so.1"][..], None),
            (&["lib/libfoo.so.1", "lib/libfoo.so.2"], None),
            (&["lib/libfoo.so.2"], Some("libfoo.so.1")),
            (&["lib/libfoo.so"], Some("libfoo.so.1")),
            // Whatever has loaded it before may have it.
            (&[], None),
            (&["lib/libfoo2.so.1", "lib/libbar.so.2"], None),
            // In the egg.
            (&["lib/libfoo.so.2", "egg/libfoo.so.1"], None),
        ] {
            let folder = folder(run_path, libraries);
            assert_eq!(replaced(&folder, None).as_deref(), expected, "{libraries:?}");
        }
    }

    #[test]
    fn the_library_path_is_searched_and_only_objects_count() {
        let library = folder("", &["lib/libfoo.so.2"]);
        let lib = library.path().join("lib");
        assert_eq!(replaced(&library, None), None);
        assert_eq!(replaced(&library, Some(&lib)).as_deref(), Some("libfoo.so.1"));
        std::fs::write(lib.join("libfoo.so.1"), "no object").unwrap();
        assert_eq!(replaced(&library, Some(&lib)).as_deref(), Some("libfoo.so.1"));
        std::fs::copy(lib.join("libfoo.so.2"), lib.join("libfoo.so.1")).unwrap();
        assert_eq!(replaced(&library, Some(&lib)), None);
    }

    #[test]
    fn the_library_folder_of_python_is_searched() {
        let library = folder("", &["lib/libfoo.so.2"]);
        let lib = library.path().join("lib");
        let python = folder("", &["lib/libfoo.so.1"]);
        let of_python = python.path().join("lib");
        let mut loader = Loader::new(Some(lib.as_os_str()), Some(&of_python));
        let egg = library.path().join("egg");
        assert_eq!(loader.replaced_library(&egg, &scan::list(&egg).unwrap()), None);
    }

    #[test]
    fn a_run_path_that_is_not_known_is_not_judged() {
        let folder = folder("$ORIGIN/../../lib:/usr/$PLATFORM", &["lib/libfoo.so.2"]);
        assert_eq!(replaced(&folder, None), None);
    }

    #[test]
    fn the_version_is_told_from_the_name() {
        for (name, expected) in [
            ("libfoo.so.1", Some(("libfoo", true))),
            ("libfoo.so", Some(("libfoo", false))),
            ("libdb-5.3.so", Some(("libdb", true))),
            ("libfoo-bar.so.1.2", Some(("libfoo-bar", true))),
            ("ld-linux-x86-64.so.2", None),
            ("libfoo.source", None),
            ("libfoo", None),
        ] {
            assert_eq!(stem_of(name), expected, "{name}");
        }
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[test]
    fn the_libraries_of_a_program_are_on_its_machine() {
        let program = std::env::current_exe().unwrap();
        let loader = Loader::new(None, None);
        let machine = machine_of(&program).unwrap();
        for name in elf::needed_libraries(File::open(&program).unwrap()) {
            assert!(loader.has(&name, machine, &[]), "{name}");
        }
    }
}
