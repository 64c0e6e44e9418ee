//! Finding: which eggs buildout can have, and who builds those that are missing.

use tracing::{Level, debug, enabled};

use super::Session;
use super::remotes::SessionRemotes;
use crate::cache::Cache;
use crate::cache::miss::{OTHER_BUILD, OTHER_FOLDER};
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::{EggKey, Mismatch};
use crate::egg::name::{normalize_name, same_version};
use crate::egg::variant;
use crate::error::Result;
use crate::serve::protocol::{
    Answer, Candidate, Choice, Leased, Rejected, ToBuild, ToFind, Wanted,
};
use crate::serve::store_worker::StoreWorker;
use crate::util::hash::digest::Digest;

impl Session {
    /// The eggs of a project that work here. Remotes are asked if the cache has none of the version, or
    /// none of the archive to which the buildout comes.
    pub fn find(&mut self, wanted: &ToFind) -> Result<Answer> {
        let ToFind { name, variant, choice, source_sha256, .. } = wanted;
        let bound = wanted.bound_variant.as_deref();
        let version = wanted.version.as_deref();
        let setuptools = self.provenance.setuptools.as_deref();
        let is_usable = |egg: &CachedEgg| {
            variant::is_one_of(&egg.key.variant, variant, bound)
                && egg.is_equal_on(&self.host, setuptools)
        };
        let is_version = |key: &EggKey| version.is_none_or(|it| same_version(&key.version, it));
        let mut eggs = self.cache.eggs_of_project(name)?;
        if enabled!(Level::DEBUG) {
            for egg in &eggs {
                self.log_unusable(egg, variant);
            }
        }
        let rejected = self.rejected(&eggs, wanted);
        eggs.retain(|egg| is_usable(egg) && !self.is_unusable(egg.digest));
        // One without native code may lack it only because it could not be compiled where that was built.
        eggs.sort_by_key(|egg| !egg.key.is_native());
        let mut candidates: Vec<Candidate> = eggs.iter().map(Candidate::of).collect();
        let is_chosen = |it: &Candidate| {
            choice.as_ref().is_none_or(|Choice(choice)| it.choices.contains(choice))
        };
        if !candidates.iter().any(is_chosen) {
            let mut learned = self.cache.choices_of_project(name)?;
            for candidate in &mut candidates {
                candidate.choices.extend(learned.remove(&candidate.digest).into_iter().flatten());
            }
        }
        let is_cached = version.is_some_and(|version| {
            candidates.iter().any(|it| {
                same_version(&it.version, version)
                    && is_chosen(it)
                    && source_sha256.as_ref().is_none_or(|sha256| it.source_sha256 == *sha256)
            })
        });
        debug!(name, version, variant, usable = eggs.len(), is_cached, "looked in the cache");
        let mut warnings = Vec::new();
        if let Some(remotes) = self.remotes.as_mut().filter(|_| !is_cached) {
            let is_wanted = |key: &EggKey| {
                variant::is_one_of(&key.variant, variant, bound)
                    && self.host.may_accept(key)
                    && is_version(key)
            };
            let mut offered = find_on(remotes, &self.cache, name, &eggs, &self.unusable, is_wanted);
            offered.retain(is_usable);
            debug!(name, version, offered = offered.len(), "looked on remotes");
            candidates.extend(offered.iter().map(Candidate::of));
            warnings = remotes.warnings();
        }
        let is_offered = candidates
            .iter()
            .any(|it| version.is_none_or(|version| same_version(&it.version, version)));
        let rejected = if is_offered { Vec::new() } else { rejected };
        Ok(Answer::Found { eggs: candidates, rejected, warnings })
    }

    /// The builds of the wanted version that only their variant keeps from being offered to a custom build.
    fn rejected(&self, eggs: &[CachedEgg], wanted: &ToFind) -> Vec<Rejected> {
        let ToFind { variant, bound_variant, version, .. } = wanted;
        let bound = bound_variant.as_deref();
        let is_rejected = |egg: &&CachedEgg| {
            let EggKey { variant: of_egg, version: other, .. } = &egg.key;
            !of_egg.is_empty()
                && !variant::is_one_of(of_egg, variant, bound)
                && version.as_ref().is_none_or(|it| same_version(other, it))
                && egg.is_equal_on(&self.host, self.provenance.setuptools.as_deref())
                && !self.is_unusable(egg.digest)
        };
        let rejected = |egg: &CachedEgg| Rejected {
            file_name: egg.file_name.clone(),
            reason: if variant::is_bound_elsewhere(&egg.key.variant, variant, bound) {
                OTHER_FOLDER
            } else {
                OTHER_BUILD
            },
        };
        if variant.is_empty() {
            return Vec::new();
        }
        let mut all: Vec<Rejected> = eggs.iter().filter(is_rejected).map(rejected).collect();
        all.dedup();
        all
    }

