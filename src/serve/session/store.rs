//! Storing: hands built eggs to the cache, and collects their outcomes.

use std::path::Path;

use tracing::{debug, warn};

use super::Session;
use super::remotes::SessionRemotes;
use crate::egg::layout::{self, METADATA_NAMED};
use crate::egg::provenance::Provenance;
use crate::egg::scan::Hints;
use crate::error::Result;
use crate::ops::add::{self, Added, Replace, ScannedEgg};
use crate::serve::protocol::{Answer, RefusalKind};
use crate::serve::store_worker::StoreWorker;

impl Session {
    /// What all eggs that this session stores have in common.
    pub fn provenance(&self) -> Provenance {
        self.provenance.clone()
    }

    /// Queues a built egg to be stored.
    pub fn store(
        &mut self,
        path: &Path,
        source_sha256: String,
        variant: String,
        provenance: Provenance,
    ) -> Result<Answer> {
        // Without a build time, the egg was installed before the cache was asked.
        if let Some(seconds) = provenance.build_seconds {
            self.usage.misses += 1;
            self.usage.build_seconds += seconds;
        }
        debug!(
            path = %path.display(),
            source_sha256,
            variant,
            build_seconds = provenance.build_seconds,
            "offered to the cache"
        );
        let hints = Hints {
            generation: Some(self.host.generation),
            implementation: Some(self.host.implementation.clone()),
            soabi: self.host.soabi.clone(),
            source_sha256,
            variant,
            environment: self.host.environment.clone(),
        };
        self.cache.check_writable()?;
        // Now, so that what buildout adds to it later does not become part of the egg.
        let listed = add::list(path, &hints);
        if let Some(remotes) = &self.remotes {
            let tree = listed.as_ref().ok().and_then(|listed| listed.as_ref().ok());
            remotes.note_built(tree.map(|tree| &tree.manifest.key));
        }
        let mut tree = match listed? {
            Ok(tree) => tree,
            Err(reason) => {
                warn!(path = %path.display(), reason, "refused");
                return Ok(Answer::Refused(add::Outcome::Refused { reason }));
            }
        };
        if layout::is_contradicted(&tree.manifest, &provenance) {
            tree.manifest.key.generation = METADATA_NAMED;
        }
        let number = self.asked.len();
        let replace = Replace::These(self.damaged.clone());
        let storer = self.start_storer()?;
        if let Some(error) = storer.failure() {
            return Ok(Answer::Failed { error, kind: RefusalKind::Failure });
        }
        storer.offer(number, ScannedEgg { tree, provenance }, replace);
        self.asked.push(None);
        Ok(Answer::Queued { outcome: "queued" })
    }

    fn start_storer(&mut self) -> Result<&StoreWorker> {
        let storer = match self.storer.take() {
            Some(storer) => storer,
            None => self.new_storer()?,
        };
        Ok(self.storer.insert(storer))
    }

    fn new_storer(&mut self) -> Result<StoreWorker> {
        let on_stored = self.remotes.as_mut().and_then(SessionRemotes::on_stored);
        StoreWorker::new(self.cache.root(), &self.options, move |key, egg| {
            if let Some(on_stored) = &on_stored {
                on_stored(key, egg);
            }
        })
    }

    /// Waits until all queued eggs are stored.
    pub fn settle(&mut self) {
        let done = self.storer.as_ref().map(StoreWorker::settle).unwrap_or_default();
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

    /// Waits until all queued eggs are stored. Returns each outcome once.
    pub fn settled(&mut self) -> Answer {
        self.settle();
        let outcomes = std::mem::take(&mut self.settled);
        Answer::Settled { outcomes, failure: self.storer.as_ref().and_then(StoreWorker::failure) }
    }
}
