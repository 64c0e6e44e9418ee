//! The thread that does all input and output of remotes.

use std::sync::OnceLock;

/// The thread that does all input and output of remotes.
pub(super) fn runtime() -> &'static tokio::runtime::Handle {
    static RUNTIME: OnceLock<tokio::runtime::Handle> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a process can watch its files");
        let handle = runtime.handle().clone();
        std::thread::Builder::new()
            .name("remote".into())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))
            .expect("a process can have another thread");
        handle
    })
}
