//! A buildout on a file system: where its eggs, scripts and develop eggs are.
//!
//! Where buildout was told to put them is in `.installed.cfg` and, unless it is put together from
//! other options, in `buildout.cfg`. From version 5 on the eggs are in a folder `v5` below the eggs
//! directory, and with `abi-tag-eggs = true` in one more, named by the ABI.

pub mod cache_option;
pub mod interpreter;
pub mod path_files;
pub mod script;
pub mod text_files;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::disk::boundary::Boundary;
use crate::disk::files;
use crate::error::{Error, IoContext, Result};

pub const INSTALLED: &str = ".installed.cfg";
pub const CONFIGURATION: &str = "buildout.cfg";
/// Where a repair puts what it found in an egg and what is not of the egg, below the eggs directory.
pub const SET_ASIDE: &str = "set-aside";
/// Folders of version control: what is in them is no part of what runs.
pub const VERSION_CONTROL: [&str; 4] = [".git", ".hg", ".svn", ".bzr"];
/// How deep below an eggs directory eggs are looked for: `v5`, and the ABI.
const MAX_DEPTH: usize = 3;
/// How the names of folders of an ABI begin; a digit follows.
const ABIS: &[&str] = &["cp", "pypy", "pp"];
/// Longest configuration that is read, in bytes: that of a large buildout has a few hundred KiB.
pub const MAX_CONFIGURATION: u64 = 16 << 20;

#[derive(Debug)]
pub struct Buildout {
    pub place: Boundary,
    /// The folders that eggs are in, inside the buildout or not, canonical.
    pub eggs_directories: Vec<PathBuf>,
    pub bin: PathBuf,
    pub parts: PathBuf,
    pub develop_eggs: PathBuf,
    /// Folders inside that downloads, and what else can be fetched again, are kept in.
    pub caches: Vec<PathBuf>,
    /// The content of `.installed.cfg`; empty if there is none.
    pub installed: String,
    /// The content of `buildout.cfg`; empty if there is none.
    pub configuration: String,
}

impl Buildout {
    /// Looks at the buildout in the folder `root`. `eggs` is its eggs directory, if that cannot be
    /// told.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is no buildout or no such eggs directory, or if its configuration
    /// cannot be read.
    pub fn open(root: &Path, eggs: Option<&Path>) -> Result<Self> {
        if !root.is_dir() {
            return Err(Error::Usage(format!("{} is not a folder", root.display())));
        }
        if !is_buildout(root) {
            return Err(Error::Usage(format!(
                "{} is not a buildout: it holds neither {CONFIGURATION} nor {INSTALLED}, nor bin/ \
                 and eggs/",
                root.display()
            )));
        }
        let place = Boundary::new(root)?;
        let read = |name: &str| {
            let path = place.root().join(name);
            match files::read_short(&path, MAX_CONFIGURATION) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
                // What it names would not be looked at.
                text => Ok(String::from_utf8_lossy(&text.at("read", &path)?).into_owned()),
            }
        };
        let (installed, configuration) = (read(INSTALLED)?, read(CONFIGURATION)?);
        let named = |names: &[&str]| -> Vec<PathBuf> {
            let values = settings(&installed).chain(settings(&configuration));
            let values = values.filter(|(key, value)| names.contains(key) && !value.contains("${"));
            values.map(|(_, value)| place.root().join(value)).collect()
        };
        let one = |names: &[&str], usual: &str| {
            let first = named(names).into_iter().find(|path| path.is_dir() && place.holds(path));
            let path = first.unwrap_or_else(|| place.root().join(usual));
            // By one name, or what is in it is looked at twice.
            path.canonicalize().ok().filter(|real| place.holds(real)).unwrap_or(path)
        };
        let eggs_directories = match eggs {
            Some(eggs) if eggs.is_dir() => folders_with_eggs([eggs.to_owned()])?,
            Some(eggs) => {
                return Err(Error::Usage(format!("{} is not a folder with eggs", eggs.display())));
            }
            None => {
                let usual = [place.root().join("eggs")].into_iter();
                // Those outside are not the buildout's own: what names them is reported.
                let named = named(&["eggs-directory", "_e"]).into_iter();
                folders_with_eggs(usual.chain(named.filter(|folder| place.holds(folder))))?
            }
        };
        Ok(Self {
            bin: one(&["bin-directory", "_b"], "bin"),
            parts: one(&["parts-directory"], "parts"),
            develop_eggs: one(&["develop-eggs-directory", "_d"], "develop-eggs"),
            caches: named(&["download-cache", "extends-cache", "egg-cache"])
                .into_iter()
                .filter_map(|path| path.canonicalize().ok())
                .filter(|path| path != place.root() && path.starts_with(place.root()))
                .collect(),
            eggs_directories,
            installed,
            configuration,
            place,
        })
    }

    /// Everything that is named like an egg in the eggs directories and among the develop eggs, where
    /// custom builds are.
    ///
    /// # Errors
    /// If a folder cannot be read.
    pub fn eggs(&self) -> Result<Vec<PathBuf>> {
        let mut eggs = Vec::new();
        let develop = self.develop_eggs.is_dir().then_some(&self.develop_eggs);
        let folders: BTreeSet<&PathBuf> = self.eggs_directories.iter().chain(develop).collect();
        for folder in folders {
            eggs.extend(entries(folder)?.into_iter().filter(|path| is_egg(path)));
        }
        Ok(eggs)
    }

    /// Whether eggs below this folder may be restored: an eggs directory inside the buildout.
    #[must_use]
    pub fn may_change(&self, folder: &Path) -> bool {
        self.eggs_directories.iter().any(|eggs| eggs == folder) && self.place.holds(folder)
    }
}

