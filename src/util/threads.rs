//! Threads and thread pools. A system that has no thread left is an error here and never a panic.

use std::error::Error;
use std::fmt::Display;
use std::io;
use std::sync::OnceLock;
use std::thread::{self, Builder, JoinHandle};

use rayon::{ThreadPool, ThreadPoolBuilder};

/// The system did not start a thread: the user or the process has too many.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot start the thread `{name}`: {reason}")]
pub struct StartError {
    name: String,
    reason: String,
}

impl StartError {
    pub fn new(name: &str, reason: &dyn Display) -> Self {
        Self { name: name.to_owned(), reason: reason.to_string() }
    }
}

/// Starts a thread; debuggers and `ps -L` show its name.
pub fn spawn(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    let started = Builder::new().name(name.to_owned()).spawn(work);
    started.map_err(|error| StartError::new(name, &error))
}

/// Starts a pool of `size` threads.
pub fn pool(name: &'static str, size: usize) -> Result<ThreadPool, StartError> {
    build(name, ThreadPoolBuilder::new().num_threads(size))
}

/// Starts a pool with one thread for each processor, each of which calls `prepare` first.
pub fn pool_prepared_by(name: &'static str, prepare: fn()) -> Result<ThreadPool, StartError> {
    build(name, ThreadPoolBuilder::new().start_handler(move |_| prepare()))
}

fn build(name: &'static str, builder: ThreadPoolBuilder) -> Result<ThreadPool, StartError> {
    let pool = builder.thread_name(move |index| format!("{name} {index}")).build();
    pool.map_err(|error| StartError::new(name, &error))
}

/// Starts rayon's global thread pool if needed. Call this before parallel work: rayon itself panics if
/// it cannot start the pool, for example where a limit on processes is reached.
pub fn start_pool() -> Result<(), StartError> {
    static STARTED: OnceLock<Result<(), StartError>> = OnceLock::new();
    if rayon::current_thread_index().is_some() {
        return Ok(());
    }
    let started = STARTED.get_or_init(|| match ThreadPoolBuilder::new().build_global() {
        Err(error) if error.source().is_some() => Err(StartError::new("work", &error)),
        // An error without a source says that the pool has already started.
        _ => Ok(()),
    });
    started.clone()
}

/// Does `work` for every item at the same time, each in a thread of its own. The calling thread
/// does what no thread can be started for. Work that panics yields the default.
pub fn map_at_once<T: Sync, R: Default + Send>(
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let work = &work;
    thread::scope(|scope| {
        let start = |item| (item, Builder::new().spawn_scoped(scope, move || work(item)));
        let started: Vec<_> = items.iter().map(start).collect();
        let finish = |(item, thread): (_, io::Result<thread::ScopedJoinHandle<R>>)| {
            thread.map_or_else(|_| work(item), |thread| thread.join().unwrap_or_default())
        };
        started.into_iter().map(finish).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn map_at_once_keeps_the_order_of_its_items() {
        assert_eq!(map_at_once(&[1, 2, 3], |number| number * 2), [2, 4, 6]);
    }

    #[test]
    fn an_impossible_pool_is_an_error_with_its_name() {
        // No address space has room for so many stacks.
        let builder = ThreadPoolBuilder::new().num_threads(1).stack_size(usize::MAX / 2);
        let error = build("push", builder).unwrap_err().to_string();
        assert!(error.starts_with("cannot start the thread `push`: "), "{error}");
    }
}
