//! What remotes were told of sets, so that none is sent twice in a row.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cache::prefetch_hints;
use crate::disk::json_file;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::Host;
use crate::error::Result;
use crate::remote::config::Remote;
use crate::remote::keys::Signer;
use crate::remote::object_names;
use crate::util::clock::now;
use crate::util::hash::digest::Digest;

/// For how long a remote is believed to have what it was told of: what a `gc` removes there comes again.
const TOLD_FOR: i64 = 86_400;

/// What a remote was told of a set, so that it is not told again at once.
pub struct AnnouncedSet {
    dir: PathBuf,
    name: String,
    record: Option<Record>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    /// Seconds since the Unix epoch.
    told_at: i64,
    digests: Vec<Digest>,
}

impl AnnouncedSet {
    pub fn of(
        cache: &Path,
        Remote { url, endpoint, .. }: &Remote,
        signer: &Signer,
        configuration: &str,
        host: &Host,
    ) -> Self {
        // Another store, or another key, was told nothing.
        let told = (url, endpoint, &signer.public, object_names::set(configuration, host));
        let name = json_file::name_of(&serde_json::to_vec(&told).expect("texts"));
        let dir = prefetch_hints::dir(cache);
        let record = json_file::read(&dir.join(&name)).ok().flatten();
        Self { dir, name, record }
    }

    /// Whether it was told just these eggs, not long ago.
    pub fn covers(&self, eggs: &[CachedEgg]) -> bool {
        self.record.as_ref().is_some_and(|Record { told_at, digests }| {
            (0..TOLD_FOR).contains(&(now() - told_at))
                && eggs.iter().map(|egg| egg.digest).eq(digests.iter().copied())
        })
    }

    pub fn remember(&self, eggs: &[CachedEgg]) -> Result<()> {
        let digests = eggs.iter().map(|egg| egg.digest).collect();
        json_file::write(&self.dir, &self.name, &Record { told_at: now(), digests })
    }
}
