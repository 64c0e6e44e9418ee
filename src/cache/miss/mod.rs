//! Why the cache did not have an egg that a buildout needed.
//!
//! [`Miss::of`] compares what was needed with everything that the cache knows about the project. The same
//! reason is in the log of `buildout -v`, in the record of the run, and in the answer of `eggcache why`.

mod words;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::cache::build_options::{self, BuildOptions, Differing};
use crate::cache::retention::plan::EvictReason;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::{EggKey, Mismatch};
use crate::egg::name::{same_version, sort_versions};
use crate::egg::variant;
use crate::util::hash::digest::Digest;

/// Why a build with other options than the wanted ones is not used.
pub const OTHER_BUILD: &str = "it was built with other options or against other files";
/// Why a build that is bound to a folder is not used in another one.
pub const OTHER_FOLDER: &str = "it contains the path of another folder and works only there";
/// The parts of a key in the order of [`crate::egg::key::Host::mismatch`], which finds the first that
/// differs: the later the part, the nearer the egg. An egg that setuptools names otherwise is the nearest.
const PARTS: [&str; 8] =
    ["python", "platform", "abi", "libc", "generation", "spelling", "environment", SETUPTOOLS];
/// The part of a [`Mismatch`] by the file name that another setuptools gives an egg.
pub const SETUPTOOLS: &str = "setuptools";

/// Why an egg was not served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum Miss {
    /// The cache knows no egg of the project.
    NeverSeen,
    /// It had only eggs of the project that would not do, and has evicted all of them.
    OthersEvicted,
    /// It has only other versions, in ascending order.
    OtherVersion { cached: Vec<String> },
    /// It has the version for another Python, platform, layout or environment, or with another spelling.
    OtherHost { part: String, cached: Vec<String>, wanted: String },
    /// It has the version from another archive: the SHA-256 of both.
    OtherArchive { cached: String, wanted: String },
    /// It has the version from several archives, and nothing tells which one is needed.
    SeveralArchives { archives: usize },
    /// It has an egg that was added by hand, so that its archive is not known.
    UnknownArchive,
    /// It has a build with other options: those of the nearest build that differ, if they are known.
    OtherBuild {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        differing: Vec<Differing>,
    },
    /// It has a build that works only in another folder.
    OtherFolder,
    /// A remote has it, and its entry is refused.
    Refused { why: String },
    /// It had the egg.
    Evicted { at: i64, why: Gone },
    /// A remote has withdrawn the egg, which may be gone from the cache since.
    Withdrawn {
        remote: String,
        why: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        removed_at: Option<i64>,
    },
    /// The egg could not be copied.
    Unusable { why: String },
    /// Another buildout has stored it meanwhile.
    Raced,
    /// A part builds the project with options, so the buildout takes no plain egg of it from the cache.
    BuiltWithOptions,
    /// The cache has it, and buildout came to it in another way.
    NotAsked,
}

/// Why an egg was taken out of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gone {
    MaxAge,
    KeepVersions,
    MaxSize,
    SignedBy,
    Withdrawn,
    Named,
    Damaged,
}

impl Gone {
    const ALL: [Self; 7] = [
        Self::MaxAge,
        Self::KeepVersions,
        Self::MaxSize,
        Self::SignedBy,
        Self::Withdrawn,
        Self::Named,
        Self::Damaged,
    ];

    /// Its name in the index.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MaxAge => "max-age",
            Self::KeepVersions => "keep-versions",
            Self::MaxSize => "max-size",
            Self::SignedBy => "signed-by",
            Self::Withdrawn => "withdrawn",
            Self::Named => "named",
            Self::Damaged => "damaged",
        }
    }

    /// The reason of this name. Only those that [`Gone::name`] returns are in an index.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self::ALL.into_iter().find(|it| it.name() == name).unwrap_or(Self::Named)
    }
}

impl From<EvictReason> for Gone {
    fn from(reason: EvictReason) -> Self {
        match reason {
            EvictReason::MaxAge => Self::MaxAge,
            EvictReason::KeepVersions => Self::KeepVersions,
            EvictReason::MaxSize => Self::MaxSize,
            EvictReason::SignedBy => Self::SignedBy,
            EvictReason::Withdrawn => Self::Withdrawn,
            EvictReason::Named => Self::Named,
        }
    }
}

