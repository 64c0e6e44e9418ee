//! The Python package: whether the Python that runs buildout finds it and loads it. Only files are looked at: a
//! checkout may bring its own Python.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::buildout::interpreter::Interpreter;
use crate::buildout::script::{Import, Script};
use crate::buildout::{entries, options};
use crate::disk::files;

use super::{About, Finding, Kind, Options};

const PACKAGE: &str = "eggcache";
const HOOK: &str = "eggcache_hook.pth";
const HOOK_TEXT: &str = include_str!("../../../eggcache.data/purelib/eggcache_hook.pth");
/// Longest script and hook that are read, in bytes.
const MOST: u64 = 1 << 20;

pub(super) fn examine(options: &Options<'_>) -> Vec<Finding> {
    let Some(buildout) = Buildout::find(options) else {
        let what = "no buildout is in bin/, beside this command or in PATH: \
                    the Python package was not examined";
        return vec![Finding::fine(Kind::Package, what.into())];
    };
    let is_extension = options::has_extension(options.buildout, options.user, PACKAGE);
    let installed = buildout.installed();
    let Some(first) = installed.first() else {
        if is_extension {
            return vec![extension(options)];
        }
        let (python, script) = (buildout.python.display(), buildout.script.display());
        let what = format!("{python}, which runs {script}, does not have the package eggcache");
        return vec![buildout.problem(Kind::Package, what)];
    };
    let mut findings = vec![buildout.package(&installed)];
    if !is_extension {
        findings.push(buildout.hook(first));
    }
    findings
}

/// A `buildout` command, and the Python that runs it.
struct Buildout {
    /// As messages show it.
    script: PathBuf,
    python: PathBuf,
    imports: Vec<Import>,
}

impl Buildout {
    /// The command in `bin/`; otherwise the one in the environment of this program, or in `PATH`.
    fn find(options: &Options<'_>) -> Option<Self> {
        let own = Path::new("bin/buildout");
        let beside = options.program.and_then(Path::parent).map(|bin| bin.join("buildout"));
        let path = options.environment.get_os("PATH").map(OsStr::to_owned).unwrap_or_default();
        let in_path = std::env::split_paths(&path).map(|folder| folder.join("buildout"));
        let others = beside.into_iter().chain(in_path).map(|script| (script.clone(), script));
        let mut found = std::iter::once((options.buildout.join(own), own.to_owned())).chain(others);
        found.find_map(|(path, shown)| Self::read(&path, shown))
    }

    fn read(path: &Path, script: PathBuf) -> Option<Self> {
        let text = files::read_short(path, MOST).ok()?;
        let Script { interpreter, imports, .. } = Script::parse(&String::from_utf8_lossy(&text));
        let python = PathBuf::from(interpreter?.split(' ').next()?);
        python.is_absolute().then_some(Self { script, python, imports })
    }

    /// The folders that have the package, of those in which the Python and the script find packages, as far
    /// as files show it.
    fn installed(&self) -> Vec<PathBuf> {
        let interpreter = Interpreter::new(&self.python);
        let prefix = self.python.parent().and_then(Path::parent);
        let libraries =
            prefix.into_iter().flat_map(|prefix| [prefix.join("lib"), prefix.join("lib64")]);
        let pythons = libraries.flat_map(|library| entries(&library).unwrap_or_default());
        let own = pythons
            .map(|python| python.join("site-packages"))
            .filter(|packages| interpreter.has_packages_in(packages));
        let imported = self.imports.iter().filter_map(|import| match import {
            Import::Absolute(path) => Some(PathBuf::from(path)),
            Import::Relative { .. } => None,
        });
        let real: BTreeSet<PathBuf> =
            own.chain(imported).filter_map(|folder| folder.canonicalize().ok()).collect();
        real.into_iter().filter(|folder| has_package(folder)).collect()
    }

    fn package(&self, installed: &[PathBuf]) -> Finding {
        let shown = self.python.display();
        let versions: BTreeSet<String> = installed.iter().flat_map(|it| versions_in(it)).collect();
        let versions: Vec<String> = versions.into_iter().collect();
        let places: Vec<String> = installed.iter().map(|it| it.display().to_string()).collect();
        let own = env!("CARGO_PKG_VERSION");
        let problem = match &versions[..] {
            _ if places.len() > 1 => {
                format!("eggcache is installed {} times: {}", places.len(), places.join(", "))
            }
            [version] if version != own => {
                format!("{shown} has eggcache {version}, and this command is eggcache {own}")
            }
            [_, _, ..] => {
                format!("{} has several versions of eggcache: {}", places[0], versions.join(", "))
            }
            _ => {
                let what = format!("{shown} has eggcache in {}", places[0]);
                return Finding::fine(Kind::Package, what);
            }
        };
        self.problem(Kind::Package, problem)
    }

    /// The file that loads the package when Python starts.
    fn hook(&self, packages: &Path) -> Finding {
        let path = packages.join(HOOK);
        let shown = path.display();
        match files::read_short(&path, MOST) {
            Ok(text) if text.trim_ascii() == HOOK_TEXT.trim().as_bytes() => {
                Finding::fine(Kind::Hook, format!("{shown} loads the package"))
            }
            Ok(_) => self.problem(Kind::Hook, format!("{shown} is not that of this version")),
            Err(_) => {
                let what =
                    format!("{shown} is missing: buildout does not load the package by itself");
                self.problem(Kind::Hook, what)
            }
        }
    }

    fn problem(&self, kind: Kind, what: String) -> Finding {
        Finding::problem(kind, what).about(About::Python(self.python.clone()))
    }
}

/// The package of a buildout that loads it as an extension, from its own eggs.
fn extension(options: &Options<'_>) -> Finding {
    let folder = options::eggs_directory(options.buildout, options.user);
    let below = ["", "v5"].map(|name| folder.join(name));
    let eggs = below.iter().flat_map(|folder| entries(folder).unwrap_or_default());
    let is_own = |egg: &PathBuf| {
        let name = egg.file_name().and_then(OsStr::to_str).unwrap_or_default();
        name.starts_with("eggcache-") && has_package(egg)
    };
    let what = match eggs.into_iter().find(is_own) {
        Some(egg) => format!("buildout loads eggcache from {}, as an extension", egg.display()),
        None => "the next run of buildout installs eggcache, as an extension".into(),
    };
    Finding::fine(Kind::Package, what)
}

fn has_package(folder: &Path) -> bool {
    folder.join("eggcache/__init__.py").is_file()
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
