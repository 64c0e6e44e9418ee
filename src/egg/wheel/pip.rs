//! Versions of pip, and in what their installations differ.

use pep440_rs::Version;

use super::reason::Reason;
use super::target::Target;

/// What a version of pip writes. All versions from 23.0 on are known, up to the last before this one.
const UNKNOWN: u64 = 27;

/// How scripts of entry points are written. They are removed from the egg, but its RECORD has their
/// digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// distlib's own, with a regular expression.
    Regex,
    EndsWith,
    RemoveSuffix,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pip {
    pub template: Template,
    /// Whether headers are in a directory with the normalized name of the project.
    pub has_normalized_names: bool,
    /// Whether `direct_url.json` has the digest of an archive on this machine.
    pub has_digests: bool,
    /// Whether it imports nothing more once it installs. Then it makes no bytecode of a source whose
    /// encoding needs a module.
    pub blocks_imports: bool,
}

impl Pip {
    /// The newest known form of what pip writes. It compiles all sources.
    pub const NEWEST: Self = Self {
        template: Template::RemoveSuffix,
        has_normalized_names: true,
        has_digests: true,
        blocks_imports: false,
    };

    /// A version that behaves so.
    pub const NEWEST_VERSION: &str = "26";

    /// The pip of a Python.
    pub fn of(target: &Target) -> Result<Self, Reason> {
        let found = target.pip.as_deref().unwrap_or("(none)");
        let unknown = || Reason::Pip(found.to_owned());
        let version: Version = found.parse().map_err(|_| unknown())?;
        let (major, minor) = match *version.release() {
            [major] => (major, 0),
            [major, minor, ..] => (major, minor),
            [] => return Err(unknown()),
        };
        if !(23..UNKNOWN).contains(&major) || version.any_prerelease() {
            return Err(unknown());
        }
        let template = match (major, minor) {
            (..=24, _) | (25, ..=1) => Template::Regex,
            (25, _) => Template::EndsWith,
            _ => Template::RemoveSuffix,
        };
        Ok(Self {
            template,
            has_normalized_names: (major, minor) >= (25, 1),
            has_digests: (major, minor) >= (23, 1),
            blocks_imports: (major, minor) >= (26, 3),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::target::tests::target;
    use super::*;

    #[test]
    fn versions_of_pip_are_known_or_not() {
        let of = |version: &str| Pip::of(&Target { pip: Some(version.into()), ..target() });
        assert_eq!(of("23.2.1").unwrap().template, Template::Regex);
        assert_eq!(of("25.2").unwrap().template, Template::EndsWith);
        assert_eq!(of("26.0.1").unwrap(), Pip::NEWEST);
        assert_eq!(of(Pip::NEWEST_VERSION).unwrap(), Pip::NEWEST);
        assert!(!of("23.0.1").unwrap().has_digests);
        assert!(!of("26.2.1").unwrap().blocks_imports);
        assert!(of("26.3").unwrap().blocks_imports);
        for version in ["22.3.1", "27.0", "26.0b1", "x"] {
            assert!(of(version).is_err(), "{version}");
        }
        assert!(Pip::of(&Target { pip: None, ..target() }).is_err());
    }
}
