//! The options of custom builds, for people: the variant in an egg key is only a digest of them.
//!
//! One record for each variant, `variants/VARIANT.json`. A buildout writes it when it builds, without a sync.
//! Where it is damaged or gone, or the egg came from a remote, the options of a build are not known.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::disk::dir::Dir;
use crate::disk::json_file;
use crate::egg::variant;
use crate::error::{OrLog, Result};
use crate::util::clock::now;
use crate::util::hash::digest::shown_digits;

/// The directory of the records. Its name is part of the cache's format.
pub(super) const DIR: &str = "variants";
/// The age at which a record is removed, in seconds, if no egg in the cache has its variant.
const FORGOTTEN_AFTER: i64 = 180 * 86_400;
/// The most options of a build, and the longest name or value, in bytes.
const MOST: usize = 100;
const LONGEST: usize = 1000;

/// Options and variables of the environment, and what they are.
pub type BuildOptions = BTreeMap<String, String>;

/// An option that two builds do not have in common. `None` where it is not set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differing {
    pub option: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
}

/// The options in which a cached build differs from the wanted one.
#[must_use]
pub fn differing(cached: &BuildOptions, wanted: &BuildOptions) -> Vec<Differing> {
    let names: BTreeSet<&String> = cached.keys().chain(wanted.keys()).collect();
    let pairs = names.into_iter().map(|name| Differing {
        option: name.clone(),
        cached: cached.get(name).cloned(),
        wanted: wanted.get(name).cloned(),
    });
    pairs.filter(|it| it.cached != it.wanted).collect()
}

/// Options as a text: `define = FLAVOUR_7, libraries = z`.
#[must_use]
pub fn shown(options: &BuildOptions) -> String {
    let options: Vec<String> =
        options.iter().map(|(name, value)| format!("{name} = {value}")).collect();
    options.join(", ")
}

/// A variant, as far as the cache knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownVariant {
    /// The digest of the options.
    pub build: String,
    /// `None` if they are not known.
    pub options: Option<BuildOptions>,
    /// The digest of the only folder for which the build is; empty if it is for any.
    pub folder: String,
}

impl KnownVariant {
    #[must_use]
    pub fn read(cache: &Dir, variant: &str) -> Self {
        let (build, folder) = variant.split_once('.').unwrap_or((variant, ""));
        let options = of_variant(cache, build);
        Self { build: build.to_owned(), options, folder: folder.to_owned() }
    }

    /// Its options in words, or the first digits of one whose options are not known.
    #[must_use]
    pub fn shown_build(&self) -> String {
        let options = self.options.as_ref().map(shown);
        match options.filter(|text| self.build.is_empty() || !text.is_empty()) {
            Some(options) => options,
            None => format!("variant {}", shown_digits(&self.build)),
        }
    }

    /// Its folder in words.
    #[must_use]
    pub fn shown_folder(&self) -> String {
        format!("only for folder {}", shown_digits(&self.folder))
    }
}

/// A variant in words: `define = FLAVOUR_7`, or the first digits of one whose options are not known. Empty
/// for a build without options.
#[must_use]
pub fn shown_variant(cache: &Dir, variant: &str) -> String {
    let known = KnownVariant::read(cache, variant);
    if known.folder.is_empty() {
        known.shown_build()
    } else {
        format!("{}, {}", known.shown_build(), known.shown_folder())
    }
}

/// As [`Cache::build_options`], of the cache in a directory.
fn of_variant(cache: &Dir, variant: &str) -> Option<BuildOptions> {
    let of = |name: &str, value: &str| Some([(name.to_owned(), value.to_owned())].into());
    match variant {
        "" => Some(BuildOptions::new()),
        variant::UV => of("installer", "uv"),
        variant::COMPILE_ALL => of("egg-cache-compile", "all"),
        variant::COMPILE_ALL_UNCHECKED => of("egg-cache-compile", "all-unchecked-hash"),
        custom => json_file::read(cache, &path(custom)?).or_log().flatten(),
    }
}

/// Options without those that are too many or too long.
#[must_use]
pub fn within_limits(mut options: BuildOptions) -> BuildOptions {
    options.retain(|name, value| name.len() <= LONGEST && value.len() <= LONGEST);
    options.into_iter().take(MOST).collect()
}

