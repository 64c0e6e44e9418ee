//! Announced sets: a record of the sets that this cache has pushed, so that it does not push the same
//! set twice in a row.

use serde::{Deserialize, Serialize};

use crate::cache::prefetch_hints;
use crate::disk::dir::Dir;
use crate::disk::json_file;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::Host;
use crate::error::{OrLog, Result};
use crate::remote::config::Remote;
use crate::remote::keys::Signer;
use crate::remote::object_names;
use crate::util::clock::now;
use crate::util::hash::digest::Digest;

/// How long a record is valid, in seconds. After that the set is pushed again, in case a `gc` of the
/// remote has removed it.
const VALID_FOR: i64 = 86_400;

/// The record of one set on one remote.
pub struct AnnouncedSet {
    cache: Dir,
    /// The path of the record below the cache.
    path: String,
    record: Option<Record>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    /// Seconds since the Unix epoch.
    #[serde(rename = "told_at")]
    announced_at: i64,
    digests: Vec<Digest>,
}

impl AnnouncedSet {
    /// Reads the record of the set of a configuration. The records are beside the prefetch hints.
    pub fn read(
        cache: &Dir,
        Remote { url, endpoint, .. }: &Remote,
        signer: &Signer,
        configuration: &str,
        host: &Host,
    ) -> Self {
        // Another store or another key has a record of its own.
        let identity = (url, endpoint, &signer.public, object_names::set(configuration, host));
        let identity = serde_json::to_vec(&identity).expect("texts have a form in JSON");
        let path = format!("{}/{}", prefetch_hints::DIR, json_file::name_of(&identity));
        let record = json_file::read(cache, &path).or_log().flatten();
        Self { cache: cache.clone(), path, record }
    }

    /// Whether exactly these eggs were announced not long ago.
    pub fn is_current(&self, eggs: &[CachedEgg]) -> bool {
        self.record.as_ref().is_some_and(|Record { announced_at, digests }| {
            (0..VALID_FOR).contains(&(now() - announced_at))
                && eggs.iter().map(|egg| egg.digest).eq(digests.iter().copied())
        })
    }

    /// Records that these eggs are announced now.
    pub fn write(&self, eggs: &[CachedEgg]) -> Result<()> {
        let digests = eggs.iter().map(|egg| egg.digest).collect();
        let record = Record { announced_at: now(), digests };
        json_file::write(&self.cache, &self.path, &record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::entry::tests::entry;
    use crate::remote::keys::keygen;

    #[test]
    fn a_set_is_current_for_a_day_and_for_the_same_eggs() {
        let dir = tempfile::tempdir().unwrap();
        let signer =
            Signer::read(&keygen(&dir.path().join("key"), None).unwrap().secret, None).unwrap();
        let remote = Remote::new("team", "s3://eggs").unwrap();
        let read = |remote: &Remote| {
            AnnouncedSet::read(
                &Dir::open(dir.path()).unwrap(),
                remote,
                &signer,
                "pins",
                &Host::default(),
            )
        };
        let eggs = [entry().egg()];
        assert!(!read(&remote).is_current(&eggs), "nothing is announced yet");
        read(&remote).write(&eggs).unwrap();
        let mut set = read(&remote);
        assert!(set.is_current(&eggs));
        assert!(!set.is_current(&[]));
        assert!(!read(&Remote::new("team", "s3://others").unwrap()).is_current(&eggs));
        set.record.as_mut().unwrap().announced_at -= VALID_FOR;
        assert!(!set.is_current(&eggs));
    }
}