/// An egg that was taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eviction {
    pub digest: Option<Digest>,
    pub key: EggKey,
    /// In seconds since the Unix epoch.
    pub at: i64,
    pub why: Gone,
}

/// The egg that was needed.
#[derive(Debug, Clone, Copy)]
pub struct Needed<'a> {
    pub version: &'a str,
    /// Of its archive; empty if it is not known.
    pub source_sha256: &'a str,
    /// `None` if any build will do.
    pub variant: Option<&'a str>,
    pub bound_variant: Option<&'a str>,
    /// Whether the buildout takes no plain egg of the project.
    pub is_withheld: bool,
    /// When it was first needed, in seconds since the Unix epoch.
    pub since: i64,
}

/// Whether a key is that of the needed egg.
pub type Question<'a> = dyn Fn(&EggKey) -> bool + 'a;

/// Everything that is known of the project of an egg.
#[expect(missing_debug_implementations, reason = "it borrows functions")]
pub struct Known<'a> {
    pub eggs: &'a [CachedEgg],
    /// Oldest first.
    pub evictions: &'a [Eviction],
    /// Why an egg of the version could not be copied, if one was offered.
    pub unusable: Option<String>,
    /// Why an egg of a remote is refused, if it has one of a key that the question admits.
    pub refused: &'a dyn Fn(&Question<'_>) -> Option<String>,
    /// What keeps an egg from working where it is needed.
    pub mismatch: &'a dyn Fn(&CachedEgg) -> Option<Mismatch>,
    /// Whether an egg of this key would work there.
    pub would_work: &'a dyn Fn(&EggKey) -> bool,
    /// The remote that has withdrawn an egg, and why.
    pub withdrawn: &'a dyn Fn(Digest) -> Option<(String, String)>,
    /// The options of the builds of a variant, if they are known.
    pub options: &'a dyn Fn(&str) -> Option<BuildOptions>,
}

impl Miss {
    /// Why an egg was not served: for the reason that the least would have had to be otherwise.
    #[must_use]
    pub fn of(needed: &Needed<'_>, known: &Known<'_>) -> Self {
        // An egg that could not be copied comes first: it was offered.
        if let Some(why) = &known.unusable {
            return Self::Unusable { why: why.clone() };
        }
        if needed.is_withheld {
            return Self::BuiltWithOptions;
        }
        let of_version: Vec<&CachedEgg> =
            known.eggs.iter().filter(|it| same_version(&it.key.version, needed.version)).collect();
        let (works, elsewhere): (Vec<&CachedEgg>, Vec<&CachedEgg>) =
            of_version.iter().partition(|it| (known.mismatch)(it).is_none());
        let of_build = |it: &&&CachedEgg| needed.is_build(&it.key);
        let of_archive = |it: &&&CachedEgg| needed.is_archive(&it.key);
        let builds: Vec<&CachedEgg> = works.iter().filter(of_build).copied().collect();
        let same: Vec<&CachedEgg> = builds.iter().filter(of_archive).copied().collect();
        if let Some((remote, why)) = same.iter().find_map(|it| (known.withdrawn)(it.digest)) {
            return Self::Withdrawn { remote, why, removed_at: None };
        }
        if let Some(egg) = same.first() {
            let archives: BTreeSet<&str> =
                same.iter().map(|it| &*it.key.source_sha256).filter(|it| !it.is_empty()).collect();
            let is_new = egg.provenance.added_at >= needed.since;
            return match archives.len() {
                _ if is_new => Self::Raced,
                0 | 1 => Self::NotAsked,
                archives => Self::SeveralArchives { archives },
            };
        }
        let is_it = |key: &EggKey| {
            same_version(&key.version, needed.version)
                && needed.is_build(key)
                && needed.is_archive(key)
                && (known.would_work)(key)
        };
        if let Some(why) = (known.refused)(&is_it) {
            return Self::Refused { why };
        }
        let evicted = known.evictions.iter().rfind(|it| is_it(&it.key));
        if let Some(&Eviction { digest, at, why, .. }) = evicted {
            return match digest.and_then(|digest| (known.withdrawn)(digest)) {
                Some((remote, why)) => Self::Withdrawn { remote, why, removed_at: Some(at) },
                None => Self::Evicted { at, why },
            };
        }
        if let Some(egg) = builds.first() {
            return Self::archive(needed, &egg.key.source_sha256);
        }
        if !works.is_empty() {
            return Self::build(needed, &works, known);
        }
        if let Some(miss) = Self::host(&elsewhere, known) {
            return miss;
        }
        let cached: BTreeSet<&str> = known.eggs.iter().map(|it| it.key.version.as_str()).collect();
        if cached.is_empty() {
            let has_evicted = !known.evictions.is_empty();
            return if has_evicted { Self::OthersEvicted } else { Self::NeverSeen };
        }
        let mut cached: Vec<String> = cached.into_iter().map(str::to_owned).collect();
        sort_versions(&mut cached);
        Self::OtherVersion { cached }
    }

