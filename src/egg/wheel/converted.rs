//! Recognising eggs that were converted.

use super::plan::portable_direct_url;
use crate::egg::manifest::{Entry, EntryKind};
use crate::util::hash::digest::Digest;

/// Whether an egg has the metadata that eggcache writes when it converts exactly this archive, which has this
/// SHA-256.
#[must_use]
pub fn is_converted_from(source: &str, sha256: &str, entries: &[Entry]) -> bool {
    let Some(expected) = portable_direct_url(source, sha256) else { return false };
    let expected = Digest::of(expected.as_bytes());
    entries.iter().any(|entry| {
        entry.path.as_str().ends_with(".dist-info/direct_url.json")
            && matches!(entry.kind, EntryKind::File { digest, .. } if digest == expected)
    })
}
