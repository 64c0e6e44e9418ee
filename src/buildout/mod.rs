//! A buildout on a file system: where its eggs, scripts and develop eggs are.
//!
//! `.installed.cfg` and `buildout.cfg` say where buildout puts them, unless a value refers to other
//! options. From version 5 on, eggs are in a folder `v5` of the eggs directory, and with
//! `abi-tag-eggs = true` in a folder for the ABI below that.

pub mod develop_eggs;
pub mod hashes;
pub mod ini;
pub mod interpreter;
pub mod options;
pub mod path_files;
pub mod relocation;
pub mod script;
pub mod text_files;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use walkdir::WalkDir;

use crate::disk::boundary::Boundary;
use crate::disk::files;
use crate::error::{Error, IoContext, Result};

use relocation::Unpacked;

pub const INSTALLED: &str = ".installed.cfg";
pub const CONFIGURATION: &str = "buildout.cfg";
/// The manifest of the bundle that a buildout was unpacked from.
pub const BUNDLE_MANIFEST: &str = ".eggcache-bundle.json";
/// The folder of an eggs directory to which a repair moves files that it finds in an egg and that are
/// not part of it.
pub const SET_ASIDE: &str = "set-aside";
/// Folders of version control systems. Their content is not part of what runs.
pub const VERSION_CONTROL: [&str; 4] = [".git", ".hg", ".svn", ".bzr"];
/// How deep below an eggs directory eggs are: in `v5`, and in a folder for the ABI.
const MAX_DEPTH: usize = 3;
/// How the names of folders for an ABI begin; a digit follows.
const ABIS: &[&str] = &["cp", "pypy", "pp"];
/// Longest configuration that is read, in bytes: that of a large buildout has a few hundred KiB.
pub const MAX_CONFIGURATION: u64 = 16 << 20;

#[derive(Debug)]
pub struct Buildout {
    pub boundary: Boundary,
    /// The folders that contain eggs, inside the buildout or not, canonical.
    pub eggs_directories: Vec<PathBuf>,
    pub bin: PathBuf,
    pub parts: PathBuf,
    pub develop_eggs: PathBuf,
    /// Folders inside the buildout that cache downloads, configurations or eggs.
    pub caches: Vec<PathBuf>,
    /// The content of `.installed.cfg`; empty if there is none.
    pub installed: String,
    /// The content of `buildout.cfg`; empty if there is none.
    pub configuration: String,
    /// Read when it is first needed: a run of buildout does not need it.
    unpacked: OnceLock<Unpacked>,
}

impl Buildout {
    /// Opens the buildout in the folder `root`. `eggs` is its eggs directory; if absent, that is taken
    /// from the configuration.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is no buildout or no such eggs directory. A configuration that
    /// cannot be read is an error, since the folders that it names would be overlooked.
    pub fn open(root: &Path, eggs: Option<&Path>) -> Result<Self> {
        if !root.is_dir() {
            return Err(Error::Usage(format!("{} is not a folder", root.display())));
        }
        if !is_buildout(root) {
            return Err(Error::Usage(format!(
                "{} is not a buildout: it has neither {CONFIGURATION} nor {INSTALLED}, nor bin/ and \
                 eggs/",
                root.display()
            )));
        }
        let boundary = Boundary::new(root)?;
        let installed = read_configuration(&boundary, INSTALLED)?;
        let configuration = read_configuration(&boundary, CONFIGURATION)?;
        let folders = ConfiguredFolders::new(&boundary, &installed, &configuration);
        Ok(Self {
            bin: folders.first(&["bin-directory", "_b"], "bin"),
            parts: folders.first(&["parts-directory"], "parts"),
            develop_eggs: folders.first(&["develop-eggs-directory", "_d"], "develop-eggs"),
            caches: folders.below_root(&["download-cache", "extends-cache", "egg-cache"]),
            eggs_directories: match eggs {
                None => folders_with_eggs(folders.eggs_directories())?,
                Some(eggs) if eggs.is_dir() => folders_with_eggs([eggs.to_owned()])?,
                Some(eggs) => {
                    let reason = format!("{} is not a folder with eggs", eggs.display());
                    return Err(Error::Usage(reason));
                }
            },
            installed,
            configuration,
            unpacked: OnceLock::new(),
            boundary,
        })
    }

