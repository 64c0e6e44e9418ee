//! The last run of each buildout that installed eggs: where each egg came from, and why it was a miss.
//!
//! One record for each folder, `runs/NAME.json`, with the name of its root. The buildout writes it at the end
//! of a run, also of one that has failed, without a sync: after a crash it may be gone or damaged, and counts
//! as none. It is removed with its root, and by `gc` when it is old.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::cache::build_options::{self, BuildOptions};
use crate::cache::miss::Miss;
use crate::cache::retention::roots::{self, RUNS};
use crate::disk::dir::Dir;
use crate::disk::json_file;
use crate::error::{OrLog, Result};
use crate::util::clock::now;
use crate::util::machine;

/// The age at which a record is removed, in seconds.
const FORGOTTEN_AFTER: i64 = 180 * 86_400;
/// The most eggs in a record, the most problems with remotes, and the longest text, in bytes.
const MOST: usize = 5000;
const MOST_PROBLEMS: usize = 50;
const LONGEST: usize = 1000;

/// The record of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastRun {
    /// The folder of the buildout, as a canonical path.
    pub directory: PathBuf,
    /// The machine of that folder.
    pub machine: String,
    /// As [`roots::Root::python`].
    pub python: String,
    /// When it ended, in seconds since the Unix epoch.
    pub at: i64,
    pub succeeded: bool,
    /// In the order in which they were installed.
    pub eggs: Vec<Installed>,
    /// Why remotes, or some of their eggs, were not used: the warnings of the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remote_problems: Vec<String>,
    /// How the last run since then ended, which has installed no egg, if it has failed, or succeeded after one that
    /// has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Outcome>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// In seconds since the Unix epoch.
    pub at: i64,
    pub succeeded: bool,
}

/// An egg that a run has put into an eggs directory, or has failed without.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Installed {
    /// As its author writes it, as far as that is known.
    pub name: String,
    /// Empty if it was missing, and the cache never had a version that buildout would have taken.
    pub version: String,
    /// Of a custom build that was not in the cache.
    #[serde(default, skip_serializing_if = "BuildOptions::is_empty")]
    pub options: BuildOptions,
    #[serde(flatten)]
    pub origin: Origin,
}

/// Where an egg came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "lowercase")]
pub enum Origin {
    Cache,
    Remote {
        remote: String,
    },
    /// The program has made it of a wheel.
    Converted {
        seconds: f64,
        miss: Miss,
    },
    /// Buildout has built it.
    Built {
        seconds: f64,
        miss: Miss,
        /// Why a wheel was not converted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_converted: Option<String>,
    },
    /// Buildout could neither install nor build it.
    Missing {
        #[serde(default)]
        lack: Lack,
        miss: Miss,
    },
}

/// Why a run had to do without an egg.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lack {
    /// Buildout was offline.
    #[default]
    Offline,
    /// No index and no link has it.
    NotFound,
    /// Buildout has not brought it to an end, for instance because its setup.py has failed.
    NotInstalled,
}

impl Origin {
    /// Whether the run had to do without the egg.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }

    /// Why the egg was a miss; `None` if it was none.
    #[must_use]
    pub fn miss(&self) -> Option<&Miss> {
        match self {
            Self::Cache | Self::Remote { .. } => None,
            Self::Converted { miss, .. }
            | Self::Built { miss, .. }
            | Self::Missing { miss, .. } => Some(miss),
        }
    }
}

impl LastRun {
    #[must_use]
    pub fn new(directory: PathBuf, python: String, succeeded: bool, eggs: &[Installed]) -> Self {
        let eggs = eggs.iter().take(MOST).cloned().map(Installed::within_limits).collect();
        let (machine, at) = (machine::machine(), now());
        let (remote_problems, since) = (Vec::new(), None);
        Self { directory, machine, python, at, succeeded, eggs, remote_problems, since }
    }

    /// How the last run ended, also one that has installed no egg.
    #[must_use]
    pub fn last(&self) -> Outcome {
        self.since.unwrap_or(Outcome { at: self.at, succeeded: self.succeeded })
    }

    /// With what was wrong with the remotes.
    #[must_use]
    pub fn with_remote_problems(mut self, problems: impl IntoIterator<Item = String>) -> Self {
        self.remote_problems = problems.into_iter().take(MOST_PROBLEMS).collect();
        self.remote_problems.iter_mut().for_each(cut);
        self
    }