impl Cache {
    /// The options of the builds of a variant; `None` if they are not known.
    #[must_use]
    pub fn build_options(&self, variant: &str) -> Option<BuildOptions> {
        of_variant(&self.dir, variant)
    }

    /// As [`Cache::build_options`], if the variant is that of a custom build.
    #[must_use]
    pub fn custom_build_options(&self, variant: &str) -> Option<BuildOptions> {
        variant::digest_of(variant).and_then(|digest| self.build_options(digest))
    }

    /// Records the options of the builds of a variant. Does nothing if this process cannot write the cache.
    ///
    /// # Errors
    /// What the system says.
    pub fn record_build_options(&self, variant: &str, options: &BuildOptions) -> Result<()> {
        match path(variant) {
            Some(path) if self.check_writable().is_ok() => {
                json_file::write_briefly(&self.dir, &path, options)
            }
            _ => Ok(()),
        }
    }

    /// Removes old records of variants that no egg has, and temporary files.
    pub(super) fn forget_build_options(&self) -> Result<()> {
        if json_file::list(&self.dir, DIR)?.is_empty() {
            return Ok(());
        }
        let eggs = self.eggs()?;
        let used: HashSet<&str> =
            eggs.iter().filter_map(|egg| variant::digest_of(&egg.key.variant)).collect();
        let is_used = |name: &str| used.contains(name);
        json_file::forget_old_unless(&self.dir, DIR, FORGOTTEN_AFTER, now(), is_used)
    }
}

/// The record of a variant; `None` if it is not that of a custom build. Builds that are bound to folders have
/// the options of others.
fn path(variant: &str) -> Option<String> {
    variant::digest_of(variant).map(|digest| format!("{DIR}/{digest}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> BuildOptions {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_variant_has_the_options_that_were_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let (variant, define) = ("a".repeat(64), options(&[("define", "A")]));
        assert_eq!(cache.build_options(&variant), None);
        cache.record_build_options(&variant, &define).unwrap();
        assert_eq!(cache.build_options(&variant), Some(define.clone()));
        assert_eq!(cache.build_options(&format!("{variant}.b")), Some(define), "a bound one");
        assert_eq!(cache.build_options(""), Some(BuildOptions::new()), "a plain one");
        assert_eq!(cache.build_options("uv"), Some(options(&[("installer", "uv")])));
        let shown = |variant: &str| shown_variant(cache.dir(), variant);
        assert_eq!(shown(&variant), "define = A");
        assert_eq!(
            shown(&format!("{variant}.0123456789abcdef")),
            "define = A, only for folder 0123456789ab"
        );
        assert_eq!(shown(&"b".repeat(64)), "variant bbbbbbbbbbbb");
        assert_eq!((shown(""), shown("uv")), (String::new(), "installer = uv".to_owned()));
        std::fs::write(dir.path().join(path(&variant).unwrap()), "{").unwrap();
        assert_eq!(cache.build_options(&variant), None, "a damaged record is none");
        assert_eq!(path("../remotes"), None);
    }

    #[test]
    fn options_that_differ_are_named_with_both_values() {
        let cached = options(&[("define", "A"), ("libraries", "z"), ("undef", "C")]);
        let wanted = options(&[("define", "B"), ("libraries", "z"), ("CFLAGS", "-O2")]);
        let differing = differing(&cached, &wanted);
        let pairs: Vec<_> = differing
            .iter()
            .map(|it| (it.option.as_str(), it.cached.as_deref(), it.wanted.as_deref()))
            .collect();
        assert_eq!(
            pairs,
            [
                ("CFLAGS", None, Some("-O2")),
                ("define", Some("A"), Some("B")),
                ("undef", Some("C"), None),
            ]
        );
        assert_eq!(shown(&cached), "define = A, libraries = z, undef = C");
    }

    #[test]
    fn options_have_bounds() {
        let long = "x".repeat(LONGEST + 1);
        let mut many: BuildOptions = (0..=MOST).map(|n| (n.to_string(), String::new())).collect();
        many.insert("0".into(), long);
        let kept = within_limits(many);
        assert_eq!((kept.len(), kept.get("0")), (MOST, None));
    }
}
