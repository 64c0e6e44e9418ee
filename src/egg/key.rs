//! The egg key: which eggs are interchangeable, and which of them a host can use.

use std::fmt::Display;

use serde::{Deserialize, Serialize};

use crate::egg::layout::{ARCHIVE_NAMED, LAST_GENERATION, METADATA_NAMED};

/// The properties that must be equal for two eggs to be interchangeable.
///
/// A property that is unknown or does not apply is the empty string.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EggKey {
    /// PEP 503 name.
    pub name: String,
    /// The version as the metadata spells it, with its local part.
    pub version: String,
    /// Implementation and version, for example `cp311`; empty for an egg of any Python.
    pub python: String,
    /// SOABI or `abi3`, for an egg with native code.
    pub abi: String,
    /// The platform in the egg's file name, for example `linux-x86_64`.
    pub platform: String,
    /// The oldest C library that its native code supports, for example `glibc 2.17`.
    pub libc: String,
    /// Buildout's egg layout ([`crate::egg::layout`]).
    pub generation: u8,
    /// SHA-256 of the source archive, 64 hexadecimal digits.
    pub source_sha256: String,
    /// Digest of the build options and environment of a custom build.
    pub variant: String,
    /// The site's label for the build environment (`egg-cache-environment`).
    pub environment: String,
    /// The project's name as the file name has it, in lower case; empty if it is that of the metadata
    /// ([`EggName::spelling`](crate::egg::name::EggName::spelling)). Eggs from before this field have none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub spelling: String,
}

impl EggKey {
    /// Whether the egg has native code.
    #[must_use]
    pub fn is_native(&self) -> bool {
        !self.abi.is_empty() || !self.libc.is_empty()
    }

    /// Why no egg can have this key. Parts of it become names of files and objects, and lines of lists.
    #[must_use]
    pub fn flaw(&self) -> Option<&'static str> {
        let Self { name, version, python, abi, platform, libc, source_sha256, variant, .. } = self;
        let spelling = &self.spelling;
        let parts = [name, version, python, abi, platform, libc, source_sha256, variant, spelling];
        let is_odd = |part: &&String| {
            part.len() > MAX_PART || part.contains(['/', '\0', '\n', '\r']) || *part == ".."
        };
        if parts.iter().any(is_odd) || self.environment.len() > MAX_PART {
            return Some("has a key that no egg has");
        }
        (name.is_empty() || version.is_empty()).then_some("has no name or no version")
    }
}

/// The longest part of a key, in bytes.
const MAX_PART: usize = 4096;

/// The Python, machine and buildout that request eggs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// PEP 425 abbreviation: `cp`, `pp`.
    pub implementation: String,
    /// `3.11`
    pub python: String,
    /// The tag in the file names of extension modules: `cpython-311-x86_64-linux-gnu`.
    pub soabi: String,
    /// The platform whose eggs this host accepts: `linux-x86_64`.
    pub platform: String,
    /// `glibc 2.36`
    pub libc: String,
    /// The layout of the eggs that this buildout makes.
    pub generation: u8,
    pub environment: String,
}

/// A part of an egg key that differs, in the egg and on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    pub part: &'static str,
    pub egg: String,
    pub host: String,
}

impl Host {
    /// Whether an egg of this key works on this host.
    #[must_use]
    pub fn accepts(&self, key: &EggKey) -> bool {
        self.mismatch(key).is_none()
    }

    /// Whether an egg of this key may work on this host, depending on the version of its builder
    /// ([`layout::key_of`](crate::egg::layout::key_of)).
    #[must_use]
    pub fn may_accept(&self, key: &EggKey) -> bool {
        let generation = match key.generation {
            METADATA_NAMED if self.generation == ARCHIVE_NAMED => ARCHIVE_NAMED,
            generation => generation,
        };
        self.accepts(&EggKey { generation, ..key.clone() })
    }

    /// The first part of a key that keeps its egg from working on this host.
    #[must_use]
    pub fn mismatch(&self, key: &EggKey) -> Option<Mismatch> {
        let differs = |part, egg: &dyn Display, host: &dyn Display| {
            Some(Mismatch { part, egg: egg.to_string(), host: host.to_string() })
        };
        let (python, generation) = (self.python_tag(), self.generation.min(LAST_GENERATION));
        if !key.python.is_empty() && key.python != python {
            differs("python", &key.python, &python)
        } else if !key.platform.is_empty() && key.platform != self.platform {
            differs("platform", &key.platform, &self.platform)
        } else if !self.has_abi(&key.abi) {
            differs("abi", &key.abi, &self.soabi)
        } else if !libc_suffices(&key.libc, &self.libc) {
            differs("libc", &key.libc, &self.libc)
        } else if key.generation != generation {
            differs("generation", &key.generation, &generation)
        } else if !key.spelling.is_empty() && generation >= METADATA_NAMED {
            differs("spelling", &key.spelling, &"that of the metadata")
        } else if key.environment != self.environment {
            differs("environment", &key.environment, &self.environment)
        } else {
            None
        }
    }

    fn has_abi(&self, abi: &str) -> bool {
        match abi {
            "" => true,
            "abi3" => !self.is_free_threaded(),
            exact => exact == self.soabi,
        }
    }

    /// Whether this Python has no global interpreter lock. It has no stable ABI either (PEP 703, PEP 803).
    fn is_free_threaded(&self) -> bool {
        let tag = self.soabi.strip_prefix("cpython-").or_else(|| self.soabi.strip_prefix("cp"));
        tag.is_some_and(|tag| tag.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with('t'))
    }

    /// The Python tag of eggs built on this host, for example `cp311`.
    #[must_use]
    pub fn python_tag(&self) -> String {
        python_tag(&self.implementation, &self.python)
    }
}

