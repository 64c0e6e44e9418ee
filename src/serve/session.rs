//! One session: what a buildout has asked for, and what is going on for it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::protocol::{Answer, Candidate, Leased, Opening, RefusalKind, ToBuild, Wanted};
use super::session_remotes::Remotes;
use crate::cache::extract;
use crate::cache::prefetch_hints::PrefetchHints;
use crate::cache::retention::policy::Policy;
use crate::cache::{Cache, Usage};
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::{EggKey, Host};
use crate::egg::name::{normalize_name, same_version};
use crate::egg::provenance::Provenance;
use crate::egg::scan::Hints;
use crate::error::{Error, Result};
use crate::ops::add::{self, Added, Replace, ScannedEgg};
use crate::ops::materialize::{self, Outcome, Prepared};
use crate::ops::register;
use crate::serve::auto_gc;
use crate::serve::prefetch::Prefetch;
use crate::serve::store_worker::Storing;
use crate::util::clock::now;
use crate::util::hash::digest::Digest;
use crate::util::progress::Silent;

pub struct Session {
    cache: Cache,
    host: Host,
    provenance: Provenance,
    /// That of the buildout, as it was named.
    eggs_directory: Option<PathBuf>,
    /// Eggs directories by the names that they were asked for.
    prepared: HashMap<PathBuf, PathBuf>,
    /// Begins when there is something to do.
    prefetch: Option<Prefetch>,
    recall: Option<PrefetchHints>,
    /// Begins with the first egg that is to be stored.
    storing: Option<Storing>,
    /// What became of eggs that were to be stored, and was not told yet.
    settled: Vec<Added>,
    /// What was copied or stored, in this order; none for what is not stored yet, or not at all.
    asked: Vec<Option<Digest>>,
    usage: Usage,
    /// Which eggs this run has copied or stored, by their paths.
    known: HashMap<PathBuf, Digest>,
    /// Eggs that turned out to be damaged: the next build of their key takes their place.
    damaged: Vec<Digest>,
    /// Eggs that are not offered again: damaged, gone, of a newer eggcache, or not for this host.
    unusable: Vec<Digest>,
    remotes: Option<Remotes>,
    /// Whether the buildout has.
    has_succeeded: bool,
}

impl Session {
    /// A session of whoever asks, and what is answered to it.
    pub fn open(opening: Opening) -> Result<(Self, Answer)> {
        let Opening { cache, host, buildout, setuptools, .. } = opening;
        let Opening { eggs_directory, configuration, offline, .. } = opening;
        let cache = Cache::open(&cache)?;
        let (read_only, warning) = (cache.is_read_only(), cache.warning());
        let torn = match eggs_directory.as_ref().and_then(|dir| dir.canonicalize().ok()) {
            Some(dir) => cache.remove_torn_copies(&dir),
            None => Vec::new(),
        };
        let provenance = Provenance { buildout, setuptools, ..Provenance::default() };
        let recall = configuration.as_ref().map(|it| PrefetchHints::of(cache.root(), it, &host));
        let (remotes, failure) = match Remotes::open(&cache, &host, configuration) {
            _ if offline => (None, None),
            Ok(remotes) => (remotes, None),
            Err(error) => (None, Some(error.to_string())),
        };
        let answer = Answer::Opened {
            read_only,
            torn,
            warning: warning.or(failure),
            remotes: remotes.as_ref().map(Remotes::role),
        };
        let session = Self {
            cache,
            host,
            provenance,
            eggs_directory,
            prepared: HashMap::new(),
            prefetch: None,
            recall,
            storing: None,
            settled: Vec::new(),
            asked: Vec::new(),
            usage: Usage { is_run: true, ..Usage::default() },
            known: HashMap::new(),
            damaged: Vec::new(),
            unusable: Vec::new(),
            remotes,
            has_succeeded: false,
        };
        Ok((session, answer))
    }

    /// Where everything comes from that is stored.
    pub fn provenance(&self) -> Provenance {
        self.provenance.clone()
    }

    /// Does what nobody waits for when all is told.
    pub fn end(self) {
        let Self { mut cache, remotes, prefetch, has_succeeded, .. } = self;
        // So nobody shall notice it.
        drop(prefetch);
        let _ = std::env::set_current_dir("/");
        let _ = rustix::process::nice(10);
        drop(remotes);
        if has_succeeded {
            auto_gc::collect(&mut cache);
        }
    }