    fn archive(needed: &Needed<'_>, cached: &str) -> Self {
        if cached.is_empty() {
            return Self::UnknownArchive;
        }
        let wanted = needed.source_sha256.to_owned();
        Self::OtherArchive { cached: cached.to_owned(), wanted }
    }

    fn build(needed: &Needed<'_>, works: &[&CachedEgg], known: &Known<'_>) -> Self {
        let variant = needed.variant.unwrap_or_default();
        let is_elsewhere = |it: &&CachedEgg| {
            variant::is_bound_elsewhere(&it.key.variant, variant, needed.bound_variant)
        };
        if works.iter().any(is_elsewhere) {
            return Self::OtherFolder;
        }
        let wanted = (known.options)(variant);
        let differing = works.iter().filter_map(|it| {
            let cached = (known.options)(&it.key.variant)?;
            Some(build_options::differing(&cached, wanted.as_ref()?))
        });
        let nearest = differing.filter(|it| !it.is_empty()).min_by_key(Vec::len);
        Self::OtherBuild { differing: nearest.unwrap_or_default() }
    }

    /// The mismatch of the nearest eggs.
    fn host(elsewhere: &[&CachedEgg], known: &Known<'_>) -> Option<Self> {
        let mismatches: Vec<Mismatch> =
            elsewhere.iter().filter_map(|it| (known.mismatch)(it)).collect();
        let rank = |it: &Mismatch| PARTS.iter().position(|part| *part == it.part);
        let nearest = mismatches.iter().max_by_key(|it| rank(it))?;
        let cached: BTreeSet<String> = mismatches
            .iter()
            .filter(|it| it.part == nearest.part)
            .map(|it| it.egg.clone())
            .collect();
        let mut cached: Vec<String> = cached.into_iter().collect();
        sort_versions(&mut cached);
        let (part, wanted) = (nearest.part.to_owned(), nearest.host.clone());
        Some(Self::OtherHost { part, cached, wanted })
    }
}

