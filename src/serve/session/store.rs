//! Storing: hands built eggs to the cache, and collects their outcomes.

use tracing::{debug, warn};

use super::Session;
use super::remotes::SessionRemotes;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::EggKey;
use crate::egg::layout::{self, METADATA_NAMED};
use crate::egg::provenance::Provenance;
use crate::egg::relocatable;
use crate::egg::scan::{Hints, Tree};
use crate::egg::variant;
use crate::error::Result;
use crate::ops::add::{self, Added, Outcome, Replace, ScannedEgg};
use crate::serve::protocol::{Answer, Choice, RefusalKind, ToStore};
use crate::serve::store_worker::StoreWorker;

impl Session {
    /// Queues a built egg to be stored.
    pub fn store(&mut self, egg: &ToStore) -> Result<Answer> {
        let ToStore { path, source_sha256, variant, source, archive_url, build_seconds, .. } = egg;
        let provenance = Provenance {
            source: source.clone(),
            archive_url: archive_url.clone(),
            choice: egg.choice.as_ref().map(|Choice(text)| text.clone()),
            build_seconds: *build_seconds,
            ..self.provenance.clone()
        };
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
            source_sha256: source_sha256.clone(),
            variant: variant.clone(),
            environment: self.host.environment.clone(),
        };
        self.cache.check_writable()?;
        // Now, so that what buildout adds to it later does not become part of the egg.
        let listed = self.list(egg, &hints, &provenance);
        if let Some(remotes) = &self.remotes {
            let tree = listed.as_ref().ok().and_then(|listed| listed.as_ref().ok());
            remotes.note_built(tree.map(|tree| &tree.manifest.key));
        }
        let tree = match listed? {
            Ok(tree) => tree,
            Err(outcome) => {
                warn!(path = %path.display(), ?outcome, "refused");
                return Ok(Answer::Refused(outcome));
            }
        };
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

    /// Lists a built egg. The inner error says why it is not stored.
    fn list(
        &self,
        egg: &ToStore,
        hints: &Hints,
        provenance: &Provenance,
    ) -> Result<std::result::Result<Tree, Outcome>> {
        let mut tree = match add::list(&egg.path, hints)? {
            Ok(tree) => tree,
            Err(reason) => return Ok(Err(Outcome::Refused { reason })),
        };
        if layout::is_contradicted(&tree.manifest, provenance) {
            tree.manifest.key.generation = METADATA_NAMED;
        }
        if egg.lacks_compiler && !tree.manifest.key.is_native() {
            let reason = "it was built without a compiler, and its archive has sources for one";
            return Ok(Err(Outcome::Refused { reason: reason.to_owned() }));
        }
        let Some(bound) = &egg.bound_variant else { return Ok(Ok(tree)) };
        match relocatable::file_that_contains(&tree, &egg.folders) {
            Ok(None) => return Ok(Ok(tree)),
            Ok(Some(file)) => debug!(path = %egg.path.display(), file, "works only in its folder"),
            Err(error) => {
                let reason = add::refusal(error, &egg.path)?;
                return Ok(Err(Outcome::Refused { reason }));
            }
        }
        if self.has_bound_build(&tree.manifest.key, bound)? {
            let reason = "the cache has a build that works only in another folder".to_owned();
            return Ok(Err(Outcome::Skipped { reason }));
        }
        tree.manifest.key.variant.clone_from(bound);
        if let Some(flaw) = tree.manifest.key.flaw() {
            return Ok(Err(Outcome::Refused { reason: format!("it {flaw}") }));
        }
        Ok(Ok(tree))
    }

    /// Whether the cache has a build of this key that is bound to another folder.
    fn has_bound_build(&self, key: &EggKey, bound: &str) -> Result<bool> {
        let is_other = |egg: &CachedEgg| {
            let same = EggKey { variant: key.variant.clone(), ..egg.key.clone() };
            same == *key
                && variant::is_bound_elsewhere(&egg.key.variant, &key.variant, Some(bound))
                && !self.is_unusable(egg.digest)
        };
        Ok(self.cache.eggs_of_project(&key.name)?.iter().any(is_other))
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
            let parent = || path.parent().and_then(|parent| parent.canonicalize().ok());
            if let Outcome::Stored { egg }
            | Outcome::Replaced { egg, .. }
            | Outcome::Present { egg } = &outcome
            {
                self.known.extend(parent().map(|parent| (parent.join(&egg.file_name), egg.digest)));
                self.asked[number] = Some(egg.digest);
            }
            let outcome = match outcome {
                Outcome::Withdrawn { digest, error } => {
                    let copy = parent().zip(path.file_name());
                    self.built_again.extend(copy.map(|(dir, name)| (dir.join(name), digest)));
                    Outcome::Refused { reason: self.options.text(&error, self.cache.root()) }
                }
                outcome => outcome,
            };
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