/// Whether a folder is one that buildout has worked in, or will.
#[must_use]
pub fn is_buildout(root: &Path) -> bool {
    [CONFIGURATION, INSTALLED].iter().any(|name| root.join(name).is_file())
        || ["bin", "eggs"].iter().all(|name| root.join(name).is_dir())
}

/// Whether a path is named like an egg.
#[must_use]
pub fn is_egg(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "egg")
}

/// Whether buildout has made this folder to put an egg together in it.
#[must_use]
pub fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    is_temporary_name(name)
        && entries(path).is_ok_and(|within| within.iter().any(|path| is_egg(path)))
}

/// Whether a folder in an eggs directory has the name of one that buildout puts an egg together in.
#[must_use]
pub fn is_temporary_name(name: &str) -> bool {
    name.starts_with("tmp") && !name.contains('.')
}

/// What is directly in a folder, sorted.
///
/// # Errors
/// If it cannot be read.
pub fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).at("read", folder)? {
        found.push(entry.at("read", folder)?.path());
    }
    found.sort_unstable();
    Ok(found)
}

/// An eggs directory with the folders of its layouts: `v5`, that of an ABI (as pip tags it: `cp311`), and
/// such a one in `v5`. Other folders are none of its own: they may be buildouts.
///
/// # Errors
/// If one cannot be read.
pub fn layouts(eggs: &Path) -> Result<Vec<PathBuf>> {
    let named = |folder: &Path, prefixes: &'static [&'static str]| -> Result<Vec<PathBuf>> {
        let is_named = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let digit = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
            let rest = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix));
            rest.is_some_and(digit) && !is_egg(path) && path.is_dir()
        };
        Ok(entries(folder)?.into_iter().filter(is_named).collect())
    };
    let mut folders = vec![eggs.to_owned()];
    folders.extend(named(eggs, ABIS)?);
    for layout in named(eggs, &["v"])? {
        let of_abis = named(&layout, ABIS)?;
        folders.push(layout);
        folders.extend(of_abis);
    }
    Ok(folders)
}

