//! Storing: packs built eggs into the cache while buildout continues with the next.
//!
//! An egg is listed when buildout offers it, and read by a thread after the eggs before it. An egg that
//! changes in between is refused, so an egg is stored as it was built or not at all. Eggs that wait are
//! stored in one batch, which shares the syncs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::ThreadPool;
use tracing::warn;

use crate::cache::Cache;
use crate::cache::trust::Trust;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::EggKey;
use crate::error::Result;
use crate::ops::add::{self, Outcome, Replace, ScannedEgg};
use crate::serve::Options;
use crate::serve::worker::{Monitor, Worker};
use crate::util::progress::Silent;
use crate::util::threads;

/// Most eggs in one batch. A process that is killed loses the batch that it works on.
const BATCH: usize = 32;

/// The number that an egg was offered with, its path, and the outcome.
pub type Done = (usize, PathBuf, Outcome);

/// Called with the key of each offered egg, and with the egg if the cache has it then.
type OnStored = dyn Fn(&EggKey, Option<&CachedEgg>) + Send;

#[derive(Debug, Default)]
struct State {
    queue: Vec<(usize, ScannedEgg)>,
    /// As of the last offer; an egg that was damaged before still is.
    replace: Replace,
    is_busy: bool,
    done: Vec<Done>,
    failure: Option<String>,
}

impl State {
    fn take_batch(&mut self) -> Option<Batch> {
        if self.queue.is_empty() {
            return None;
        }
        self.is_busy = true;
        let eggs = self.queue.drain(..self.queue.len().min(BATCH));
        let (numbers, eggs): (Vec<_>, Vec<_>) = eggs.unzip();
        Some(Batch {
            numbers,
            paths: eggs.iter().map(|egg| egg.tree.path().to_owned()).collect(),
            keys: eggs.iter().map(|egg| egg.tree.manifest.key.clone()).collect(),
            eggs,
            replace: self.replace.clone(),
        })
    }
}

/// Eggs that are stored together.
struct Batch {
    numbers: Vec<usize>,
    paths: Vec<PathBuf>,
    keys: Vec<EggKey>,
    eggs: Vec<ScannedEgg>,
    replace: Replace,
}

/// One thread with its own handle on a cache. Dropping this waits until all eggs are stored.
#[derive(Debug)]
pub struct StoreWorker {
    worker: Worker<State>,
}

impl StoreWorker {
    pub fn new(
        cache: &Path,
        options: &Arc<Options>,
        on_stored: impl Fn(&EggKey, Option<&CachedEgg>) + Send + 'static,
    ) -> Result<Self> {
        let mut worker = Worker::default();
        // A pool of its own, so that no extraction waits behind a compression.
        let pool = threads::pool_prepared_by("pack", options.on_worker_start)?;
        let (root, options) = (cache.to_owned(), Arc::clone(options));
        let packer = Packer { cache: None, root, options, pool };
        worker.spawn("store", move |monitor| store_batches(monitor, packer, &on_stored))?;
        Ok(Self { worker })
    }

    /// Queues an egg.
    pub fn offer(&self, number: usize, egg: ScannedEgg, replace: Replace) {
        self.worker.monitor().update(|state| {
            state.queue.push((number, egg));
            state.replace = replace;
        });
    }

    /// Why the worker stores no more eggs, if it does not.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.worker.monitor().lock().failure.clone()
    }

    /// Waits until all offered eggs are stored. Returns each outcome once.
    #[must_use]
    pub fn settle(&self) -> Vec<Done> {
        let is_working = |state: &mut State| state.is_busy || !state.queue.is_empty();
        std::mem::take(&mut self.worker.monitor().wait_while(is_working).done)
    }
}

fn store_batches(monitor: &Monitor<State>, mut packer: Packer, on_stored: &OnStored) {
    monitor.run_jobs(
        State::take_batch,
        |batch| packer.store(std::mem::take(&mut batch.eggs), &batch.replace),
        |batch, outcomes| {
            let outcomes =
                outcomes.unwrap_or_else(|| Err("storing eggs failed unexpectedly".into()));
            finish(monitor, batch, outcomes, on_stored);
        },
    );
}

/// Reports each egg before the batch counts as done, so `settle` returns after all reports.
fn finish(
    monitor: &Monitor<State>,
    Batch { numbers, paths, keys, .. }: Batch,
    outcomes: Result<Vec<Outcome>, String>,
    on_stored: &OnStored,
) {
    match outcomes {
        Ok(outcomes) => {
            keys.iter().zip(&outcomes).for_each(|(key, outcome)| on_stored(key, outcome.egg()));
            let done = numbers.into_iter().zip(paths).zip(outcomes);
            let done = done.map(|((number, path), outcome)| (number, path, outcome));
            monitor.update(|state| state.done.extend(done));
        }
        Err(failure) => {
            warn!(failure, "no more eggs are stored");
            // After a full disk, for example, the eggs in the queue would fail as well.
            let queued = monitor.update(|state| {
                state.failure = Some(failure);
                std::mem::take(&mut state.queue)
            });
            let queued = queued.iter().map(|(_, egg)| &egg.tree.manifest.key);
            keys.iter().chain(queued).for_each(|key| on_stored(key, None));
        }
    }
    monitor.update(|state| state.is_busy = false);
}

struct Packer {
    /// Opened for the first batch.
    cache: Option<Cache>,
    root: PathBuf,
    options: Arc<Options>,
    pool: ThreadPool,
}

impl Packer {
    fn store(&mut self, eggs: Vec<ScannedEgg>, replace: &Replace) -> Result<Vec<Outcome>, String> {
        let Self { cache, root, options, pool } = self;
        let stored = pool.install(|| store(cache, root, &options.trust, eggs, replace));
        stored.map_err(|error| options.text(&error, root))
    }
}

fn store(
    cache: &mut Option<Cache>,
    root: &Path,
    trust: &Trust,
    eggs: Vec<ScannedEgg>,
    replace: &Replace,
) -> Result<Vec<Outcome>> {
    if let Some(cache) = cache {
        return add::keep(cache, eggs, replace);
    }
    let mut opened = Cache::open_with(root, trust, &Silent)?;
    opened.limit_waiting();
    opened.check_writable()?;
    opened.sweep()?;
    add::keep(cache.insert(opened), eggs, replace)
}
