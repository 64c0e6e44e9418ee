//! File names of eggs, and PEP 503 names.
//!
//! The file name of an egg is `NAME-VERSION[-pyX.Y[-PLATFORM]].egg`, where a `-` in the name or version
//! is written `_` (see setuptools' document on the egg formats, and `EGG_NAME` in `pkg_resources`).
//! Two different eggs can have the same file name, so it is never a key.

use std::str::FromStr;

use pep440_rs::Version;

/// The parts of an egg's file name, with `_` for `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EggName {
    pub name: String,
    pub version: String,
    /// `3.11` for `py3.11`; empty if the file name has no Python.
    pub python: String,
    /// `linux-x86_64`; empty for an egg for any platform.
    pub platform: String,
}

/// The file name is not `NAME-VERSION[-pyX.Y[-PLATFORM]].egg`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its name is not of the form NAME-VERSION[-pyX.Y[-PLATFORM]].egg")]
pub struct NotAnEggName;

impl FromStr for EggName {
    type Err = NotAnEggName;

    fn from_str(file_name: &str) -> Result<Self, NotAnEggName> {
        let stem = file_name.strip_suffix(".egg").ok_or(NotAnEggName)?;
        if stem.contains(['/', '\0', '\n', '\r']) || stem.starts_with('.') {
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
        // An empty platform would give the same parts a second file name.
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
    /// Whether the version in this file name equals `version`, which comes from the metadata.
    ///
    /// If both are PEP 440 versions, they are compared as such: `1.0` in the file name equals `1.0.0` in
    /// the metadata. A `-` in the metadata is a `_` in the file name.
    #[must_use]
    pub fn has_version(&self, version: &str) -> bool {
        let escaped = version.replace('-', "_");
        same_version(&self.version, &escaped)
            || same_version(&self.version.replace('_', "-"), version)
    }
}

impl EggName {
    /// The name in this file name, in lower case, if it is not the escaped `name` of the metadata; else
    /// empty. `zc_recipe_egg` is another spelling of `zc.recipe.egg`, `zc-recipe-egg` has no other.
    ///
    /// Programs that look for `zc.recipe.egg` may not find an egg of another spelling: `pkg_resources` of
    /// setuptools up to 75.8.0, and `importlib.metadata` if the egg has `EGG-INFO`. Case is no difference.
    #[must_use]
    pub fn spelling(&self, name: &str) -> String {
        let found = escaped(&self.name);
        if found == escaped(name) { String::new() } else { found }
    }
}

/// As setuptools escapes a name for a file name, in lower case: one `_` for each run of other characters
/// than letters, digits and dots.
fn escaped(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_ascii_alphanumeric() || c == '.' {
            escaped.push(c.to_ascii_lowercase());
        } else if !escaped.ends_with('_') {
            escaped.push('_');
        }
    }
    escaped
}

/// Normalizes a name as PEP 503 does: lower case, and one `-` for each run of `-`, `_` and `.`.
#[must_use]
pub fn normalize_name(name: &str) -> String {
    let mut normalized = String::with_capacity(name.len());
    for part in name.split(['-', '_', '.']).filter(|part| !part.is_empty()) {
        if !normalized.is_empty() {
            normalized.push('-');
        }
        // Names are ASCII. Unicode has other letters whose lower case is ASCII: KELVIN SIGN is not a k.
        normalized.push_str(&part.to_ascii_lowercase());
    }
    normalized
}

/// Whether two versions are equal: as PEP 440 versions if both are, otherwise as text. A local version
/// equals only itself: `1.0+a` is not `1.0`.
#[must_use]
pub fn same_version(left: &str, right: &str) -> bool {
    match (left.parse::<Version>(), right.parse::<Version>()) {
        (Ok(left), Ok(right)) => left == right,
        _ => left == right,
    }
}

/// What versions are sorted by: PEP 440. Others come first, sorted as text.
#[must_use]
pub fn version_order(version: &str) -> impl Ord + use<> {
    (version.parse::<Version>().ok(), version.to_owned())
}

/// Sorts versions and removes duplicates.
pub fn sort_versions(versions: &mut Vec<String>) {
    versions.sort_by_cached_key(|version| version_order(version));
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
    fn file_names_are_parsed() {
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
    fn names_are_normalized_by_pep_503() {
        for name in ["Zope.Interface", "zope_interface", "zope-interface", "ZOPE.-_interface"] {
            assert_eq!(normalize_name(name), "zope-interface");
        }
    }

    #[test]
    fn letters_that_only_look_like_ascii_make_another_name() {
        assert_ne!(normalize_name("\u{212a}erberos"), normalize_name("kerberos"));
        assert_ne!(normalize_name("\u{130}"), normalize_name("i"));
    }

    #[test]
    fn versions_are_sorted_by_pep_440() {
        let mut versions = ["1.10", "1.9", "old", "1.9", "1.10rc1"].map(String::from).to_vec();
        sort_versions(&mut versions);
        assert_eq!(versions, ["old", "1.9", "1.10rc1", "1.10"]);
    }

    #[test]
    fn versions_are_compared_by_pep_440() {
        let name: EggName = "foo-1.0_1-py3.11.egg".parse().unwrap();
        assert!(name.has_version("1.0-1"));
        assert!(name.has_version("1.0.post1"));
        assert!(!name.has_version("1.0"));
        let name: EggName = "foo-1.0-py3.11.egg".parse().unwrap();
        assert!(name.has_version("1.0.0"));
        assert!(!name.has_version("1.0+local.1"));
    }
}
