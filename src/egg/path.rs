//! Paths inside an egg: relative, `/`-separated, UTF-8, and never outside the egg.

use std::collections::HashMap;
use std::fmt;
use std::str::Split;

use crate::disk::MAX_PATH;

/// The path of an entry, relative to the egg. The egg itself is the empty path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct EggPath(String);

/// The longest component that is accepted, in bytes (Linux's `NAME_MAX`).
pub const MAX_COMPONENT: usize = 255;
/// How many symlinks a path may pass (Linux's `MAXSYMLINKS`).
const MAX_SYMLINKS: usize = 40;
/// The most work that resolving all symlinks of one egg may take: the sum of the lengths of the paths
/// passed, one for each component, in bytes. Real eggs take far less. The limit bounds the work of
/// checking a hostile egg: in a chain of 40 symlinks, each would cost as much as all after it.
pub const MAX_FOLLOWED: usize = 1 << 28;

/// Why a text is not a path inside an egg.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("path {path:?} {reason}")]
pub struct BadPath {
    pub path: String,
    pub reason: &'static str,
}

impl EggPath {
    /// The egg itself.
    #[must_use]
    pub fn root() -> Self {
        Self(String::new())
    }

    /// # Errors
    /// [`BadPath`] for a text that is empty, absolute or too long, contains a NUL, or has an empty, `.`
    /// or `..` component.
    pub fn new(path: impl Into<String>) -> Result<Self, BadPath> {
        let path = path.into();
        let reason = if path.is_empty() {
            "is empty"
        } else if path.starts_with('/') {
            "is absolute"
        } else if path.len() > MAX_PATH {
            "is too long"
        } else if path.contains('\0') {
            "contains a NUL"
        } else if path.split('/').any(|part| part.len() > MAX_COMPONENT) {
            "has a component that is too long"
        } else if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            "does not stay inside the egg"
        } else {
            return Ok(Self(path));
        };
        Err(BadPath { path, reason })
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory of this entry, as text; `None` for the egg itself.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        if self.is_root() {
            return None;
        }
        Some(self.0.rsplit_once('/').map_or("", |(parent, _)| parent))
    }

    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl fmt::Display for EggPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_root() { "." } else { &self.0 })
    }
}

impl fmt::Debug for EggPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Whether following the symlink at `link` can leave the egg.
///
/// Resolves the target as the kernel does, component by component and through the egg's other symlinks
/// (`symlinks`: path to target), so it also finds a `..` after another symlink. A target that does not
/// exist does not leave the egg. `work` sums up the work for one egg: beyond [`MAX_FOLLOWED`], a
/// symlink counts as leaving it.
pub(crate) fn symlink_escapes(
    link: &str,
    symlinks: &HashMap<&str, &str>,
    work: &mut usize,
) -> bool {
    let mut here = link.to_owned();
    // The remaining components of each symlink that is being followed, innermost last.
    let mut rest: Vec<Split<'_, char>> = Vec::new();
    let mut followed = 0;
    loop {
        if here.len() <= MAX_PATH
            && let Some(target) = symlinks.get(here.as_str())
        {
            followed += 1;
            if target.starts_with('/') || target.is_empty() || followed > MAX_SYMLINKS {
                return true;
            }
            pop(&mut here);
            rest.push(target.split('/'));
        }
        let part = loop {
            let Some(innermost) = rest.last_mut() else { return false };
            match innermost.next() {
                Some(part) => break part,
                None => rest.pop(),
            };
        };
        *work += here.len() + 1;
        if *work > MAX_FOLLOWED {
            return true;
        }
        match part {
            "" | "." => {}
            ".." if here.is_empty() => return true,
            ".." => pop(&mut here),
            part => {
                if !here.is_empty() {
                    here.push('/');
                }
                here.push_str(part);
            }
        }
    }
}

/// Removes the last component.
fn pop(path: &mut String) {
    path.truncate(path.rfind('/').unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_and_odd_names_are_paths() {
        for path in ["a", "a/b.py", "test data/#test1.py", "locale/sr@Cyrl/x", "..a/b..", "ü/é"] {
            assert_eq!(EggPath::new(path).unwrap().as_str(), path);
        }
    }

    #[test]
    fn paths_that_leave_the_egg_are_refused() {
        let long = "a/".repeat(MAX_PATH);
        let wide = "a".repeat(MAX_COMPONENT + 1);
        for path in [
            "", "/", "/a", "..", "../a", "a/..", "a/../b", ".", "./a", "a//b", "a/", "a\0b", &long,
            &wide,
        ] {
            assert!(EggPath::new(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn a_path_has_a_parent_and_a_file_name() {
        let path = EggPath::new("a/b/c").unwrap();
        assert_eq!((path.parent(), path.file_name()), (Some("a/b"), "c"));
        assert_eq!(EggPath::new("a").unwrap().parent(), Some(""));
        assert_eq!(EggPath::root().parent(), None);
    }

    #[test]
    fn symlinks_that_stay_inside_are_accepted() {
        let links =
            HashMap::from([("a/b/up", "../c"), ("dot", "."), ("gone", "no/such"), ("a/d", "../a")]);
        for link in links.keys() {
            assert!(!symlink_escapes(link, &links, &mut 0), "{link}");
        }
    }

    #[test]
    fn symlinks_that_leave_are_found() {
        for (link, target) in [
            ("a", "/etc/passwd"),
            ("a", ".."),
            ("a/b", "../../x"),
            ("a", "b/../../c"),
            ("a", "a"),
            ("a", ""),
        ] {
            assert!(
                symlink_escapes(link, &HashMap::from([(link, target)]), &mut 0),
                "{link} -> {target}"
            );
        }
    }

    #[test]
    fn a_symlink_that_leaves_through_another_is_found() {
        // `deep/here` is the root, so `deep/here/..` is outside although its text is not.
        let links = HashMap::from([("deep/here", ".."), ("out", "deep/here/../x")]);
        assert!(symlink_escapes("out", &links, &mut 0));
        assert!(!symlink_escapes("deep/here", &links, &mut 0));
    }

    #[test]
    fn resolving_many_symlinks_takes_bounded_work() {
        // The longest allowed chain, deeper with each link, and many symlinks to its start.
        let deep = "x/".repeat(100);
        let mut chain: Vec<(String, String)> =
            (1..40).map(|at| (format!("a{}", at - 1), format!("a{at}/{deep}"))).collect();
        chain.extend((0..1000).map(|at| (format!("b{at}"), "a0".to_owned())));
        let links: HashMap<&str, &str> =
            chain.iter().map(|(link, target)| (&**link, &**target)).collect();
        let mut work = 0;
        assert!(links.keys().any(|link| symlink_escapes(link, &links, &mut work)));
        assert!(work < MAX_FOLLOWED + (1 << 16), "{work}");
        assert!(!symlink_escapes("a0", &links, &mut 0), "one of them alone is accepted");
    }

    proptest! {
        #[test]
        fn an_accepted_path_never_leaves(text in "[a./\\x00 ]{0,12}") {
            if let Ok(path) = EggPath::new(text) {
                let joined = std::path::Path::new("/egg").join(path.as_str());
                prop_assert!(joined.starts_with("/egg"));
                prop_assert!(joined.components().all(|c| c != std::path::Component::ParentDir));
            }
        }
    }
}