    pub fn find(&mut self, name: &str, variant: &str, version: Option<&str>) -> Result<Answer> {
        let is_usable = |key: &EggKey| key.variant == variant && self.host.accepts(key);
        let mut eggs = self.cache.eggs_of_project(name)?;
        eggs.retain(|egg| is_usable(&egg.key) && !self.unusable.contains(&egg.digest));
        let is_wanted = |key: &EggKey| version.is_none_or(|it| same_version(&key.version, it));
        let mut candidates: Vec<Candidate> = eggs.iter().map(Candidate::of).collect();
        let mut warnings = Vec::new();
        let is_known = version.is_some() && eggs.iter().any(|egg| is_wanted(&egg.key));
        if let Some(remotes) = self.remotes.as_mut().filter(|_| !is_known) {
            let is_wanted = |key: &EggKey| is_usable(key) && is_wanted(key);
            let (offers, mut others) = remotes.find(name, is_wanted);
            let cache = &self.cache;
            // Another build of one that is here would be brought for nothing.
            others.retain(|it| {
                let key = &it.entry.key;
                let eggs = cache.eggs_of_project(&key.name);
                eggs.is_ok_and(|eggs| !eggs.iter().any(|egg| egg.key == *key))
            });
            others.iter().cloned().for_each(|it| remotes.offer(it));
            remotes.fetch(others);
            for offer in offers {
                let egg = offer.entry.egg();
                if !self.unusable.contains(&egg.digest) && !eggs.iter().any(|it| it.key == egg.key)
                {
                    candidates.push(Candidate::of(&egg));
                    remotes.offer(offer);
                }
            }
            warnings = remotes.warnings();
        }
        Ok(Answer::Found { eggs: candidates, warnings })
    }

    pub fn look(&mut self, wanted: &[Wanted]) -> Result<Answer> {
        if let Some(remotes) = &mut self.remotes {
            let mut names = Vec::new();
            for Wanted { name, version } in wanted {
                let name = normalize_name(name);
                let eggs = self.cache.eggs_of_project(&name)?;
                let is_here = |egg: &CachedEgg| {
                    self.host.accepts(&egg.key)
                        && version.as_ref().is_some_and(|it| same_version(&egg.key.version, it))
                };
                if !eggs.iter().any(is_here) {
                    names.push(name);
                }
            }
            remotes.look(names);
        }
        Ok(Answer::Looking {})
    }

    /// Whether this buildout is to build an egg, or to wait for somebody else's.
    pub fn lease(&mut self, egg: &ToBuild) -> Result<Answer> {
        let ToBuild { name, variant, version, source_sha256 } = egg;
        // Where nothing is kept, nothing comes of waiting for this one.
        let is_full = self.storing.as_ref().is_some_and(|storing| storing.failure().is_some());
        let Some(remotes) = self.remotes.as_mut().filter(|_| !is_full) else {
            return Ok(Answer::Leased { lease: Leased::None, wait: None });
        };
        let host = &self.host;
        let is_wanted = |key: &EggKey| {
            key.variant == *variant
                && (source_sha256.is_empty() || key.source_sha256 == *source_sha256)
                && host.accepts(key)
                && same_version(&key.version, version)
        };
        // Another buildout with this cache may have been faster.
        let eggs = self.cache.eggs_of_project(name)?;
        let is_here = |egg: &CachedEgg| is_wanted(&egg.key) && !self.unusable.contains(&egg.digest);
        let (lease, wait) = if eggs.iter().any(is_here) {
            (Leased::Built, None)
        } else {
            remotes.lease((name, variant, version), is_wanted)
        };
        Ok(Answer::Leased { lease, wait })
    }

    pub fn materialize(&mut self, digest: Digest, into: &Path) -> Result<Answer> {
        let mut digest = digest;
        let mut outcome = self.copy(digest, into);
        if let Err(damaged @ (Error::DamagedBlob { .. } | Error::Miss { .. })) = &outcome
            && let Some(remotes) = &mut self.remotes
            && let Ok(Some(egg)) = self.cache.egg(digest)
            && let Some(instead) = remotes.offer_instead(&egg)
            && let Ok(copied) = self.copy(instead, into)
        {
            if let Some(remotes) = &mut self.remotes {
                remotes.mended(damaged);
            }
            (digest, outcome) = (instead, Ok(copied));
        }
        match &outcome {
            Err(Error::DamagedBlob { .. }) => {
                self.damaged.push(digest);
                self.unusable.push(digest);
            }
            Err(Error::Unavailable(_) | Error::Unfetched(_)) => self.unusable.push(digest),
            Err(error) if is_unusable(error) => {
                self.unusable.push(digest);
                self.cache.record_miss(digest, now());
            }
            _ => {}
        }
        let answer = outcome?;
        if let Answer::Materialized { path, outcome, .. } = &answer {
            if let Outcome::Copied(counts) = outcome {
                self.usage.hits.push(digest);
                self.usage.copied_bytes += counts.bytes;
            } else {
                self.usage.present.push(digest);
            }
            self.known.insert(path.clone(), digest);
            self.asked.push(Some(digest));
        }
        Ok(answer)
    }