    fn path(&self) -> String {
        format!("{RUNS}/{}", roots::name_of(&self.directory, &self.machine))
    }
}

impl Installed {
    fn within_limits(mut self) -> Self {
        cut(&mut self.name);
        cut(&mut self.version);
        self.options = build_options::within_limits(self.options);
        if let Origin::Built { not_converted: Some(text), .. } = &mut self.origin {
            cut(text);
        }
        if let Origin::Built { miss, .. }
        | Origin::Converted { miss, .. }
        | Origin::Missing { miss, .. } = &mut self.origin
        {
            match miss {
                Miss::Unusable { why } | Miss::Refused { why } | Miss::Withdrawn { why, .. } => {
                    cut(why);
                }
                // The newest are the last.
                Miss::OtherVersion { cached } => {
                    drop(cached.drain(..cached.len().saturating_sub(50)));
                }
                _ => {}
            }
        }
        self
    }
}

fn cut(text: &mut String) {
    text.truncate(text.floor_char_boundary(LONGEST));
}

impl Cache {
    /// Records a run. Does nothing if this process cannot write the cache.
    ///
    /// # Errors
    /// What the system says.
    pub fn record_run(&self, run: &LastRun) -> Result<()> {
        match self.check_writable() {
            Ok(()) => json_file::write_briefly(&self.dir, &run.path(), run),
            Err(_) => Ok(()),
        }
    }

    /// The records of all runs that can be read, the newest first.
    ///
    /// # Errors
    /// If the records cannot be listed.
    pub fn runs(&self) -> Result<Vec<LastRun>> {
        let records = json_file::read_all(&self.dir, RUNS)?;
        let mut found: Vec<LastRun> =
            records.into_iter().filter_map(|(_, record)| record.or_log()).collect();
        found.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.directory.cmp(&b.directory)));
        Ok(found)
    }

    /// The record of the last run in a folder of this machine; `None` also if it cannot be read.
    #[must_use]
    pub fn run_in(&self, directory: &Path) -> Option<LastRun> {
        let name = roots::name_of(directory, &machine::machine());
        json_file::read(&self.dir, &format!("{RUNS}/{name}")).or_log().flatten()
    }
}

/// Removes old records, and temporary files.
pub fn forget_old(cache: &Dir) -> Result<()> {
    json_file::forget_old(cache, RUNS, FORGOTTEN_AFTER, now())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(name: &str, origin: Origin) -> Installed {
        let options = BuildOptions::new();
        Installed { name: name.into(), version: "1.0".into(), options, origin }
    }

    #[test]
    fn the_last_run_of_a_folder_replaces_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("cache")).unwrap();
        let folder = dir.path().join("app");
        let miss = Miss::NeverSeen;
        let built = Origin::Built { seconds: 1.5, miss, not_converted: None };
        for origin in [built, Origin::Cache, Origin::Remote { remote: "team".into() }] {
            let eggs = [installed("Foo", origin)];
            let run = LastRun::new(folder.clone(), "cp311".into(), true, &eggs);
            cache.record_run(&run).unwrap();
            assert_eq!(cache.run_in(&folder), Some(run.clone()));
            assert_eq!(cache.runs().unwrap(), [run]);
        }
        assert_eq!(cache.run_in(dir.path()), None);
    }

    #[test]
    fn a_record_has_bounds() {
        let why = "ä".repeat(LONGEST);
        let origin =
            || Origin::Converted { seconds: 0.0, miss: Miss::Unusable { why: why.clone() } };
        let eggs: Vec<Installed> = (0..=MOST).map(|_| installed("foo", origin())).collect();
        let run = LastRun::new("/app".into(), "cp311".into(), false, &eggs);
        assert_eq!(run.eggs.len(), MOST);
        let Some(Miss::Unusable { why }) = run.eggs[0].origin.miss() else { panic!() };
        assert_eq!(why.len(), LONGEST);
    }

    #[test]
    fn a_damaged_record_counts_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let run = LastRun::new("/app".into(), "cp311".into(), true, &[]);
        cache.record_run(&run).unwrap();
        std::fs::write(dir.path().join(run.path()), "{\"directory\":").unwrap();
        assert_eq!((cache.run_in(Path::new("/app")), cache.runs().unwrap()), (None, Vec::new()));
        cache.record_run(&run).unwrap();
        assert_eq!(cache.runs().unwrap(), [run]);
    }
}
