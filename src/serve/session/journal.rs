//! The journal of a session: where each egg came from that buildout has put into an eggs directory, and why it
//! was a miss.

use std::collections::HashMap;
use std::path::Path;

use tracing::debug;

use super::Session;
use super::remotes::SessionRemotes;
use crate::cache::build_options::{self, BuildOptions};
use crate::cache::last_run::{Installed, LastRun, Origin, Outcome};
use crate::cache::miss::{Eviction, Known, Miss, Needed, SETUPTOOLS};
use crate::cache::retention::pins::Pattern;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::key::Mismatch;
use crate::egg::name::{EggName, same_version, version_order};
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
        let eggs = self.cache.eggs_of_project(&built.project)?;
        let evictions = self.cache.evictions_of_project(&built.project)?;
        let version = match &built.missing {
            Some(specifiers) => wanted_version(specifiers, &eggs, &evictions),
            None => built.version.clone(),
        };
        let miss = self.miss(built, &version, &eggs, &evictions);
        let name = built.name.clone();
        let (why, seconds) = (miss.to_string(), built.build_seconds);
        debug!(name, version, why, "a miss");
        let origin = if built.missing.is_some() {
            Origin::Missing { lack: built.lack, miss }
        } else if built.is_converted {
            Origin::Converted { seconds, miss }
        } else {
            Origin::Built { seconds, miss, not_converted: built.not_converted.clone() }
        };
        self.journal.eggs.push(Installed { name, version, options, origin });
        Ok(Answer::Explained { why })
    }

    /// Why the cache did not have an egg of a version, where it has and had these of the project.
    fn miss(
        &self,
        built: &Built,
        version: &str,
        eggs: &[CachedEgg],
        evictions: &[Eviction],
    ) -> Miss {
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
            version,
            source_sha256: &built.source_sha256,
            variant: Some(&built.variant),
            bound_variant: built.bound_variant.as_deref(),
            is_withheld: built.is_withheld,
            since: self.journal.begun,
        };
        let known = Known {
            evictions,
            unusable: self.unusable_of(&built.project, version, eggs),
            refused: &|is_it| self.remotes.as_ref()?.refusal(is_it),
            eggs,
            mismatch: &mismatch,
            would_work: &|key| self.host.may_accept(key),
            withdrawn: &|digest| {
                self.withdrawals.notice(digest).map(|notice| (notice.remote, notice.reason))
            },
            options: &|variant| self.cache.build_options(variant),
        };
        Miss::of(&needed, &known)
    }

    /// Why an egg of a version could not be copied in this session, if one could not.
    fn unusable_of(&self, project: &str, version: &str, eggs: &[CachedEgg]) -> Option<String> {
        let is_it = |digest: &Digest| {
            let cached = eggs.iter().find(|it| it.digest == *digest).map(|it| &it.key);
            let offered = || self.remotes.as_ref().and_then(|remotes| remotes.offered_key(*digest));
            cached
                .or_else(offered)
                .is_some_and(|key| key.name == project && same_version(&key.version, version))
        };
        let unusable = &self.journal.unusable;
        unusable.iter().find(|(digest, _)| is_it(digest)).map(|(_, why)| why.clone())
    }

    /// Records where the eggs of this run came from.
    ///
    /// A run that has installed none keeps the record of the one before. It only says there what it lacked, and how it
    /// ended. If it has succeeded, it can lack only custom builds.
    pub(super) fn record_run(&mut self) {
        let Some(directory) = self.options.directory.as_ref().and_then(|it| it.canonicalize().ok())
        else {
            return;
        };
        let is_missing = |it: &Installed| it.origin.is_missing();
        let mut eggs = std::mem::take(&mut self.journal.eggs);
        if self.has_succeeded {
            // Buildout found another way, but offline a custom part does nothing, and that is no failure.
            eggs.retain(|it| !is_missing(it) || !it.options.is_empty());
        }
        let mut problems = Vec::new();
        if eggs.iter().all(is_missing)
            && let Some(before) = self.cache.run_in(&directory)
        {
            if eggs.is_empty() && !(self.has_succeeded && before.eggs.iter().any(is_missing)) {
                self.record_outcome(before);
                return;
            }
            problems = before.remote_problems;
            eggs.splice(0..0, before.eggs.into_iter().filter(|it| !is_missing(it)));
        } else if eggs.is_empty() && !self.has_failed {
            return;
        }
        let run = LastRun::new(directory, self.host.python_tag(), self.has_succeeded, &eggs);
        let of_remotes = self.remotes.iter().flat_map(SessionRemotes::problems);
        let of_this = self.unusable_remotes.iter().cloned().chain(of_remotes);
        let new: Vec<String> = of_this.filter(|it| !problems.contains(it)).collect();
        self.cache.record_run(&run.with_remote_problems([problems, new].concat())).or_log();
    }

    /// Records how this run has ended, if it has failed, or succeeded after one that has failed.
    fn record_outcome(&self, before: LastRun) {
        let succeeded = self.has_succeeded;
        if self.has_failed || succeeded && !before.last().succeeded {
            let since = Some(Outcome { at: now(), succeeded });
            self.cache.record_run(&LastRun { since, ..before }).or_log();
        }
    }
}

/// The newest version that the cache has or had of those that version specifiers admit. Without one, it is the
/// only version that they admit, or empty.
fn wanted_version(specifiers: &str, eggs: &[CachedEgg], evictions: &[Eviction]) -> String {
    // The name of a pattern is not used here.
    let Ok(pattern) = Pattern::new(&format!("any{specifiers}")) else { return String::new() };
    if let Some(version) = pattern.version() {
        return version.to_owned();
    }
    let keys = eggs.iter().map(|it| &it.key).chain(evictions.iter().map(|it| &it.key));
    let versions = keys.map(|key| &key.version).filter(|it| pattern.admits_version(it));
    versions.max_by_key(|it| version_order(it)).cloned().unwrap_or_default()
}
