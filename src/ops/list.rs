//! List: the eggs in the cache.

use std::collections::BTreeMap;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::cache::query::{self, Narrow};
use crate::cache::{Arrivals, Cache};
use crate::egg::arrival::Arrival;
use crate::egg::cached_egg::CachedEgg;
use crate::error::Result;
use crate::remote::withdrawals::record::{Notice, Withdrawals};
use crate::util::hash::digest::Digest;
use crate::util::suggest::Nearest;

/// Serializes with the arrival of each egg that has one.
#[derive(Debug)]
pub struct Report {
    pub eggs: Vec<CachedEgg>,
    /// How eggs came from remotes, as far as the caller has read that ([`Cache::arrivals`]).
    pub arrivals: Arrivals,
    /// Those that a remote has withdrawn.
    pub withdrawn: BTreeMap<Digest, Notice>,
    /// What may have been meant, if no egg matches.
    pub nearest: Option<Nearest>,
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
    arrival: Option<&'a Arrival>,
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let listed = |egg| Listed { egg, arrival: self.arrivals.of_egg(egg.digest) };
        let eggs: Vec<Listed<'_>> = self.eggs.iter().map(listed).collect();
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

/// Lists the eggs that `text` matches; all if it is absent.
pub fn list(cache: &Cache, text: Option<&str>, narrow: &Narrow) -> Result<Report> {
    let mut eggs = match text {
        Some(text) => query::matching(cache, text)?,
        None => cache.eggs()?,
    };
    eggs.retain(|egg| narrow.admits(egg));
    let nearest = match text.filter(|_| eggs.is_empty()) {
        Some(text) => query::nearest_to_part(cache, text, narrow)?,
        None => None,
    };
    let withdrawals = Withdrawals::of(cache.root())?;
    let notice = |egg: &CachedEgg| Some((egg.digest, withdrawals.get(egg.digest)?.clone()));
    Ok(Report {
        arrivals: Arrivals::default(),
        nearest,
        withdrawn: eggs.iter().filter_map(notice).collect(),
        bytes: eggs.iter().map(|egg| egg.counts.bytes).sum(),
        blob_bytes: eggs.iter().map(|egg| egg.blob_bytes).sum(),
        eggs,
    })
}