impl Needed<'_> {
    fn is_build(&self, key: &EggKey) -> bool {
        let is_it = |wanted| variant::is_one_of(&key.variant, wanted, self.bound_variant);
        self.variant.is_none_or(is_it)
    }

    fn is_archive(&self, key: &EggKey) -> bool {
        self.source_sha256.is_empty() || key.source_sha256 == self.source_sha256
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::egg::key::Host;
    use crate::egg::key::tests::key;
    use crate::egg::manifest::tests::manifest;
    use crate::egg::provenance::Provenance;

    fn host() -> Host {
        Host {
            implementation: "cp".into(),
            python: "3.11".into(),
            soabi: "cpython-311-x86_64-linux-gnu".into(),
            platform: "linux-x86_64".into(),
            libc: "glibc 2.36".into(),
            generation: 5,
            environment: String::new(),
        }
    }

    fn egg(key: &EggKey) -> CachedEgg {
        let mut manifest = manifest(Vec::new());
        manifest.key = key.clone();
        let digest = Digest::of(&manifest.encode());
        CachedEgg::new(digest, &manifest, 1, Provenance { added_at: 10, ..Provenance::default() })
    }

    /// What a cache knows.
    #[derive(Default)]
    struct World {
        eggs: Vec<CachedEgg>,
        evictions: Vec<Eviction>,
        unusable: Option<String>,
        /// An egg of a remote.
        refused: Option<EggKey>,
        withdrawn: Option<Digest>,
        is_withheld: bool,
        options: HashMap<String, BuildOptions>,
    }

    impl World {
        fn of(keys: &[EggKey]) -> Self {
            Self { eggs: keys.iter().map(egg).collect(), ..Self::default() }
        }

        /// Why foo 1.0 of the archive `a` is a miss, as people read it.
        fn why(&self) -> String {
            self.why_with("", 20)
        }

        fn why_with(&self, variant: &str, since: i64) -> String {
            let miss = self.miss(&"a".repeat(64), variant, since);
            let text = serde_json::to_string(&miss).unwrap();
            assert_eq!(serde_json::from_str::<Miss>(&text).unwrap(), miss);
            miss.to_string()
        }

        fn miss(&self, source_sha256: &str, variant: &str, since: i64) -> Miss {
            let host = host();
            let needed = Needed {
                version: "1.0",
                source_sha256,
                variant: Some(variant),
                bound_variant: None,
                is_withheld: self.is_withheld,
                since,
            };
            let known = Known {
                eggs: &self.eggs,
                evictions: &self.evictions,
                unusable: self.unusable.clone(),
                refused: &|is_it| {
                    self.refused.as_ref().filter(|key| is_it(key)).map(|_| "refused".into())
                },
                mismatch: &|egg| egg.mismatch(&host),
                would_work: &|key| host.may_accept(key),
                withdrawn: &|digest| {
                    (self.withdrawn == Some(digest)).then(|| ("team".into(), "broken".into()))
                },
                options: &|variant| self.options.get(variant).cloned(),
            };
            Miss::of(&needed, &known)
        }
    }

    fn wanted() -> EggKey {
        EggKey { source_sha256: "a".repeat(64), ..key() }
    }

    #[test]
    fn a_project_without_an_egg_was_never_seen() {
        assert_eq!(World::default().why(), "the cache has never had an egg of this project");
    }

    #[test]
    fn a_project_whose_eggs_were_evicted_was_seen() {
        let digest = None;
        let key = EggKey { environment: "el9".into(), ..wanted() };
        let evictions = vec![Eviction { digest, key, at: 0, why: Gone::Named }];
        let world = World { evictions, ..World::default() };
        assert_eq!(
            world.why(),
            "the cache had only other eggs of this project, and has evicted them"
        );
    }

    #[test]
    fn a_refused_egg_of_a_remote_is_the_reason_if_it_would_do() {
        let mut world = World { refused: Some(wanted()), ..World::default() };
        assert_eq!(world.why(), "refused");
        let digest = None;
        world.evictions = vec![Eviction { digest, key: wanted(), at: 0, why: Gone::Named }];
        assert_eq!(world.why(), "refused", "it would have come back");
        for other in [
            EggKey { version: "1.1".into(), ..wanted() },
            EggKey { python: "cp312".into(), ..wanted() },
            EggKey { source_sha256: "b".repeat(64), ..wanted() },
            EggKey { variant: "x".into(), ..wanted() },
        ] {
            world.refused = Some(other);
            assert_eq!(world.why(), "removed by hand on 1970-01-01");
        }
    }

    #[test]
    fn other_versions_are_listed_in_their_order() {
        let of = |version: &str| EggKey { version: version.into(), ..wanted() };
        let why = World::of(&[of("1.10"), of("1.9")]).why();
        assert_eq!(why, "the cache has only other versions: 1.9, 1.10");
    }

    #[test]
    fn the_nearest_egg_is_the_reason() {
        let python = |tag: &str| EggKey { python: tag.into(), ..wanted() };
        let why = World::of(&[python("cp312"), python("pp39")]).why();
        assert_eq!(why, "the cache has it for Python 3.12, PyPy 3.9, and this is Python 3.11");
        let layout = EggKey { generation: 4, ..wanted() };
        let why = World::of(&[python("cp312"), layout]).why();
        assert_eq!(why, "the cache has it in layout 4, and this buildout uses layout 5");
        let label = EggKey { environment: "el9".into(), ..wanted() };
        let why = World::of(&[label]).why();
        assert_eq!(
            why,
            "the cache has it with the environment label el9, and this buildout has none \
             (egg-cache-environment)"
        );
    }

    #[test]
    fn another_archive_is_named_by_its_sha256() {
        let other = EggKey { source_sha256: "b".repeat(64), ..key() };
        assert_eq!(
            World::of(&[other]).why(),
            "the cached egg was built from another archive (SHA-256 bbbbbbbbbbbb…, and this \
             buildout needs aaaaaaaaaaaa…)"
        );
        let why = World::of(&[key()]).why();
        assert_eq!(why, "the cached egg was added by hand, so its archive is not known");
    }

    #[test]
    fn a_build_with_options_is_another_build() {
        let custom = EggKey { variant: "x".into(), ..wanted() };
        let why = World::of(std::slice::from_ref(&custom)).why();
        assert_eq!(why, format!("the cached egg is not used: {OTHER_BUILD}"));
        let bound = EggKey { variant: "x.1".into(), ..wanted() };
        let why = World::of(&[bound]).why_with("x", 20);
        assert_eq!(why, format!("the cached egg is not used: {OTHER_FOLDER}"));
    }

    #[test]
    fn the_options_of_the_nearest_build_are_compared() {
        let of = |variant: &str| EggKey { variant: variant.into(), ..wanted() };
        let mut world = World::of(&[of("far"), of("near"), of("unknown")]);
        let mut know = |variant: &str, options: &[(&str, &str)]| {
            let options = options.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
            world.options.insert(variant.to_owned(), options.collect());
        };
        know("far", &[("define", "A"), ("undef", "Z")]);
        know("near", &[("define", "B")]);
        know("wanted", &[("define", "C")]);
        know("", &[]);
        assert_eq!(
            world.why_with("wanted", 20),
            "the cached egg was built with other options: define was B and is C here"
        );
        assert_eq!(
            world.why(),
            "the cached egg was built with other options: define was B and is not set here"
        );
        world.is_withheld = true;
        assert!(world.why().starts_with("a part of this buildout builds the project with options"));
    }

    #[test]
    fn an_eviction_of_the_egg_explains_more_than_an_egg_of_another_python() {
        let mut world = World::of(&[EggKey { python: "cp312".into(), ..wanted() }]);
        let digest = Some(Digest::of(b"evicted"));
        let eviction = |key: EggKey, at, why| Eviction { digest, key, at, why };
        world.evictions = vec![
            eviction(wanted(), 0, Gone::Damaged),
            eviction(wanted(), 86_400, Gone::MaxSize),
            eviction(EggKey { python: "cp312".into(), ..wanted() }, 2 * 86_400, Gone::Named),
        ];
        assert_eq!(
            world.why(),
            "evicted on 1970-01-02: the cache was over its size limit",
            "the last one of this Python"
        );
        world.evictions.truncate(1);
        assert_eq!(world.why(), "removed on 1970-01-01: it was damaged or incomplete");
        world.evictions[0].why = Gone::Withdrawn;
        assert_eq!(world.why(), "evicted on 1970-01-01: it was withdrawn");
        world.withdrawn = digest;
        assert_eq!(
            world.why(),
            "the egg was withdrawn by remote team: broken (removed on 1970-01-01)",
            "as long as the list is known"
        );
    }

    #[test]
    fn what_happened_to_the_egg_itself_comes_first() {
        let mut world = World::of(&[wanted()]);
        assert_eq!(world.why_with("", 10), "another buildout has stored it meanwhile");
        let not_asked = "the cache has it, but this buildout could not choose it from there";
        assert_eq!(world.why_with("", 11), not_asked);
        let digest = world.eggs[0].digest;
        world.withdrawn = Some(digest);
        assert_eq!(world.why(), "the cached egg was withdrawn by remote team: broken");
        world.unusable = Some("its blob is damaged".into());
        assert_eq!(world.why(), "its blob is damaged");
    }

    #[test]
    fn without_the_needed_archive_several_are_the_reason() {
        let of = |digit: &str| EggKey { source_sha256: digit.repeat(64), ..key() };
        let keys = [of("a"), of("b"), key()];
        let found = World::of(&keys).miss("", "", 20);
        assert_eq!(found, Miss::SeveralArchives { archives: 2 });
        assert_eq!(
            found.to_string(),
            "the cache has it from 2 archives, and offline nothing says which of them is needed"
        );
        assert_eq!(World::of(&keys[1..]).miss("", "", 20), Miss::NotAsked);
    }

    #[test]
    fn reasons_have_the_names_that_the_index_accepts() {
        for why in Gone::ALL {
            assert_eq!(Gone::of(why.name()), why);
            assert_eq!(serde_json::to_string(&why).unwrap(), format!("{:?}", why.name()));
        }
    }
}
