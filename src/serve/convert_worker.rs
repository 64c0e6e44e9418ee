//! Converting ahead: makes eggs of wheels that were fetched ahead, while buildout does something else.
//!
//! Such an egg has a temporary name until buildout asks for the egg of a wheel of exactly this name and
//! SHA-256. A wheel that is left to buildout is not tried again. An error is: the second attempt reports it.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::debug;

use crate::disk::dir::Dir;
use crate::disk::temp::Temp;
use crate::egg::wheel::Reason;
use crate::error::OrLog;
use crate::ops::convert::{Converter, Origin, Outcome};
use crate::serve::worker::{Monitor, Worker};
use crate::util::hash::sha256::Sha256;

/// Most eggs that are ready and not asked for yet: each keeps files open.
const MAX_READY: usize = 128;

/// What buildout asks for: the SHA-256 and the file name of a wheel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Wheel {
    pub sha256: Sha256,
    pub file_name: String,
}

/// A wheel to convert.
#[derive(Debug)]
pub struct Job {
    pub wheel: Wheel,
    pub path: PathBuf,
    /// The directory in which the egg gets a temporary name.
    pub into: PathBuf,
    pub converter: Arc<Converter>,
}

/// An egg that is complete in a temporary directory.
#[derive(Debug)]
struct Ready {
    egg: String,
    warnings: Vec<String>,
    temp: Temp,
    converter: Arc<Converter>,
}

/// What buildout gets of a wheel that was converted ahead.
#[derive(Debug)]
pub enum Taken {
    /// The name of the egg, which is in the directory now.
    Egg { name: String, warnings: Vec<String> },
    /// Buildout installs the wheel itself.
    Left(Reason),
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Job>,
    running: Option<Wheel>,
    ready: HashMap<Wheel, Ready>,
    left: HashMap<Wheel, Reason>,
}

impl State {
    fn take_job(&mut self) -> Option<Job> {
        if self.ready.len() >= MAX_READY {
            return None;
        }
        let job = self.queue.pop_front()?;
        self.running = Some(job.wheel.clone());
        Some(job)
    }
}

/// One thread that converts wheels, one after the other, each on all cores.
#[derive(Debug)]
pub struct ConvertWorker {
    worker: Worker<State>,
}

impl ConvertWorker {
    #[must_use]
    pub fn new() -> Self {
        let mut worker = Worker::default();
        // Without a thread no egg is ever ready, and each is made when buildout asks for it.
        let _ = worker.spawn("convert", convert_ahead);
        Self { worker }
    }

    pub fn enqueue(&self, job: Job) {
        self.worker.monitor().update(|state| state.queue.push_back(job));
    }

    /// Moves the egg of a wheel into a directory of the same file system, if this converter has made it
    /// or is making it just now. If the wheel is still in the queue, it leaves the queue: the caller
    /// converts it sooner.
    #[must_use]
    pub fn take(&self, wheel: &Wheel, into: &Path, converter: &Arc<Converter>) -> Option<Taken> {
        let monitor = self.worker.monitor();
        monitor.update(|state| state.queue.retain(|queued| queued.wheel != *wheel));
        drop(monitor.wait_while(|state| state.running.as_ref() == Some(wheel)));
        if let Some(reason) = monitor.update(|state| state.left.remove(wheel)) {
            return Some(Taken::Left(reason));
        }
        let ready = monitor.update(|state| state.ready.remove(wheel))?;
        if !Arc::ptr_eq(&ready.converter, converter) {
            return None;
        }
        let from = Dir::open(ready.temp.path()).or_log()?;
        let to = Dir::open(into).or_log()?;
        from.rename_new(ready.egg.as_str(), &to, ready.egg.as_str()).or_log()?;
        Some(Taken::Egg { name: ready.egg, warnings: ready.warnings })
    }
}

impl Drop for ConvertWorker {
    fn drop(&mut self) {
        self.worker.monitor().update(|state| state.queue.clear());
    }
}

fn convert_ahead(monitor: &Monitor<State>) {
    monitor.run_jobs(
        State::take_job,
        |job| convert_one(job),
        |job, result| {
            monitor.update(|state| {
                state.running = None;
                match result.flatten() {
                    Some(Ok(ready)) => drop(state.ready.insert(job.wheel, ready)),
                    Some(Err(reason)) => drop(state.left.insert(job.wheel, reason)),
                    None => {}
                }
            });
        },
    );
}

/// The egg of a wheel, or why it is left to buildout; `None` after an error.
fn convert_one(job: &Job) -> Option<Result<Ready, Reason>> {
    let temp = Temp::dir_at(&job.into).or_log()?;
    let made = job.converter.convert(&job.path, temp.path(), Origin::Portable).or_log()?;
    if made.source_sha256 != Some(job.wheel.sha256) {
        return None;
    }
    debug!(wheel = job.wheel.file_name, outcome = ?made.outcome, "converted ahead");
    let warnings = made.warnings;
    match made.outcome {
        Outcome::Converted { egg, .. } => {
            Some(Ok(Ready { egg, warnings, temp, converter: Arc::clone(&job.converter) }))
        }
        Outcome::Left { reason } => Some(Err(reason)),
        Outcome::Present { .. } => None,
    }
}
