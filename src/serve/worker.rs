//! Worker threads, and the state that they share with their owner.
//!
//! A [`Worker`] owns threads and a [`Monitor`], which is one state behind a lock with a signal for its
//! changes. The owner adds jobs to the state and waits for their outcomes there; the threads take the
//! jobs out of it ([`Monitor::run_jobs`]). The jobs are part of the state and not in a channel, because
//! owners reorder them, drop them, ask whether one of them is running, or hand several to one thread.
//!
//! - A job that panics ends without an outcome, and its thread takes the next one. So no owner waits
//!   forever.
//! - A worker that is dropped closes and joins its threads, which first finish the jobs that still wait.
//!   An owner that has no use for those removes them before.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::util::threads::{self, StartError};

/// Threads that work on one state. Dropping this waits for them.
#[derive(Debug, Default)]
pub struct Worker<S> {
    monitor: Arc<Monitor<S>>,
    threads: Vec<JoinHandle<()>>,
}

impl<S: Send + 'static> Worker<S> {
    /// Starts a thread that works on the state until the worker closes.
    pub fn spawn(
        &mut self,
        name: &str,
        work: impl FnOnce(&Monitor<S>) + Send + 'static,
    ) -> Result<(), StartError> {
        let monitor = Arc::clone(&self.monitor);
        self.threads.push(threads::spawn(name, move || work(&monitor))?);
        Ok(())
    }
}

impl<S> Worker<S> {
    pub fn monitor(&self) -> &Arc<Monitor<S>> {
        &self.monitor
    }

    /// Closes the state, and waits for the threads.
    pub fn join(&mut self) {
        self.monitor.close();
        for thread in self.threads.drain(..) {
            // A panic of the thread has been printed, and must not become one of its owner.
            let _ = thread.join();
        }
    }
}

impl<S> Drop for Worker<S> {
    fn drop(&mut self) {
        self.join();
    }
}

/// A state that several threads change and wait for.
#[derive(Debug, Default)]
pub struct Monitor<S> {
    state: Mutex<S>,
    changed: Condvar,
    is_closed: AtomicBool,
}

impl<S> Monitor<S> {
    /// Locks the state to read it; [`Monitor::update`] changes it.
    pub fn lock(&self) -> MutexGuard<'_, S> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes all threads that wait for a change.
    pub fn update<R>(&self, change: impl FnOnce(&mut S) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Waits while `condition` holds.
    pub fn wait_while(&self, condition: impl FnMut(&mut S) -> bool) -> MutexGuard<'_, S> {
        self.changed.wait_while(self.lock(), condition).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while `condition` holds, but no longer than `limit`.
    pub fn wait_while_at_most(
        &self,
        limit: Duration,
        condition: impl FnMut(&mut S) -> bool,
    ) -> MutexGuard<'_, S> {
        let waited = self.changed.wait_timeout_while(self.lock(), limit, condition);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits for the worker to close, but no longer than `limit`. Returns whether it has closed.
    pub fn wait_until_closed(&self, limit: Duration) -> bool {
        drop(self.wait_while_at_most(limit, |_| !self.is_closed()));
        self.is_closed()
    }

    /// Whether the owner has no more jobs.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    fn close(&self) {
        // Under the lock: a thread that has just looked at the flag would miss the signal otherwise.
        self.update(|_| self.is_closed.store(true, Ordering::Relaxed));
    }

    /// Runs jobs until the worker has closed and `take` finds no more of them.
    ///
    /// `take` removes the next job from the state, `run` does it without holding the lock, and `finish`
    /// records its outcome, which is `None` if the job panicked.
    pub fn run_jobs<J, R>(
        &self,
        take: impl Fn(&mut S) -> Option<J>,
        mut run: impl FnMut(&mut J) -> R,
        mut finish: impl FnMut(J, Option<R>),
    ) {
        while let Some(mut job) = self.next_job(&take) {
            let outcome = catch_unwind(AssertUnwindSafe(|| run(&mut job))).ok();
            finish(job, outcome);
        }
    }

    fn next_job<J>(&self, take: impl Fn(&mut S) -> Option<J>) -> Option<J> {
        let mut job = None;
        drop(self.wait_while(|state| {
            job = take(state);
            job.is_none() && !self.is_closed()
        }));
        job
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Sums {
        queue: Vec<u64>,
        done: Vec<Option<u64>>,
    }

    /// A worker that adds one to numbers, and panics at 0.
    fn worker() -> Worker<Sums> {
        let mut worker = Worker::default();
        let add = |monitor: &Monitor<Sums>| {
            monitor.run_jobs(
                |sums| sums.queue.pop(),
                |job| job.checked_sub(1).expect("it is not 0") + 2,
                |_, outcome| monitor.update(|sums| sums.done.push(outcome)),
            );
        };
        worker.spawn("add", add).unwrap();
        worker
    }

    #[test]
    fn an_outcome_can_be_waited_for() {
        let worker = worker();
        worker.monitor().update(|sums| sums.queue.push(1));
        let sums = worker.monitor().wait_while(|sums| sums.done.is_empty());
        assert_eq!(sums.done, [Some(2)]);
    }

    #[test]
    fn waiting_for_an_outcome_ends_at_its_limit() {
        let worker = worker();
        let limit = Duration::from_millis(1);
        let sums = worker.monitor().wait_while_at_most(limit, |sums| sums.done.is_empty());
        assert!(sums.done.is_empty());
        drop(sums);
        assert!(!worker.monitor().wait_until_closed(limit));
    }

    #[test]
    fn a_job_that_panics_has_no_outcome_and_the_next_one_runs() {
        let worker = worker();
        worker.monitor().update(|sums| sums.queue.extend([1, 0]));
        let sums = worker.monitor().wait_while(|sums| sums.done.len() < 2);
        assert_eq!(sums.done, [None, Some(2)]);
    }

    #[test]
    fn dropping_a_worker_finishes_the_jobs_that_wait() {
        let worker = worker();
        let monitor = Arc::clone(worker.monitor());
        monitor.update(|sums| sums.queue.extend(1..=1000));
        drop(worker);
        assert_eq!(monitor.lock().done.len(), 1000);
        assert!(monitor.is_closed());
    }

    #[test]
    fn dropping_a_worker_skips_the_jobs_that_were_removed() {
        let worker = worker();
        let monitor = Arc::clone(worker.monitor());
        monitor.update(|sums| sums.queue.extend(1..=1000));
        let removed = monitor.update(|sums| std::mem::take(&mut sums.queue));
        drop(worker);
        assert_eq!(monitor.lock().done.len() + removed.len(), 1000, "each is done or removed");
    }

    #[test]
    fn a_panic_outside_of_a_job_does_not_reach_the_owner() {
        let mut worker = Worker::<Sums>::default();
        worker.spawn("panic", |monitor| monitor.update(|_| panic!("with the lock held"))).unwrap();
        let monitor = Arc::clone(worker.monitor());
        drop(worker);
        assert!(monitor.lock().done.is_empty(), "the state can be read");
    }
}
