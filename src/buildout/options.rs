//! Options of the section `[buildout]`: `egg-cache`, and those that say where eggcache itself is.
//!
//! They are looked up as buildout does, in `buildout.cfg`, the local files that it extends, and the
//! user's defaults. Files that are fetched from a URL, options of buildout's command line, options in
//! conditional sections, and values that refer to other sections are unknown.

use std::path::{Path, PathBuf};

use crate::buildout::{CONFIGURATION, MAX_CONFIGURATION, ini};
use crate::disk::files;

const CACHE: &str = "egg-cache";
/// How deep one configuration may extend others, and how many files are read in all, so that a loop
/// ends.
const MAX_DEPTH: usize = 8;
const MAX_FILES: usize = 64;

/// Where buildout looks for the user's settings.
#[derive(Debug, Clone, Default)]
pub struct User {
    pub home: Option<PathBuf>,
    /// `BUILDOUT_HOME` if it is set; otherwise `.buildout` in `home` is used.
    pub buildout_home: Option<PathBuf>,
}

/// The cache that a configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    Cache(PathBuf),
    /// A value that only buildout can expand, or that it refuses.
    Unknown(String),
}

/// The option `egg-cache`, where it is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// `None` if the option is empty: it names no cache.
    pub named: Option<Named>,
    /// The file that sets it.
    pub file: PathBuf,
    /// Whether it is one of the user's defaults.
    pub is_default: bool,
}

/// The cache of the buildout in the folder `root`; `None` if neither its configuration nor the user's
/// defaults name one.
#[must_use]
pub fn cache(root: &Path, user: &User) -> Option<Found> {
    let mut lookup = Lookup::new(root, user)?;
    let Set { value, file, is_default } = lookup.option(CACHE)?;
    let named =
        || lookup.expand(&value, &file).map_or_else(|| Named::Unknown(value.clone()), Named::Cache);
    Some(Found { named: (!value.is_empty()).then(named), file, is_default })
}

/// Whether the buildout in the folder `root` has a package as one of its extensions.
#[must_use]
pub fn has_extension(root: &Path, user: &User, package: &str) -> bool {
    let value = Lookup::new(root, user).and_then(|mut lookup| lookup.option("extensions"));
    value.is_some_and(|set| set.value.split_whitespace().any(|it| it == package))
}

/// The folder of the eggs of the buildout in the folder `root`, as far as its configuration tells.
#[must_use]
pub fn eggs_directory(root: &Path, user: &User) -> PathBuf {
    let configured = || {
        let mut lookup = Lookup::new(root, user)?;
        let set = lookup.option("eggs-directory")?;
        lookup.expand(&set.value, &set.file)
    };
    configured().unwrap_or_else(|| root.join("eggs"))
}

/// Whether an option is set for the buildout in the folder `root`, as far as its configuration tells.
#[must_use]
pub fn is_set(root: &Path, user: &User, option: &str) -> bool {
    Lookup::new(root, user).is_some_and(|mut lookup| lookup.option(option).is_some())
}

/// Whether the configuration of the buildout in the folder `root` is in local files alone, so that an option that
/// is not found there is set nowhere but on a command line.
#[must_use]
pub fn is_local(root: &Path, user: &User) -> bool {
    Lookup::new(root, user).is_some_and(|mut lookup| {
        // No option has this name, so every file is read.
        lookup.option("").is_none() && lookup.is_whole
    })
}

/// A value, where it is set.
struct Set {
    value: String,
    file: PathBuf,
    is_default: bool,
}

struct Lookup<'a> {
    root: PathBuf,
    user: &'a User,
    files_left: usize,
    /// Whether every file was read.
    is_whole: bool,
}

impl<'a> Lookup<'a> {
    fn new(root: &Path, user: &'a User) -> Option<Self> {
        let root = std::path::absolute(root).ok()?;
        Some(Self { root, user, files_left: MAX_FILES, is_whole: true })
    }

    /// An option, of the buildout or of the user's defaults.
    fn option(&mut self, option: &str) -> Option<Set> {
        self.files_left = MAX_FILES;
        let own = self.root.join(CONFIGURATION);
        if let Some((value, file)) = self.find(option, &own, MAX_DEPTH) {
            return Some(Set { value, file, is_default: false });
        }
        let home = self.user.buildout_home.clone();
        let home = home.or_else(|| Some(self.user.home.as_ref()?.join(".buildout")))?;
        let (value, file) = self.find(option, &home.join("default.cfg"), MAX_DEPTH)?;
        Some(Set { value, file, is_default: true })
    }

    /// The option in a file or in one that it extends; `None` if none of them has it.
    fn find(&mut self, option: &str, file: &Path, depth: usize) -> Option<(String, PathBuf)> {
        self.files_left = self.files_left.checked_sub(1)?;
        let text = files::read_short(file, MAX_CONFIGURATION).ok()?;
        let text = String::from_utf8_lossy(&text);
        if let Some(value) = ini::value(&text, "buildout", option) {
            return Some((value, file.to_owned()));
        }
        let folder = file.parent().unwrap_or(file);
        let extends = ini::value(&text, "buildout", "extends")?;
        self.is_whole &= depth > 0 && self.files_left > 0 && !extends.contains(['$', ':']);
        // The last file overrides those before it.
        let mut local =
            extends.split_whitespace().rev().filter(|other| depth > 0 && !other.contains("://"));
        local.find_map(|other| self.find(option, &folder.join(other), depth - 1))
    }

