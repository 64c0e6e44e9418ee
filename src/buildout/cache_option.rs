//! Which cache a buildout names: the option `egg-cache` of its section `[buildout]`.
//!
//! Read as buildout reads it, as far as that is files here: `buildout.cfg`, what it extends, and then
//! the defaults of the user. What is fetched from elsewhere, said on the command line or put together
//! from options of other sections is not known.

use std::path::{Path, PathBuf};

use crate::buildout::{CONFIGURATION, MAX_CONFIGURATION};
use crate::disk::files;

const OPTION: &str = "egg-cache";
/// How deep a configuration extends others, and how many there are in all: a loop ends.
const MAX_DEPTH: usize = 8;
const MAX_FILES: usize = 64;

/// Where buildout looks for things of the user.
#[derive(Debug, Clone, Default)]
pub struct User {
    pub home: Option<PathBuf>,
    /// `BUILDOUT_HOME`, where it is set; else `.buildout` in `home`.
    pub buildout_home: Option<PathBuf>,
}

/// The cache of the buildout in the folder `root`; `None` if it names none, or that cannot be told.
#[must_use]
pub fn of(root: &Path, user: &User) -> Option<PathBuf> {
    let root = std::path::absolute(root).ok()?;
    let mut reader = Reader { root: &root, user, left: MAX_FILES };
    if let Some(named) = reader.named(&root.join(CONFIGURATION), MAX_DEPTH) {
        return named.0;
    }
    let home = user.buildout_home.clone();
    let home = home.or_else(|| Some(user.home.as_ref()?.join(".buildout")))?;
    reader.named(&home.join("default.cfg"), MAX_DEPTH)?.0
}

/// What a configuration says: a folder, or nothing that can be told.
struct Named(Option<PathBuf>);

struct Reader<'a> {
    root: &'a Path,
    user: &'a User,
    /// How many files may still be read.
    left: usize,
}

impl Reader<'_> {
    /// What a file or one that it extends says; `None` if nothing.
    fn named(&mut self, file: &Path, depth: usize) -> Option<Named> {
        self.left = self.left.checked_sub(1)?;
        let text = files::read_short(file, MAX_CONFIGURATION).ok()?;
        let text = String::from_utf8_lossy(&text);
        let folder = file.parent().unwrap_or(file);
        if let Some(value) = option(&text, OPTION) {
            return Some(Named(self.folder(value.trim(), folder)));
        }
        let extends = option(&text, "extends").filter(|_| depth > 0)?;
        // What is extended last is strongest.
        let others: Vec<&str> = extends.split_whitespace().rev().collect();
        let mut others = others.into_iter().filter(|other| !other.contains("://"));
        others.find_map(|other| self.named(&folder.join(other), depth - 1))
    }

    /// The folder that a value names in a file of `folder`.
    fn folder(&self, value: &str, folder: &Path) -> Option<PathBuf> {
        let root = self.root.to_str()?;
        let value = value.replace("${buildout:directory}", root);
        if value.is_empty() || value.contains("${") {
            return None;
        }
        if let Some(rest) = value.strip_prefix('~') {
            let rest = rest.strip_prefix('/').or(rest.is_empty().then_some(""))?;
            return Some(self.user.home.as_ref()?.join(rest));
        }
        Some(folder.join(value))
    }
}

/// An option of the section `[buildout]`, the last if there are several, with all its lines in one.
fn option(text: &str, name: &str) -> Option<String> {
    let (mut found, mut is_section, mut is_option) = (None::<String>, false, false);
    for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(section) = line.strip_prefix('[') {
            is_section = section.split(']').next().is_some_and(|it| it.trim() == "buildout");
            is_option = false;
        } else if line.starts_with([' ', '\t']) {
            if let Some(value) = found.as_mut().filter(|_| is_option) {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((key, value)) = line.split_once('=').filter(|_| is_section) {
            is_option = key.trim() == name;
            if is_option {
                found = Some(value.trim().to_owned());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder(written: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().to_owned();
        for (path, text) in written {
            fs::create_dir_all(top.join(path).parent().unwrap()).unwrap();
            fs::write(top.join(path), text).unwrap();
        }
        (dir, top)
    }

    fn named(written: &[(&str, &str)]) -> Option<String> {
        let (_dir, top) = folder(written);
        let user = User { home: Some(top.join("home")), buildout_home: None };
        let found = of(&top.join("app"), &user)?;
        Some(found.strip_prefix(&top).unwrap_or(&found).display().to_string())
    }

    #[test]
    fn a_cache_is_named_in_the_configuration_of_the_buildout_or_of_the_user() {
        let default = ("home/.buildout/default.cfg", "[buildout]\negg-cache = ~/cache\n");
        for (configuration, expected) in [
            ("[buildout]\negg-cache = /srv/cache\n", Some("/srv/cache")),
            ("[buildout]\nparts =\n  a\negg-cache = ../cache\n", Some("app/../cache")),
            ("[buildout]\negg-cache =\n  ~/mine\n", Some("home/mine")),
            ("[buildout]\negg-cache = ${buildout:directory}/c\n", Some("app/c")),
            ("[buildout]\n#egg-cache = /x\n[app]\negg-cache = /y\n", Some("home/cache")),
            ("[buildout]\negg-cache = ${paths:cache}\n", None),
            ("[buildout]\negg-cache =\n", None),
            ("[buildout]\negg-cache = ~other/cache\n", None),
        ] {
            let written = [("app/buildout.cfg", configuration), default];
            assert_eq!(named(&written).as_deref(), expected, "{configuration}");
        }
        assert_eq!(named(&[default]).as_deref(), Some("home/cache"));
        assert_eq!(named(&[]), None);
    }

    #[test]
    fn what_is_extended_counts_the_last_first_and_a_loop_ends() {
        let of = |base: &str, last: &str| {
            named(&[
                (
                    "app/buildout.cfg",
                    "[buildout]\nextends =\n  https://host/x.cfg\n  b/base.cfg\n  last.cfg\n",
                ),
                ("app/b/base.cfg", base),
                ("app/last.cfg", last),
            ])
        };
        let says = "[buildout]\negg-cache = here\n";
        assert_eq!(of(says, "").as_deref(), Some("app/b/here"));
        assert_eq!(of(says, says).as_deref(), Some("app/here"));
        let again = "[buildout]\nextends = ../buildout.cfg ../buildout.cfg\n";
        assert_eq!(of(again, "[buildout]\nextends = buildout.cfg"), None);
    }

    #[test]
    fn the_folder_of_a_users_settings_can_be_another() {
        let (_dir, top) = folder(&[("settings/default.cfg", "[buildout]\negg-cache = c\n")]);
        let user = User { home: None, buildout_home: Some(top.join("settings")) };
        assert_eq!(of(&top.join("app"), &user), Some(top.join("settings/c")));
    }
}
