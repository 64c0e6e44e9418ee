//! The lines of the protocol: requests and answers. docs/reference/protocol.md describes them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cache::build_options::BuildOptions;
use crate::cache::last_run::Lack;
use crate::cache::signatures::Signature;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::Host;
use crate::ops::add::{self, Added};
use crate::ops::convert::Target;
use crate::ops::materialize::Outcome;
use crate::ops::register;
use crate::util::hash::digest::Digest;
use crate::util::hash::is_lower_hex;
use crate::util::hash::sha256::Sha256;

#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// The first request.
    Open(Box<Opening>),
    /// Find the eggs of a project that work here.
    Find(ToFind),
    /// Note the choice by which this buildout came to the archive of an egg.
    Learn { digest: Digest, choice: Choice },
    /// Offer these eggs no more: this buildout does not find their projects by their file names.
    Reject { digests: Vec<Digest> },
    /// Announce projects that will be asked for, so that remotes are asked meanwhile.
    Look { wanted: Vec<Wanted> },
    /// Request the right to build an egg.
    Lease(ToBuild),
    /// Announce eggs that will be asked for, in this order.
    Prefetch { digests: Vec<Digest>, into: PathBuf },
    /// Copy an egg into an eggs directory.
    Materialize { digest: Digest, into: PathBuf },
    /// Make a temporary directory for archives that are fetched ahead, in an eggs directory.
    Spool { into: PathBuf },
    /// Announce a wheel that was fetched ahead.
    Prepare(Box<ToPrepare>),
    /// Make an egg of a wheel.
    Convert(Box<ToConvert>),
    /// Note an egg that buildout has built, or cannot install, because it was not found.
    Built(Box<Built>),
    /// Ask for the signature of a directory in a state, or note it.
    Sign { state: Sha256, signature: Option<Signature> },
    /// Queue a built egg to be stored.
    Store(Box<ToStore>),
    /// Wait until all queued eggs are stored, and return their outcomes.
    Settle {},
    /// Register the eggs of a buildout that has succeeded.
    Root {
        directory: PathBuf,
        eggs_directory: PathBuf,
        eggs: Vec<PathBuf>,
        /// Whether every part was installed or updated.
        whole: bool,
    },
    /// End the session.
    Close {
        /// Whether buildout has failed, as far as it knows.
        #[serde(default)]
        failed: bool,
    },
}

impl Request {
    /// The name of the request in a line.
    #[must_use]
    pub fn op(&self) -> &'static str {
        match self {
            Self::Open(_) => "open",
            Self::Find(_) => "find",
            Self::Learn { .. } => "learn",
            Self::Reject { .. } => "reject",
            Self::Look { .. } => "look",
            Self::Lease(_) => "lease",
            Self::Prefetch { .. } => "prefetch",
            Self::Materialize { .. } => "materialize",
            Self::Spool { .. } => "spool",
            Self::Prepare(_) => "prepare",
            Self::Convert(_) => "convert",
            Self::Built(_) => "built",
            Self::Sign { .. } => "sign",
            Self::Store(_) => "store",
            Self::Settle {} => "settle",
            Self::Root { .. } => "root",
            Self::Close { .. } => "close",
        }
    }
}

/// A cache, and the buildout that uses it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    pub cache: PathBuf,
    pub host: Host,
    pub buildout: Option<String>,
    pub setuptools: Option<String>,
    /// Torn copies in it, and what killed runs have left, are removed.
    pub eggs_directory: Option<PathBuf>,
    /// A text that is equal for buildouts that use the same eggs.
    pub configuration: Option<String>,
    /// Where this Python has its shared libraries.
    pub library_folder: Option<PathBuf>,
    /// Whether to use no network.
    #[serde(default)]
    pub offline: bool,
}

