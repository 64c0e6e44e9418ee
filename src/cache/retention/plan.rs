//! The plan of a garbage collection: which eggs are evicted, which are kept, and why.
//!
//! It is a pure function, so a dry run prints exactly what a run does. Apart from sorting, it is linear in
//! the number of eggs.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use serde::Serialize;

use crate::cache::retention::signed_by::CameBy;
use crate::cache::retention::versions::Versions;
use crate::egg::cached_egg::CachedEgg;
use crate::util::hash::digest::Digest;
use crate::util::units::shown_span;

/// The rules by which unprotected eggs are evicted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Rules {
    /// Evict eggs that have not been used for longer than this, in seconds.
    pub max_age: Option<i64>,
    /// Evict eggs until all blobs have at most this size, in bytes.
    pub max_size: Option<u64>,
    /// Keep this many of the newest versions of each project, Python, ABI, platform, generation and
    /// environment, and evict the others. Final releases and pre-releases are counted apart.
    pub keep_versions: Option<usize>,
    /// In which order eggs are evicted until they have at most [`Rules::max_size`].
    #[serde(skip_serializing_if = "SizeOrder::is_default")]
    pub order: SizeOrder,
}

/// Which eggs a limit of the size evicts first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SizeOrder {
    /// The least recently used ones.
    #[default]
    LastUse,
    /// Those that save the least build time per byte. An egg whose build time is not known saves none.
    BuildTime,
}

impl SizeOrder {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Rules {
    /// These rules, completed by those of `others`.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            max_age: self.max_age.or(others.max_age),
            max_size: self.max_size.or(others.max_size),
            keep_versions: self.keep_versions.or(others.keep_versions),
            order: self.order,
        }
    }
}

#[derive(Debug, Default)]
pub struct Plan {
    pub evicted: Vec<Evicted>,
    /// Sorted by name, version as text, and time added.
    pub kept: Vec<Kept>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evicted {
    #[serde(flatten)]
    pub egg: CachedEgg,
    pub reason: EvictReason,
    /// The smallest `max_size` that would keep it if that were the only rule; 0 if none would.
    pub limit_bytes: u64,
    /// The key by which it came, if that is why it is evicted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub came_by: Option<CameBy>,
}

/// Why an egg is evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvictReason {
    MaxAge,
    KeepVersions,
    MaxSize,
    /// A key has signed it that the user no longer trusts.
    SignedBy,
    /// A remote has withdrawn it. No pin and no root protects it.
    Withdrawn,
    /// The user has named it, to remove it.
    Named,
}

