//! How long a remote may take.

use std::time::Duration;

/// How long a remote may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a connection.
    pub(super) connect: Duration,
    /// For one request with all its retries, without the bytes of a blob.
    pub(super) answer: Duration,
    /// How often a request is retried, and the longest pause before a retry.
    pub(super) retries: usize,
    pub(super) most_between: Duration,
    /// A download that brings fewer than [`Patience::LEAST`] bytes in this time is given up.
    pub(super) stall: Duration,
    /// An upload that takes fewer bytes per second is given up.
    pub(super) rate: u64,
    /// Whether the caller continues without a remote that fails.
    pub(super) is_optional: bool,
}

impl Patience {
    /// Fewest bytes of a download in each time of `stall`.
    pub(super) const LEAST: u64 = 32 << 10;

    /// For a build, which continues without the remote.
    pub const BUILD: Self = Self {
        connect: Duration::from_millis(1500),
        answer: Duration::from_millis(2200),
        retries: 4,
        most_between: Duration::from_millis(800),
        stall: Duration::from_millis(2200),
        rate: 256 << 10,
        is_optional: true,
    };

    /// For a command whose purpose is the remote.
    pub const COMMAND: Self = Self {
        connect: Duration::from_secs(10),
        answer: Duration::from_mins(1),
        retries: 8,
        most_between: Duration::from_secs(10),
        stall: Duration::from_secs(30),
        rate: 16 << 10,
        is_optional: false,
    };

    /// How long an upload of this many bytes may take.
    pub(super) fn sending(self, bytes: usize) -> Duration {
        self.answer + Duration::from_secs(bytes as u64 / self.rate)
    }
}
