//! Prefetching: extracts eggs before buildout asks for them, while buildout does something else.
//!
//! A prefetched egg has a temporary name until buildout asks for it, so an eggs directory only gets eggs
//! that buildout asks for. The others are removed like every temporary directory: when their owner is
//! dropped, or by the next sweep if the process was killed.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};

use crate::cache::Blobs;
use crate::cache::extract::extract;
use crate::disk::dir::Dir;
use crate::disk::mmap::Mapped;
use crate::disk::temp::Temp;
use crate::egg::blob::reader::Blob;
use crate::error::OrLog;
use crate::serve::worker::{Monitor, Worker};
use crate::util::hash::digest::Digest;
use crate::util::progress::Silent;

/// Most eggs that are ready and not asked for yet: each keeps two files open.
const MAX_READY: usize = 128;

/// An egg that is complete under a temporary name, and the blob that it came from.
pub type Ready = (Blob<Mapped>, Temp);

/// An egg, and the eggs directory that it is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Job {
    digest: Digest,
    into: PathBuf,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Job>,
    running: Option<Job>,
    ready: HashMap<Job, Ready>,
}

impl State {
    fn take_job(&mut self) -> Option<Job> {
        if self.ready.len() >= MAX_READY {
            return None;
        }
        self.running = self.queue.pop_front();
        self.running.clone()
    }

    fn is_known(&self, job: &Job) -> bool {
        self.running.as_ref() == Some(job)
            || self.ready.contains_key(job)
            || self.queue.contains(job)
    }
}

/// One thread that extracts eggs of one cache in advance, one after the other, each on all cores.
#[derive(Debug)]
pub struct PrefetchWorker {
    worker: Worker<State>,
}

impl PrefetchWorker {
    #[must_use]
    pub fn new(blobs: Blobs) -> Self {
        let mut worker = Worker::default();
        // Without a thread no egg is ever ready, and each is extracted when buildout asks for it.
        let _ = worker.spawn("prefetch", move |monitor| extract_in_advance(monitor, &blobs));
        Self { worker }
    }

    /// Queues eggs in this order for a prepared eggs directory.
    pub fn enqueue(&self, digests: &[Digest], into: &Path) {
        self.worker.monitor().update(|state| {
            for &digest in digests {
                let job = Job { digest, into: into.to_owned() };
                if !state.is_known(&job) {
                    state.queue.push_back(job);
                }
            }
        });
    }

    /// The egg if it is ready or being extracted just now. If it is still in the queue, it leaves the
    /// queue: the caller extracts it sooner.
    #[must_use]
    pub fn take(&self, digest: Digest, into: &Path) -> Option<Ready> {
        let job = Job { digest, into: into.to_owned() };
        let monitor = self.worker.monitor();
        monitor.update(|state| state.queue.retain(|queued| *queued != job));
        drop(monitor.wait_while(|state| state.running.as_ref() == Some(&job)));
        monitor.update(|state| state.ready.remove(&job))
    }
}

impl Drop for PrefetchWorker {
    fn drop(&mut self) {
        self.worker.monitor().update(|state| state.queue.clear());
    }
}

fn extract_in_advance(monitor: &Monitor<State>, blobs: &Blobs) {
    let run = |job: &mut Job| extract_one(blobs, job);
    monitor.run_jobs(State::take_job, run, |job, ready| {
        monitor.update(|state| {
            state.running = None;
            state.ready.extend(ready.flatten().map(|ready| (job, ready)));
        });
    });
}

/// An egg that cannot be extracted now is tried again when buildout asks for it, and that attempt
/// reports the error.
fn extract_one(blobs: &Blobs, job: &Job) -> Option<Ready> {
    let blob = blobs.open(job.digest).or_log()??;
    if job.into.join(&blob.manifest.file_name).symlink_metadata().is_ok() {
        return None;
    }
    let dir = Dir::open(&job.into).or_log()?;
    let temp = extract(blobs, &blob, &dir, &Silent).or_log()?;
    Some((blob, temp))
}
