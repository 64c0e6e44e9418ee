//! Links to the outside: symlinks, and files that have another name outside (hard links).

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use crate::buildout::interpreter::is_python;
use crate::buildout::{VERSION_CONTROL, is_egg};
use crate::cache::Blobs;
use crate::disk::boundary::{Boundary, Location};
use crate::disk::files;

use super::report::{Finding, FindingKind, Findings};

/// Folders of a virtual environment in which symlinks point to its Python.
const ENVIRONMENT_FOLDERS: [&str; 4] = ["lib", "lib64", "include", "local"];

/// A file that has several names.
#[derive(Debug)]
pub struct LinkedFile {
    pub egg: Option<String>,
    pub path: PathBuf,
    pub identity: (u64, u64),
    pub links: u64,
}

/// The links in a buildout, apart from those in its eggs.
#[derive(Debug, Default)]
pub struct Links {
    pub found: Findings,
    pub linked: Vec<LinkedFile>,
    /// File names of the eggs that symlinks point into.
    pub eggs: BTreeSet<String>,
}

/// Looks for links everywhere but in `except`: the eggs, which are examined one by one, and the cache.
#[must_use]
pub fn links(boundary: &Boundary, except: &[&Path]) -> Links {
    let mut links = Links::default();
    let walk = WalkDir::new(boundary.root()).into_iter().filter_entry(|entry| {
        let is_version_control = VERSION_CONTROL.iter().any(|name| entry.file_name() == *name);
        let is_ignored = is_version_control && entry.file_type().is_dir();
        !is_ignored && !except.contains(&entry.path())
    });
    for entry in walk {
        match entry {
            Ok(entry) => links.add(boundary, &entry),
            Err(error) => links.found.problems.extend(unreadable(boundary, &error)),
        }
    }
    links
}

impl Links {
    fn add(&mut self, boundary: &Boundary, entry: &DirEntry) {
        if entry.file_type().is_symlink() {
            if let Ok(target) = std::fs::read_link(entry.path()) {
                add_symlink(boundary, entry.path(), &target, None, &mut self.found);
                self.eggs.extend(egg_of_target(boundary, entry.path(), &target));
            }
        } else if entry.file_type().is_file()
            && let Ok(metadata) = entry.metadata()
            && metadata.nlink() > 1
        {
            self.linked.push(LinkedFile {
                egg: None,
                path: entry.path().to_owned(),
                identity: files::identity(&metadata),
                links: metadata.nlink(),
            });
        }
    }
}

/// The problem that a path cannot be read, unless it was removed in the meantime.
fn unreadable(boundary: &Boundary, error: &walkdir::Error) -> Option<Finding> {
    let kind = error.io_error().map(std::io::Error::kind);
    if kind == Some(std::io::ErrorKind::NotFound) {
        return None;
    }
    let path = boundary.short(error.path().unwrap_or(boundary.root()));
    Some(Finding::new(FindingKind::Incomplete, &path, format!("cannot be read: {error}")))
}

/// The file name of the egg inside that a symlink points to, or into.
fn egg_of_target(boundary: &Boundary, link: &Path, target: &Path) -> Option<String> {
    let Location::Inside(inside) = boundary.locate(link.parent().unwrap_or(link), target) else {
        return None;
    };
    let egg = inside.ancestors().filter(|path| is_egg(path)).last()?;
    Some(egg.file_name()?.to_string_lossy().into_owned())
}

/// Adds the finding about a symlink, if there is one.
pub fn add_symlink(
    boundary: &Boundary,
    link: &Path,
    target: &Path,
    egg: Option<&str>,
    found: &mut Findings,
) {
    let short = boundary.short(link);
    let (list, kind, what) = match boundary.locate(link.parent().unwrap_or(link), target) {
        Location::Outside(real) if egg.is_none() && is_of_environment(boundary, link, &real) => {
            let what = format!("points to {}, part of the Python in use", real.display());
            (&mut found.notes, FindingKind::Interpreter, what)
        }
        Location::Outside(real) => {
            let what = format!("points to {}, outside the buildout", real.display());
            (&mut found.problems, FindingKind::Symlink, what)
        }
        Location::Inside(_) if target.is_absolute() => {
            let what = "points inside by an absolute path, not relocatable".to_owned();
            (&mut found.notes, FindingKind::NotRelocatable, what)
        }
        Location::Inside(_) if passes_above(&short, target) => {
            let what = "points inside by the name of a folder above, not relocatable".to_owned();
            (&mut found.notes, FindingKind::NotRelocatable, what)
        }
        Location::Inside(_) => return,
    };
    list.push(Finding::new(kind, &short, what).in_egg(egg));
}

/// Whether a relative target leaves the folder that the path of the link is relative to, and comes
/// back to it by its name.
fn passes_above(link: &Path, target: &Path) -> bool {
    let mut depth = link.components().count().saturating_sub(1);
    target.components().any(|component| {
        if component == Component::ParentDir {
            let is_above = depth == 0;
            depth = depth.saturating_sub(1);
            return is_above;
        }
        depth += usize::from(matches!(component, Component::Normal(_)));
        false
    })
}

