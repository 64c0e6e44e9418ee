//! The Python package: whether the Python of `bin/buildout` finds it and loads it. Only files are looked at: a
//! checkout may bring its own Python.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::buildout::entries;
use crate::buildout::interpreter::Interpreter;
use crate::buildout::script::{Import, Script};
use crate::disk::files;

use super::{Finding, Kind};

const HOOK: &str = "eggcache_hook.pth";
const HOOK_TEXT: &str = include_str!("../../../eggcache.data/purelib/eggcache_hook.pth");
/// Longest script and hook that are read, in bytes.
const MOST: u64 = 1 << 20;

pub(super) fn examine(buildout: &Path) -> Vec<Finding> {
    let path = buildout.join("bin/buildout");
    let Ok(text) = files::read_short(&path, MOST) else { return Vec::new() };
    let script = Script::parse(&String::from_utf8_lossy(&text));
    let program = script.interpreter.as_deref().and_then(|line| line.split(' ').next());
    let Some(program) = program.filter(|it| it.starts_with('/')).map(Path::new) else {
        return Vec::new();
    };
    let folders = packages_of(program, &script);
    let shown = program.display();
    let installed: Vec<&PathBuf> =
        folders.iter().filter(|it| it.join("eggcache/__init__.py").is_file()).collect();
    let Some(first) = installed.first() else {
        let what = format!("{shown}, which runs bin/buildout, does not have the package eggcache");
        return vec![Finding::problem(Kind::Package, what)];
    };
    let mut findings = Vec::new();
    let versions: BTreeSet<String> = installed.iter().flat_map(|it| versions_in(it)).collect();
    let versions: Vec<String> = versions.into_iter().collect();
    let places: Vec<String> = installed.iter().map(|it| it.display().to_string()).collect();
    findings.push(match &versions[..] {
        _ if places.len() > 1 => {
            let what =
                format!("eggcache is installed {} times: {}", places.len(), places.join(", "));
            Finding::problem(Kind::Package, what)
        }
        [version] if version != env!("CARGO_PKG_VERSION") => {
            let own = env!("CARGO_PKG_VERSION");
            let what =
                format!("{shown} has eggcache {version}, and this command is eggcache {own}");
            Finding::problem(Kind::Package, what)
        }
        [_, _, ..] => {
            let what =
                format!("{} has several versions of eggcache: {}", places[0], versions.join(", "));
            Finding::problem(Kind::Package, what)
        }
        _ => Finding::fine(Kind::Package, format!("{shown} has eggcache in {}", places[0])),
    });
    findings.push(hook(first));
    findings
}

/// The file that loads the package when Python starts.
fn hook(packages: &Path) -> Finding {
    let path = packages.join(HOOK);
    let shown = path.display();
    match files::read_short(&path, MOST) {
        Ok(text) if text.trim_ascii() == HOOK_TEXT.trim().as_bytes() => {
            Finding::fine(Kind::Hook, format!("{shown} loads the package"))
        }
        Ok(_) => Finding::problem(Kind::Hook, format!("{shown} is not that of this version")),
        Err(_) => {
            let what = format!("{shown} is missing: buildout does not load the package by itself");
            Finding::problem(Kind::Hook, what)
        }
    }
}

/// The folders in which a Python and a script find packages, as far as files show it.
fn packages_of(program: &Path, script: &Script) -> BTreeSet<PathBuf> {
    let interpreter = Interpreter::new(program);
    let prefix = program.parent().and_then(Path::parent).map(Path::to_owned);
    let mut folders = BTreeSet::new();
    for library in prefix.iter().flat_map(|prefix| [prefix.join("lib"), prefix.join("lib64")]) {
        for python in entries(&library).unwrap_or_default() {
            let packages = python.join("site-packages");
            if interpreter.has_packages_in(&packages)
                && let Ok(real) = packages.canonicalize()
            {
                folders.insert(real);
            }
        }
    }
    for import in &script.imports {
        if let Import::Absolute(path) = import
            && let Ok(real) = Path::new(path).canonicalize()
        {
            folders.insert(real);
        }
    }
    folders
}

/// The versions of the package that a folder has the metadata of.
fn versions_in(packages: &Path) -> Vec<String> {
    let names = entries(packages).unwrap_or_default().into_iter();
    let version = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.strip_suffix(".dist-info")?;
        Some(name.strip_prefix("eggcache-")?.to_owned())
    };
    names.filter_map(version).collect()
}
