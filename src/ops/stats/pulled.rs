//! The eggs that came from remotes, by remote and by the keys that have signed them.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde::Serialize;

use crate::cache::Arrivals;
use crate::egg::cached_egg::CachedEgg;

/// How many sources are listed: those of most eggs.
const SOURCES: usize = 20;

/// Eggs that were pulled.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pulled {
    pub eggs: usize,
    pub blob_bytes: u64,
    /// An egg that several keys have signed counts for each.
    pub sources: Vec<Source>,
    /// The number of all sources.
    pub source_count: usize,
}

/// A key that has signed eggs of a remote.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    pub remote: String,
    pub url: String,
    pub key: String,
    pub eggs: usize,
}

impl Pulled {
    #[must_use]
    pub fn of(eggs: &[CachedEgg], arrivals: &Arrivals) -> Self {
        let mut pulled = Self::default();
        let mut sources: HashMap<(&str, &str, &str), usize> = HashMap::new();
        for egg in eggs {
            let Some(arrival) = arrivals.of_egg(egg.digest) else { continue };
            pulled.eggs += 1;
            pulled.blob_bytes += egg.blob_bytes;
            for key in &arrival.keys {
                *sources.entry((&arrival.remote, &arrival.url, key)).or_default() += 1;
            }
        }
        pulled.source_count = sources.len();
        let source = |((remote, url, key), eggs): ((&str, &str, &str), usize)| Source {
            remote: remote.into(),
            url: url.into(),
            key: key.into(),
            eggs,
        };
        pulled.sources = sources.into_iter().map(source).collect();
        pulled.sources.sort_unstable_by(|a, b| {
            let order = |it: &Source| (Reverse(it.eggs), it.remote.clone(), it.key.clone());
            order(a).cmp(&order(b))
        });
        pulled.sources.truncate(SOURCES);
        pulled
    }

    /// The sources in words, as in "3 from team signed by 1A2B"; empty if there are none.
    #[must_use]
    pub fn shown_sources(&self) -> String {
        let shown = |it: &Source| format!("{} from {} signed by {}", it.eggs, it.remote, it.key);
        let mut shown: Vec<String> = self.sources.iter().map(shown).collect();
        let more = self.source_count - self.sources.len();
        shown.extend((more > 0).then(|| format!("{more} more sources")));
        shown.join(", ")
    }
}