/// Whether a link belongs to a virtual environment in the folder of the buildout. Such a link always
/// points to a Python outside. Buildout also makes scripts with the name `python`.
fn is_of_environment(boundary: &Boundary, link: &Path, real: &Path) -> bool {
    let in_bin = link.parent().and_then(Path::file_name).is_some_and(|folder| folder == "bin");
    if in_bin && is_python(link) && is_python(real) {
        return true;
    }
    let short = boundary.short(link);
    let top = short.components().next().map_or(OsStr::new(""), Component::as_os_str);
    let is_environment = || {
        boundary.root().join("pyvenv.cfg").is_file()
            || is_program(&boundary.root().join("bin/python"))
    };
    ENVIRONMENT_FOLDERS.iter().any(|folder| top == *folder) && is_environment()
}

/// Whether there is a program that is not a script: old environments have a copy of their Python, or
/// a link to it.
fn is_program(path: &Path) -> bool {
    let mut begin = [0; 2];
    let read = files::open_file(path).and_then(|mut file| file.read_exact(&mut begin));
    match read {
        Ok(()) => begin != *b"#!",
        Err(_) => path.is_symlink(),
    }
}

/// Problems with files that have a name outside: in the cache, or elsewhere.
#[must_use]
pub fn hard_links(
    boundary: &Boundary,
    linked: &[LinkedFile],
    blobs: Option<&Blobs>,
) -> Vec<Finding> {
    let mut names: HashMap<(u64, u64), u64> = HashMap::new();
    for file in linked {
        *names.entry(file.identity).or_default() += 1;
    }
    let has_name_outside =
        |file: &&LinkedFile| names.get(&file.identity).is_some_and(|count| *count < file.links);
    let outside: Vec<&LinkedFile> = linked.iter().filter(has_name_outside).collect();
    if outside.is_empty() {
        return Vec::new();
    }
    let blobs = blobs.and_then(|blobs| blobs.list().ok()).unwrap_or_default();
    let blobs: HashMap<_, _> = blobs.iter().map(|blob| (blob.identity, blob.digest)).collect();
    let problem = |file: &LinkedFile| {
        let what = match blobs.get(&file.identity) {
            Some(digest) => format!("hard-linked to the blob {} of the cache", digest.short()),
            None => "hard-linked to a file outside the buildout".to_owned(),
        };
        let finding = Finding::new(FindingKind::HardLink, &boundary.short(&file.path), what);
        finding.in_egg(file.egg.as_deref())
    };
    outside.into_iter().map(problem).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink as link;

    use super::*;

    fn folder() -> (tempfile::TempDir, Boundary) {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["app/bin", "app/parts", "app/.git", "out"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        for file in ["app/parts/a", "app/.git/x", "out/file", "out/python3.11"] {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        let boundary = Boundary::new(&dir.path().join("app")).unwrap();
        (dir, boundary)
    }

    fn paths(found: &[Finding]) -> Vec<(FindingKind, &str)> {
        let mut paths: Vec<_> =
            found.iter().map(|finding| (finding.kind, finding.path.to_str().unwrap())).collect();
        paths.sort_unstable();
        paths
    }

    #[test]
    fn a_symlink_is_judged_by_its_target() {
        let (_dir, boundary) = folder();
        let at = |name: &str| boundary.root().join(name);
        link("a", at("parts/inside")).unwrap();
        link(at("parts/a"), at("parts/absolute")).unwrap();
        link("../../out/file", at("parts/leaves")).unwrap();
        link("../../out/missing", at("parts/dangles")).unwrap();
        link("nothing", at("parts/dangles-inside")).unwrap();
        link("../../out/python3.11", at("bin/python3")).unwrap();
        link("../../out/file", at(".git/leaves")).unwrap();
        let found = links(&boundary, &[]).found;
        let problems =
            [(FindingKind::Symlink, "parts/dangles"), (FindingKind::Symlink, "parts/leaves")];
        assert_eq!(paths(&found.problems), problems);
        let notes = [
            (FindingKind::Interpreter, "bin/python3"),
            (FindingKind::NotRelocatable, "parts/absolute"),
        ];
        assert_eq!(paths(&found.notes), notes);
        let except = links(&boundary, &[&at("parts")]).found;
        assert_eq!(except.problems, []);
    }

    #[test]
    fn a_fifo_in_place_of_the_python_is_not_waited_for() {
        let (_dir, boundary) = folder();
        let at = |name: &str| boundary.root().join(name);
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, at("bin/python"), mode).unwrap();
        std::fs::create_dir(at("lib")).unwrap();
        link("../../out/file", at("lib/x")).unwrap();
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || send.send(links(&boundary, &[]).found));
        let found = receive.recv_timeout(std::time::Duration::from_mins(1)).unwrap();
        assert_eq!(paths(&found.problems), [(FindingKind::Symlink, "lib/x")]);
    }

    #[test]
    fn a_hard_link_counts_if_a_name_is_outside() {
        let (dir, boundary) = folder();
        let at = |name: &str| boundary.root().join(name);
        std::fs::hard_link(at("parts/a"), at("parts/b")).unwrap();
        let linked = links(&boundary, &[]).linked;
        assert_eq!(linked.len(), 2);
        assert_eq!(hard_links(&boundary, &linked, None), []);
        std::fs::hard_link(at("parts/a"), dir.path().join("out/c")).unwrap();
        let linked = links(&boundary, &[]).linked;
        let found = hard_links(&boundary, &linked, None);
        assert_eq!(
            paths(&found),
            [(FindingKind::HardLink, "parts/a"), (FindingKind::HardLink, "parts/b")]
        );
    }
}
