//! What the reports of a push and a pull have in common: one line for each egg.

use serde::Serialize;

use crate::egg::arrival::Arrival;
use crate::util::hash::digest::Digest;

/// An egg that was pushed to a remote or pulled from one.
#[derive(Debug, Serialize)]
pub struct EggTransfer {
    pub file_name: String,
    pub digest: Digest,
    pub remote: String,
    pub blob_bytes: u64,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    Pushed,
    Pulled,
    /// The destination has it already.
    Present,
    /// The destination has another build of its key, which stays.
    Other {
        existing: Digest,
    },
    /// Not pushed: the remote does not have it, and it was pulled from another one.
    Skipped {
        arrival: Arrival,
    },
    /// Not pushed, although pulled eggs are: no remote trusts enough of the keys any more by which it came.
    Revoked {
        arrival: Arrival,
    },
    Failed {
        reason: String,
    },
}

/// The eggs that failed, with the reasons.
pub fn failed(eggs: &[EggTransfer]) -> impl Iterator<Item = (&EggTransfer, &str)> {
    eggs.iter().filter_map(|egg| match &egg.outcome {
        Outcome::Failed { reason } => Some((egg, reason.as_str())),
        _ => None,
    })
}