    /// Every path with the name of an egg in the eggs directories and, for custom builds, among the
    /// develop eggs.
    pub fn eggs(&self) -> Result<Vec<PathBuf>> {
        let mut eggs = Vec::new();
        let develop = self.develop_eggs.is_dir().then_some(&self.develop_eggs);
        let folders: BTreeSet<&PathBuf> = self.eggs_directories.iter().chain(develop).collect();
        for folder in folders {
            eggs.extend(entries(folder)?.into_iter().filter(|path| is_egg(path)));
        }
        Ok(eggs)
    }

    /// Whether eggs in this folder may be restored: it is an eggs directory inside the buildout.
    #[must_use]
    pub fn may_change(&self, folder: &Path) -> bool {
        self.eggs_directories.iter().any(|eggs| eggs == folder) && self.boundary.holds(folder)
    }
}

/// The content of a configuration file; empty if there is none.
fn read_configuration(boundary: &Boundary, name: &str) -> Result<String> {
    let path = boundary.root().join(name);
    match files::read_short(&path, MAX_CONFIGURATION) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        text => Ok(String::from_utf8_lossy(&text.at("read", &path)?).into_owned()),
    }
}

/// The folders that the configuration of a buildout sets, in whatever section.
struct ConfiguredFolders<'a> {
    boundary: &'a Boundary,
    settings: Vec<ini::Setting<'a>>,
}

impl<'a> ConfiguredFolders<'a> {
    fn new(boundary: &'a Boundary, installed: &'a str, configuration: &'a str) -> Self {
        let mut settings = ini::settings(installed);
        settings.extend(ini::settings(configuration));
        Self { boundary, settings }
    }

    /// The folders that options of these names set. Values that refer to other options are unknown.
    fn all(&self, names: &[&str]) -> impl Iterator<Item = PathBuf> {
        self.settings
            .iter()
            .filter(|setting| names.contains(&setting.name))
            .filter_map(|setting| setting.lines.first())
            .filter(|value| !value.contains("${"))
            .map(|value| self.boundary.root().join(value))
    }

    /// The first of these folders that exists inside the buildout, or the default.
    fn first(&self, names: &[&str], default: &str) -> PathBuf {
        let is_own = |path: &PathBuf| path.is_dir() && self.boundary.holds(path);
        let path = self.all(names).find(is_own);
        let path = path.unwrap_or_else(|| self.boundary.root().join(default));
        // A folder with two names would be read twice.
        path.canonicalize().ok().filter(|real| self.boundary.holds(real)).unwrap_or(path)
    }

    /// Those of these folders that are below the root of the buildout, canonical.
    fn below_root(&self, names: &[&str]) -> Vec<PathBuf> {
        let root = self.boundary.root();
        let real = self.all(names).filter_map(|path| path.canonicalize().ok());
        real.filter(|path| path != root && path.starts_with(root)).collect()
    }

    /// The eggs directories inside the buildout. Those outside do not belong to it; a check reports
    /// the texts that refer to them.
    fn eggs_directories(&self) -> Vec<PathBuf> {
        let configured = self.all(&["eggs-directory", "_e"]);
        let inside = configured.filter(|folder| self.boundary.holds(folder));
        [self.boundary.root().join("eggs")].into_iter().chain(inside).collect()
    }
}

/// Whether a folder has the files or folders of a buildout.
#[must_use]
pub fn is_buildout(root: &Path) -> bool {
    [CONFIGURATION, INSTALLED].iter().any(|name| root.join(name).is_file())
        || ["bin", "eggs"].iter().all(|name| root.join(name).is_dir())
}

/// Whether a path has the name of an egg.
#[must_use]
pub fn is_egg(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "egg")
}

