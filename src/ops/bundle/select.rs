//! Which paths of a buildout go into its bundle. Pure: it depends on paths, relative to the buildout, and
//! on facts about its eggs.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use crate::buildout::{SET_ASIDE, VERSION_CONTROL, is_temporary_name};
use crate::disk::temp::TEMP_PREFIX;
use crate::egg::bytecode;
use crate::util::glob::PathPattern;

/// The folder for data, which belongs to a machine, not to a release.
const DATA: &str = "var";
/// The folder for source archives, whatever the configuration says.
const DOWNLOADS: &str = "downloads";

/// Why a path is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// `--exclude`
    Excluded,
    /// A temporary file of eggcache, or the manifest of the bundle that the buildout was unpacked from.
    Temporary,
    VersionControl,
    /// Downloads, or an egg cache.
    Cache,
    Data,
    /// Files that a repair has moved out of eggs, or a half-built egg that buildout has left.
    Leftover,
    UnusedEgg,
    /// Compiled by a run, not by the installation.
    Bytecode,
    /// Bytecode that does not match its source in the archive.
    StaleBytecode,
    /// A socket, a FIFO or a device.
    Special,
}

/// The rules. All paths are relative to the buildout, with `/`.
#[derive(Debug, Default)]
pub struct Rules {
    pub exclude: Vec<PathPattern>,
    pub include: Vec<PathPattern>,
    /// Folders of downloads and caches.
    pub caches: Vec<String>,
    pub eggs_directories: Vec<String>,
    /// The path of each egg, and the paths in it that the cache has, relative to it; `None` if the cache
    /// does not have the egg.
    pub eggs: BTreeMap<String, Option<HashSet<String>>>,
    /// Unused eggs, unless the options include them.
    pub unused: HashSet<String>,
}

impl Rules {
    /// Why a path is left out; `None` if it is not.
    #[must_use]
    pub fn why_not(&self, path: &str) -> Option<Why> {
        if path.split('/').any(|name| name.starts_with(TEMP_PREFIX)) {
            return Some(Why::Temporary);
        }
        if self.exclude.iter().any(|pattern| pattern.matches(path)) {
            return Some(Why::Excluded);
        }
        if self.include.iter().any(|pattern| pattern.matches(path)) {
            return None;
        }
        self.by_default(path)
    }

    /// Whether a folder that is left out has nothing below it that is not.
    #[must_use]
    pub fn is_final(&self, why: Why) -> bool {
        self.include.is_empty() || matches!(why, Why::Temporary | Why::Excluded)
    }

    /// The egg that a path is in, and the path in it.
    #[must_use]
    pub fn egg_of<'p>(&self, path: &'p str) -> Option<(&'p str, &'p str)> {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let mut eggs = ends.filter(|end| self.eggs.contains_key(&path[..*end]));
        eggs.next().map(|end| (&path[..end], path[end..].trim_start_matches('/')))
    }

    fn by_default(&self, path: &str) -> Option<Why> {
        if let Some((egg, within)) = self.egg_of(path) {
            return self.in_egg(egg, within);
        }
        let mut names = path.split('/');
        if names.clone().any(|name| VERSION_CONTROL.contains(&name)) {
            Some(Why::VersionControl)
        } else if self.caches.iter().any(|cache| is_below(path, cache)) || is_below(path, DOWNLOADS)
        {
            Some(Why::Cache)
        } else if names.next() == Some(DATA) {
            Some(Why::Data)
        } else if self.eggs_directories.iter().any(|folder| is_leftover(path, folder)) {
            Some(Why::Leftover)
        } else {
            bytecode::is_python_output(path).then_some(Why::Bytecode)
        }
    }

    fn in_egg(&self, egg: &str, within: &str) -> Option<Why> {
        if self.unused.contains(egg) {
            return Some(Why::UnusedEgg);
        }
        let cached = self.eggs.get(egg).and_then(Option::as_ref);
        let is_added = cached.is_some_and(|paths| !paths.contains(within));
        (is_added && bytecode::is_python_output(within)).then_some(Why::Bytecode)
    }
}

