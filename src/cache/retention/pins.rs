//! Pins: patterns of eggs that gc never evicts, one file each in `pins/`.
//!
//! A pin is a name, `name==version`, a name with PEP 440 specifiers, an egg's file name, or the beginning
//! of a digest. Names can contain `*` and `?`. A pin also applies to eggs that are added later.

use pep440_rs::{Version, VersionSpecifiers};
use serde::{Deserialize, Serialize};

use crate::disk::dir::Dir;
use crate::disk::json_file;
use crate::disk::temp;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::name::{normalize_name, same_version};
use crate::error::{Error, Result};
use crate::util::clock::now;
use crate::util::glob;
use crate::util::hash::digest::Digest;

/// A pin, as stored in its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The pattern, as the user typed it.
    pub what: String,
    #[serde(default)]
    pub note: Option<String>,
    /// Seconds since the Unix epoch.
    pub pinned_at: i64,
}

/// The pattern of a pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// The name, file name or digest prefix; `*` matches any number of characters and `?` one.
    text: String,
    /// As `text`, normalized by PEP 503.
    name: String,
    versions: Versions,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Versions {
    All,
    Is(String),
    Specified(VersionSpecifiers),
}

impl Pattern {
    /// # Errors
    /// [`Error::Usage`], with the reason why no egg could ever match.
    pub fn new(text: &str) -> Result<Self> {
        let text = text.trim();
        let bad = |why: String| Error::Usage(format!("{text:?} names no eggs: {why}"));
        let (name, versions) =
            text.split_at(text.find(['<', '>', '=', '!', '~']).unwrap_or(text.len()));
        let name = name.trim();
        let allowed = |c: char| c.is_alphanumeric() || "-_.*?+".contains(c);
        if name.is_empty() || !name.chars().all(allowed) {
            let why = "name an egg, name==version, a pattern like zope.*, or a digest's beginning";
            return Err(bad(why.into()));
        }
        let exact = versions.strip_prefix("===").or_else(|| versions.strip_prefix("=="));
        let versions = match exact.map(str::trim) {
            _ if versions.is_empty() => Versions::All,
            Some("") => return Err(bad("it names no version".into())),
            Some(version) if !version.contains([',', '*']) => Versions::Is(version.into()),
            _ => {
                let specified = versions.parse();
                let why = || format!("versions are as in {name}==1.2 or {name}>=1,<2");
                Versions::Specified(specified.map_err(|_| bad(why()))?)
            }
        };
        Ok(Self { text: name.to_owned(), name: normalize_name(name), versions })
    }

    /// The name with its wildcards, normalized by PEP 503.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As it was given.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether this is the beginning of the digest of an egg.
    #[must_use]
    pub fn is_digest_of(&self, egg: Digest) -> bool {
        Digest::is_prefix(&self.text) && egg.to_string().starts_with(&self.text)
    }

    #[must_use]
    pub fn matches(&self, egg: &CachedEgg) -> bool {
        let is_named =
            glob::matches(&self.name, &egg.key.name) || glob::matches(&self.text, &egg.file_name);
        (is_named || self.is_digest_of(egg.digest)) && self.admits_version(&egg.key.version)
    }

    /// Whether an egg of a version, of the right name, would match.
    #[must_use]
    pub fn admits_version(&self, version: &str) -> bool {
        match &self.versions {
            Versions::All => true,
            Versions::Is(wanted) => same_version(version, wanted),
            Versions::Specified(specifiers) => {
                version.parse::<Version>().is_ok_and(|version| specifiers.contains(&version))
            }
        }
    }

    /// The only version that matches, as it was given.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        match &self.versions {
            Versions::Is(version) => Some(version),
            Versions::All | Versions::Specified(_) => None,
        }
    }

    /// A spelling that is equal for pins of the same eggs.
    fn spelling(&self) -> String {
        let versions = match &self.versions {
            Versions::All => String::new(),
            Versions::Is(version) => format!("=={version}"),
            Versions::Specified(specifiers) => specifiers.to_string(),
        };
        // In file names, case matters, as do `-` and `_`. `zc.recipe.egg` is a project.
        let is_file_name = self.text.ends_with(".egg") && self.text.contains(['-', '*', '?', '[']);
        format!("{}{versions}", if is_file_name { &self.text } else { &self.name })
    }

    /// The name of the file of a pin.
    fn file_name(&self) -> String {
        json_file::name_of(self.spelling().as_bytes())
    }
}

/// A pin, and its pattern.
pub type Pinned = (Pin, Pattern);

/// The directory of the pins. Its name is part of the cache's format.
pub const DIR: &str = "pins";

fn path_of(pattern: &Pattern) -> String {
    format!("{DIR}/{}", pattern.file_name())
}

/// All pins, sorted. Fails if one cannot be read, because its eggs would not be protected.
pub fn all(cache: &Dir) -> Result<Vec<Pinned>> {
    let (pins, errors) = readable(cache)?;
    errors.into_iter().next().map_or(Ok(pins), Err)
}

