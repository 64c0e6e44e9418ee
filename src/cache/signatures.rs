//! Signatures: the digests that buildout has computed of the directories its recipes are imported from, so that
//! the next run need not read these directories again.
//!
//! One record for each state of a directory, `signatures/NAME.json`. What a state is, the Python package knows:
//! the names, sizes, times and inodes of the files. Records that cannot be read or written are ignored.

use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::disk::dir::Dir;
use crate::disk::json_file;
use crate::error::{OrLog, Result};
use crate::util::clock::now;
use crate::util::hash::digest::Digest;
use crate::util::hash::is_lower_hex;
use crate::util::hash::sha256::Sha256;

/// The directory of the records. Its name is part of the cache's format.
pub(super) const DIR: &str = "signatures";
/// The age at which a record is removed, in seconds.
const FORGOTTEN_AFTER: i64 = 180 * 86_400;
/// The most digits of a digest.
const LONGEST: usize = 128;

/// What buildout has computed: lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Signature(String);

impl TryFrom<String> for Signature {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if !text.is_empty() && text.len() <= LONGEST && is_lower_hex(&text) {
            Ok(Self(text))
        } else {
            Err("a signature has 1 to 128 lower-case hexadecimal digits")
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Record {
    signature: Signature,
    /// Of the state and the signature: another one means damage, or another state.
    digest: Digest,
}

impl Record {
    fn new(state: Sha256, signature: Signature) -> Self {
        let digest = Digest::of(format!("{state} {}", signature.0).as_bytes());
        Self { signature, digest }
    }
}

impl Cache {
    /// The signature of a directory in a state; `None` if it is not known.
    #[must_use]
    pub fn signature(&self, state: Sha256) -> Option<Signature> {
        let found = json_file::read(&self.dir, &path(state)).or_log().flatten()?;
        let Record { signature, digest } = found;
        (Record::new(state, signature.clone()).digest == digest).then_some(signature)
    }

    /// Records a signature. Does nothing if this process cannot write the cache.
    pub fn record_signature(&self, state: Sha256, signature: Signature) {
        if self.check_writable().is_ok() {
            let record = Record::new(state, signature);
            json_file::write_briefly(&self.dir, &path(state), &record).or_log();
        }
    }
}

/// Removes old records, and temporary files.
pub fn forget_old(cache: &Dir) -> Result<()> {
    json_file::forget_old(cache, DIR, FORGOTTEN_AFTER, now())
}

fn path(state: Sha256) -> String {
    format!("{DIR}/{}", json_file::name_of(state.to_string().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(text: &str) -> Result<Signature, &'static str> {
        Signature::try_from(text.to_owned())
    }

    #[test]
    fn a_signature_belongs_to_one_state() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let [a, b] = [b"a", b"b"].map(|it| Sha256::of(it));
        assert_eq!(cache.signature(a), None);
        cache.record_signature(a, signature("0a").unwrap());
        assert_eq!(cache.signature(a), signature("0a").ok());
        assert_eq!(cache.signature(b), None);
        // A record under another name, one that was damaged, and one that a crash has cut count as none.
        let record = dir.path().join(path(a));
        std::fs::copy(&record, dir.path().join(path(b))).unwrap();
        assert_eq!(cache.signature(b), None);
        let text = std::fs::read_to_string(&record).unwrap();
        for damaged in [&text.replace("\"0a\"", "\"0b\""), "{\"signature\":"] {
            std::fs::write(&record, damaged).unwrap();
            assert_eq!(cache.signature(a), None, "{damaged}");
        }
    }

    #[test]
    fn a_signature_has_only_digits() {
        for text in ["", "0A", "x", "../0", &"0".repeat(129)] {
            assert!(signature(text).is_err(), "{text}");
        }
        assert!(signature(&"0".repeat(128)).is_ok());
    }
}
