//! The Python that the scripts of a buildout run. Its files say which one it is; nothing is run.

use std::path::{Path, PathBuf};

use crate::buildout::ini;
use crate::disk::files;

/// Longest `pyvenv.cfg` that is read, in bytes.
const MAX_SETTINGS: u64 = 1 << 16;

/// One interpreter, at the path that scripts have.
#[derive(Debug, Clone)]
pub struct Interpreter {
    pub path: PathBuf,
    /// The program behind all symlinks; `None` if there is none.
    pub real: Option<PathBuf>,
    /// `3.11`, if a file name or `pyvenv.cfg` has the version.
    pub python: Option<String>,
    /// Folders that contain its own packages.
    prefixes: Vec<PathBuf>,
    /// The prefixes that belong to it alone: a `bin` folder may hold any program.
    environments: Vec<PathBuf>,
}

impl Interpreter {
    #[must_use]
    pub fn new(path: &Path) -> Self {
        let real = path.canonicalize().ok();
        let environment = prefix(path);
        let settings = environment
            .and_then(|prefix| files::read_short(&prefix.join("pyvenv.cfg"), MAX_SETTINGS).ok())
            .unwrap_or_default();
        let settings = String::from_utf8_lossy(&settings);
        let setting = |name: &str| ini::value(&settings, "", name);
        let python = version_in_file_name(path)
            .or_else(|| minor_version(&setting("version").or_else(|| setting("version_info"))?))
            .or_else(|| version_in_file_name(real.as_deref()?));
        let home = setting("home");
        let home = home.as_deref().and_then(|home| Path::new(home).parent());
        let prefixes = [environment, real.as_deref().and_then(prefix), home];
        let prefixes: Vec<PathBuf> = prefixes.into_iter().flatten().map(Path::to_owned).collect();
        let environments =
            prefixes.iter().filter(|prefix| is_environment(prefix)).cloned().collect();
        Self { path: path.to_owned(), python, prefixes, environments, real }
    }

    /// Whether a folder holds packages of this interpreter.
    #[must_use]
    pub fn has_packages_in(&self, folder: &Path) -> bool {
        let is_packages = folder
            .file_name()
            .is_some_and(|name| name == "site-packages" || name == "dist-packages");
        is_packages && self.prefixes.iter().any(|prefix| folder.starts_with(prefix))
    }

    /// Whether a path belongs to the environment of this interpreter.
    #[must_use]
    pub fn owns(&self, path: &Path) -> bool {
        path == self.path || self.environments.iter().any(|prefix| path.starts_with(prefix))
    }
}

/// Whether a program has the name of a Python.
#[must_use]
pub fn is_python(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    ["python", "pypy"].iter().any(|start| {
        let rest = name.strip_prefix(start);
        rest.is_some_and(|rest| rest.bytes().all(|c| c.is_ascii_digit() || b".tdmw".contains(&c)))
    })
}

/// The folder that an interpreter is installed in, above its `bin`.
fn prefix(program: &Path) -> Option<&Path> {
    let bin = program.parent()?;
    bin.file_name().is_some_and(|name| name == "bin").then(|| bin.parent()).flatten()
}

/// Whether a folder has a Python of its own and is not one of the operating system.
fn is_environment(prefix: &Path) -> bool {
    prefix.components().count() > 2
        && (prefix.join("pyvenv.cfg").is_file() || has_library(&prefix.join("lib")))
}

/// Whether a folder contains the standard library of a Python.
fn has_library(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).any(|name| {
        let name = name.to_string_lossy();
        ["python", "pypy"].iter().any(|start| name.starts_with(start))
    })
}

/// `3.11` of `bin/python3.11`; `None` for `bin/python3`.
fn version_in_file_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    minor_version(name.strip_prefix("python").or_else(|| name.strip_prefix("pypy"))?)
}

/// `3.11` of `3.11.2` and of `3.11`.
fn minor_version(version: &str) -> Option<String> {
    let mut numbers = version.split('.');
    let (major, minor) = (numbers.next()?, numbers.next()?);
    let digits = minor.find(|c: char| !c.is_ascii_digit()).unwrap_or(minor.len());
    let is_number = !major.is_empty() && major.bytes().all(|c| c.is_ascii_digit()) && digits > 0;
    is_number.then(|| format!("{major}.{}", &minor[..digits]))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn names_and_pyvenv_cfg_have_the_version() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        for folder in ["usr/bin", "venv/bin", "bare/bin"] {
            std::fs::create_dir_all(top.join(folder)).unwrap();
        }
        std::fs::write(top.join("usr/bin/python3.12"), "").unwrap();
        for link in ["venv/bin/python", "bare/bin/python"] {
            symlink(top.join("usr/bin/python3.12"), top.join(link)).unwrap();
        }
        let home = top.join("usr/bin");
        let settings = format!("home = {}\nversion = 3.11.2\n", home.display());
        std::fs::write(top.join("venv/pyvenv.cfg"), settings).unwrap();
        let python = |path: &str| Interpreter::new(&top.join(path)).python.unwrap_or_default();
        assert_eq!(python("usr/bin/python3.12"), "3.12");
        assert_eq!(python("venv/bin/python"), "3.11");
        assert_eq!(python("bare/bin/python"), "3.12");
        assert_eq!(python("usr/bin/python"), "");

        let venv = Interpreter::new(&top.join("venv/bin/python"));
        assert!(venv.has_packages_in(&top.join("venv/lib/python3.11/site-packages")));
        assert!(venv.has_packages_in(&top.join("usr/lib/python3/dist-packages")));
        assert!(!venv.has_packages_in(&top.join("venv/lib/eggs")));
        assert!(!venv.has_packages_in(&top.join("bare/lib/python3.11/site-packages")));
    }

    #[test]
    fn a_python_is_recognized_by_its_name() {
        for name in ["python", "python3", "python3.11", "pypy3", "python3.13t"] {
            assert!(is_python(Path::new(name)), "{name}");
        }
        for name in ["pythonw-config", "python-config", "sh", "pyramid"] {
            assert!(!is_python(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn versions_are_cut_to_their_minor_part() {
        assert_eq!(minor_version("3.11.2").as_deref(), Some("3.11"));
        assert_eq!(minor_version("3.13t").as_deref(), Some("3.13"));
        assert_eq!(minor_version("3"), None);
        assert_eq!(minor_version("x.y"), None);
    }
}
