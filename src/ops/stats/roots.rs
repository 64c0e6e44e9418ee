//! Roots: the buildouts that use the cache, and whether `gc` keeps their eggs.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use serde::Serialize;

use crate::cache::retention::roots::{KnownRoot, RootState};
use crate::egg::cached_egg::CachedEgg;
use crate::util::hash::digest::Digest;

/// How many roots are listed: those that ran last.
const ROOTS: usize = 50;

#[derive(Debug, Default, Serialize)]
pub struct Roots {
    /// The number of all roots.
    pub count: usize,
    /// How many of them keep their eggs in the cache.
    pub kept: usize,
    /// How long a root whose folder is missing or on another machine keeps its eggs, in seconds.
    pub grace: i64,
    /// Those that ran last.
    pub first: Vec<RootUse>,
}

/// A root, and the eggs in the cache that it uses.
#[derive(Debug, Serialize)]
pub struct RootUse {
    #[serde(serialize_with = "crate::disk::files::lossy")]
    pub directory: PathBuf,
    /// The machine of that folder.
    pub machine: String,
    #[serde(flatten)]
    pub state: RootState,
    /// Whether `gc` keeps its eggs.
    pub kept: bool,
    /// When that ends, in seconds since the Unix epoch; `None` if the folder exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_until: Option<i64>,
    /// In seconds since the Unix epoch, accurate to the hour.
    pub last_run: i64,
    pub eggs: usize,
    /// How many of its eggs the cache has.
    pub cached: usize,
    /// Bytes of their blobs.
    pub bytes: u64,
}

impl Roots {
    /// `grace` and `at` are as in [`KnownRoot::is_kept`].
    #[must_use]
    pub fn of(known: &[KnownRoot], eggs: &[CachedEgg], grace: i64, at: i64) -> Self {
        let sizes: HashMap<Digest, u64> =
            eggs.iter().map(|egg| (egg.digest, egg.blob_bytes)).collect();
        let mut order: Vec<&KnownRoot> = known.iter().collect();
        order.sort_by_key(|known| Reverse(known.root.last_run));
        let listed = order.into_iter().take(ROOTS);
        Self {
            count: known.len(),
            kept: known.iter().filter(|known| known.is_kept(grace, at)).count(),
            grace,
            first: listed.map(|known| root_use(known, &sizes, grace, at)).collect(),
        }
    }
}

fn root_use(known: &KnownRoot, sizes: &HashMap<Digest, u64>, grace: i64, at: i64) -> RootUse {
    let root = &known.root;
    let digests: HashSet<Digest> = root.eggs.iter().filter_map(|egg| egg.digest).collect();
    let cached: Vec<u64> = digests.iter().filter_map(|digest| sizes.get(digest)).copied().collect();
    RootUse {
        directory: root.directory.clone(),
        machine: root.machine.clone(),
        state: known.state,
        kept: known.is_kept(grace, at),
        kept_until: known.kept_until(grace),
        last_run: root.last_run,
        eggs: root.eggs.len(),
        cached: cached.len(),
        bytes: cached.iter().sum(),
    }
}