/// The folders at or below others that have eggs directly in them, canonical.
fn folders_with_eggs(folders: impl IntoIterator<Item = PathBuf>) -> Result<Vec<PathBuf>> {
    let mut found = BTreeSet::new();
    for folder in folders {
        if !folder.is_dir() {
            continue;
        }
        let folder = folder.canonicalize().at("open directory", &folder)?;
        let walk = WalkDir::new(&folder).max_depth(MAX_DEPTH).into_iter().filter_entry(|entry| {
            let above = entry.path().parent();
            let is_other = entry.file_name() == SET_ASIDE || is_temporary(entry.path());
            !above.is_some_and(is_egg) && (entry.depth() == 0 || !is_other)
        });
        for entry in walk.flatten().filter(|entry| entry.depth() > 0 && is_egg(entry.path())) {
            found.extend(entry.path().parent().map(Path::to_owned));
        }
    }
    Ok(found.into_iter().collect())
}

/// The options of a configuration file, of whatever section, each with the first line of its value.
fn settings(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().filter(|line| !line.starts_with([' ', '\t', '#', ';', '[']));
    lines.filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        let value = value.trim();
        (!value.is_empty()).then(|| (key.trim(), value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(paths: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        for path in paths {
            std::fs::create_dir_all(top.join(path)).unwrap();
        }
        (dir, top)
    }

    #[test]
    fn eggs_are_found_however_buildout_puts_them() {
        let (_dir, top) = made(&[
            "app/bin",
            "app/eggs/a-1.egg/x.egg",
            "app/eggs/v5/b-1.egg",
            "app/eggs/v5/cp311/c-1.egg",
            "app/eggs/v5/set-aside/d-1.egg",
            "app/eggs/v5/tmpab12/e-1.egg",
            "app/develop-eggs/custom-1.egg",
        ]);
        let buildout = Buildout::open(&top.join("app"), None).unwrap();
        let eggs = top.join("app/eggs");
        let folders = [eggs.clone(), eggs.join("v5"), eggs.join("v5/cp311")];
        assert_eq!(buildout.eggs_directories, folders);
        let names = buildout.eggs().unwrap();
        let names: BTreeSet<&str> =
            names.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, BTreeSet::from(["a-1.egg", "b-1.egg", "c-1.egg", "custom-1.egg"]));
        assert!(buildout.may_change(&eggs.join("v5")));
        assert!(!buildout.may_change(&top.join("app/develop-eggs")));
    }

    #[test]
    fn what_buildout_was_told_is_read_from_its_files() {
        let (_dir, top) = made(&["app/scripts", "app/store/v5/a-1.egg", "shared/b-1.egg"]);
        let app = top.join("app");
        std::fs::write(app.join(CONFIGURATION), "[buildout]\nbin-directory = scripts\n").unwrap();
        let store = format!("[app]\n_e = {}\n_d = ${{x}}/y\n", app.join("store/v5").display());
        std::fs::write(app.join(INSTALLED), store).unwrap();
        let buildout = Buildout::open(&app, None).unwrap();
        assert_eq!(buildout.eggs_directories, [app.join("store/v5")]);
        assert_eq!(buildout.bin, app.join("scripts"));
        assert_eq!(buildout.develop_eggs, app.join("develop-eggs"));
        let buildout = Buildout::open(&app, Some(&top.join("shared"))).unwrap();
        assert_eq!(buildout.eggs_directories, [top.join("shared")]);
        assert!(!buildout.may_change(&top.join("shared")), "it is outside");
    }

    #[test]
    fn what_is_no_buildout_is_a_usage_error() {
        let (_dir, top) = made(&["empty", "app/bin", "app/eggs"]);
        for (root, eggs) in
            [("empty", None), ("missing", None), ("app", Some(top.join("app/missing")))]
        {
            let opened = Buildout::open(&top.join(root), eggs.as_deref());
            assert!(matches!(opened, Err(Error::Usage(_))), "{root}");
        }
        assert!(Buildout::open(&top.join("app"), None).is_ok());
    }
}
