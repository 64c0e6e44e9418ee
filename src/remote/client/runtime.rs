//! The thread that does all input and output of remotes.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle};

use crate::util::threads::{self, StartError};

const THREAD: &str = "remote";

/// The handle of the thread, which the first call starts. A failure to start it is final.
pub(super) fn runtime() -> Result<&'static Handle, StartError> {
    static RUNTIME: OnceLock<Result<Handle, StartError>> = OnceLock::new();
    RUNTIME.get_or_init(start).as_ref().map_err(Clone::clone)
}

fn start() -> Result<Handle, StartError> {
    // Fails if another part of the process has chosen a provider, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| StartError::new(THREAD, &error))?;
    let handle = runtime.handle().clone();
    // Not joined: it ends with the process.
    threads::spawn(THREAD, move || runtime.block_on(std::future::pending()))?;
    Ok(handle)
}
