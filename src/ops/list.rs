//! List: the eggs in the cache.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::cache::build_options::KnownVariant;
use crate::cache::query::{self, Narrow};
use crate::cache::retention::kept_by::{Keepers, KeptBy};
use crate::cache::{Arrivals, Cache};
use crate::egg::arrival::Arrival;
use crate::egg::cached_egg::CachedEgg;
use crate::error::{Error, Result};
use crate::remote::withdrawals::record::{Notice, Withdrawals};
use crate::util::clock::now;
use crate::util::hash::digest::Digest;
use crate::util::suggest::Nearest;

/// Serializes with the arrival of each egg that has one.
#[derive(Debug)]
pub struct Report {
    pub eggs: Vec<CachedEgg>,
    /// What keeps eggs, as far as the caller has asked for that: in the order of the eggs.
    pub kept_by: Vec<KeptBy>,
    /// Why `kept_by` is empty although it was asked for: a pin cannot be read.
    pub unreadable: Option<Error>,
    /// How eggs came from remotes, as far as the caller has read that ([`Cache::arrivals`]).
    pub arrivals: Arrivals,
    /// Those that a remote has withdrawn.
    pub withdrawn: BTreeMap<Digest, Notice>,
    /// Texts that no egg matches, and what they may have meant.
    pub unmatched: Vec<String>,
    pub nearest: Vec<Nearest>,
    /// The variants of the eggs. Only for people: the serialized eggs have their variants.
    pub variants: HashMap<String, KnownVariant>,
    /// Bytes of content.
    pub bytes: u64,
    /// Bytes of the blobs.
    pub blob_bytes: u64,
}

/// An egg as it is serialized.
#[derive(Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    egg: &'a CachedEgg,
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_by: Option<&'a KeptBy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arrival: Option<&'a Arrival>,
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let listed = |(at, egg): (usize, _)| Listed {
            egg,
            kept_by: self.kept_by.get(at),
            arrival: self.arrivals.of_egg(egg.digest),
        };
        let eggs: Vec<Listed<'_>> = self.eggs.iter().enumerate().map(listed).collect();
        let mut report = serializer.serialize_struct("Report", 4)?;
        report.serialize_field("eggs", &eggs)?;
        if self.withdrawn.is_empty() {
            report.skip_field("withdrawn")?;
        } else {
            report.serialize_field("withdrawn", &self.withdrawn)?;
        }
        report.serialize_field("bytes", &self.bytes)?;
        report.serialize_field("blob_bytes", &self.blob_bytes)?;
        report.end()
    }
}

/// What a list has, and in which order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    pub sort: Sort,
    /// Only eggs that no pin and no buildout keeps.
    pub unused: bool,
    /// Report what keeps each egg.
    pub kept_by: bool,
    /// As for [`crate::ops::gc`].
    pub grace: Option<i64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sort {
    /// By name, version as text, and time added.
    #[default]
    Name,
    /// The largest first.
    Size,
    /// The last used first.
    Used,
    /// The last added first.
    Added,
}

/// Lists the eggs that `text` matches; all if it is absent.
pub fn list(cache: &Cache, text: Option<&str>, narrow: &Narrow) -> Result<Report> {
    let texts: Vec<&str> = text.into_iter().collect();
    list_with(cache, &texts, narrow, Options::default())
}

/// As [`list`], for the eggs that any of the texts matches, in an order, and with what keeps each egg.
///
/// # Errors
/// If the index cannot be read, or a pin if only unused eggs are wanted.
pub fn list_with(
    cache: &Cache,
    texts: &[&str],
    narrow: &Narrow,
    options: Options,
) -> Result<Report> {
    let (mut eggs, mut unmatched, mut nearest) = (Vec::new(), Vec::new(), Vec::new());
    if texts.is_empty() {
        eggs = cache.eggs()?;
        eggs.retain(|egg| narrow.admits(egg));
    }
    for &text in texts {
        let found = matching(cache, text, narrow)?;
        if found.is_empty() {
            unmatched.push(text.to_owned());
            nearest.extend(query::nearest_to_part(cache, text, narrow)?);
        }
        eggs.extend(found);
    }
    if texts.len() > 1 {
        let mut seen = HashSet::new();
        eggs.retain(|egg| seen.insert(egg.digest));
        eggs.sort_by(|a, b| in_index(a).cmp(&in_index(b)));
    }
    match options.sort {
        Sort::Name => order_builds(&mut eggs),
        Sort::Size => eggs.sort_by_key(|egg| Reverse(egg.blob_bytes)),
        Sort::Used => eggs.sort_by_key(|egg| Reverse(egg.used_at)),
        Sort::Added => eggs.sort_by_key(|egg| Reverse(egg.provenance.added_at)),
    }
    let (mut kept_by, mut unreadable) = (Vec::new(), None);
    if options.unused || options.kept_by {
        match Keepers::read(cache.dir(), options.grace, now()) {
            Ok(keepers) => {
                eggs.retain(|egg| !options.unused || keepers.of(egg).is_empty());
                kept_by = eggs.iter().map(|egg| keepers.of(egg)).collect();
            }
            Err(error) if options.unused => return Err(error),
            Err(error) => unreadable = Some(error),
        }
    }
    let withdrawals = Withdrawals::of(cache.root())?;
    let notice = |egg: &CachedEgg| Some((egg.digest, withdrawals.get(egg.digest)?.clone()));
    Ok(Report {
        kept_by,
        unreadable,
        arrivals: Arrivals::default(),
        unmatched,
        nearest,
        withdrawn: eggs.iter().filter_map(notice).collect(),
        variants: known_variants(cache, &eggs),
        bytes: eggs.iter().map(|egg| egg.counts.bytes).sum(),
        blob_bytes: eggs.iter().map(|egg| egg.blob_bytes).sum(),
        eggs,
    })
}

/// The variants of eggs. Plain builds are left out.
fn known_variants(cache: &Cache, eggs: &[CachedEgg]) -> HashMap<String, KnownVariant> {
    let variants: HashSet<&String> = eggs.iter().map(|egg| &egg.key.variant).collect();
    let custom = variants.into_iter().filter(|variant| !variant.is_empty());
    custom.map(|it| (it.clone(), KnownVariant::read(cache.dir(), it))).collect()
}

/// The eggs that a text matches.
fn matching(cache: &Cache, text: &str, narrow: &Narrow) -> Result<Vec<CachedEgg>> {
    let mut eggs = match query::of_pattern(cache, text)? {
        Some(eggs) => eggs,
        None => query::matching(cache, text)?,
    };
    eggs.retain(|egg| narrow.admits(egg));
    Ok(eggs)
}

/// The order of the index.
fn in_index(egg: &CachedEgg) -> (&str, &str, i64) {
    (&egg.key.name, &egg.key.version, egg.provenance.added_at)
}

/// Puts the builds of one version into an order that does not depend on their digests.
fn order_builds(eggs: &mut [CachedEgg]) {
    let is_same = |one: &CachedEgg, other: &CachedEgg| {
        one.key.name == other.key.name && one.key.version == other.key.version
    };
    for builds in eggs.chunk_by_mut(is_same) {
        builds.sort_by_cached_key(|egg| {
            let key = egg.key.clone();
            (key.python, key.platform, key.generation, key.environment, key.variant)
        });
    }
}
