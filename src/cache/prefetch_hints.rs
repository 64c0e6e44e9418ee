//! Prefetch hints: the eggs that buildouts of one configuration requested, in order, so that the next
//! one's eggs are copied before it requests them.
//!
//! Hints do not decide what is installed: the eggs are only copied in advance, and an eggs directory gets
//! what buildout requests. Hints that cannot be read or written are ignored.

use std::collections::HashSet;

use crate::cache::Cache;
use crate::disk::dir::Dir;
use crate::disk::json_file;
use crate::egg::key::Host;
use crate::error::{OrLog, Result};
use crate::util::clock::now;
use crate::util::hash::digest::Digest;

/// The age at which an unchanged configuration is forgotten, in seconds.
const FORGOTTEN_AFTER: i64 = 180 * 86_400;

/// The hints of one configuration.
#[derive(Debug)]
pub struct PrefetchHints {
    cache: Dir,
    /// The path of the record below the cache.
    record: String,
    digests: Vec<Digest>,
}

/// The directory of the hints. Its name is part of the cache's format.
pub const DIR: &str = "recall";

impl PrefetchHints {
    /// Reads the hints of a configuration on a host. Any text identifies a configuration.
    #[must_use]
    pub fn of(cache: &Dir, configuration: &str, host: &Host) -> Self {
        let python = host.python_tag();
        let id = [configuration, &python, &host.soabi, &host.platform, &host.environment];
        let name = json_file::name_of(format!("{}\0{}", id.join("\0"), host.generation).as_bytes());
        let record = format!("{DIR}/{name}");
        let digests = json_file::read(cache, &record).or_log().flatten().unwrap_or_default();
        Self { cache: cache.clone(), record, digests }
    }

    /// In the order of the requests.
    #[must_use]
    pub fn digests(&self) -> &[Digest] {
        &self.digests
    }

    /// Writes the eggs requested now, followed by earlier ones of projects without a request now: parts
    /// with nothing to do request nothing. Returns all of these.
    pub fn remember(&self, asked: &[Digest], cache: &Cache) -> Result<Vec<Digest>> {
        let before: HashSet<&Digest> = self.digests.iter().collect();
        if asked.iter().all(|digest| before.contains(digest)) {
            return Ok(self.digests.clone());
        }
        let mut names = HashSet::new();
        let mut digests: Vec<Digest> = Vec::new();
        for &digest in asked {
            if let Some(egg) = cache.egg(digest)?
                && names.insert(egg.key.name)
            {
                digests.push(digest);
            }
        }
        for &digest in &self.digests {
            if cache.egg(digest)?.is_some_and(|egg| !names.contains(&egg.key.name)) {
                digests.push(digest);
            }
        }
        json_file::write(&self.cache, &self.record, &digests)?;
        Ok(digests)
    }
}

/// Removes hints that have not changed for long, and temporary files.
pub fn forget_old(cache: &Dir) -> Result<()> {
    json_file::forget_old(cache, DIR, FORGOTTEN_AFTER, now())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egg::cached_egg::CachedEgg;
    use crate::egg::manifest::tests::manifest;
    use crate::egg::provenance::Provenance;

    fn host(python: &str) -> Host {
        Host {
            implementation: "cp".into(),
            python: python.into(),
            soabi: String::new(),
            platform: "linux-x86_64".into(),
            libc: String::new(),
            generation: 5,
            environment: String::new(),
        }
    }

    /// The digest of an egg that is added to the index.
    fn egg(cache: &mut Cache, name: &str, version: &str) -> Digest {
        let mut manifest = manifest(Vec::new());
        (manifest.key.name, manifest.key.version) = (name.into(), version.into());
        let digest = Digest::of(&manifest.encode());
        let egg = CachedEgg::new(digest, &manifest, 1, Provenance::default());
        cache.index.write(|writer| writer.insert(&egg)).unwrap();
        digest
    }

    #[test]
    fn requested_eggs_come_before_earlier_ones() {
        let dir = tempfile::tempdir().unwrap();
        let mut cache = Cache::open(dir.path()).unwrap();
        let opened = cache.dir().clone();
        let of = |configuration| PrefetchHints::of(&opened, configuration, &host("3.11"));
        let [a1, b1, c1] = ["a", "b", "c"].map(|name| egg(&mut cache, name, "1"));
        of("x").remember(&[b1, a1, b1, c1], &cache).unwrap();
        assert_eq!(of("x").digests(), [b1, a1, c1]);
        assert_eq!(of("y").digests(), []);
        assert_eq!(PrefetchHints::of(&opened, "x", &host("3.12")).digests(), []);
        // A run with fewer requests keeps the rest.
        of("x").remember(&[c1], &cache).unwrap();
        assert_eq!(of("x").digests(), [b1, a1, c1]);
        // Another version replaces that of its project, and evicted eggs are dropped.
        let a2 = egg(&mut cache, "a", "2");
        cache.index.write(|writer| writer.delete(c1)).unwrap();
        of("x").remember(&[a2], &cache).unwrap();
        assert_eq!(of("x").digests(), [a2, b1]);
    }

    #[test]
    fn unreadable_hints_are_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let mut cache = Cache::open(dir.path()).unwrap();
        let a = egg(&mut cache, "a", "1");
        let opened = cache.dir().clone();
        let of = || PrefetchHints::of(&opened, "x", &host("3.11"));
        of().remember(&[a], &cache).unwrap();
        std::fs::write(dir.path().join(of().record), "[\"half").unwrap();
        assert_eq!(of().digests(), []);
        forget_old(&opened).unwrap();
        of().remember(&[a], &cache).unwrap();
        assert_eq!(of().digests(), [a]);
    }
}
