//! How long a remote may take.

use std::time::Duration;

/// How long a remote may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a connection.
    pub(super) connect: Duration,
    /// For one request with all its retries, but not for the bytes of a blob.
    pub(super) answer: Duration,
    /// How often a request is made again that may succeed then, and how long that waits at most.
    pub(super) retries: usize,
    pub(super) most_between: Duration,
    /// In each such time a transfer brings [`Patience::LEAST`] bytes, or is given up.
    pub(super) stall: Duration,
    /// Bytes in a second that an upload takes, or it is given up.
    pub(super) rate: u64,
}

impl Patience {
    /// Bytes of a transfer in each time of `stall`.
    pub(super) const LEAST: u64 = 32 << 10;

    /// Beside a build, which can do without.
    pub const BUILD: Self = Self {
        connect: Duration::from_millis(1500),
        answer: Duration::from_millis(2200),
        retries: 4,
        most_between: Duration::from_millis(800),
        stall: Duration::from_millis(2200),
        rate: 256 << 10,
    };

    /// For somebody who has asked for nothing else.
    pub const COMMAND: Self = Self {
        connect: Duration::from_secs(10),
        answer: Duration::from_mins(1),
        retries: 8,
        most_between: Duration::from_secs(10),
        stall: Duration::from_secs(30),
        rate: 16 << 10,
    };

    /// How long it may take until so many bytes that are sent have arrived.
    pub(super) fn sending(self, bytes: usize) -> Duration {
        self.answer + Duration::from_secs(bytes as u64 / self.rate)
    }
}