    /// Logs why an egg of the cache is not offered.
    fn log_unusable(&self, egg: &CachedEgg, variant: &str) {
        let (file_name, digest) = (&egg.file_name, egg.digest);
        if self.unusable.contains(&digest) {
            debug!(file_name, %digest, "not offered: it could not be copied before");
        } else if self.withdrawals.has(digest) {
            debug!(file_name, %digest, "not offered: it was withdrawn");
        } else if egg.key.variant != variant {
            let of_egg = &egg.key.variant;
            debug!(file_name, %digest, variant, of_egg, "not offered: it has other build options");
        } else if let Some(Mismatch { part, egg, host }) = egg.mismatch(&self.host) {
            debug!(file_name, %digest, part, egg, host, "not offered: it is not for this host");
        } else if !egg.is_equal_on(&self.host, self.provenance.setuptools.as_deref()) {
            let by = &egg.provenance.setuptools;
            debug!(file_name, %digest, by, "not offered: this setuptools names it otherwise");
        }
    }

    /// Lets remotes load the lists of projects that buildout will ask for and the cache lacks.
    pub fn look(&mut self, wanted: &[Wanted]) -> Result<Answer> {
        if let Some(remotes) = &mut self.remotes {
            let mut names = Vec::new();
            for Wanted { name, version } in wanted {
                let name = normalize_name(name);
                let eggs = self.cache.eggs_of_project(&name)?;
                let is_cached = |egg: &CachedEgg| {
                    egg.is_equal_on(&self.host, self.provenance.setuptools.as_deref())
                        && !self.withdrawals.has(egg.digest)
                        && version.as_ref().is_some_and(|it| same_version(&egg.key.version, it))
                };
                if !eggs.iter().any(is_cached) {
                    names.push(name);
                }
            }
            remotes.preload_lists(&names);
        }
        Ok(Answer::Looking {})
    }

    /// Whether this buildout builds an egg, or waits for another builder.
    pub fn lease(&mut self, egg: &ToBuild) -> Result<Answer> {
        let is_full = self.storer.as_ref().and_then(StoreWorker::failure).is_some();
        // A builder that cannot store an egg cannot push it, so others would wait for it in vain.
        let Some(remotes) = self.remotes.as_mut().filter(|_| !is_full) else {
            return Ok(Answer::Leased { lease: Leased::None, wait: None });
        };
        let host = &self.host;
        let bound = egg.bound_variant.as_deref();
        let is_wanted = |key: &EggKey| {
            variant::is_one_of(&key.variant, &egg.variant, bound)
                && (egg.source_sha256.is_empty() || key.source_sha256 == egg.source_sha256)
                && host.may_accept(key)
                && same_version(&key.version, &egg.version)
        };
        let (withdrawals, unusable) = (&self.withdrawals, &self.unusable);
        // Another buildout may have stored it in this cache meanwhile.
        let eggs = self.cache.eggs_of_project(&egg.name)?;
        let setuptools = self.provenance.setuptools.as_deref();
        let is_cached = |egg: &CachedEgg| {
            is_wanted(&egg.key)
                && egg.is_equal_on(host, setuptools)
                && !withdrawals.has(egg.digest)
                && !unusable.contains(&egg.digest)
        };
        if eggs.iter().any(is_cached) {
            return Ok(Answer::Leased { lease: Leased::Built, wait: None });
        }
        // The build of another folder would be of no use here.
        let is_elsewhere =
            |it: &CachedEgg| variant::is_bound_elsewhere(&it.key.variant, &egg.variant, bound);
        if eggs.iter().any(is_elsewhere) {
            return Ok(Answer::Leased { lease: Leased::None, wait: None });
        }
        let answer = remotes.lease(egg, &eggs, is_wanted);
        debug!(name = egg.name, version = egg.version, ?answer, "build lease");
        Ok(answer)
    }
}

/// The wanted eggs of a project that remotes have, except builds of the keys of `cached`. With the first
/// egg that is found, the rest of its set is fetched as well.
fn find_on(
    remotes: &mut SessionRemotes,
    cache: &Cache,
    name: &str,
    cached: &[CachedEgg],
    unusable: &[Digest],
    is_wanted: impl Fn(&EggKey) -> bool,
) -> Vec<CachedEgg> {
    let mut found = remotes.find(name, is_wanted);
    // The cache would not store another build of a key that it has.
    found.rest_of_set.retain(|offer| {
        let key = &offer.entry.key;
        let eggs = cache.eggs_of_project(&key.name);
        eggs.is_ok_and(|eggs| !eggs.iter().any(|egg| egg.key == *key))
    });
    found.rest_of_set.iter().cloned().for_each(|offer| remotes.remember(offer));
    remotes.fetch(found.rest_of_set);
    let mut eggs = Vec::new();
    for offer in found.wanted {
        let egg = offer.entry.egg();
        if !unusable.contains(&egg.digest) && !cached.iter().any(|it| it.key == egg.key) {
            eggs.push(egg);
            remotes.remember(offer);
        }
    }
    eggs
}