    /// The folder that a value in a file means; `None` if it is unknown. Buildout refuses environment
    /// variables.
    fn expand(&self, value: &str, file: &Path) -> Option<PathBuf> {
        const DIRECTORY: &str = "${buildout:directory}";
        if value.replace(DIRECTORY, "").contains('$') {
            return None;
        }
        let value = value.replace(DIRECTORY, self.root.to_str()?);
        if let Some(rest) = value.strip_prefix('~') {
            let rest = rest.strip_prefix('/').or(rest.is_empty().then_some(""))?;
            return Some(self.user.home.as_ref()?.join(rest));
        }
        Some(file.parent()?.join(value))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().to_owned();
        for (path, text) in files {
            fs::create_dir_all(top.join(path).parent().unwrap()).unwrap();
            fs::write(top.join(path), text).unwrap();
        }
        (dir, top)
    }

    /// The cache of the buildout `app` among these files, relative to their folder.
    fn cache(files: &[(&str, &str)]) -> Option<String> {
        let (_dir, top) = folder(files);
        let user = User { home: Some(top.join("home")), buildout_home: None };
        let found = match super::cache(&top.join("app"), &user)?.named? {
            Named::Cache(found) => found,
            Named::Unknown(value) => return Some(format!("unknown: {value}")),
        };
        Some(found.strip_prefix(&top).unwrap_or(&found).display().to_string())
    }

    #[test]
    fn the_buildout_or_the_user_sets_the_cache() {
        let default = ("home/.buildout/default.cfg", "[buildout]\negg-cache = ~/cache\n");
        for (configuration, expected) in [
            ("[buildout]\negg-cache = /srv/cache\n", Some("/srv/cache")),
            ("[buildout]\nparts =\n  a\negg-cache = ../cache\n", Some("app/../cache")),
            ("[buildout]\negg-cache =\n  ~/mine\n", Some("home/mine")),
            ("[buildout]\negg-cache = ${buildout:directory}/c\n", Some("app/c")),
            ("[buildout]\n#egg-cache = /x\n[app]\negg-cache = /y\n", Some("home/cache")),
            ("[buildout]\n[buildout:True]\negg-cache = /x\n", Some("home/cache")),
            ("[buildout]\negg-cache = ${paths:cache}\n", Some("unknown: ${paths:cache}")),
            ("[buildout]\negg-cache = $HOME/cache\n", Some("unknown: $HOME/cache")),
            ("[buildout]\negg-cache = /srv/$USER\n", Some("unknown: /srv/$USER")),
            ("[buildout]\negg-cache =\n", None),
            ("[buildout]\negg-cache = ~other/cache\n", Some("unknown: ~other/cache")),
        ] {
            let files = [("app/buildout.cfg", configuration), default];
            assert_eq!(cache(&files).as_deref(), expected, "{configuration}");
        }
        assert_eq!(cache(&[default]).as_deref(), Some("home/cache"));
        assert_eq!(cache(&[]), None);
    }

    #[test]
    fn the_last_extended_file_wins_and_a_loop_ends() {
        let of = |base: &str, last: &str| {
            cache(&[
                (
                    "app/buildout.cfg",
                    "[buildout]\nextends =\n  https://host/x.cfg\n  b/base.cfg\n  last.cfg\n",
                ),
                ("app/b/base.cfg", base),
                ("app/last.cfg", last),
            ])
        };
        let here = "[buildout]\negg-cache = here\n";
        assert_eq!(of(here, "").as_deref(), Some("app/b/here"));
        assert_eq!(of(here, here).as_deref(), Some("app/here"));
        let again = "[buildout]\nextends = ../buildout.cfg ../buildout.cfg\n";
        assert_eq!(of(again, "[buildout]\nextends = buildout.cfg"), None);
    }

    #[test]
    fn buildout_home_replaces_the_folder_of_the_user() {
        let (_dir, top) = folder(&[("settings/default.cfg", "[buildout]\negg-cache = c\n")]);
        let user = User { home: None, buildout_home: Some(top.join("settings")) };
        let found = Found {
            named: Some(Named::Cache(top.join("settings/c"))),
            file: top.join("settings/default.cfg"),
            is_default: true,
        };
        assert_eq!(super::cache(&top.join("app"), &user), Some(found));
    }

    #[test]
    fn extensions_and_the_eggs_directory_are_found_where_they_are_set() {
        let of = |text: &str, default: &str| {
            let base = "[buildout]\nextensions = mr.developer\n";
            let (_dir, top) = folder(&[
                ("app/buildout.cfg", text),
                ("app/base.cfg", base),
                ("home/.buildout/default.cfg", default),
            ]);
            let user = User { home: Some(top.join("home")), buildout_home: None };
            let app = top.join("app");
            let eggs = eggs_directory(&app, &user).strip_prefix(&top).unwrap().to_owned();
            (has_extension(&app, &user, "eggcache"), eggs.display().to_string())
        };
        let eggs = "app/eggs".to_owned();
        assert_eq!(of("[buildout]\n", ""), (false, eggs.clone()));
        for text in [
            "[buildout]\nextensions =\n  mr.developer\n  eggcache\n",
            "[buildout]\nextends = base.cfg\nextensions += eggcache\n",
        ] {
            assert_eq!(of(text, ""), (true, eggs.clone()), "{text}");
        }
        let shared = "[buildout]\neggs-directory = shared\nextensions = eggcache\n";
        assert_eq!(of("[buildout]\n", shared), (true, "home/.buildout/shared".into()));
        assert!(!of("[buildout]\nextends = base.cfg\n", shared).0);
        assert_eq!(of("[buildout]\neggs-directory = ${x:y}\n", ""), (false, eggs));
    }
}