/// The pins that can be read, sorted, and why others cannot.
pub fn readable(cache: &Dir) -> Result<(Vec<Pinned>, Vec<Error>)> {
    let (mut pins, mut errors) = (Vec::new(), Vec::new());
    for (_, pin) in json_file::read_all::<Pin>(cache, DIR)? {
        match pin.and_then(with_pattern) {
            Ok(pin) => pins.push(pin),
            Err(error) => errors.push(error),
        }
    }
    pins.sort_by(|(a, _), (b, _)| a.what.cmp(&b.what));
    Ok((pins, errors))
}

fn with_pattern(pin: Pin) -> Result<Pinned> {
    let pattern = Pattern::new(&pin.what)?;
    Ok((Pin { pinned_at: pin.pinned_at.min(now()), ..pin }, pattern))
}

/// Pins that cannot be read, by the name of their file.
pub fn unreadable(cache: &Dir) -> Result<Vec<(String, Error)>> {
    json_file::unreadable::<Pin>(cache, DIR)
}

/// Writes a pin. Replaces a pin of the same eggs.
pub fn write(cache: &Dir, pin: &Pin, pattern: &Pattern) -> Result<()> {
    json_file::write(cache, &path_of(pattern), pin)
}

/// The pin of the same eggs, if there is one.
pub fn of(cache: &Dir, pattern: &Pattern) -> Result<Option<Pin>> {
    json_file::read(cache, &path_of(pattern))
}

/// Removes a pin. Returns whether it existed.
pub fn remove(cache: &Dir, pattern: &Pattern) -> Result<bool> {
    json_file::remove(cache, &path_of(pattern))
}

/// Removes temporary files of processes that died.
pub fn sweep(cache: &Dir) -> Result<()> {
    temp::sweep_below(cache, DIR).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egg::manifest::tests::manifest;
    use crate::egg::provenance::Provenance;
    use crate::util::hash::digest::Digest;

    fn egg(name: &str, version: &str) -> CachedEgg {
        let digest = Digest::of(name.as_bytes());
        let mut egg = CachedEgg::new(digest, &manifest(Vec::new()), 1, Provenance::default());
        egg.key.name = normalize_name(name);
        egg.key.version = version.to_owned();
        egg.file_name = format!("{name}-{version}-py3.11-linux-x86_64.egg");
        egg
    }

    fn matches(pattern: &str, egg: &CachedEgg) -> bool {
        Pattern::new(pattern).unwrap().matches(egg)
    }

    #[test]
    fn pins_match_names_versions_patterns_and_digests() {
        let interface = egg("zope.interface", "5.4.0");
        let digest = interface.digest.to_string();
        for pattern in [
            "zope.interface",
            "Zope_Interface",
            "zope.interface==5.4",
            "zope.interface == 5.4.0",
            "zope.interface===5.4.0",
            "zope.interface>=5,<6",
            "zope.interface==5.*",
            "zope.interface~=5.1",
            "zope.*",
            "zope*",
            "*interface",
            "z?pe-*",
            "zope.*!=5.3",
            "*",
            "*py3.11*",
            "zope.interface-5.4.0-py3.11-linux-x86_64.egg",
            &digest[..12],
        ] {
            assert!(matches(pattern, &interface), "{pattern}");
        }
        for pattern in [
            "zope",
            "interface",
            "zope.interface==5.4.1",
            "zope.interface>=6",
            "zope.interface==5.4+local",
            "zope.?",
            "*py3.12*",
            "zope.interface-5.4.0-py3.12-linux-x86_64.egg",
            &digest[..5],
            "00000000",
        ] {
            assert!(!matches(pattern, &interface), "{pattern}");
        }
    }

    #[test]
    fn a_version_outside_pep_440_is_pinned_as_text() {
        assert!(matches("old==2004-foo!", &egg("old", "2004-foo!")));
        assert!(!matches("old>=2004", &egg("old", "2004-foo!")));
    }

    #[test]
    fn a_pin_that_no_egg_can_match_is_refused() {
        for text in ["", "  ", "==1.0", ">=5", "foo==", "foo>=x", "foo bar", "foo/bar", "foo>5<6"] {
            let error = Pattern::new(text).unwrap_err().to_string();
            assert!(error.contains("names no eggs"), "{error}");
        }
    }

    #[test]
    fn spellings_of_one_pin_share_a_file() {
        let name = |text: &str| Pattern::new(text).unwrap().file_name();
        assert_eq!(name("Zope.Interface >= 5, < 6"), name("zope-interface>=5,<6"));
        assert_eq!(name("foo == 1.0"), name("foo==1.0"));
        assert_ne!(name("foo==1.0"), name("foo"));
        assert_ne!(name("a_b-1.0.egg"), name("a.b-1.0.egg"));
        assert_eq!(name("zc.recipe.egg"), name("zc-recipe-egg"));
    }
}
