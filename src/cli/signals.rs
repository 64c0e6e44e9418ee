//! Signals that let a command finish what is complete before it ends.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

use crate::util::stop::Stop;

/// Turns the first SIGINT or SIGTERM into a request to stop. The second one ends the process at once.
pub struct Signals {
    pub stop: Stop,
    /// The number of the signal; 0 if none has come.
    received: Arc<AtomicUsize>,
}

impl Signals {
    pub fn listen() -> io::Result<Self> {
        let signals = Self { stop: Stop::default(), received: Arc::default() };
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal does not find the flag set.
            flag::register_conditional_default(signal, signals.stop.flag())?;
            flag::register(signal, signals.stop.flag())?;
            let number = usize::try_from(signal).unwrap_or_default();
            flag::register_usize(signal, Arc::clone(&signals.received), number)?;
        }
        Ok(signals)
    }

    /// If a signal has come, ends this process by it, so that a shell ends its loop, too.
    pub fn end(&self) -> io::Result<()> {
        match i32::try_from(self.received.load(Ordering::Relaxed)) {
            Ok(signal) if signal != 0 => low_level::emulate_default_handler(signal),
            _ => Ok(()),
        }
    }
}
