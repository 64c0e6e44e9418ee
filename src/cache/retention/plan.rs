//! Plan: which eggs a policy evicts, which it keeps, and why.
//!
//! Pure, so that what a dry run prints is what a run does, and linear in the number of eggs but for
//! sorting.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use pep440_rs::Version;
use serde::Serialize;

use crate::egg::cached_egg::CachedEgg;
use crate::util::hash::digest::Digest;
use crate::util::units::shown_span;

/// What evicts an egg that nothing holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Rules {
    /// Evict what was not used for longer than this, in seconds.
    pub max_age: Option<i64>,
    /// Evict the least recently used until the blobs have no more than this, in bytes.
    pub max_size: Option<u64>,
    /// Evict all but this many newest versions of each project, Python, ABI, platform, generation
    /// and environment.
    pub keep_versions: Option<usize>,
}

impl Rules {
    /// These rules, and those of `others` that they say nothing of.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            max_age: self.max_age.or(others.max_age),
            max_size: self.max_size.or(others.max_size),
            keep_versions: self.keep_versions.or(others.keep_versions),
        }
    }
}

#[derive(Debug, Default)]
pub struct Plan {
    pub evicted: Vec<Evicted>,
    /// By name, version as text, and when they were added.
    pub kept: Vec<Kept>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evicted {
    #[serde(flatten)]
    pub egg: CachedEgg,
    pub reason: Reason,
    /// The size limit under which it would stay, were that the only rule.
    pub limit_bytes: u64,
}

/// Why an egg goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    MaxAge,
    KeepVersions,
    MaxSize,
}

