//! All pins and roots that keep an egg in the cache.
//!
//! [`crate::cache::retention::protected`] has one of them for each egg, which is all that a plan needs.

use std::collections::HashMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::cache::retention::pins::{self, Pattern, Pin};
use crate::cache::retention::roots::{self, KnownRoot, RootState};
use crate::disk::dir::Dir;
use crate::egg::cached_egg::CachedEgg;
use crate::error::{Error, Result};
use crate::util::hash::digest::Digest;

/// The pins and roots of a cache.
#[derive(Debug)]
pub struct Keepers {
    pins: Vec<(Pin, Pattern)>,
    /// Sorted by directory.
    roots: Vec<KnownRoot>,
    /// For each egg, the places of the roots that use it.
    users: HashMap<Digest, Vec<usize>>,
    /// Records of roots that cannot be read.
    pub unreadable: Vec<Error>,
}

/// What keeps one egg.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct KeptBy {
    pub pins: Vec<Pin>,
    pub roots: Vec<User>,
}

/// A root that uses an egg.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    #[serde(serialize_with = "crate::disk::files::lossy")]
    pub directory: PathBuf,
    #[serde(flatten)]
    pub state: RootState,
}

impl KeptBy {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pins.is_empty() && self.roots.is_empty()
    }
}

impl Keepers {
    /// Reads the pins, and the roots that keep their eggs. `grace` is how long a root does so after its
    /// folder is gone, `now` is in seconds since the Unix epoch.
    ///
    /// # Errors
    /// If a pin cannot be read.
    pub fn read(cache: &Dir, grace: Option<i64>, now: i64) -> Result<Self> {
        let (mut roots, unreadable) = roots::all(cache, now)?;
        roots.retain(|root| root.is_kept(grace.unwrap_or(roots::GRACE), now));
        let mut users: HashMap<Digest, Vec<usize>> = HashMap::new();
        for (at, known) in roots.iter().enumerate() {
            for digest in known.root.eggs.iter().filter_map(|egg| egg.digest) {
                let users = users.entry(digest).or_default();
                if users.last() != Some(&at) {
                    users.push(at);
                }
            }
        }
        Ok(Self { pins: pins::all(cache)?, roots, users, unreadable })
    }

    /// What keeps an egg.
    #[must_use]
    pub fn of(&self, egg: &CachedEgg) -> KeptBy {
        let pins = self.pins.iter().filter(|(_, pattern)| pattern.matches(egg));
        KeptBy { pins: pins.map(|(pin, _)| pin.clone()).collect(), roots: self.users(egg.digest) }
    }

    /// The roots that use an egg, whether the cache has it or not.
    #[must_use]
    pub fn users(&self, egg: Digest) -> Vec<User> {
        let users = self.users.get(&egg).into_iter().flatten();
        users.map(|&at| User::of(&self.roots[at])).collect()
    }

    /// The file names of all eggs that roots use, with the digest as far as it is known, each with its root.
    pub fn used(&self) -> impl Iterator<Item = (&str, Option<Digest>, User)> {
        self.roots.iter().flat_map(|known| {
            let eggs = known.root.eggs.iter();
            eggs.map(|egg| (egg.file_name.as_str(), egg.digest, User::of(known)))
        })
    }
}

impl User {
    fn of(known: &KnownRoot) -> Self {
        Self { directory: known.root.directory.clone(), state: known.state }
    }
}
