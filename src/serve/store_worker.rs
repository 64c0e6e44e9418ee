//! Storing: keeps eggs that were built while whoever builds goes on to the next.
//!
//! An egg is listed when it is offered, and read by a thread when those before it are kept. What has
//! changed in between is refused, so an egg is kept as it was built or not at all. Those that wait are
//! kept together, which shares the syncs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::cache::Cache;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::EggKey;
use crate::error::{IoContext, Result};
use crate::ops::add::{self, Outcome, Replace, ScannedEgg};
use crate::serve::monitor;
use crate::util::threads;

/// How many eggs are kept together at most: what is not yet kept is lost if the process is killed.
const BATCH: usize = 32;

/// What became of an egg, and the number that it was offered with.
pub type Done = (usize, PathBuf, Outcome);

#[derive(Debug, Default)]
struct State {
    queue: Vec<(usize, ScannedEgg)>,
    /// Of the last that was offered: what was damaged before still is.
    replace: Replace,
    is_busy: bool,
    done: Vec<Done>,
    failure: Option<String>,
    is_over: bool,
}

type Shared = monitor::Shared<State>;

/// One thread with a handle of its own on a cache. Dropping this waits until all is kept.
#[derive(Debug)]
pub struct Storing {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Storing {
    /// Calls `on_done` with the key of each egg that was offered, and with the egg if the cache has it
    /// then.
    ///
    /// # Errors
    /// If there can be no thread.
    pub fn new(
        cache: &Path,
        on_done: impl Fn(&EggKey, Option<&CachedEgg>) + Send + 'static,
    ) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let (of_thread, root) = (Arc::clone(&shared), cache.to_owned());
        let thread = std::thread::Builder::new()
            .spawn(move || work(&of_thread, &root, &on_done))
            .at("start to store in", cache)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Queues an egg.
    pub fn offer(&self, number: usize, egg: ScannedEgg, replace: Replace) {
        let mut state = self.shared.lock();
        state.queue.push((number, egg));
        state.replace = replace;
        self.shared.tell();
    }

    /// Why nothing more is kept, if so.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.shared.lock().failure.clone()
    }

    /// Waits until all that was offered is kept, and answers what became of it, once.
    #[must_use]
    pub fn settle(&self) -> Vec<Done> {
        let mut state = self.shared.lock();
        while state.is_busy || !state.queue.is_empty() {
            state = self.shared.wait(state);
        }
        std::mem::take(&mut state.done)
    }
}

impl Drop for Storing {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.tell();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn work(shared: &Shared, root: &Path, on_done: &dyn Fn(&EggKey, Option<&CachedEgg>)) {
    let mut cache = None;
    // Of its own, so that no copy waits behind what is compressed.
    let pool = threads::pool_prepared_by("pack", step_back).ok();
    loop {
        let mut state = shared.lock();
        while state.queue.is_empty() {
            if state.is_over {
                return;
            }
            state = shared.wait(state);
        }
        let at_once = state.queue.len().min(BATCH);
        let (numbers, eggs): (Vec<_>, Vec<_>) = state.queue.drain(..at_once).unzip();
        let replace = state.replace.clone();
        state.is_busy = true;
        drop(state);
        let paths: Vec<PathBuf> = eggs.iter().map(|egg| egg.tree.path().to_owned()).collect();
        let keys: Vec<EggKey> = eggs.iter().map(|egg| egg.tree.manifest.key.clone()).collect();
        // Whoever waits shall not wait for ever, whatever happens.
        let kept = catch_unwind(AssertUnwindSafe(|| {
            let keep = || keep(&mut cache, root, eggs, &replace).map_err(|it| it.to_string());
            if let Some(pool) = &pool { pool.install(keep) } else { keep() }
        }));
        let kept = kept.unwrap_or_else(|_| Err("storing has failed".into()));
        match &kept {
            Ok(outcomes) => {
                keys.iter().zip(outcomes).for_each(|(key, outcome)| on_done(key, outcome.egg()));
            }
            Err(_) => keys.iter().for_each(|key| on_done(key, None)),
        }
        let mut state = shared.lock();
        state.is_busy = false;
        match kept {
            Ok(outcomes) => {
                let done = numbers.into_iter().zip(paths).zip(outcomes);
                state.done.extend(done.map(|((number, path), outcome)| (number, path, outcome)));
            }
            // The disk is full, say: what is still queued would fare no better.
            Err(failure) => {
                state.failure = Some(failure);
                for (_, egg) in state.queue.drain(..) {
                    on_done(&egg.tree.manifest.key, None);
                }
            }
        }
        shared.tell();
    }
}

/// Lets buildout have this thread's processor where there are too few.
fn step_back() {
    // Elsewhere this would be the whole process, answers included.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(10);
}

fn keep(
    cache: &mut Option<Cache>,
    root: &Path,
    eggs: Vec<ScannedEgg>,
    replace: &Replace,
) -> Result<Vec<Outcome>> {
    if let Some(cache) = cache {
        return add::keep(cache, eggs, replace);
    }
    let opened = Cache::open(root)?;
    opened.check_writable()?;
    opened.sweep()?;
    add::keep(cache.insert(opened), eggs, replace)
}
