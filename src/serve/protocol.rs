//! The lines of the protocol: what is asked, and what is answered. docs/protocol.md describes them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::Host;
use crate::ops::add::{self, Added};
use crate::ops::materialize::Outcome;
use crate::ops::register;
use crate::util::hash::digest::Digest;

#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// Comes first.
    Open(Box<Opening>),
    /// Which eggs of a project work here; remotes are asked where the cache has none of the version.
    Find { name: String, variant: String, version: Option<String> },
    /// Projects that will be asked for: remotes may be asked meanwhile.
    Look { wanted: Vec<Wanted> },
    /// An egg that would be built now: whether somebody else builds it.
    Lease(ToBuild),
    /// Eggs that will be asked for, in that order.
    Prefetch { digests: Vec<Digest>, into: PathBuf },
    /// Copy an egg into an eggs directory.
    Materialize { digest: Digest, into: PathBuf },
    /// Keep an egg that was built, in a while.
    Store {
        path: PathBuf,
        source_sha256: String,
        variant: String,
        source: Option<String>,
        build_seconds: Option<f64>,
    },
    /// Wait until all that was stored is kept, and tell what became of it.
    Settle {},
    /// Note which eggs a buildout uses that has succeeded.
    Root {
        directory: PathBuf,
        eggs_directory: PathBuf,
        eggs: Vec<PathBuf>,
        /// Whether every part was installed or updated.
        whole: bool,
    },
    /// Record what was used, and end.
    Close {},
}

/// Who asks, and for which cache.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    pub cache: PathBuf,
    pub host: Host,
    pub buildout: Option<String>,
    pub setuptools: Option<String>,
    /// Looked at for what a power cut has left incomplete.
    pub eggs_directory: Option<PathBuf>,
    /// What tells buildouts that want the same eggs from others.
    pub configuration: Option<String>,
    /// Whether no network may be used.
    #[serde(default)]
    pub offline: bool,
}

/// A project that will be asked for, and its version if it is pinned.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    pub name: String,
    pub version: Option<String>,
}

/// An egg that is not there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToBuild {
    pub name: String,
    pub variant: String,
    pub version: String,
    /// Of its archive; empty where one from any archive will do.
    #[serde(default)]
    pub source_sha256: String,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    Greeting {
        protocol: u32,
        eggcache: &'static str,
    },
    Opened {
        read_only: bool,
        /// Names of eggs that were removed: a power cut had left them incomplete.
        torn: Vec<String>,
        /// What whoever uses this cache should know.
        #[serde(skip_serializing_if = "Option::is_none")]
        warning: Option<String>,
        /// Whether there are remotes, and whether this builds for one.
        #[serde(skip_serializing_if = "Option::is_none")]
        remotes: Option<Role>,
    },
    Found {
        eggs: Vec<Candidate>,
        /// What is wrong with remotes, and was not told yet.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<String>,
    },
    Looking {},
    Leased {
        lease: Leased,
        /// After how many seconds to ask again.
        #[serde(skip_serializing_if = "Option::is_none")]
        wait: Option<f64>,
    },
    Prefetching {
        /// As of `open`, where another eggs directory was looked at just now.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        torn: Vec<String>,
    },
    Materialized {
        #[serde(serialize_with = "crate::disk::files::lossy")]
        path: PathBuf,
        #[serde(flatten)]
        outcome: Outcome,
        /// As of `open`, where another eggs directory was looked at just now.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        torn: Vec<String>,
    },
    /// What is wrong with an egg that was to be stored.
    Refused(add::Outcome),
    Queued {
        outcome: &'static str,
    },
    Settled {
        outcomes: Vec<Added>,
        /// Why the others were not stored, and nothing more is.
        #[serde(skip_serializing_if = "Option::is_none")]
        failure: Option<String>,
    },
    Registered {
        #[serde(flatten)]
        report: register::Report,
        /// What keeps garbage from being collected.
        #[serde(skip_serializing_if = "Option::is_none")]
        warning: Option<String>,
    },
    Closed {
        /// What is wrong with remotes, and was not told yet.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<String>,
        /// Eggs that a remote has now and did not have.
        #[serde(skip_serializing_if = "Option::is_none")]
        pushed: Option<usize>,
    },
    Failed {
        error: String,
        kind: RefusalKind,
    },
}

/// An egg that could be used.
#[derive(Debug, Serialize)]
pub struct Candidate {
    pub digest: Digest,
    pub version: String,
    pub file_name: String,
    pub source_sha256: String,
}

/// What a buildout is to a cache with remotes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It takes what they have.
    Reader,
    /// Also, what it builds goes to one.
    Builder,
}

/// Who builds an egg.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Leased {
    /// This buildout, and the others wait for it.
    Taken,
    /// Somebody else.
    Held,
    /// Somebody else has: it is to be looked for again.
    Built,
    /// Whoever needs it.
    None,
}

/// What a client can do about a failure.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// The egg is gone or damaged: build it.
    Unusable,
    /// A remote has the egg and cannot be used any more: build it. A warning was or will be told.
    Unavailable,
    /// Something else stands in its place.
    InTheWay,
    /// Do without the cache.
    Failure,
}

impl Candidate {
    pub fn of(egg: &CachedEgg) -> Self {
        Self {
            digest: egg.digest,
            version: egg.key.version.clone(),
            file_name: egg.file_name.clone(),
            source_sha256: egg.key.source_sha256.clone(),
        }
    }
}