/// Whether a path is in a folder of an eggs directory that contains no eggs in use.
fn is_leftover(path: &str, eggs_directory: &str) -> bool {
    let rest = path.strip_prefix(eggs_directory).and_then(|rest| rest.strip_prefix('/'));
    let name = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
    name == SET_ASIDE || is_temporary_name(name)
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(exclude: &[&str], include: &[&str]) -> Rules {
        let patterns = |texts: &[&str]| texts.iter().map(|text| PathPattern::new(text)).collect();
        let known = ["", "a.py", "__pycache__", "__pycache__/a.cpython-311.pyc"];
        let known = known.map(str::to_owned).into_iter().collect();
        Rules {
            exclude: patterns(exclude),
            include: patterns(include),
            caches: vec!["cache/dist".into()],
            eggs_directories: vec!["eggs/v5".into()],
            eggs: BTreeMap::from([
                ("eggs/v5/known-1.egg".into(), Some(known)),
                ("eggs/v5/other-1.egg".into(), None),
                ("eggs/v5/old-1.egg".into(), None),
            ]),
            unused: HashSet::from(["eggs/v5/old-1.egg".into()]),
        }
    }

    #[test]
    fn paths_that_a_deployment_does_not_need_are_left_out() {
        let rules = rules(&[], &[]);
        for (path, expected) in [
            ("bin/app", None),
            ("buildout.cfg", None),
            (".installed.cfg", None),
            ("parts/app/etc/zope.conf", None),
            ("parts/var/x", None),
            ("develop-eggs/gamma.egg-link", None),
            ("src/gamma/gamma.py", None),
            ("src/gamma/gamma.pyc", Some(Why::Bytecode)),
            ("src/gamma/__pycache__", Some(Why::Bytecode)),
            ("src/gamma/.git/config", Some(Why::VersionControl)),
            (".hg", Some(Why::VersionControl)),
            ("downloads/dist/x.zip", Some(Why::Cache)),
            ("cache/dist/x.zip", Some(Why::Cache)),
            ("cache/distant", None),
            ("var/filestorage/Data.fs", Some(Why::Data)),
            ("variants", None),
            ("eggs/v5/set-aside/x", Some(Why::Leftover)),
            ("eggs/v5/tmpab12/x.egg", Some(Why::Leftover)),
            ("eggs/v5/.eggcache-x1", Some(Why::Temporary)),
            (".eggcache-bundle.json", Some(Why::Temporary)),
        ] {
            assert_eq!(rules.why_not(path), expected, "{path}");
        }
    }

    #[test]
    fn added_bytecode_and_unused_eggs_are_left_out() {
        let rules = rules(&[], &[]);
        for (path, expected) in [
            ("eggs/v5/known-1.egg", None),
            ("eggs/v5/known-1.egg/__pycache__/a.cpython-311.pyc", None),
            ("eggs/v5/known-1.egg/__pycache__/a.cpython-312.pyc", Some(Why::Bytecode)),
            ("eggs/v5/known-1.egg/sub/__pycache__", Some(Why::Bytecode)),
            ("eggs/v5/other-1.egg/__pycache__/a.cpython-312.pyc", None),
            ("eggs/v5/other-1.egg/.git", None),
            ("eggs/v5/old-1.egg", Some(Why::UnusedEgg)),
            ("eggs/v5/old-1.egg/a.py", Some(Why::UnusedEgg)),
        ] {
            assert_eq!(rules.why_not(path), expected, "{path}");
        }
    }

    #[test]
    fn exclude_overrides_include_and_both_the_defaults() {
        let rules = rules(&["*.log", "/etc/secret"], &["var/templates", "secret", "*.log"]);
        for (path, expected) in [
            ("var/templates/a.pt", None),
            ("var/templates/a.log", Some(Why::Excluded)),
            ("var/other", Some(Why::Data)),
            ("etc/secret/key", Some(Why::Excluded)),
            (".eggcache-secret/secret", Some(Why::Temporary)),
        ] {
            assert_eq!(rules.why_not(path), expected, "{path}");
        }
        assert!(!rules.is_final(Why::Data) && rules.is_final(Why::Excluded));
    }
}