/// Makes `cp311` from `cp` and `3.11` (PEP 425); empty if there is no version.
#[must_use]
pub fn python_tag(implementation: &str, python: &str) -> String {
    if python.is_empty() {
        return String::new();
    }
    format!("{implementation}{}", python.replace('.', ""))
}

/// Whether native code that needs the libc `needed` runs on a host with the libc `present`.
fn libc_suffices(needed: &str, present: &str) -> bool {
    if needed.is_empty() {
        return true;
    }
    let parse = |libc: &str| {
        let (name, version) = libc.split_once(' ').unwrap_or((libc, ""));
        let version: Vec<u32> = version.split('.').map_while(|part| part.parse().ok()).collect();
        (name.to_owned(), version)
    };
    let (needed_name, needed_version) = parse(needed);
    let (name, version) = parse(present);
    needed_name == name && version >= needed_version
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn host() -> Host {
        Host {
            implementation: "cp".into(),
            python: "3.11".into(),
            soabi: "cpython-311-x86_64-linux-gnu".into(),
            platform: "linux-x86_64".into(),
            libc: "glibc 2.36".into(),
            generation: 6,
            environment: String::new(),
        }
    }

    /// The key of a pure egg, `foo` 1.0.
    pub(crate) fn key() -> EggKey {
        EggKey {
            name: "foo".into(),
            version: "1.0".into(),
            python: "cp311".into(),
            abi: String::new(),
            platform: String::new(),
            libc: String::new(),
            generation: 5,
            source_sha256: String::new(),
            variant: String::new(),
            environment: String::new(),
            spelling: String::new(),
        }
    }

    #[test]
    fn a_pure_egg_is_accepted_with_any_libc() {
        assert!(host().accepts(&key()));
        assert!(Host { libc: String::new(), soabi: String::new(), ..host() }.accepts(&key()));
        assert!(host().accepts(&EggKey { python: String::new(), ..key() }));
    }

    #[test]
    fn native_code_needs_its_abi_and_an_equal_or_newer_libc() {
        let native = EggKey {
            abi: "cpython-311-x86_64-linux-gnu".into(),
            libc: "glibc 2.17".into(),
            platform: "linux-x86_64".into(),
            ..key()
        };
        assert!(host().accepts(&native));
        assert!(host().accepts(&EggKey { abi: "abi3".into(), ..native.clone() }));
        assert!(!Host { soabi: "cpython-311d-x86_64-linux-gnu".into(), ..host() }.accepts(&native));
        assert!(!Host { libc: "glibc 2.12".into(), ..host() }.accepts(&native));
        assert!(!Host { libc: "musl 1.2".into(), ..host() }.accepts(&native));
        assert!(!Host { platform: "linux-aarch64".into(), ..host() }.accepts(&native));
        assert!(!host().accepts(&EggKey { libc: "musl".into(), ..native }));
    }

    #[test]
    fn another_python_generation_or_environment_is_another_egg() {
        assert!(!Host { python: "3.12".into(), ..host() }.accepts(&key()));
        assert!(!Host { implementation: "pp".into(), ..host() }.accepts(&key()));
        assert!(!Host { generation: 4, ..host() }.accepts(&key()));
        assert!(Host { generation: 5, ..host() }.accepts(&key()));
        assert!(!Host { environment: "el9".into(), ..host() }.accepts(&key()));
        let mismatch = Host { generation: 4, ..host() }.mismatch(&key());
        let (egg, host) = ("5".into(), "4".into());
        assert_eq!(mismatch, Some(Mismatch { part: "generation", egg, host }));
    }

    #[test]
    fn a_free_threaded_python_has_no_stable_abi() {
        let abi3 = EggKey { abi: "abi3".into(), python: String::new(), ..key() };
        for (soabi, is_accepted) in [
            ("cpython-313-x86_64-linux-gnu", true),
            ("cpython-313d-x86_64-linux-gnu", true),
            ("cpython-37m-x86_64-linux-gnu", true),
            ("cp313-win_amd64", true),
            ("", true),
            ("cpython-313t-x86_64-linux-gnu", false),
            ("cpython-314td-x86_64-linux-gnu", false),
            ("cp313t-win_amd64", false),
        ] {
            let host = Host { soabi: soabi.into(), ..host() };
            assert_eq!(host.accepts(&abi3), is_accepted, "{soabi}");
            assert!(host.accepts(&key()), "{soabi}");
        }
    }

    #[test]
    fn where_names_come_from_the_metadata_another_spelling_is_another_egg() {
        let odd = |generation| EggKey { spelling: "f_oo".into(), generation, ..key() };
        for generation in 2..=6 {
            let host = Host { generation, ..host() };
            assert_eq!(host.accepts(&odd(generation.min(5))), generation < 4, "{generation}");
        }
    }

    #[test]
    fn a_key_without_a_spelling_has_the_text_that_it_had_before_there_were_any() {
        let text = serde_json::to_string(&key()).unwrap();
        assert!(text.ends_with(r#""variant":"","environment":""}"#), "{text}");
        assert_eq!(serde_json::from_str::<EggKey>(&text).unwrap(), key());
        let odd = EggKey { spelling: "f_oo".into(), ..key() };
        let text = serde_json::to_string(&odd).unwrap();
        assert_eq!(serde_json::from_str::<EggKey>(&text).unwrap(), odd);
    }

    #[test]
    fn libc_versions_are_compared_as_numbers() {
        assert!(libc_suffices("glibc 2.9", "glibc 2.36"));
        assert!(!libc_suffices("glibc 2.36", "glibc 2.9"));
        assert!(libc_suffices("musl", "musl 1.2.3"));
        assert!(!libc_suffices("glibc 2.9", ""));
    }
}
