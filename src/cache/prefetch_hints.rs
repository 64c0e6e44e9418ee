//! Recall: which eggs the buildouts of one configuration asked for, in their order, so that the next
//! one's eggs are copied before it knows them itself.
//!
//! It is a hint and no more: what is recalled is only copied ahead, and an eggs directory gets what is
//! asked for. What cannot be read is not recalled, and what cannot be written is not missed.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cache::Cache;
use crate::disk::json_file;
use crate::disk::temp;
use crate::egg::key::Host;
use crate::error::Result;
use crate::util::hash::digest::Digest;

/// After how long a configuration is forgotten that nobody has changed an egg of.
const FORGOTTEN_AFTER: Duration = Duration::from_hours(180 * 24);

/// What the buildouts of one configuration asked for, and where that is written.
#[derive(Debug)]
pub struct PrefetchHints {
    dir: PathBuf,
    name: String,
    digests: Vec<Digest>,
}

/// Where what is recalled is.
pub fn dir(cache: &Path) -> PathBuf {
    cache.join("recall")
}

impl PrefetchHints {
    /// What the cache knows of a configuration, which any text names, on a host.
    #[must_use]
    pub fn of(cache: &Path, configuration: &str, host: &Host) -> Self {
        let python = host.python_tag();
        let told = [configuration, &python, &host.soabi, &host.platform, &host.environment];
        let name =
            json_file::name_of(format!("{}\0{}", told.join("\0"), host.generation).as_bytes());
        let dir = dir(cache);
        let digests = json_file::read(&dir.join(&name)).ok().flatten().unwrap_or_default();
        Self { dir, name, digests }
    }

    /// In the order in which they were asked for.
    #[must_use]
    pub fn digests(&self) -> &[Digest] {
        &self.digests
    }

    /// Remembers what was asked for this time, and what was asked for before and of whose project
    /// nothing was asked for now: parts that had nothing to do ask for nothing. Answers all of that.
    ///
    /// # Errors
    /// If the index cannot be read or this not written.
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
        json_file::write(&self.dir, &self.name, &digests)?;
        Ok(digests)
    }
}

/// Removes what has not changed for long, and what writing left behind.
///
/// # Errors
/// If what there is cannot be listed.
pub fn forget_old(cache: &Path) -> Result<()> {
    temp::sweep(&dir(cache))?;
    for path in json_file::list(&dir(cache))? {
        let written = path.metadata().and_then(|metadata| metadata.modified());
        let age = written.ok().and_then(|written| written.elapsed().ok());
        if age.is_some_and(|age| age > FORGOTTEN_AFTER) {
            let _ = json_file::remove(&path);
        }
    }
    Ok(())
}

/// Lets the group of the cache write all of it.
///
/// # Errors
/// If this process does not own its directory.
pub fn share(cache: &Path) -> Result<()> {
    json_file::share(&dir(cache))
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

    /// The digest of an egg that the index has.
    fn egg(cache: &mut Cache, name: &str, version: &str) -> Digest {
        let mut manifest = manifest(Vec::new());
        (manifest.key.name, manifest.key.version) = (name.into(), version.into());
        let digest = Digest::of(&manifest.encode());
        let egg = CachedEgg::new(digest, &manifest, 1, Provenance::default());
        cache.index.write(|writer| writer.insert(&egg)).unwrap();
        digest
    }

    #[test]
    fn what_was_asked_for_comes_first_and_what_else_is_used_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut cache = Cache::open(dir.path()).unwrap();
        let of = |configuration| PrefetchHints::of(dir.path(), configuration, &host("3.11"));
        let [a1, b1, c1] = ["a", "b", "c"].map(|name| egg(&mut cache, name, "1"));
        of("x").remember(&[b1, a1, b1, c1], &cache).unwrap();
        assert_eq!(of("x").digests(), [b1, a1, c1]);
        assert_eq!(of("y").digests(), []);
        assert_eq!(PrefetchHints::of(dir.path(), "x", &host("3.12")).digests(), []);
        // A run that asks for less leaves the rest as it was.
        of("x").remember(&[c1], &cache).unwrap();
        assert_eq!(of("x").digests(), [b1, a1, c1]);
        // Another version takes the place of its project, and what was evicted goes.
        let a2 = egg(&mut cache, "a", "2");
        cache.index.write(|writer| writer.delete(c1)).unwrap();
        of("x").remember(&[a2], &cache).unwrap();
        assert_eq!(of("x").digests(), [a2, b1]);
    }

    #[test]
    fn what_cannot_be_read_is_not_recalled() {
        let dir = tempfile::tempdir().unwrap();
        let mut cache = Cache::open(dir.path()).unwrap();
        let a = egg(&mut cache, "a", "1");
        let of = || PrefetchHints::of(dir.path(), "x", &host("3.11"));
        of().remember(&[a], &cache).unwrap();
        std::fs::write(of().dir.join(&of().name), "[\"half").unwrap();
        assert_eq!(of().digests(), []);
        forget_old(dir.path()).unwrap();
        of().remember(&[a], &cache).unwrap();
        assert_eq!(of().digests(), [a]);
    }
}