/// Whether buildout has made this folder to assemble an egg in it.
#[must_use]
pub fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    is_temporary_name(name)
        && entries(path).is_ok_and(|within| within.iter().any(|path| is_egg(path)))
}

/// Whether a folder in an eggs directory has the name of one in which buildout assembles an egg.
#[must_use]
pub fn is_temporary_name(name: &str) -> bool {
    name.starts_with("tmp") && !name.contains('.')
}

/// The paths directly in a folder, sorted.
pub fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).at("read", folder)? {
        found.push(entry.at("read", folder)?.path());
    }
    found.sort_unstable();
    Ok(found)
}

/// An eggs directory with its own subfolders: `v5`, one for each ABI (named as pip does: `cp311`), and
/// one for each ABI in `v5`. Other subfolders may be buildouts.
pub fn layouts(eggs: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = vec![eggs.to_owned()];
    folders.extend(numbered_folders(eggs, ABIS)?);
    for layout in numbered_folders(eggs, &["v"])? {
        let of_abis = numbered_folders(&layout, ABIS)?;
        folders.push(layout);
        folders.extend(of_abis);
    }
    Ok(folders)
}

/// Whether a folder has the name that newer buildouts give to the eggs of one layout: `v5`.
#[must_use]
pub fn is_layout(folder: &Path) -> bool {
    is_numbered(folder, &["v"])
}

/// Whether a folder has the name of the eggs of one layout, or of one ABI within it.
#[must_use]
pub fn is_in_layout(folder: &Path) -> bool {
    is_layout(folder) || is_numbered(folder, ABIS) && folder.parent().is_some_and(is_layout)
}

/// The subfolders whose name is one of these prefixes and begins with a digit after it.
fn numbered_folders(folder: &Path, prefixes: &[&str]) -> Result<Vec<PathBuf>> {
    let is_one = |path: &PathBuf| is_numbered(path, prefixes) && !is_egg(path) && path.is_dir();
    Ok(entries(folder)?.into_iter().filter(is_one).collect())
}

fn is_numbered(path: &Path, prefixes: &[&str]) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let rest = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix));
    rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
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
            let parent = entry.path().parent();
            let is_other = entry.file_name() == SET_ASIDE || is_temporary(entry.path());
            !parent.is_some_and(is_egg) && (entry.depth() == 0 || !is_other)
        });
        for entry in walk.flatten().filter(|entry| entry.depth() > 0 && is_egg(entry.path())) {
            found.extend(entry.path().parent().map(Path::to_owned));
        }
    }
    Ok(found.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(paths: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        for path in paths {
            std::fs::create_dir_all(top.join(path)).unwrap();
        }
        (dir, top)
    }

    #[test]
    fn eggs_are_found_in_every_layout() {
        let (_dir, top) = folders(&[
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
        let expected = [eggs.clone(), eggs.join("v5"), eggs.join("v5/cp311")];
        assert_eq!(buildout.eggs_directories, expected);
        let names = buildout.eggs().unwrap();
        let names: BTreeSet<&str> =
            names.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, BTreeSet::from(["a-1.egg", "b-1.egg", "c-1.egg", "custom-1.egg"]));
        assert!(buildout.may_change(&eggs.join("v5")));
        assert!(!buildout.may_change(&top.join("app/develop-eggs")));
    }

    #[test]
    fn folders_are_read_from_the_configuration() {
        let (_dir, top) = folders(&["app/scripts", "app/store/v5/a-1.egg", "shared/b-1.egg"]);
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
        assert!(!buildout.may_change(&top.join("shared")), "outside");
    }

    #[test]
    fn other_folders_are_a_usage_error() {
        let (_dir, top) = folders(&["empty", "app/bin", "app/eggs"]);
        for (root, eggs) in
            [("empty", None), ("missing", None), ("app", Some(top.join("app/missing")))]
        {
            let opened = Buildout::open(&top.join(root), eggs.as_deref());
            assert!(matches!(opened, Err(Error::Usage(_))), "{root}");
        }
        assert!(Buildout::open(&top.join("app"), None).is_ok());
    }
}
