//! File names of eggs, and PEP 503 names.
//!
//! The file name of an egg is `NAME-VERSION[-pyX.Y[-PLATFORM]].egg`, with `-` inside the name and
//! the version written `_` (setuptools' document on the egg formats, and `EGG_NAME` in
//! `pkg_resources`). Two different eggs may share a file name, so it is never a key.

use std::str::FromStr;

use pep440_rs::Version;

/// The parts that an egg's file name is made of, still escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EggName {
    pub name: String,
    pub version: String,
    /// `3.11` of `py3.11`; empty where the name does not say.
    pub python: String,
    /// `linux-x86_64`; empty for an egg of any platform.
    pub platform: String,
}

/// A file name that is not `NAME-VERSION[-pyX.Y[-PLATFORM]].egg`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its name is not of the form NAME-VERSION[-pyX.Y[-PLATFORM]].egg")]
pub struct NotAnEggName;

impl FromStr for EggName {
    type Err = NotAnEggName;

    fn from_str(file_name: &str) -> Result<Self, NotAnEggName> {
        let stem = file_name.strip_suffix(".egg").ok_or(NotAnEggName)?;
        if stem.contains(['/', '\0']) || stem.starts_with('.') {
            return Err(NotAnEggName);
        }
        let mut parts = stem.splitn(4, '-');
        let name = parts.next().filter(|part| !part.is_empty()).ok_or(NotAnEggName)?;
        let version = parts.next().filter(|part| !part.is_empty()).ok_or(NotAnEggName)?;
        let python = match parts.next() {
            None => "",
            Some(tag) => {
                tag.strip_prefix("py").filter(|tag| !tag.is_empty()).ok_or(NotAnEggName)?
            }
        };
        // A platform that is there and empty would be a second name of the same parts.
        let platform = match parts.next() {
            None => "",
            Some(platform) => Some(platform).filter(|it| !it.is_empty()).ok_or(NotAnEggName)?,
        };
        Ok(Self {
            name: name.to_owned(),
            version: version.to_owned(),
            python: python.to_owned(),
            platform: platform.to_owned(),
        })
    }
}

impl EggName {
    /// Whether the escaped version of this file name can stand for `version`.
    ///
    /// Compared as PEP 440 versions where both are, so that `1.0` in the name and `1.0.0` in the
    /// metadata agree; a `-` of the metadata is a `_` in the name.
    #[must_use]
    pub fn has_version(&self, version: &str) -> bool {
        let escaped = version.replace('-', "_");
        same_version(&self.version, &escaped)
            || same_version(&self.version.replace('_', "-"), version)
    }
}

/// PEP 503: lower case, runs of `-`, `_` and `.` become one `-`.
#[must_use]
pub fn normalize_name(name: &str) -> String {
    let mut normalized = String::with_capacity(name.len());
    for part in name.split(['-', '_', '.']).filter(|part| !part.is_empty()) {
        if !normalized.is_empty() {
            normalized.push('-');
        }
        normalized.push_str(&part.to_lowercase());
    }
    normalized
}

/// Whether two versions are equal: as PEP 440 versions where both are, else as text.
///
/// A local version equals only itself: `1.0+a` is not `1.0`.
#[must_use]
pub fn same_version(left: &str, right: &str) -> bool {
    match (left.parse::<Version>(), right.parse::<Version>()) {
        (Ok(left), Ok(right)) => left == right,
        _ => left == right,
    }
}

/// Sorts versions as PEP 440 says, those from before it first and as text, each once.
pub fn sort_versions(versions: &mut Vec<String>) {
    versions.sort_by_cached_key(|version| (version.parse::<Version>().ok(), version.clone()));
    versions.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(file_name: &str) -> Option<(String, String, String, String)> {
        let EggName { name, version, python, platform } = file_name.parse().ok()?;
        Some((name, version, python, platform))
    }

    #[test]
    fn file_names_are_taken_apart() {
        let egg = |name: &str, version: &str, python: &str, platform: &str| {
            Some((name.to_owned(), version.to_owned(), python.to_owned(), platform.to_owned()))
        };
        assert_eq!(
            parts("zope.interface-8.7-py3.11-linux-x86_64.egg"),
            egg("zope.interface", "8.7", "3.11", "linux-x86_64")
        );
        assert_eq!(
            parts("foo_bar-1.0+abc.1-py3.11-macosx-11.0-arm64.egg"),
            egg("foo_bar", "1.0+abc.1", "3.11", "macosx-11.0-arm64")
        );
        assert_eq!(parts("foo-1.0-py3.11.egg"), egg("foo", "1.0", "3.11", ""));
        assert_eq!(parts("foo-1.0.egg"), egg("foo", "1.0", "", ""));
    }

    #[test]
    fn other_file_names_are_refused() {
        for name in [
            "",
            ".egg",
            "foo.egg",
            "foo-1.0",
            "foo-1.0-cp311.egg",
            "-1.0.egg",
            "foo-.egg",
            "foo-1.0-py3.11-.egg",
            "a/b-1.egg",
            ".a-1.egg",
        ] {
            assert_eq!(parts(name), None, "{name}");
        }
    }

    #[test]
    fn names_are_normalized_as_pep_503_says() {
        for name in ["Zope.Interface", "zope_interface", "zope-interface", "ZOPE.-_interface"] {
            assert_eq!(normalize_name(name), "zope-interface");
        }
    }

    #[test]
    fn versions_are_sorted_as_pep_440_says() {
        let mut versions = ["1.10", "1.9", "old", "1.9", "1.10rc1"].map(String::from).to_vec();
        sort_versions(&mut versions);
        assert_eq!(versions, ["old", "1.9", "1.10rc1", "1.10"]);
    }

    #[test]
    fn versions_are_compared_as_pep_440_says() {
        let name: EggName = "foo-1.0_1-py3.11.egg".parse().unwrap();
        assert!(name.has_version("1.0-1"));
        assert!(name.has_version("1.0.post1"));
        assert!(!name.has_version("1.0"));
        let name: EggName = "foo-1.0-py3.11.egg".parse().unwrap();
        assert!(name.has_version("1.0.0"));
        assert!(!name.has_version("1.0+local.1"));
    }
}