/// An egg that was a miss: buildout has built it, or cannot install it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Built {
    /// As its author writes it.
    pub name: String,
    /// The PEP 503 name, which the bridge derives.
    #[serde(skip)]
    pub project: String,
    /// Empty if it is missing.
    pub version: String,
    /// Of its archive; empty if it is not known.
    #[serde(default)]
    pub source_sha256: String,
    pub variant: String,
    /// As in [`ToStore`].
    pub bound_variant: Option<String>,
    /// Of a custom build: what its variant is a digest of, as people read it.
    #[serde(default)]
    pub options: BuildOptions,
    /// Whether the buildout takes no such egg from the cache: a part builds the project with options.
    #[serde(default)]
    pub is_withheld: bool,
    pub build_seconds: f64,
    /// Whether the program has made it of a wheel.
    #[serde(default)]
    pub is_converted: bool,
    /// Why a wheel was not converted.
    pub not_converted: Option<String>,
    /// The versions that buildout would take, as version specifiers of PEP 440, if it can neither install nor
    /// build any. Empty for all.
    pub missing: Option<String>,
    /// Why it is missing.
    #[serde(default)]
    pub lack: Lack,
}

/// A built egg.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToStore {
    pub path: PathBuf,
    pub source_sha256: String,
    pub variant: String,
    /// The variant if the egg contains one of the `folders`.
    pub bound_variant: Option<String>,
    /// Paths of the folder of the buildout.
    #[serde(default)]
    pub folders: Vec<PathBuf>,
    pub source: Option<String>,
    pub archive_url: Option<String>,
    pub choice: Option<Choice>,
    pub build_seconds: Option<f64>,
    /// Whether its archive has sources for which the machine has no compiler.
    #[serde(default)]
    pub lacks_compiler: bool,
}

/// What `find` looks for. Remotes are asked if the cache has no egg of this version that meets the other
/// conditions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToFind {
    pub name: String,
    pub variant: String,
    /// As in [`ToStore`].
    pub bound_variant: Option<String>,
    pub version: Option<String>,
    /// The choice by which this buildout comes to an archive of the version.
    pub choice: Option<Choice>,
    /// Of the archive that this buildout has chosen.
    pub source_sha256: Option<String>,
}

/// A choice among the places of a buildout: the SHA-256 of what it depends on, in lower-case
/// hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Choice(pub String);

impl TryFrom<String> for Choice {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.len() == 64 && is_lower_hex(&text) {
            Ok(Self(text))
        } else {
            Err("a choice has 64 lower-case hexadecimal digits")
        }
    }
}

/// A project that will be asked for, with its version if it is pinned.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    pub name: String,
    pub version: Option<String>,
}

/// A missing egg.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToBuild {
    pub name: String,
    pub variant: String,
    /// As in [`ToStore`].
    pub bound_variant: Option<String>,
    pub version: String,
    /// Of its archive; empty if any archive will do.
    #[serde(default)]
    pub source_sha256: String,
}

/// A wheel that buildout will probably ask for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToPrepare {
    pub sha256: Sha256,
    /// The request for its egg. The directory may be another one of the same file system.
    pub convert: ToConvert,
}

