//! Writes that several processes attempt at the same time: each tries again after a random pause.

use std::thread;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::remote::client::Client;

/// How often an object is written that other processes write as well.
const TRIES: u32 = 12;

/// Calls `write` until it returns a value, with a pause after each attempt that another process
/// defeated.
///
/// # Errors
/// [`Error::Busy`] if other processes were faster every time.
pub fn until_written<T>(
    client: &Client,
    name: &str,
    mut write: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    for attempt in 0..TRIES {
        if let Some(written) = write()? {
            return Ok(written);
        }
        thread::sleep(jitter(attempt));
    }
    Err(Error::Busy { name: client.name().into(), object: name.into() })
}

/// A random pause, which is longer after each attempt. Its average is 20 ms after the first one and
/// 1.28 s from the seventh on.
pub fn jitter(attempt: u32) -> Duration {
    let most = 20u64 << attempt.min(6);
    Duration::from_millis(fastrand::u64(most / 2..most / 2 + most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_vary_by_half_of_their_average() {
        for (attempt, average) in [(0, 20), (1, 40), (6, 1280), (7, 1280), (TRIES, 1280)] {
            for _ in 0..1000 {
                let pause = jitter(attempt).as_millis();
                assert!((average / 2..average / 2 + average).contains(&pause), "{pause}");
            }
        }
    }
}
