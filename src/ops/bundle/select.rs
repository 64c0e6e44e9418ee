//! What of a buildout goes into its bundle. Pure: of paths, which are relative to the buildout, and of
//! what is known of its eggs.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use crate::buildout::{SET_ASIDE, VERSION_CONTROL, is_temporary_name};
use crate::disk::temp::TEMP_PREFIX;
use crate::egg::bytecode;
use crate::util::glob::PathPattern;

/// Where buildouts keep data: it belongs to a machine, not to a release.
const DATA: &str = "var";
/// Where archives are kept that eggs are built from, whatever the configuration says.
const DOWNLOADS: &str = "downloads";

/// Why something is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// `--exclude`
    Excluded,
    /// A temporary file of eggcache, or the manifest of the bundle that this was unpacked from.
    Temporary,
    VersionControl,
    /// Downloads, or an egg cache.
    Cache,
    Data,
    /// What a repair has put aside, or buildout has left half-built among the eggs.
    Leftover,
    UnusedEgg,
    /// Compiled by whoever has run it, not by the installation.
    Bytecode,
    /// Compiled from another source than the one that goes in.
    StaleBytecode,
    /// A socket, a FIFO or a device.
    Special,
}

/// What decides. All paths are relative to the buildout, with `/`.
#[derive(Debug, Default)]
pub struct Rules {
    pub exclude: Vec<PathPattern>,
    pub include: Vec<PathPattern>,
    /// Folders of downloads and caches.
    pub caches: Vec<String>,
    pub eggs_directories: Vec<String>,
    /// The path of each egg, and what is in it as the cache has it, relative to it; `None` if the cache
    /// does not have it.
    pub eggs: BTreeMap<String, Option<HashSet<String>>>,
    /// Eggs that nothing uses, and that are not wanted.
    pub unused: HashSet<String>,
}

impl Rules {
    /// Why a path does not go in; `None` if it does.
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

    /// Whether nothing below a folder that does not go in can go in all the same.
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
            if self.unused.contains(egg) {
                return Some(Why::UnusedEgg);
            }
            let known = self.eggs.get(egg).and_then(Option::as_ref);
            let is_added = known.is_some_and(|known| !known.contains(within));
            return (is_added && bytecode::is_python_output(within)).then_some(Why::Bytecode);
        }
        let mut names = path.split('/');
        if names.clone().any(|name| VERSION_CONTROL.contains(&name)) {
            return Some(Why::VersionControl);
        }
        if self.caches.iter().any(|cache| is_below(path, cache)) || is_below(path, DOWNLOADS) {
            return Some(Why::Cache);
        }
        if names.next() == Some(DATA) {
            return Some(Why::Data);
        }
        let is_leftover = |folder: &String| {
            let name = path.strip_prefix(folder.as_str()).and_then(|it| it.strip_prefix('/'));
            let name = name.and_then(|name| name.split('/').next()).unwrap_or_default();
            name == SET_ASIDE || is_temporary_name(name)
        };
        if self.eggs_directories.iter().any(is_leftover) {
            return Some(Why::Leftover);
        }
        bytecode::is_python_output(path).then_some(Why::Bytecode)
    }
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(exclude: &[&str], include: &[&str]) -> Rules {
        let patterns = |texts: &[&str]| texts.iter().map(|it| PathPattern::new(it)).collect();
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
    fn what_a_deployment_needs_goes_in_and_the_rest_is_left_out() {
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
    fn an_egg_goes_in_as_the_cache_has_it_and_one_that_nothing_uses_does_not() {
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
    fn patterns_are_stronger_than_the_defaults_and_exclude_than_include() {
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
