//! Prefetch: copies eggs that are going to be asked for while whoever will ask does something else.
//!
//! A prefetched egg has a temporary name until it is asked for, so an eggs directory never gets what
//! was not asked for. What is never asked for goes like every temporary directory: when its owner is
//! dropped, or with the next sweep if the process was killed.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::cache::Blobs;
use crate::cache::extract::extract;
use crate::disk::mmap::Mapped;
use crate::disk::permissions;
use crate::disk::temp::Temp;
use crate::egg::blob::reader::Blob;
use crate::serve::monitor;
use crate::util::hash::digest::Digest;
use crate::util::progress::Silent;

/// How many eggs wait to be asked for at most: each keeps two files open.
const MAX_READY: usize = 128;

/// An egg that is whole under a temporary name, and the blob that it came from.
pub type Ready = (Blob<Mapped>, Temp);

/// An egg and the eggs directory that it is for.
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
    is_over: bool,
}

type Shared = monitor::Shared<State>;

/// One thread that copies eggs of one store ahead, one after the other; each on all cores.
#[derive(Debug)]
pub struct Prefetch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Prefetch {
    #[must_use]
    pub fn new(blobs: Blobs) -> Self {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        // Without a thread nothing is ever ready, and everything is copied when it is asked for.
        let thread = std::thread::Builder::new().spawn(move || work(&of_thread, &blobs)).ok();
        Self { shared, thread }
    }

    /// Queues eggs, in their order. `into` is prepared.
    pub fn expect(&self, digests: &[Digest], into: &Path) {
        let mut state = self.shared.lock();
        for &digest in digests {
            let job = Job { digest, into: into.to_owned() };
            let is_known = state.running.as_ref() == Some(&job) || state.queue.contains(&job);
            if !is_known && !state.ready.contains_key(&job) {
                state.queue.push_back(job);
            }
        }
        self.shared.tell();
    }

    /// The egg, if it is ready, or soon will be. One that is still queued is not waited for.
    #[must_use]
    pub fn take(&self, digest: Digest, into: &Path) -> Option<Ready> {
        let job = Job { digest, into: into.to_owned() };
        let mut state = self.shared.lock();
        state.queue.retain(|queued| *queued != job);
        while state.running.as_ref() == Some(&job) {
            state = self.shared.wait(state);
        }
        let ready = state.ready.remove(&job);
        self.shared.tell();
        ready
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.tell();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn work(shared: &Shared, blobs: &Blobs) {
    loop {
        let mut state = shared.lock();
        let job = loop {
            if state.is_over {
                return;
            }
            if state.ready.len() < MAX_READY
                && let Some(job) = state.queue.pop_front()
            {
                break job;
            }
            state = shared.wait(state);
        };
        state.running = Some(job.clone());
        drop(state);
        // Whoever waits for the job shall not wait for ever, whatever happens to it.
        let ready = catch_unwind(AssertUnwindSafe(|| copy(blobs, &job))).ok().flatten();
        let mut state = shared.lock();
        state.running = None;
        state.ready.extend(ready.map(|ready| (job, ready)));
        shared.tell();
    }
}

/// What cannot be copied now is tried again when it is asked for, and then its error is told.
fn copy(blobs: &Blobs, job: &Job) -> Option<Ready> {
    let blob = blobs.open(job.digest).ok()??;
    if job.into.join(&blob.manifest.file_name).symlink_metadata().is_ok() {
        return None;
    }
    let temp = extract(blobs, &blob, &job.into, permissions::mode_mask(&job.into), &Silent).ok()?;
    Some((blob, temp))
}
