//! How an egg came from a remote.

use serde::{Deserialize, Serialize};

/// The way by which an egg came from a remote into this cache. An egg that was built or added here has
/// none. It is not part of the blob, whose bytes are those of the remote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// When it arrived here, in seconds since the Unix epoch.
    pub arrived_at: i64,
    /// The name that the remote had then.
    pub remote: String,
    /// The address of the remote, without secrets.
    pub url: String,
    /// The ids of the trusted keys that had signed its entry, sorted.
    pub keys: Vec<String>,
}
