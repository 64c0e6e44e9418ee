//! The rule `keep-versions`: which eggs have one of the newest versions of their project.
//!
//! Final releases and pre-releases are counted apart: a project that publishes a pre-release every night
//! would otherwise lose the release that everybody uses.

use std::collections::{HashMap, HashSet};

use pep440_rs::Version;

use crate::egg::cached_egg::CachedEgg;
use crate::util::hash::digest::Digest;

/// The eggs of projects that have more versions than the rule keeps.
#[derive(Debug, Default)]
pub(super) struct Versions {
    pub superseded: HashSet<Digest>,
    pub newest: HashSet<Digest>,
}

impl Versions {
    /// Finds the eggs whose versions are older than the newest `keep` final releases or the newest `keep`
    /// pre-releases, which include development releases, of their project and tags. A version outside
    /// PEP 440 counts as a final release older than all others.
    pub fn of(eggs: &[CachedEgg], keep: usize) -> Self {
        let mut groups: HashMap<_, Vec<&CachedEgg>> = HashMap::new();
        for egg in eggs {
            let key = &egg.key;
            let tags =
                (&key.name, &key.python, &key.abi, &key.platform, key.generation, &key.environment);
            let version = egg.key.version.parse::<Version>();
            let is_pre_release = version.is_ok_and(|version| version.any_prerelease());
            groups.entry((tags, is_pre_release)).or_default().push(egg);
        }
        let mut found = Self::default();
        for group in groups.into_values() {
            let version = |egg: &CachedEgg| {
                (egg.key.version.parse::<Version>().ok(), egg.key.version.clone())
            };
            let mut versions: Vec<_> = group.iter().map(|egg| version(egg)).collect();
            versions.sort_unstable();
            versions.dedup_by(|a, b| if a.0.is_some() { a.0 == b.0 } else { a == b });
            let Some(cut) = versions.len().checked_sub(keep).filter(|&cut| cut > 0) else {
                continue;
            };
            let newest_superseded = &versions[cut - 1];
            for egg in group {
                let version = version(egg);
                let is_superseded = version <= *newest_superseded
                    || version.0.is_some() && version.0 == newest_superseded.0;
                let side = if is_superseded { &mut found.superseded } else { &mut found.newest };
                side.insert(egg.digest);
            }
        }
        found
    }
}