    pub fn prefetch(&mut self, digests: &[Digest], into: &Path) -> Result<Answer> {
        let Prepared { path, torn } = self.prepare(into)?;
        let blobs = self.cache.blobs();
        let is_first = self.prefetch.is_none();
        let prefetch = self.prefetch.get_or_insert_with(|| Prefetch::new(blobs.clone()));
        if let Some(remotes) = &self.remotes {
            remotes.expect(digests);
        }
        prefetch.expect(digests, &path);
        // Now that there is an eggs directory, and that something is missing in it.
        if let Some(recall) = self.recall.as_ref().filter(|_| is_first) {
            prefetch.expect(recall.digests(), &path);
        }
        Ok(Answer::Prefetching { torn })
    }

    fn copy(&mut self, digest: Digest, into: &Path) -> Result<Answer> {
        let miss = || Error::miss(&digest);
        if let Some(remotes) = &self.remotes {
            remotes.arrive(digest)?;
        }
        let prefetched = match (&self.prefetch, self.prepared.get(into)) {
            (Some(prefetch), Some(path)) if path.is_dir() => prefetch.take(digest, path),
            _ => None,
        };
        let (blob, temp) = match prefetched {
            Some((blob, temp)) => (blob, Some(temp)),
            None => (self.cache.open_blob(digest)?.ok_or_else(miss)?, None),
        };
        let egg = self.cache.egg(digest)?.ok_or_else(miss)?;
        extract::check_row(self.cache.blobs(), &egg, &blob)?;
        if !self.host.accepts(&blob.manifest.key) {
            return Err(miss());
        }
        let Prepared { path: into, torn } = self.prepare(into)?;
        let path = into.join(&blob.manifest.file_name);
        // What buildout asks for before it knows what else it needs: others are missing as well. Not
        // where a custom build is put.
        let canonical = |dir: &PathBuf| dir.canonicalize().ok();
        if self.prefetch.is_none()
            && let Some(recall) = self.recall.as_ref().filter(|_| !path.exists())
            && self.eggs_directory.as_ref().and_then(canonical).as_ref() == Some(&into)
        {
            let others = recall.digests().iter().copied().filter(|&other| other != digest);
            let prefetch = self.prefetch.insert(Prefetch::new(self.cache.blobs().clone()));
            prefetch.expect(&others.collect::<Vec<_>>(), &into);
        }
        let outcome = match temp {
            // Gone with its directory, if somebody has made that anew.
            Some(temp) if temp.path().exists() => materialize::place(&blob, temp, &into)?,
            _ => materialize::materialize_blob(self.cache.blobs(), &blob, &into, &Silent)?,
        };
        Ok(Answer::Materialized { path, outcome, torn })
    }

    /// Makes an eggs directory ready, the first time that it is asked for.
    fn prepare(&mut self, into: &Path) -> Result<Prepared> {
        if let Some(path) = self.prepared.get(into).filter(|path| path.is_dir()) {
            return Ok(Prepared { path: path.clone(), torn: Vec::new() });
        }
        let prepared = materialize::prepare(&self.cache, into)?;
        self.prepared.insert(into.to_owned(), prepared.path.clone());
        Ok(prepared)
    }