impl EvictReason {
    /// The reason in words, for people.
    #[must_use]
    pub fn text(self, rules: &Rules) -> String {
        match self {
            Self::MaxAge => format!("not used for {}", shown_span(rules.max_age.unwrap_or(0))),
            Self::KeepVersions => "superseded version".into(),
            Self::MaxSize => match rules.order {
                SizeOrder::LastUse => "over the size limit".into(),
                SizeOrder::BuildTime => "over the size limit, quick to build for its size".into(),
            },
            Self::SignedBy => "signed by an untrusted key".into(),
            Self::Withdrawn => "withdrawn".into(),
            Self::Named => "named".into(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Kept {
    #[serde(flatten)]
    pub egg: CachedEgg,
    #[serde(flatten)]
    pub reason: KeepReason,
}

/// Why an egg is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum KeepReason {
    Pinned {
        pin: String,
        note: Option<String>,
    },
    /// The buildout `root` uses it, and so do `more` others.
    Root {
        root: PathBuf,
        more: usize,
    },
    /// It is one of the newest versions, and older ones are evicted.
    NewestVersion,
    RecentlyUsed,
    /// It saves more build time per byte than the evicted eggs.
    SlowToBuild,
    /// It would be evicted, but the time limit was reached.
    Postponed,
    /// It would be evicted, but this user cannot write the folder of its blob.
    Locked,
    /// No rule applies.
    NoRule,
}

/// Eggs that no rule evicts, and why.
pub type Protected = HashMap<Digest, KeepReason>;

/// Separates the eggs that are withdrawn, which are evicted in any case, from all others.
pub fn without_withdrawn(
    eggs: Vec<CachedEgg>,
    is_withdrawn: impl Fn(&CachedEgg) -> bool,
) -> (Vec<Evicted>, Vec<CachedEgg>) {
    let (withdrawn, others): (Vec<_>, Vec<_>) = eggs.into_iter().partition(is_withdrawn);
    let reason = EvictReason::Withdrawn;
    let evicted = |egg| Evicted { egg, reason, limit_bytes: 0, came_by: None };
    (withdrawn.into_iter().map(evicted).collect(), others)
}

/// Decides which eggs are evicted, each by the first rule that applies: age, then versions, then size.
/// Protected eggs are kept, and count for the rules like any other. `now` is in seconds since the Unix
/// epoch.
#[must_use]
pub fn plan(eggs: Vec<CachedEgg>, rules: &Rules, protected: &Protected, now: i64) -> Plan {
    let is_protected = |egg: &CachedEgg| protected.contains_key(&egg.digest);
    let limits = limits(&eggs, protected, rules.order);
    let mut evicted = Vec::new();
    let mut evict = |eggs: Vec<CachedEgg>, reason| {
        evicted.extend(eggs.into_iter().map(|egg| {
            let limit_bytes = limits[&egg.digest];
            Evicted { egg, reason, limit_bytes, came_by: None }
        }));
    };
    let mut kept = eggs;
    if let Some(max_age) = rules.max_age {
        let is_old =
            |egg: &CachedEgg| now.saturating_sub(egg.used_at) > max_age && !is_protected(egg);
        let (old, young) = kept.into_iter().partition(is_old);
        evict(old, EvictReason::MaxAge);
        kept = young;
    }
    let mut newest = HashSet::new();
    if let Some(keep) = rules.keep_versions {
        let versions = Versions::of(&kept, keep);
        let is_old =
            |egg: &CachedEgg| versions.superseded.contains(&egg.digest) && !is_protected(egg);
        let (old, new) = kept.into_iter().partition(is_old);
        evict(old, EvictReason::KeepVersions);
        (kept, newest) = (new, versions.newest);
    }
    if let Some(max_size) = rules.max_size {
        kept.sort_by_key(|egg| eviction_order(egg, rules.order));
        let mut size: u64 = kept.iter().map(|egg| egg.blob_bytes).sum();
        let (large, fitting) = kept.into_iter().partition(|egg| {
            let is_evicted = size > max_size && !is_protected(egg);
            size -= if is_evicted { egg.blob_bytes } else { 0 };
            is_evicted
        });
        evict(large, EvictReason::MaxSize);
        kept = fitting;
    }
    kept.sort_by(|a, b| list_order(a).cmp(&list_order(b)));
    let rest = match (rules.max_age, rules.max_size, rules.keep_versions) {
        (None, None, None) => KeepReason::NoRule,
        (None, None, Some(_)) => KeepReason::NewestVersion,
        (_, Some(_), _) if rules.order == SizeOrder::BuildTime => KeepReason::SlowToBuild,
        _ => KeepReason::RecentlyUsed,
    };
    let reason = |egg: &CachedEgg| match protected.get(&egg.digest) {
        Some(reason) => reason.clone(),
        None if newest.contains(&egg.digest) => KeepReason::NewestVersion,
        None => rest.clone(),
    };
    let kept = kept.into_iter().map(|egg| Kept { reason: reason(&egg), egg }).collect();
    Plan { evicted, kept }
}

/// The order in which the size limit evicts eggs: by [`SizeOrder`], then least recently used first, then the
/// larger ones.
fn eviction_order(egg: &CachedEgg, order: SizeOrder) -> (u64, i64, Reverse<u64>, Digest) {
    let worth = match order {
        SizeOrder::LastUse => 0,
        SizeOrder::BuildTime => seconds_per_byte(egg),
    };
    (worth, egg.used_at, Reverse(egg.blob_bytes), egg.digest)
}

/// How much build time an egg saves for each byte, as a number that orders like it.
fn seconds_per_byte(egg: &CachedEgg) -> u64 {
    let seconds = egg.provenance.build_seconds.filter(|seconds| *seconds > 0.0).unwrap_or(0.0);
    #[expect(clippy::cast_precision_loss, reason = "an egg has less than 2^52 bytes")]
    let bytes = egg.blob_bytes.max(1) as f64;
    // Of numbers that are not negative, the bits order like the numbers.
    (seconds / bytes).to_bits()
}

/// The smallest size limit that keeps each egg: the sum of all protected eggs, all eggs that are evicted
/// later, and itself.
fn limits(eggs: &[CachedEgg], protected: &Protected, order: SizeOrder) -> HashMap<Digest, u64> {
    let mut sorted: Vec<&CachedEgg> = eggs.iter().collect();
    sorted.sort_by_cached_key(|egg| {
        (!protected.contains_key(&egg.digest), Reverse(eviction_order(egg, order)))
    });
    let mut sum = 0;
    let limit = |egg: &CachedEgg| {
        sum += egg.blob_bytes;
        (egg.digest, sum)
    };
    sorted.into_iter().map(limit).collect()
}

fn list_order(egg: &CachedEgg) -> (&str, &str, i64, Digest) {
    (&egg.key.name, &egg.key.version, egg.provenance.added_at, egg.digest)
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

    fn planned(eggs: &[CachedEgg], rules: &Rules, now: i64) -> Vec<(String, EvictReason)> {
        plan(eggs.to_vec(), rules, &Protected::new(), now)
            .evicted
            .into_iter()
            .map(|evicted| (evicted.egg.key.version, evicted.reason))
            .collect()
    }

    #[test]
    fn without_rules_all_eggs_are_kept() {
        assert_eq!(planned(&[egg("1", 0, 10)], &Rules::default(), i64::MAX), []);
    }

    #[test]
    fn eggs_not_used_for_long_are_evicted() {
        let rules = Rules { max_age: Some(100), ..Rules::default() };
        let eggs = [egg("1", 0, 1), egg("2", 900, 1), egg("3", 899, 1)];
        assert_eq!(
            planned(&eggs, &rules, 1000),
            [("1".into(), EvictReason::MaxAge), ("3".into(), EvictReason::MaxAge)]
        );
    }

    #[test]
    fn the_least_recently_used_eggs_are_evicted_by_size() {
        let rules = Rules { max_size: Some(25), ..Rules::default() };
        let eggs = [egg("1", 3, 10), egg("2", 1, 10), egg("3", 2, 10), egg("4", 4, 10)];
        assert_eq!(
            planned(&eggs, &rules, 0),
            [("2".into(), EvictReason::MaxSize), ("3".into(), EvictReason::MaxSize)]
        );
    }

    fn built(
        version: &str,
        used_at: i64,
        blob_bytes: u64,
        build_seconds: Option<f64>,
    ) -> CachedEgg {
        let mut egg = egg(version, used_at, blob_bytes);
        egg.provenance.build_seconds = build_seconds;
        egg
    }

    #[test]
    fn eggs_that_save_the_least_build_time_per_byte_are_evicted_by_size() {
        let by_time = |max_size| Rules {
            max_size: Some(max_size),
            order: SizeOrder::BuildTime,
            ..Rules::default()
        };
        let eggs = [
            built("slow", 1, 100, Some(300.0)),
            built("large", 9, 10_000, Some(400.0)),
            built("unknown", 9, 10, None),
            built("quick", 9, 10, Some(0.5)),
            built("odd", 8, 10, Some(f64::NAN)),
        ];
        let evicted = |max_size| -> Vec<String> {
            planned(&eggs, &by_time(max_size), 10).into_iter().map(|it| it.0).collect()
        };
        assert_eq!(evicted(10_110), ["odd", "unknown"]);
        assert_eq!(evicted(10_109), ["odd", "unknown", "large"]);
        assert_eq!(evicted(109), ["odd", "unknown", "large", "quick"]);
        let kept = plan(eggs.to_vec(), &by_time(100), &Protected::new(), 10).kept;
        assert_eq!((kept.len(), &kept[0].reason), (1, &KeepReason::SlowToBuild));
        let text = EvictReason::MaxSize.text(&by_time(1));
        assert_eq!(text, "over the size limit, quick to build for its size");
    }

    #[test]
    fn the_newest_versions_by_pep_440_are_kept() {
        let rules = Rules { keep_versions: Some(2), ..Rules::default() };
        let eggs = ["1.9", "1.10", "1.10rc1", "1.2", "oldest!"].map(|version| egg(version, 0, 1));
        let evicted: Vec<_> = planned(&eggs, &rules, 0).into_iter().map(|it| it.0).collect();
        assert_eq!(evicted, ["1.2", "oldest!"]);
    }

    #[test]
    fn pre_releases_push_out_no_final_release() {
        let of = |versions: &[&str], keep| -> Vec<String> {
            let rules = Rules { keep_versions: Some(keep), ..Rules::default() };
            let eggs: Vec<_> = versions.iter().map(|version| egg(version, 0, 1)).collect();
            planned(&eggs, &rules, 0).into_iter().map(|it| it.0).collect()
        };
        let nightly = ["1.0", "1.1.dev1", "1.1.dev2", "1.1a1", "1.1rc1"];
        assert_eq!(of(&nightly, 1), ["1.1.dev1", "1.1.dev2", "1.1a1"]);
        assert_eq!(of(&nightly, 2), ["1.1.dev1", "1.1.dev2"]);
        // A post-release is final, and a development release of one is not.
        let post = ["1.0", "1.0.post1", "1.0.post2.dev1", "1.0.post2.dev2"];
        assert_eq!(of(&post, 1), ["1.0", "1.0.post2.dev1"]);
        // Nor do final releases push out the newest pre-release.
        assert_eq!(of(&["2.0rc1", "1.0", "1.1"], 1), ["1.0"]);
    }

    #[test]
    fn builds_of_one_version_are_treated_alike() {
        let rules = Rules { keep_versions: Some(1), ..Rules::default() };
        let mut other_source = egg("1.0.0", 1, 1);
        other_source.key.source_sha256 = "other".into();
        let eggs = [egg("1.0", 0, 1), other_source, egg("0.9", 0, 1)];
        let evicted: Vec<_> = planned(&eggs, &rules, 0).into_iter().map(|it| it.0).collect();
        assert_eq!(evicted, ["0.9"]);
    }

    #[test]
    fn versions_are_counted_for_each_python() {
        let rules = Rules { keep_versions: Some(1), ..Rules::default() };
        let mut other = egg("0.9", 0, 1);
        other.key.python = "cp312".into();
        assert_eq!(planned(&[egg("1.0", 0, 1), other], &rules, 0), []);
    }

    fn root() -> KeepReason {
        KeepReason::Root { root: "/srv/app".into(), more: 0 }
    }

    fn versions<'a>(eggs: impl IntoIterator<Item = &'a CachedEgg>) -> Vec<&'a str> {
        eggs.into_iter().map(|egg| egg.key.version.as_str()).collect()
    }

    #[test]
    fn protected_eggs_are_kept_by_every_rule() {
        let eggs = ["1", "2", "3", "4"].map(|version| egg(version, 0, 10));
        let protected = Protected::from([(eggs[0].digest, root())]);
        for rules in [
            Rules { max_age: Some(1), ..Rules::default() },
            Rules { max_size: Some(0), ..Rules::default() },
        ] {
            let plan = plan(eggs.to_vec(), &rules, &protected, 1000);
            assert_eq!(plan.evicted.len(), 3);
            assert_eq!(plan.kept, [Kept { egg: eggs[0].clone(), reason: root() }]);
        }
    }

    #[test]
    fn protected_eggs_count_for_the_size() {
        let eggs = [egg("1", 1, 10), egg("2", 2, 10), egg("3", 3, 10)];
        let rules = Rules { max_size: Some(20), ..Rules::default() };
        let protected = Protected::from([(eggs[0].digest, root())]);
        let plan = plan(eggs.to_vec(), &rules, &protected, 1000);
        assert_eq!(versions(plan.evicted.iter().map(|it| &it.egg)), ["2"]);
        assert_eq!(versions(plan.kept.iter().map(|it| &it.egg)), ["1", "3"]);
    }

    #[test]
    fn protected_eggs_count_as_versions() {
        let eggs = ["1", "2", "3", "4"].map(|version| egg(version, 0, 1));
        let rules = Rules { keep_versions: Some(2), ..Rules::default() };
        let protected = Protected::from([(eggs[0].digest, root()), (eggs[3].digest, root())]);
        let plan = plan(eggs.to_vec(), &rules, &protected, 0);
        assert_eq!(versions(plan.evicted.iter().map(|it| &it.egg)), ["2"]);
    }

    #[test]
    fn every_kept_egg_has_a_reason() {
        let eggs = ["1", "2", "3"].map(|version| egg(version, 900, 1));
        let mut other = egg("1", 950, 1);
        other.key.name = "other".into();
        let eggs = [&eggs[..], &[other]].concat();
        let protected = Protected::from([(eggs[0].digest, root())]);
        let reasons = |rules: &Rules| -> Vec<KeepReason> {
            let kept = plan(eggs.clone(), rules, &protected, 1000).kept;
            kept.into_iter().map(|kept| kept.reason).collect()
        };
        let none = Rules::default();
        let rest = |stay: KeepReason| [vec![root()], vec![stay; 3]].concat();
        assert_eq!(reasons(&none), rest(KeepReason::NoRule));
        let recent = Rules { max_age: Some(500), ..none };
        assert_eq!(reasons(&recent), rest(KeepReason::RecentlyUsed));
        let newest = Rules { keep_versions: Some(2), ..recent };
        let expected = [
            root(),
            KeepReason::NewestVersion,
            KeepReason::NewestVersion,
            KeepReason::RecentlyUsed,
        ];
        assert_eq!(reasons(&newest), expected);
    }

    proptest! {
        #[test]
        fn the_limit_of_an_evicted_egg_is_the_smallest(
            eggs in prop::collection::vec((0_i64..5, 1_u64..50, any::<bool>()), 1..12),
            by_time: bool,
        ) {
            let order = if by_time { SizeOrder::BuildTime } else { SizeOrder::LastUse };
            let of = |(n, &(used_at, bytes, _)): (usize, &(i64, u64, bool))| {
                let mut egg = egg(&format!("{n}"), used_at, bytes);
                egg.provenance.build_seconds = u32::try_from(used_at % 3).ok().map(f64::from);
                egg
            };
            let is_protected: Vec<bool> = eggs.iter().map(|egg| egg.2).collect();
            let eggs: Vec<CachedEgg> = eggs.iter().enumerate().map(of).collect();
            let protected = eggs.iter().zip(is_protected).filter(|(_, is_protected)| *is_protected);
            let protected: Protected = protected.map(|(egg, _)| (egg.digest, root())).collect();
            let evicted_at = |max_size| {
                let rules = Rules { max_size: Some(max_size), order, ..Rules::default() };
                plan(eggs.clone(), &rules, &protected, 50).evicted
            };
            for Evicted { egg, limit_bytes, .. } in evicted_at(0) {
                let is_evicted_at = |limit| evicted_at(limit).iter().any(|it| it.egg.digest == egg.digest);
                prop_assert!(!is_evicted_at(limit_bytes));
                prop_assert!(is_evicted_at(limit_bytes - 1));
            }
        }

        #[test]
        fn every_egg_is_evicted_or_kept(
            eggs in prop::collection::vec((0_i64..50, 1_u64..50, any::<bool>()), 0..20),
            max_age in prop::option::of(0_i64..60),
            max_size in prop::option::of(0_u64..500),
            keep_versions in prop::option::of(1_usize..10),
            by_time: bool,
        ) {
            let of = |n: usize, used_at, bytes| egg(&format!("{n}"), used_at, bytes);
            let is_protected: Vec<bool> = eggs.iter().map(|egg| egg.2).collect();
            let eggs: Vec<CachedEgg> =
                eggs.iter().enumerate().map(|(n, &(used_at, bytes, _))| of(n, used_at, bytes)).collect();
            let protected: Protected = eggs
                .iter()
                .zip(is_protected)
                .filter_map(|(egg, is_protected)| is_protected.then_some((egg.digest, root())))
                .collect();
            let order = if by_time { SizeOrder::BuildTime } else { SizeOrder::LastUse };
            let rules = Rules { max_age, max_size, keep_versions, order };
            let plan = plan(eggs.clone(), &rules, &protected, 50);
            let kept: HashSet<Digest> = plan.kept.iter().map(|kept| kept.egg.digest).collect();
            prop_assert!(protected.keys().all(|digest| kept.contains(digest)));
            prop_assert!(plan.evicted.iter().all(|evicted| !kept.contains(&evicted.egg.digest)));
            prop_assert_eq!(plan.evicted.len() + plan.kept.len(), eggs.len());
        }

        #[test]
        fn a_plan_evicts_no_more_than_necessary(
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
