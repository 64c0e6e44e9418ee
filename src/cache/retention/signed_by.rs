//! The eggs that came from remotes by the wrong keys. Neither pins nor roots protect them: a stolen key
//! can have signed anything.

use serde::Serialize;

use crate::cache::retention::plan::{EvictReason, Evicted, KeepReason, Protected};
use crate::egg::arrival::Arrival;
use crate::egg::cached_egg::CachedEgg;

/// The way of an egg that is evicted because of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CameBy {
    /// The id of the key.
    pub key: String,
    pub remote: String,
    /// Whether the signature by the key was not checked, because the key was not trusted then.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unchecked: bool,
    /// The pin or the root that would otherwise keep the egg.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub despite: Option<KeepReason>,
}

/// Splits eggs into those that one of these keys has signed, by file name, and the others. An egg that
/// another key has signed, too, is one of the former: if that key is still trusted, the egg can be pulled
/// again. `arrival_of` is how an egg came from a remote, if it did.
pub fn split<'a>(
    eggs: Vec<CachedEgg>,
    keys: &[String],
    arrival_of: impl Fn(&CachedEgg) -> Option<&'a Arrival>,
    protected: &Protected,
) -> (Vec<Evicted>, Vec<CachedEgg>) {
    let (mut evicted, mut others) = (Vec::new(), Vec::new());
    for egg in eggs {
        let arrival = arrival_of(&egg);
        let key = arrival.and_then(|it| signers(it).find(|key| keys.contains(key)));
        let Some((arrival, key)) = arrival.zip(key) else {
            others.push(egg);
            continue;
        };
        let despite = protected.get(&egg.digest).cloned();
        let unchecked = !arrival.keys.contains(key);
        let remote = arrival.remote.clone();
        let came_by = CameBy { key: key.clone(), remote, unchecked, despite };
        let reason = EvictReason::SignedBy;
        evicted.push(Evicted { egg, reason, limit_bytes: 0, came_by: Some(came_by) });
    }
    evicted.sort_by(|a, b| a.egg.file_name.cmp(&b.egg.file_name));
    (evicted, others)
}

/// All keys that the signatures of its entry named.
fn signers(arrival: &Arrival) -> impl Iterator<Item = &String> {
    arrival.keys.iter().chain(&arrival.other_keys)
}

/// Those of the keys that have signed none of the eggs.
pub fn unknown<'a>(
    eggs: &[CachedEgg],
    keys: &[String],
    arrival_of: impl Fn(&CachedEgg) -> Option<&'a Arrival>,
) -> Vec<String> {
    let arrivals: Vec<&Arrival> = eggs.iter().filter_map(arrival_of).collect();
    let is_unknown = |key: &&String| !arrivals.iter().any(|it| signers(it).any(|of| of == *key));
    keys.iter().filter(is_unknown).cloned().collect()
}
