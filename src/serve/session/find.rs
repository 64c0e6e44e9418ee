//! Finding: which eggs buildout can have, and who builds those that are missing.

use tracing::{Level, debug, enabled};

use super::Session;
use super::remotes::SessionRemotes;
use crate::cache::Cache;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::{EggKey, Mismatch};
use crate::egg::name::{normalize_name, same_version};
use crate::error::Result;
use crate::serve::protocol::{Answer, Candidate, Choice, Leased, ToBuild, ToFind, Wanted};
use crate::serve::store_worker::StoreWorker;
use crate::util::hash::digest::Digest;

impl Session {
    /// The eggs of a project that work here. Remotes are asked if the cache has none of the version, or
    /// none of the archive to which the buildout comes.
    pub fn find(&mut self, wanted: &ToFind) -> Result<Answer> {
        let ToFind { name, variant, choice, source_sha256, .. } = wanted;
        let version = wanted.version.as_deref();
        let setuptools = self.provenance.setuptools.as_deref();
        let is_usable = |egg: &CachedEgg| {
            egg.key.variant == *variant && egg.is_equal_on(&self.host, setuptools)
        };
        let is_version = |key: &EggKey| version.is_none_or(|it| same_version(&key.version, it));
        let mut eggs = self.cache.eggs_of_project(name)?;
        if enabled!(Level::DEBUG) {
            for egg in &eggs {
                self.log_unusable(egg, variant);
            }
        }
        eggs.retain(|egg| is_usable(egg) && !self.is_unusable(egg.digest));
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
                key.variant == *variant && self.host.may_accept(key) && is_version(key)
            };
            let mut offered = find_on(remotes, &self.cache, name, &eggs, &self.unusable, is_wanted);
            offered.retain(is_usable);
            debug!(name, version, offered = offered.len(), "looked on remotes");
            candidates.extend(offered.iter().map(Candidate::of));
            warnings = remotes.warnings();
        }
        Ok(Answer::Found { eggs: candidates, warnings })
    }

    /// Notes the choice by which this buildout came to the archive of an egg.
    pub fn learn(&mut self, digest: Digest, Choice(choice): Choice) -> Answer {
        self.learned.push((digest, choice));
        Answer::Learned {}
    }

    /// Offers these eggs no more: buildout cannot use them. The next build of their key replaces them.
    pub fn reject(&mut self, digests: &[Digest]) -> Answer {
        debug!(?digests, "rejected");
        self.unusable.extend(digests);
        self.damaged.extend(digests);
        Answer::Rejected {}
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
        let is_wanted = |key: &EggKey| {
            key.variant == egg.variant
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
