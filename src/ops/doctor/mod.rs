//! Doctor: what keeps a cache, its remotes or the Python package from working, as far as files and a few
//! requests to each remote show it. Changes nothing and runs nothing.

mod cache;
mod package;
mod remotes;
mod settings;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::buildout::options::User;
use crate::cache::trust::Trust;
use crate::error::Error;
use crate::remote::config::Remote;
use crate::util::environment::Environment;
use crate::util::progress::Progress;

#[derive(Debug)]
pub struct Options<'a> {
    pub trust: &'a Trust,
    pub remotes: &'a [Remote],
    pub environment: &'a Environment,
    /// The folder of the buildout whose Python is examined.
    pub buildout: &'a Path,
    pub user: &'a User,
    /// This program: the Python package may be in the same environment.
    pub program: Option<&'a Path>,
}

#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(serialize_with = "crate::disk::files::lossy")]
    pub cache: PathBuf,
    pub findings: Vec<Finding>,
}

impl Report {
    pub fn problems(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|it| it.is_problem)
    }
}

/// The result of one check.
#[derive(Debug, Serialize)]
pub struct Finding {
    pub is_problem: bool,
    pub kind: Kind,
    pub what: String,
    #[serde(skip)]
    pub about: About,
}

/// What a problem is about, for the command that mends it.
#[derive(Debug)]
pub enum About {
    /// Its kind says enough.
    Kind,
    /// The error that a command would have.
    Error(Error),
    /// A Python that lacks the package, or has another one.
    Python(PathBuf),
    /// A trusted key of a remote.
    Key { remote: String, key: String },
    /// A remote whose builders have a key that is not trusted.
    Trust { remote: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The cache directory, and whether it can be used.
    Cache,
    /// Where there is no cache yet.
    Place,
    Index,
    /// Others can read or change the cache.
    Access,
    /// Not all who use the cache can write it.
    Owner,
    Disk,
    Space,
    /// Files of processes that died.
    Leftovers,
    /// A clock that is wrong.
    Clock,
    /// Times in the future.
    Times,
    Remote,
    Key,
    /// Whether the buildout has a cache.
    Setting,
    /// Where the buildout has its eggs.
    EggsDirectory,
    /// The Python package.
    Package,
    /// The file with which Python loads the package.
    Hook,
}

impl Finding {
    fn fine(kind: Kind, what: String) -> Self {
        Self { is_problem: false, kind, what, about: About::Kind }
    }

    fn problem(kind: Kind, what: String) -> Self {
        Self { is_problem: true, kind, what, about: About::Kind }
    }

    fn of_error(kind: Kind, error: Error) -> Self {
        Self { is_problem: true, kind, what: error.to_string(), about: About::Error(error) }
    }

    fn about(self, about: About) -> Self {
        Self { about, ..self }
    }
}

/// Examines the cache at `root` and what uses it.
pub fn doctor(root: &Path, options: &Options<'_>, progress: &dyn Progress) -> Report {
    let mut findings = cache::examine(root, options.trust, progress);
    findings.extend(settings::examine(root, options));
    findings.extend(package::examine(options));
    let has_web = options.remotes.iter().any(Remote::is_web);
    let projects = if has_web { remotes::projects(root, options.trust) } else { Vec::new() };
    for remote in options.remotes {
        findings.extend(remotes::examine(remote, &projects, options.environment));
    }
    Report { cache: root.to_owned(), findings }
}
