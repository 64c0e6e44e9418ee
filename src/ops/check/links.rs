//! What is one with something outside: symlinks, and files that have a name outside as well.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use walkdir::WalkDir;

use crate::buildout::interpreter::is_python;
use crate::buildout::{VERSION_CONTROL, is_egg};
use crate::cache::Blobs;
use crate::disk::boundary::{Boundary, Location};
use crate::disk::files;

use super::report::{Finding, FindingKind, Findings};

/// A file that has more names than one.
#[derive(Debug)]
pub struct LinkedFile {
    pub egg: Option<String>,
    pub path: PathBuf,
    pub identity: (u64, u64),
    pub links: u64,
}

/// What stands in a buildout outside of its eggs.
#[derive(Debug, Default)]
pub struct Rest {
    pub found: Findings,
    pub linked: Vec<LinkedFile>,
    /// File names of the eggs that symlinks lead into.
    pub eggs: BTreeSet<String>,
}

/// Looks at everything but `except`: the eggs, which are looked at one by one, and the cache.
#[must_use]
pub fn rest(place: &Boundary, except: &[&Path]) -> Rest {
    let mut it = Rest::default();
    let walk = WalkDir::new(place.root()).into_iter().filter_entry(|entry| {
        let is_version_control = VERSION_CONTROL.iter().any(|name| entry.file_name() == *name);
        let is_ignored = is_version_control && entry.file_type().is_dir();
        !is_ignored && !except.contains(&entry.path())
    });
    for entry in walk {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let path = error.path().unwrap_or(place.root()).to_owned();
                let gone =
                    error.io_error().is_some_and(|it| it.kind() == std::io::ErrorKind::NotFound);
                if !gone {
                    let what = format!("cannot be looked at: {error}");
                    it.found.problems.push(Finding::new(
                        FindingKind::Incomplete,
                        &place.short(&path),
                        what,
                    ));
                }
                continue;
            }
        };
        if entry.file_type().is_symlink() {
            if let Ok(target) = std::fs::read_link(entry.path()) {
                symlink(place, entry.path(), &target, None, &mut it.found);
                it.eggs.extend(egg_of(place, entry.path(), &target));
            }
        } else if entry.file_type().is_file()
            && let Ok(metadata) = entry.metadata()
            && metadata.nlink() > 1
        {
            it.linked.push(LinkedFile {
                egg: None,
                path: entry.path().to_owned(),
                identity: files::identity(&metadata),
                links: metadata.nlink(),
            });
        }
    }
    it
}

/// The file name of the egg inside that a symlink leads to, or into.
fn egg_of(place: &Boundary, link: &Path, target: &Path) -> Option<String> {
    let Location::Inside(inside) = place.locate(link.parent().unwrap_or(link), target) else {
        return None;
    };
    let egg = inside.ancestors().filter(|path| is_egg(path)).last()?;
    Some(egg.file_name()?.to_string_lossy().into_owned())
}

/// What a symlink is in respect of the buildout.
pub fn symlink(
    place: &Boundary,
    link: &Path,
    target: &Path,
    egg: Option<&str>,
    found: &mut Findings,
) {
    let short = place.short(link);
    let finding = |kind, what: String| {
        let finding = Finding::new(kind, &short, what);
        if let Some(egg) = egg { finding.of_egg(egg) } else { finding }
    };
    match place.locate(link.parent().unwrap_or(link), target) {
        Location::Outside(real) if egg.is_none() && is_of_environment(place, link, &real) => {
            let what = format!("leads to {}, which is of the Python that is used", real.display());
            found.notes.push(finding(FindingKind::Interpreter, what));
        }
        Location::Outside(real) => {
            let what = format!("leads to {}, outside the buildout", real.display());
            found.problems.push(finding(FindingKind::Symlink, what));
        }
        Location::Inside(_) if target.is_absolute() => {
            let what = "leads inside by an absolute path: not relocatable".to_owned();
            found.notes.push(finding(FindingKind::NotRelocatable, what));
        }
        Location::Inside(_) if passes_above(&short, target) => {
            let what = "leads inside by the name of a folder above: not relocatable".to_owned();
            found.notes.push(finding(FindingKind::NotRelocatable, what));
        }
        Location::Inside(_) => {}
    }
}

/// Whether a relative target leaves the folder that the path of the link is relative to, to come back
/// to it by its name.
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