    pub fn store(
        &mut self,
        path: &Path,
        source_sha256: String,
        variant: String,
        provenance: Provenance,
    ) -> Result<Answer> {
        // What was not built just now was installed already when the cache was asked.
        if let Some(seconds) = provenance.build_seconds {
            self.usage.misses += 1;
            self.usage.build_seconds += seconds;
        }
        let hints = Hints {
            generation: Some(self.host.generation),
            implementation: Some(self.host.implementation.clone()),
            soabi: self.host.soabi.clone(),
            source_sha256,
            variant,
            environment: self.host.environment.clone(),
        };
        self.cache.check_writable()?;
        // Now, so that nothing that buildout does with it later is taken for a part of it.
        let listed = add::list(path, &hints);
        if let Some(remotes) = &self.remotes {
            remotes.built(
                listed.as_ref().ok().and_then(|it| it.as_ref().ok()).map(|it| &it.manifest.key),
            );
        }
        let tree = match listed? {
            Ok(tree) => tree,
            Err(reason) => return Ok(Answer::Refused(add::Outcome::Refused { reason })),
        };
        let storing = if let Some(storing) = &self.storing {
            storing
        } else {
            let on_done = self.remotes.as_mut().and_then(Remotes::on_done);
            let on_done = move |key: &EggKey, egg: Option<&CachedEgg>| {
                if let Some(on_done) = &on_done {
                    on_done(key, egg);
                }
            };
            self.storing.insert(Storing::new(self.cache.root(), on_done)?)
        };
        if let Some(error) = storing.failure() {
            return Ok(Answer::Failed { error, kind: RefusalKind::Failure });
        }
        let replace = Replace::These(self.damaged.clone());
        storing.offer(self.asked.len(), ScannedEgg { tree, provenance }, replace);
        self.asked.push(None);
        Ok(Answer::Queued { outcome: "queued" })
    }

    /// Waits until all that was to be stored is.
    pub fn settle(&mut self) {
        let done = self.storing.as_ref().map(Storing::settle).unwrap_or_default();
        for (number, path, outcome) in done {
            if let add::Outcome::Stored { egg }
            | add::Outcome::Replaced { egg, .. }
            | add::Outcome::Present { egg } = &outcome
            {
                let parent = path.parent().and_then(|parent| parent.canonicalize().ok());
                self.known.extend(parent.map(|parent| (parent.join(&egg.file_name), egg.digest)));
                self.asked[number] = Some(egg.digest);
            }
            self.settled.push(Added { path, outcome });
        }
    }

    pub fn settled(&mut self) -> Answer {
        self.settle();
        let outcomes = std::mem::take(&mut self.settled);
        Answer::Settled { outcomes, failure: self.storing.as_ref().and_then(Storing::failure) }
    }

    pub fn register(
        &mut self,
        directory: PathBuf,
        eggs_directory: PathBuf,
        eggs: Vec<PathBuf>,
        whole: bool,
    ) -> Result<Answer> {
        self.settle();
        let options = register::Options {
            directory,
            eggs_directory,
            python: self.host.python_tag(),
            buildout: self.provenance.buildout.clone(),
            whole,
            eggs,
            known: self.known.clone(),
        };
        let report = register::register(&mut self.cache, &options)?;
        if let Some(recall) = self.recall.as_ref().filter(|_| report.registered) {
            let asked: Vec<Digest> = self.asked.iter().flatten().copied().collect();
            if let Ok(all) = recall.remember(&asked, &self.cache)
                && let Some(remotes) = &mut self.remotes
            {
                let eggs: Result<Vec<Option<CachedEgg>>> =
                    all.iter().map(|&digest| self.cache.egg(digest)).collect();
                remotes.finish(eggs?.into_iter().flatten().collect());
            }
        }
        let warning = Policy::read(self.cache.root()).err().map(|error| error.to_string());
        self.has_succeeded = true;
        Ok(Answer::Registered { report, warning })
    }

    /// What there is to tell at the end, of which what is pushed is waited for a while.
    pub fn closed(&mut self) -> Answer {
        match &mut self.remotes {
            None => Answer::Closed { warnings: Vec::new(), pushed: None },
            Some(remotes) => {
                let (pushed, warnings) = remotes.close();
                Answer::Closed { warnings, pushed }
            }
        }
    }

    pub fn record(&mut self) {
        let nothing = Usage { is_run: true, ..Usage::default() };
        self.cache.record_use(&std::mem::replace(&mut self.usage, nothing), now());
    }
}

/// Whether an egg cannot be had from the cache, and everything else still can.
pub fn is_unusable(error: &Error) -> bool {
    matches!(
        error,
        Error::DamagedBlob { .. }
            | Error::NewerFormat { .. }
            | Error::UnreadableBlob { .. }
            | Error::WrongRow { .. }
            | Error::Miss { .. }
            | Error::Unfetched(_)
    )
}
