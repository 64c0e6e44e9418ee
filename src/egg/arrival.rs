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
    /// The ids of the other keys that its signatures named, sorted. These signatures were not checked. They
    /// count when what a stolen key has signed is looked for, because one of these keys may have been trusted
    /// before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_keys: Vec<String>,
}