/// A wheel that buildout would install with pip.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToConvert {
    pub wheel: PathBuf,
    /// Where the egg is made.
    pub into: PathBuf,
    /// The Python that runs pip, and its versions.
    pub python: Target,
    pub setuptools: Option<String>,
    /// A digest of what buildout does with the result of pip.
    pub code: String,
    /// The variables that count for pip. The program may be older than their values.
    pub environment: BTreeMap<String, String>,
    pub umask: u32,
    /// What is compiled: that of stock buildout, or as eggs of this variant.
    #[serde(default)]
    pub variant: String,
    /// The egg that buildout has made of the wheel, to compare it.
    pub stock: Option<PathBuf>,
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
        /// Names of torn copies that were removed.
        torn: Vec<String>,
        /// A problem of the cache that its user should know.
        #[serde(skip_serializing_if = "Option::is_none")]
        warning: Option<String>,
        /// Why nothing is stored: the disk is full already.
        #[serde(skip_serializing_if = "Option::is_none")]
        full: Option<String>,
        /// Set if the cache has usable remotes.
        #[serde(skip_serializing_if = "Option::is_none")]
        remotes: Option<Role>,
        /// The names of usable remotes that are not asked, because the run is offline.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        unasked_remotes: Vec<String>,
    },
    Found {
        eggs: Vec<Candidate>,
        /// Builds of the wanted version that are not offered, if no egg of it is.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        rejected: Vec<Rejected>,
        /// Problems of remotes that were not reported yet.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<String>,
    },
    Looking {},
    Learned {},
    Signed {
        #[serde(skip_serializing_if = "Option::is_none")]
        signature: Option<Signature>,
    },
    Rejected {},
    Leased {
        lease: Leased,
        /// Seconds until the next request.
        #[serde(skip_serializing_if = "Option::is_none")]
        wait: Option<f64>,
    },
    Prefetching {
        /// As in `open`, if this is the first request for the eggs directory.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        torn: Vec<String>,
    },
    Materialized {
        #[serde(serialize_with = "crate::disk::files::lossy")]
        path: PathBuf,
        #[serde(flatten)]
        outcome: Outcome,
        /// The name of the remote that it came from in this session.
        #[serde(skip_serializing_if = "Option::is_none")]
        remote: Option<String>,
        /// As in `open`, if this is the first request for the eggs directory.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        torn: Vec<String>,
    },
    /// A directory that is removed at the end of the session.
    Spooling {
        #[serde(serialize_with = "crate::disk::files::lossy")]
        directory: PathBuf,
        /// As in `open`, if this is the first request for the eggs directory.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        torn: Vec<String>,
    },
    Preparing {},
    /// Why an egg was a miss.
    Explained {
        why: String,
    },
    Converted {
        #[serde(serialize_with = "crate::disk::files::lossy")]
        egg: PathBuf,
        /// What is odd about the wheel, though pip accepts it.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<String>,
    },
    /// Why buildout installs a wheel itself.
    Left {
        left: String,
    },
    /// No egg of this Python, buildout and pip was compared yet: let buildout install the wheel, and
    /// request it again with the result.
    Uncompared {
        compare: bool,
    },
    Compared {
        #[serde(skip_serializing_if = "Option::is_none")]
        warning: Option<String>,
    },
    /// Why an egg is not stored.
    Refused(add::Outcome),
    Queued {
        outcome: &'static str,
    },
    Settled {
        outcomes: Vec<Added>,
        /// Why the other eggs were not stored, and no more eggs will be.
        #[serde(skip_serializing_if = "Option::is_none")]
        failure: Option<String>,
    },
    Registered {
        #[serde(flatten)]
        report: register::Report,
        /// Why no garbage is collected.
        #[serde(skip_serializing_if = "Option::is_none")]
        warning: Option<String>,
    },
    Closed {
        /// Problems of remotes that were not reported yet.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<String>,
        /// How many pushed eggs are new on the remote.
        #[serde(skip_serializing_if = "Option::is_none")]
        pushed: Option<usize>,
    },
    Failed {
        error: String,
        kind: RefusalKind,
    },
}

/// An egg that buildout may choose.
#[derive(Debug, Serialize)]
pub struct Candidate {
    pub digest: Digest,
    pub version: String,
    pub file_name: String,
    pub source_sha256: String,
    /// The choices that are known to lead to its archive.
    pub choices: Vec<String>,
}

/// A cached build with options that does not suit this buildout.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Rejected {
    pub file_name: String,
    pub reason: &'static str,
}

/// The role of a buildout for the remotes of its cache.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It fetches eggs.
    Reader,
    /// It fetches eggs, and pushes built ones.
    Builder,
}

/// Who builds an egg.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Leased {
    /// This buildout, while others wait.
    Taken,
    /// Another builder.
    Held,
    /// Another builder has built it: `find` returns it.
    Built,
    /// Every buildout for itself.
    None,
}

/// What a client can do about a failure.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// The egg is gone or damaged: build it.
    Unusable,
    /// The remote that has the egg has failed: build it. A warning reports the failure.
    Unavailable,
    /// Another file has its name.
    InTheWay,
    /// Continue without the cache.
    Failure,
}

impl Candidate {
    pub fn of(egg: &CachedEgg) -> Self {
        Self {
            digest: egg.digest,
            version: egg.key.version.clone(),
            file_name: egg.file_name.clone(),
            source_sha256: egg.key.source_sha256.clone(),
            choices: egg.provenance.choice.iter().cloned().collect(),
        }
    }
}
