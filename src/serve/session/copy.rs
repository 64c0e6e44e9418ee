//! Copying: extracts eggs into eggs directories, in advance where buildout will ask for them.

use std::path::{Path, PathBuf};

use tracing::debug;

use super::{Session, is_unusable};
use crate::cache::extract;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::layout;
use crate::egg::manifest::Manifest;
use crate::error::{Error, Result};
use crate::ops::materialize::{self, Outcome, Prepared};
use crate::serve::prefetch_worker::PrefetchWorker;
use crate::serve::protocol::Answer;
use crate::util::clock::now;
use crate::util::hash::digest::Digest;
use crate::util::progress::Silent;

impl Session {
    /// Copies an egg into an eggs directory.
    pub fn materialize(&mut self, digest: Digest, into: &Path) -> Result<Answer> {
        let outcome = self.copy(digest, into);
        let (digest, outcome) = self.replace_damaged(digest, into, outcome);
        if let Err(error) = &outcome {
            self.journal.failed(digest, error.to_string());
        }
        match &outcome {
            Err(Error::DamagedBlob { .. } | Error::ReplacedLibrary { .. }) => {
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
        let (path, outcome, torn) =
            outcome.inspect_err(|error| debug!(%digest, %error, "not copied"))?;
        debug!(%digest, path = %path.display(), ?outcome, "copied");
        let remote = self.remotes.as_ref().and_then(|remotes| remotes.source_of(digest));
        if let Outcome::Copied(counts) = &outcome {
            self.journal.copied(&path, remote.clone());
            self.usage.hits.push(digest);
            self.usage.copied_bytes += counts.bytes;
        } else {
            self.usage.present.push(digest);
        }
        self.known.insert(path.clone(), digest);
        self.asked.push(Some(digest));
        Ok(Answer::Materialized { path, outcome, remote, torn })
    }

    /// If the cache has lost or damaged an egg, or it was withdrawn, copies one of the same key from a remote instead.
    fn replace_damaged(
        &mut self,
        digest: Digest,
        into: &Path,
        outcome: Result<Copied>,
    ) -> (Digest, Result<Copied>) {
        if let Err(
            damaged @ (Error::DamagedBlob { .. } | Error::Miss { .. } | Error::Withdrawn { .. }),
        ) = &outcome
            && let Some(remotes) = &mut self.remotes
            && let Ok(Some(egg)) = self.cache.egg(digest)
            && let Some(replacement) = remotes.offer_replacement(&egg)
            && let Ok(copied) = self.copy(replacement, into)
        {
            if let Some(remotes) = &mut self.remotes {
                remotes.note_replaced(damaged);
            }
            return (replacement, Ok(copied));
        }
        (digest, outcome)
    }

    /// Fetches and extracts eggs that buildout will ask for.
    pub fn prefetch(&mut self, digests: &[Digest], into: &Path) -> Result<Answer> {
        let Prepared { path, torn } = self.prepare(into)?;
        if let Some(remotes) = &self.remotes {
            remotes.fetch_offered(digests);
        }
        let is_first = self.prefetcher.is_none();
        let blobs = self.cache.blobs();
        let prefetcher = self.prefetcher.get_or_insert_with(|| PrefetchWorker::new(blobs.clone()));
        let withdrawals = &self.withdrawals;
        let usable = |digests: &[Digest]| -> Vec<Digest> {
            digests.iter().copied().filter(|digest| !withdrawals.has(*digest)).collect()
        };
        prefetcher.enqueue(&usable(digests), &path);
        // Only now there is an eggs directory in which an egg is missing.
        if let Some(hints) = self.hints.as_ref().filter(|_| is_first) {
            prefetcher.enqueue(&usable(hints.digests()), &path);
        }
        Ok(Answer::Prefetching { torn })
    }

    fn copy(&mut self, digest: Digest, into: &Path) -> Result<Copied> {
        let miss = || Error::miss(&digest);
        if let Some(remotes) = &mut self.remotes {
            remotes.wait_for(digest)?;
        }
        if let Some(notice) = self.withdrawals.notice(digest) {
            let egg = self.cache.egg(digest)?;
            let what = egg.map_or_else(|| digest.short(), |egg| egg.file_name);
            return Err(notice.error(&what));
        }
        let prefetched = match (&self.prefetcher, self.prepared.get(into)) {
            (Some(prefetcher), Some(path)) if path.is_dir() => prefetcher.take(digest, path),
            _ => None,
        };
        let (blob, temp) = match prefetched {
            Some((blob, temp)) => (blob, Some(temp)),
            None => (self.cache.open_blob(digest)?.ok_or_else(miss)?, None),
        };
        let egg = self.cache.egg(digest)?.ok_or_else(miss)?;
        extract::check_row(self.cache.blobs(), &egg, &blob)?;
        if !egg.works_on(&self.host) {
            return Err(miss());
        }
        if layout::is_contradicted(&blob.manifest, &blob.provenance) {
            self.damaged.push(digest);
            return Err(miss());
        }
        let Prepared { path: into, torn } = self.prepare(into)?;
        let path = into.join(&blob.manifest.file_name);
        if !path.exists() {
            self.prefetch_hinted(digest, &into);
        }
        let temp = match temp {
            // If the directory was removed and made again, the temporary one is gone.
            Some(temp) if temp.path().exists() => Some(temp),
            _ => materialize::extract_missing(self.cache.blobs(), &blob, &into, &Silent)?,
        };
        let outcome = match temp {
            Some(temp) => {
                self.check_libraries(&egg, temp.path(), &blob.manifest)?;
                materialize::persist(&blob, temp, &into)?
            }
            None => materialize::present(&path, &blob.manifest)?,
        };
        Ok((path, outcome, torn))
    }

    /// Checks that no library was replaced that an egg needs. Only an egg of sources has others after
    /// another build.
    fn check_libraries(&mut self, egg: &CachedEgg, copy: &Path, manifest: &Manifest) -> Result<()> {
        if !egg.key.is_native() || !egg.provenance.is_of_sources() {
            return Ok(());
        }
        match self.loader.replaced_library(copy, &manifest.entries) {
            Some(library) => {
                let file_name = egg.file_name.clone();
                Err(Error::ReplacedLibrary { file_name, library })
            }
            None => Ok(()),
        }
    }

    /// Starts to prefetch the hinted eggs with the first egg that is missing in the buildout's eggs
    /// directory: others are probably missing as well. Buildout asks for this one before it knows them.
    /// An egg for another directory is a custom build, which says nothing about the others.
    fn prefetch_hinted(&mut self, first: Digest, into: &Path) {
        let Some(hints) = self.hints.as_ref().filter(|_| self.prefetcher.is_none()) else { return };
        let eggs_directory = self.eggs_directory.as_ref().and_then(|dir| dir.canonicalize().ok());
        if eggs_directory.as_deref() == Some(into) {
            let others = hints
                .digests()
                .iter()
                .copied()
                .filter(|&digest| digest != first && !self.withdrawals.has(digest));
            let prefetcher = PrefetchWorker::new(self.cache.blobs().clone());
            prefetcher.enqueue(&others.collect::<Vec<_>>(), into);
            self.prefetcher = Some(prefetcher);
        }
    }

    /// Prepares an eggs directory for its first request.
    pub fn prepare(&mut self, into: &Path) -> Result<Prepared> {
        if let Some(path) = self.prepared.get(into).filter(|path| path.is_dir()) {
            return Ok(Prepared { path: path.clone(), torn: Vec::new() });
        }
        let prepared = materialize::prepare(&self.cache, into)?;
        self.prepared.insert(into.to_owned(), prepared.path.clone());
        Ok(prepared)
    }
}

/// The path of a copy, its outcome, and the torn copies that were removed beside it.
type Copied = (PathBuf, Outcome, Vec<String>);
