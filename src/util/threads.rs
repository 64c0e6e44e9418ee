//! The thread pool that parallel work runs on.

use std::error::Error;
use std::io;
use std::sync::OnceLock;

use rayon::ThreadPoolBuilder;

/// Starts rayon's global thread pool if needed. Call this before parallel work: rayon itself panics if
/// it cannot start the pool, for example where a limit on processes is reached.
pub fn start_pool() -> io::Result<()> {
    static STARTED: OnceLock<Result<(), String>> = OnceLock::new();
    if rayon::current_thread_index().is_some() {
        return Ok(());
    }
    let started = STARTED.get_or_init(|| match ThreadPoolBuilder::new().build_global() {
        Err(error) if error.source().is_some() => Err(error.to_string()),
        // An error without a source says that the pool has already started.
        _ => Ok(()),
    });
    started.clone().map_err(io::Error::other)
}