impl Reason {
    /// The reason in words, for people.
    #[must_use]
    pub fn text(self, rules: &Rules) -> String {
        match self {
            Self::MaxAge => format!("not used for {}", shown_span(rules.max_age.unwrap_or(0))),
            Self::KeepVersions => "superseded version".into(),
            Self::MaxSize => "over the size limit".into(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Kept {
    #[serde(flatten)]
    pub egg: CachedEgg,
    #[serde(flatten)]
    pub reason: Stay,
}

/// Why an egg stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum Stay {
    Pinned {
        pin: String,
        note: Option<String>,
    },
    /// A buildout uses it, and `more` others.
    Root {
        root: PathBuf,
        more: usize,
    },
    /// One of the newest versions, of which there are older ones that go.
    NewestVersion,
    RecentlyUsed,
    /// It would go, but there was no time.
    Postponed,
    /// No rule is about it.
    NoRule,
}

/// Eggs that stay whatever the rules say, and why.
pub type Protected = HashMap<Digest, Stay>;

/// Which eggs go, and why: the first rule that applies of age, versions and size. What is `held`
/// stays whatever the rules say, and counts for them like every other egg. `now` is in seconds since
/// the Unix epoch.
#[must_use]
pub fn plan(eggs: Vec<CachedEgg>, rules: &Rules, held: &Protected, now: i64) -> Plan {
    let is_held = |egg: &CachedEgg| held.contains_key(&egg.digest);
    let limits = limits(&eggs, held);
    let mut evicted = Vec::new();
    let mut evict = |eggs: Vec<CachedEgg>, reason| {
        evicted.extend(eggs.into_iter().map(|egg| {
            let limit_bytes = limits[&egg.digest];
            Evicted { egg, reason, limit_bytes }
        }));
    };
    let mut kept = eggs;
    if let Some(max_age) = rules.max_age {
        let is_old = |egg: &CachedEgg| now.saturating_sub(egg.used_at) > max_age && !is_held(egg);
        let (old, young) = kept.into_iter().partition(is_old);
        evict(old, Reason::MaxAge);
        kept = young;
    }
    let mut newest = HashSet::new();
    if let Some(keep) = rules.keep_versions {
        let versions = Versions::of(&kept, keep);
        let is_old = |egg: &CachedEgg| versions.superseded.contains(&egg.digest) && !is_held(egg);
        let (old, new) = kept.into_iter().partition(is_old);
        evict(old, Reason::KeepVersions);
        (kept, newest) = (new, versions.newest);
    }
    if let Some(max_size) = rules.max_size {
        kept.sort_by_key(turn);
        let mut size: u64 = kept.iter().map(|egg| egg.blob_bytes).sum();
        let (large, fitting) = kept.into_iter().partition(|egg| {
            let goes = size > max_size && !is_held(egg);
            size -= if goes { egg.blob_bytes } else { 0 };
            goes
        });
        evict(large, Reason::MaxSize);
        kept = fitting;
    }
    kept.sort_by(|a, b| place(a).cmp(&place(b)));
    let rest = match (rules.max_age, rules.max_size, rules.keep_versions) {
        (None, None, None) => Stay::NoRule,
        (None, None, Some(_)) => Stay::NewestVersion,
        _ => Stay::RecentlyUsed,
    };
    let reason = |egg: &CachedEgg| match held.get(&egg.digest) {
        Some(held) => held.clone(),
        None if newest.contains(&egg.digest) => Stay::NewestVersion,
        None => rest.clone(),
    };
    let kept = kept.into_iter().map(|egg| Kept { reason: reason(&egg), egg }).collect();
    Plan { evicted, kept }
}

/// Whose turn it is to go for want of space: of eggs that were used at the same time, the larger goes
/// first.
fn turn(egg: &CachedEgg) -> (i64, Reverse<u64>, Digest) {
    (egg.used_at, Reverse(egg.blob_bytes), egg.digest)
}

/// The size limit under which each egg stays: what is held, what goes after it, and itself.
fn limits(eggs: &[CachedEgg], held: &Protected) -> HashMap<Digest, u64> {
    let mut order: Vec<&CachedEgg> = eggs.iter().collect();
    order.sort_by_cached_key(|egg| (!held.contains_key(&egg.digest), Reverse(turn(egg))));
    let mut sum = 0;
    let limit = |egg: &CachedEgg| {
        sum += egg.blob_bytes;
        (egg.digest, sum)
    };
    order.into_iter().map(limit).collect()
}

/// Where an egg stands in a list.
fn place(egg: &CachedEgg) -> (&str, &str, i64, Digest) {
    (&egg.key.name, &egg.key.version, egg.provenance.added_at, egg.digest)
}

/// Eggs of projects, Pythons and platforms that have more versions than are to be kept.
#[derive(Debug, Default)]
struct Versions {
    superseded: HashSet<Digest>,
    newest: HashSet<Digest>,
}

impl Versions {
    /// Which eggs are of versions older than the newest `keep` of their project and tags. A version
    /// that is not PEP 440 is older than all that are.
    fn of(eggs: &[CachedEgg], keep: usize) -> Self {
        let mut groups: HashMap<_, Vec<&CachedEgg>> = HashMap::new();
        for egg in eggs {
            let key = &egg.key;
            let tags =
                (&key.name, &key.python, &key.abi, &key.platform, key.generation, &key.environment);
            groups.entry(tags).or_default().push(egg);
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
            let newest_that_goes = &versions[cut - 1];
            for egg in group {
                let version = version(egg);
                let goes = version <= *newest_that_goes
                    || version.0.is_some() && version.0 == newest_that_goes.0;
                let side = if goes { &mut found.superseded } else { &mut found.newest };
                side.insert(egg.digest);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::egg::manifest::tests::manifest;
    use crate::egg::provenance::Provenance;

    fn egg(version: &str, used_at: i64, blob_bytes: u64) -> CachedEgg {
        let digest = Digest::of(format!("{version} {used_at} {blob_bytes}").as_bytes());
        let mut egg =
            CachedEgg::new(digest, &manifest(Vec::new()), blob_bytes, Provenance::default());
        egg.key.version = version.to_owned();
        egg.used_at = used_at;
        egg
    }

    fn planned(eggs: &[CachedEgg], rules: &Rules, now: i64) -> Vec<(String, Reason)> {
        plan(eggs.to_vec(), rules, &Protected::new(), now)
            .evicted
            .into_iter()
            .map(|evicted| (evicted.egg.key.version, evicted.reason))
            .collect()
    }

    #[test]
    fn without_a_rule_everything_stays() {
        assert_eq!(planned(&[egg("1", 0, 10)], &Rules::default(), i64::MAX), []);
    }

    #[test]
    fn what_was_not_used_for_too_long_goes() {
        let rules = Rules { max_age: Some(100), ..Rules::default() };
        let eggs = [egg("1", 0, 1), egg("2", 900, 1), egg("3", 899, 1)];
        assert_eq!(
            planned(&eggs, &rules, 1000),
            [("1".into(), Reason::MaxAge), ("3".into(), Reason::MaxAge)]
        );
    }

    #[test]
    fn the_least_recently_used_go_until_the_rest_fits() {
        let rules = Rules { max_size: Some(25), ..Rules::default() };
        let eggs = [egg("1", 3, 10), egg("2", 1, 10), egg("3", 2, 10), egg("4", 4, 10)];
        assert_eq!(
            planned(&eggs, &rules, 0),
            [("2".into(), Reason::MaxSize), ("3".into(), Reason::MaxSize)]
        );
    }

    #[test]
    fn the_newest_versions_stay_in_the_order_of_pep_440() {
        let rules = Rules { keep_versions: Some(2), ..Rules::default() };
        let eggs = ["1.9", "1.10", "1.10rc1", "1.2", "oldest!"].map(|version| egg(version, 0, 1));
        let gone: Vec<_> = planned(&eggs, &rules, 0).into_iter().map(|gone| gone.0).collect();
        assert_eq!(gone, ["1.9", "1.2", "oldest!"]);
    }

    #[test]
    fn builds_of_one_version_go_and_stay_together() {
        let rules = Rules { keep_versions: Some(1), ..Rules::default() };
        let mut other_source = egg("1.0.0", 1, 1);
        other_source.key.source_sha256 = "other".into();
        let eggs = [egg("1.0", 0, 1), other_source, egg("0.9", 0, 1)];
        let gone: Vec<_> = planned(&eggs, &rules, 0).into_iter().map(|gone| gone.0).collect();
        assert_eq!(gone, ["0.9"]);
    }

    #[test]
    fn another_python_is_counted_apart() {
        let rules = Rules { keep_versions: Some(1), ..Rules::default() };
        let mut other = egg("0.9", 0, 1);
        other.key.python = "cp312".into();
        assert_eq!(planned(&[egg("1.0", 0, 1), other], &rules, 0), []);
    }

    fn root() -> Stay {
        Stay::Root { root: "/srv/app".into(), more: 0 }
    }

    fn versions<'a>(eggs: impl IntoIterator<Item = &'a CachedEgg>) -> Vec<&'a str> {
        eggs.into_iter().map(|egg| egg.key.version.as_str()).collect()
    }

    #[test]
    fn what_is_held_stays_whatever_the_rules_say() {
        let eggs = ["1", "2", "3", "4"].map(|version| egg(version, 0, 10));
        let held = Protected::from([(eggs[0].digest, root())]);
        for rules in [
            Rules { max_age: Some(1), ..Rules::default() },
            Rules { max_size: Some(0), ..Rules::default() },
        ] {
            let plan = plan(eggs.to_vec(), &rules, &held, 1000);
            assert_eq!(plan.evicted.len(), 3);
            assert_eq!(plan.kept, [Kept { egg: eggs[0].clone(), reason: root() }]);
        }
    }

    #[test]
    fn what_is_held_counts_for_the_size() {
        let eggs = [egg("1", 1, 10), egg("2", 2, 10), egg("3", 3, 10)];
        let rules = Rules { max_size: Some(20), ..Rules::default() };
        let held = Protected::from([(eggs[0].digest, root())]);
        let plan = plan(eggs.to_vec(), &rules, &held, 1000);
        assert_eq!(versions(plan.evicted.iter().map(|it| &it.egg)), ["2"]);
        assert_eq!(versions(plan.kept.iter().map(|it| &it.egg)), ["1", "3"]);
    }

    #[test]
    fn what_is_held_counts_as_a_version() {
        let eggs = ["1", "2", "3", "4"].map(|version| egg(version, 0, 1));
        let rules = Rules { keep_versions: Some(2), ..Rules::default() };
        let held = Protected::from([(eggs[0].digest, root()), (eggs[3].digest, root())]);
        let plan = plan(eggs.to_vec(), &rules, &held, 0);
        assert_eq!(versions(plan.evicted.iter().map(|it| &it.egg)), ["2"]);
    }

    #[test]
    fn every_egg_has_a_reason_to_stay() {
        let eggs = ["1", "2", "3"].map(|version| egg(version, 900, 1));
        let mut other = egg("1", 950, 1);
        other.key.name = "other".into();
        let eggs = [&eggs[..], &[other]].concat();
        let held = Protected::from([(eggs[0].digest, root())]);
        let reasons = |rules: &Rules| -> Vec<Stay> {
            let kept = plan(eggs.clone(), rules, &held, 1000).kept;
            kept.into_iter().map(|kept| kept.reason).collect()
        };
        let none = Rules::default();
        let rest = |stay: Stay| [vec![root()], vec![stay; 3]].concat();
        assert_eq!(reasons(&none), rest(Stay::NoRule));
        let recent = Rules { max_age: Some(500), ..none };
        assert_eq!(reasons(&recent), rest(Stay::RecentlyUsed));
        let newest = Rules { keep_versions: Some(2), ..recent };
        let expected = [root(), Stay::NewestVersion, Stay::NewestVersion, Stay::RecentlyUsed];
        assert_eq!(reasons(&newest), expected);
    }

    proptest! {
        #[test]
        fn the_limit_that_would_keep_an_egg_is_the_least_that_does(
            eggs in prop::collection::vec((0_i64..5, 1_u64..50, any::<bool>()), 1..12),
        ) {
            let of = |(n, &(used_at, bytes, _)): (usize, &(i64, u64, bool))| {
                egg(&format!("{n}"), used_at, bytes)
            };
            let is_held: Vec<bool> = eggs.iter().map(|egg| egg.2).collect();
            let eggs: Vec<CachedEgg> = eggs.iter().enumerate().map(of).collect();
            let held = eggs.iter().zip(is_held).filter(|(_, is_held)| *is_held);
            let held: Protected = held.map(|(egg, _)| (egg.digest, root())).collect();
            let goes = |max_size| {
                let rules = Rules { max_size: Some(max_size), ..Rules::default() };
                plan(eggs.clone(), &rules, &held, 50).evicted
            };
            for Evicted { egg, limit_bytes, .. } in goes(0) {
                let goes_at = |limit| goes(limit).iter().any(|it| it.egg.digest == egg.digest);
                prop_assert!(!goes_at(limit_bytes));
                prop_assert!(goes_at(limit_bytes - 1));
            }
        }

        #[test]
        fn every_egg_either_goes_or_stays_and_what_is_held_stays(
            eggs in prop::collection::vec((0_i64..50, 1_u64..50, any::<bool>()), 0..20),
            max_age in prop::option::of(0_i64..60),
            max_size in prop::option::of(0_u64..500),
            keep_versions in prop::option::of(1_usize..10),
        ) {
            let of = |n: usize, used_at, bytes| egg(&format!("{n}"), used_at, bytes);
            let is_held: Vec<bool> = eggs.iter().map(|egg| egg.2).collect();
            let eggs: Vec<CachedEgg> =
                eggs.iter().enumerate().map(|(n, &(used_at, bytes, _))| of(n, used_at, bytes)).collect();
            let held: Protected = eggs
                .iter()
                .zip(is_held)
                .filter_map(|(egg, is_held)| is_held.then_some((egg.digest, root())))
                .collect();
            let rules = Rules { max_age, max_size, keep_versions };
            let plan = plan(eggs.clone(), &rules, &held, 50);
            let kept: HashSet<Digest> = plan.kept.iter().map(|kept| kept.egg.digest).collect();
            prop_assert!(held.keys().all(|digest| kept.contains(digest)));
            prop_assert!(plan.evicted.iter().all(|evicted| !kept.contains(&evicted.egg.digest)));
            prop_assert_eq!(plan.evicted.len() + plan.kept.len(), eggs.len());
        }


        #[test]
        fn a_plan_never_evicts_more_than_its_rules_ask(
            eggs in prop::collection::vec((0_i64..50, 1_u64..50), 0..20),
            max_size in 0_u64..500,
        ) {
            let eggs: Vec<CachedEgg> = eggs
                .iter()
                .enumerate()
                .map(|(n, &(used_at, bytes))| egg(&format!("{n}"), used_at, bytes))
                .collect();
            let total: u64 = eggs.iter().map(|egg| egg.blob_bytes).sum();
            let rules = Rules { max_size: Some(max_size), ..Rules::default() };
            let evicted = plan(eggs, &rules, &Protected::new(), 0).evicted;
            let freed: u64 = evicted.iter().map(|evicted| evicted.egg.blob_bytes).sum();
            prop_assert!(total - freed <= max_size);
            if let Some(last) = evicted.last() {
                prop_assert!(total - freed + last.egg.blob_bytes > max_size);
            }
        }
    }
}