/// Whether a link is of a virtual environment that the buildout's folder is at the same time: it
/// always leads to a Python outside. Buildout names a script `python` as well.
fn is_of_environment(place: &Boundary, link: &Path, real: &Path) -> bool {
    let short = place.short(link);
    let first = short.components().next().map(|first| first.as_os_str().to_owned());
    let is_environment = || {
        place.root().join("pyvenv.cfg").is_file() || is_program(&place.root().join("bin/python"))
    };
    let is_library = ["lib", "lib64", "include", "local"].map(OsStr::new).map(OsStr::to_owned);
    let in_bin = link.parent().and_then(Path::file_name).is_some_and(|folder| folder == "bin");
    (in_bin && is_python(link) && is_python(real))
        || (first.is_some_and(|first| is_library.contains(&first)) && is_environment())
}

/// Whether there is a program that is no script: old environments have a copy of their Python, or a
/// link to it.
fn is_program(path: &Path) -> bool {
    let mut begin = [0; 2];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut begin));
    match read {
        Ok(()) => begin != *b"#!",
        Err(_) => path.is_symlink(),
    }
}

/// Files of which a name is outside: in the cache, or elsewhere.
#[must_use]
pub fn hard_links(place: &Boundary, linked: &[LinkedFile], blobs: Option<&Blobs>) -> Vec<Finding> {
    let mut names: HashMap<(u64, u64), u64> = HashMap::new();
    for file in linked {
        *names.entry(file.identity).or_default() += 1;
    }
    let outside = |file: &&LinkedFile| names.get(&file.identity).is_some_and(|it| *it < file.links);
    let mut outside = linked.iter().filter(outside).peekable();
    if outside.peek().is_none() {
        return Vec::new();
    }
    let blobs = blobs.and_then(|blobs| blobs.list().ok()).unwrap_or_default();
    let blobs: HashMap<_, _> = blobs.iter().map(|blob| (blob.identity, blob.digest)).collect();
    outside
        .map(|file| {
            let what = match blobs.get(&file.identity) {
                Some(digest) => {
                    format!("is one file with the blob {} of the cache", digest.short())
                }
                None => "is one file with another outside the buildout (hard link)".to_owned(),
            };
            let finding = Finding::new(FindingKind::HardLink, &place.short(&file.path), what);
            match &file.egg {
                Some(egg) => finding.of_egg(egg),
                None => finding,
            }
        })
        .collect()
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
        let place = Boundary::new(&dir.path().join("app")).unwrap();
        (dir, place)
    }

    fn paths(found: &[Finding]) -> Vec<(FindingKind, &str)> {
        let mut paths: Vec<_> =
            found.iter().map(|it| (it.kind, it.path.to_str().unwrap())).collect();
        paths.sort_unstable();
        paths
    }

    #[test]
    fn symlinks_are_told_by_where_they_lead() {
        let (_dir, place) = folder();
        let at = |name: &str| place.root().join(name);
        link("a", at("parts/inside")).unwrap();
        link(at("parts/a"), at("parts/absolute")).unwrap();
        link("../../out/file", at("parts/leaves")).unwrap();
        link("../../out/missing", at("parts/dangles")).unwrap();
        link("nothing", at("parts/dangles-inside")).unwrap();
        link("../../out/python3.11", at("bin/python3")).unwrap();
        link("../../out/file", at(".git/leaves")).unwrap();
        let found = rest(&place, &[]).found;
        let problems =
            [(FindingKind::Symlink, "parts/dangles"), (FindingKind::Symlink, "parts/leaves")];
        assert_eq!(paths(&found.problems), problems);
        let notes = [
            (FindingKind::Interpreter, "bin/python3"),
            (FindingKind::NotRelocatable, "parts/absolute"),
        ];
        assert_eq!(paths(&found.notes), notes);
        let except = rest(&place, &[&at("parts")]).found;
        assert_eq!(except.problems, []);
    }

    #[test]
    fn hard_links_count_only_if_a_name_is_outside() {
        let (dir, place) = folder();
        let at = |name: &str| place.root().join(name);
        std::fs::hard_link(at("parts/a"), at("parts/b")).unwrap();
        let linked = rest(&place, &[]).linked;
        assert_eq!(linked.len(), 2);
        assert_eq!(hard_links(&place, &linked, None), []);
        std::fs::hard_link(at("parts/a"), dir.path().join("out/c")).unwrap();
        let linked = rest(&place, &[]).linked;
        let found = hard_links(&place, &linked, None);
        assert_eq!(
            paths(&found),
            [(FindingKind::HardLink, "parts/a"), (FindingKind::HardLink, "parts/b")]
        );
    }
}
