//! The journal of a session: where each egg came from that buildout has put into an eggs directory, and why it
//! was a miss.

use std::collections::HashMap;
use std::path::Path;

use tracing::debug;

use super::Session;
use crate::cache::build_options::{self, BuildOptions};
use crate::cache::last_run::{Installed, LastRun, Origin};
use crate::cache::miss::{Known, Miss, Needed, SETUPTOOLS};
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::Mismatch;
use crate::egg::name::{EggName, same_version};
use crate::error::{OrLog, Result};
use crate::serve::protocol::{Answer, Built};
use crate::util::clock::now;
use crate::util::hash::digest::Digest;

/// Why an egg is not offered whose project this buildout does not find by its file name.
pub const UNFIT: &str =
    "this buildout does not find the project by the file name of the cached egg";

#[derive(Debug)]
pub struct Journal {
    /// When the session was opened, in seconds since the Unix epoch.
    begun: i64,
    /// In the order in which they were installed, with those that were missing.
    eggs: Vec<Installed>,
    /// Why eggs could not be copied.
    unusable: HashMap<Digest, String>,
}

impl Default for Journal {
    fn default() -> Self {
        Self { begun: now(), eggs: Vec::new(), unusable: HashMap::new() }
    }
}

impl Journal {
    /// Notes an egg that was copied to this path, and the remote that it came from in this session.
    pub fn copied(&mut self, path: &Path, remote: Option<String>) {
        let file_name = path.file_name().unwrap_or_default().to_string_lossy();
        if let Ok(EggName { name, version, .. }) = file_name.parse() {
            let origin = remote.map_or(Origin::Cache, |remote| Origin::Remote { remote });
            let (name, options) = (name.replace('_', "-"), BuildOptions::new());
            self.eggs.push(Installed { name, version, options, origin });
        }
    }

    /// Notes that an egg could not be copied.
    pub fn failed(&mut self, digest: Digest, why: String) {
        self.unusable.insert(digest, why);
    }
}

impl Session {
    /// Notes an egg that buildout has built or cannot install, and answers why it was a miss.
    pub fn built(&mut self, built: &Built) -> Result<Answer> {
        let options = build_options::within_limits(built.options.clone());
        if !options.is_empty() {
            self.cache.record_build_options(&built.variant, &options).or_log();
        }
        let miss = self.miss(built)?;
        let (name, version) = (built.name.clone(), built.version.clone());
        let (why, seconds) = (miss.to_string(), built.build_seconds);
        debug!(name, version, why, "a miss");
        let origin = if built.is_missing {
            Origin::Missing { miss }
        } else if built.is_converted {
            Origin::Converted { seconds, miss }
        } else {
            Origin::Built { seconds, miss, not_converted: built.not_converted.clone() }
        };
        self.journal.eggs.push(Installed { name, version, options, origin });
        Ok(Answer::Explained { why })
    }

    /// Why the cache did not have an egg.
    fn miss(&self, built: &Built) -> Result<Miss> {
        let eggs = self.cache.eggs_of_project(&built.project)?;
        let setuptools = self.provenance.setuptools.as_deref();
        let mismatch = |egg: &CachedEgg| {
            egg.mismatch(&self.host).or_else(|| {
                let is_named_otherwise = !egg.is_equal_on(&self.host, setuptools);
                is_named_otherwise.then(|| Mismatch {
                    part: SETUPTOOLS,
                    egg: egg.provenance.setuptools.clone().unwrap_or_default(),
                    host: setuptools.unwrap_or_default().to_owned(),
                })
            })
        };
        let needed = Needed {
            version: &built.version,
            source_sha256: &built.source_sha256,
            variant: Some(&built.variant),
            bound_variant: built.bound_variant.as_deref(),
            is_withheld: built.is_withheld,
            since: self.journal.begun,
        };
        let known = Known {
            evictions: &self.cache.evictions_of_project(&built.project)?,
            unusable: self.unusable_of(built, &eggs),
            eggs: &eggs,
            mismatch: &mismatch,
            would_work: &|key| self.host.may_accept(key),
            withdrawn: &|digest| {
                self.withdrawals.notice(digest).map(|notice| (notice.remote, notice.reason))
            },
            options: &|variant| self.cache.build_options(variant),
        };
        Ok(Miss::of(&needed, &known))
    }

    /// Why an egg of a version could not be copied in this session, if one could not.
    fn unusable_of(&self, built: &Built, eggs: &[CachedEgg]) -> Option<String> {
        let is_it = |digest: &Digest| {
            let cached = eggs.iter().find(|it| it.digest == *digest).map(|it| &it.key);
            let offered = || self.remotes.as_ref().and_then(|remotes| remotes.offered_key(*digest));
            cached.or_else(offered).is_some_and(|key| {
                key.name == built.project && same_version(&key.version, &built.version)
            })
        };
        let unusable = &self.journal.unusable;
        unusable.iter().find(|(digest, _)| is_it(digest)).map(|(_, why)| why.clone())
    }

    /// Records where the eggs of this run came from. A run that has installed none changes nothing.
    pub(super) fn record_run(&mut self) {
        let eggs = std::mem::take(&mut self.journal.eggs);
        let directory = self.options.directory.as_ref().and_then(|it| it.canonicalize().ok());
        if let Some(directory) = directory.filter(|_| !eggs.is_empty()) {
            let python = self.host.python_tag();
            let run = LastRun::new(directory, python, self.has_succeeded, &eggs);
            self.cache.record_run(&run).or_log();
        }
    }
}
