//! Remotes, and the eggs that came from them.

use std::collections::HashMap;

use serde::Serialize;

use crate::cache::{Arrivals, Cache};
use crate::egg::cached_egg::CachedEgg;
use crate::error::OrLog;
use crate::remote::config::{self, Remote};

/// How many remotes are listed.
const REMOTES: usize = 50;

#[derive(Debug, Default, Serialize)]
pub struct Remotes {
    /// The number of all remotes.
    pub count: usize,
    /// In the order in which they are asked.
    pub first: Vec<RemoteUse>,
    /// Whether their file cannot be read. The reason is left out: it could repeat a secret in that file.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unreadable: bool,
}

/// A remote without secrets, and the eggs in the cache that came from it.
#[derive(Debug, Serialize)]
pub struct RemoteUse {
    pub name: String,
    pub url: String,
    /// The server of a store that is not at Amazon, Google or Azure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Whether built eggs are pushed to it.
    pub push: bool,
    pub trusted_keys: usize,
    /// How many of these keys must have signed an entry.
    pub signatures_needed: usize,
    pub eggs: usize,
    /// Bytes of their blobs.
    pub bytes: u64,
}

impl RemoteUse {
    /// Whether its eggs can have enough signatures.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.trusted_keys > 0 && self.trusted_keys >= self.signatures_needed
    }
}

impl Remotes {
    #[must_use]
    pub fn of(cache: &Cache, eggs: &[CachedEgg], arrivals: &Arrivals) -> Self {
        match config::read(cache.root(), cache.trust()).or_log() {
            Some(remotes) => Self::listed(&remotes, eggs, arrivals),
            None => Self { unreadable: true, ..Self::default() },
        }
    }

    fn listed(remotes: &[Remote], eggs: &[CachedEgg], arrivals: &Arrivals) -> Self {
        let mut pulled: HashMap<&str, (usize, u64)> = HashMap::new();
        for egg in eggs {
            if let Some(arrival) = arrivals.of_egg(egg.digest) {
                let (eggs, bytes) = pulled.entry(&arrival.remote).or_default();
                *eggs += 1;
                *bytes += egg.blob_bytes;
            }
        }
        let remote_use = |remote: &Remote| {
            let (eggs, bytes) = pulled.get(remote.name.as_str()).copied().unwrap_or_default();
            RemoteUse {
                name: remote.name.clone(),
                url: config::without_secrets(&remote.url).into(),
                endpoint: remote.endpoint.as_ref().map(|it| config::without_secrets(it).into()),
                push: remote.push,
                trusted_keys: remote.trusted.len(),
                signatures_needed: remote.signatures_needed,
                eggs,
                bytes,
            }
        };
        let first = remotes.iter().take(REMOTES).map(remote_use).collect();
        Self { count: remotes.len(), first, unreadable: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_a_url_is_left_out() {
        let secret =
            |scheme: &str| format!("{scheme}://me:hunter2@eggs.example/a?token=hunter2#hunter2");
        let remote = Remote {
            url: secret("s3").parse().unwrap(),
            endpoint: Some(secret("https").parse().unwrap()),
            push: true,
            ..Remote::new("team", "s3://eggs").unwrap()
        };
        let listed = Remotes::listed(&[remote], &[], &Arrivals::default());
        let RemoteUse { url, endpoint, .. } = &listed.first[0];
        assert_eq!(
            (url.as_str(), endpoint.as_deref()),
            ("s3://eggs.example/a", Some("https://eggs.example/a"))
        );
        assert!(!listed.first[0].is_usable());
    }

    #[test]
    fn the_list_is_bounded_and_the_rest_is_counted() {
        let remote = Remote::new("team", "s3://eggs").unwrap();
        let listed = Remotes::listed(&vec![remote; 60], &[], &Arrivals::default());
        assert_eq!((listed.count, listed.first.len()), (60, REMOTES));
    }
}
