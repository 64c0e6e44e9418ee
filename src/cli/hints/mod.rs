//! What to do about an error: for each error of the library, the lines that follow it.
//!
//! The library says what failed and why. Only the command line knows commands, options and variables.

mod access;
mod remotes;

use std::path::{Path, PathBuf};

use crate::cache::trust::VARIABLE as TRUST_VARIABLE;
use crate::disk::nofollow;
use crate::error::{Error, Exposure, Owner, Unwritable};
use crate::remote::keys::{KEY_VARIABLE, READ_SIGNING_KEY};
use crate::util::printable::quoted;
use crate::util::suggest::Nearest;

const UPGRADE: &str = "upgrade eggcache";
/// What to do if there is no cache.
pub const NO_CACHE: &str = "--cache or EGGCACHE_DIR names another one; `eggcache init`, or the first egg \
    that is stored, makes one";

/// An error of the command line itself.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error("there is no home directory, and no cache is named")]
    NoHome,
    /// The configuration of a checkout may not choose where a directory is made.
    #[error("there is no cache at {}, which {} names", path.display(), file.display())]
    NotMade { path: PathBuf, file: PathBuf },
    #[error("cannot write standard output: {0}")]
    Stdout(std::io::Error),
}

/// Hints for one cache.
#[derive(Debug, Default)]
pub struct Hints {
    /// The cache, where a command finds it only if it is named.
    pub cache: Option<PathBuf>,
    /// The options with which the command takes eggs.
    pub selects: Selects,
    /// Whether they are for somebody who runs buildout, which has none of these options.
    pub are_for_buildout: bool,
}

/// How a command takes the eggs that it works on.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Selects {
    #[default]
    Names,
    /// `--requirements`, too.
    Requirements,
    /// `--requirements` and `--all`, too.
    RequirementsOrAll,
}

/// What an error lists.
pub fn details_of(error: &anyhow::Error) -> Vec<String> {
    match error.downcast_ref::<Error>() {
        Some(Error::Ambiguous { candidates, .. }) => candidates.clone(),
        _ => Vec::new(),
    }
}

impl Hints {
    /// What to do about an error, one line each.
    pub fn of(&self, error: &anyhow::Error) -> Vec<String> {
        if let Some(error) = error.downcast_ref::<Error>() {
            return self.of_library(error);
        }
        match error.downcast_ref::<CliError>() {
            Some(CliError::NoHome) => vec!["name a cache with --cache DIR or EGGCACHE_DIR".into()],
            Some(CliError::NotMade { path, .. }) => {
                let make = Self { cache: Some(path.clone()), ..Self::default() }.command("init");
                vec![format!("{make} makes it")]
            }
            Some(CliError::Stdout(source)) if access::is_full(source.kind()) => {
                vec!["free some space where standard output goes".into()]
            }
            _ => Vec::new(),
        }
    }

    /// As [`Hints::of`].
    pub fn of_library(&self, error: &Error) -> Vec<String> {
        let one = |hint: &str| vec![hint.to_owned()];
        match error {
            Error::Io { action: READ_SIGNING_KEY, .. } => {
                vec![format!("{KEY_VARIABLE} names it; `eggcache keygen FILE` makes one")]
            }
            Error::Io { path, source, .. } => self.of_io(path, source.kind()),
            Error::NoSpace { path, .. } => vec![format!("free some space in {}", path.display())],
            Error::UnreadableBlob { owner, .. } | Error::UnreadableIndex { owner, .. } => {
                vec![self.to_read(owner)]
            }
            Error::ReadOnly { reason: Unwritable::OpenToRead, .. } => Vec::new(),
            Error::ReadOnly { reason, .. } => vec![self.to_write(reason)],
            Error::DamagedBlob { .. }
            | Error::DamagedRecord { .. }
            | Error::WrongRow { .. }
            | Error::MissingBlob { .. } => vec![self.repair()],
            Error::DamagedIndex { .. } | Error::NotAnIndex { .. } => vec![self.rebuild()],
            Error::DamagedArrivals { .. } => {
                one("after you remove these lines, their eggs count as built here; `push \
                 --include-pulled` pushes all eggs that you name")
            }
            Error::LockedIndex { path } => {
                vec![format!("`fuser {}` shows the processes that use it", quoted(path))]
            }
            Error::ReplacedIndex { .. } | Error::Busy { .. } => one("run this again"),
            Error::Changing { .. } => one("run this again when nothing else writes there"),
            Error::NewerFormat { .. } | Error::NewerSchema { .. } => one(UPGRADE),
            Error::NotACache { .. } => one(
                "name another directory with --cache or EGGCACHE_DIR; a cache is made only in a new or \
                 empty one",
            ),
            Error::NoCache { .. } => one(NO_CACHE),
            Error::BrokenLink { target, .. } => {
                vec![format!("create {}, or remove the link", target.display())]
            }
            Error::Untrusted { cache, exposure, owner } => self.to_trust(cache, *exposure, owner),
            Error::ForeignFile { .. } => {
                one("--trust-cache takes over its remotes; `eggcache remote list` shows them")
            }
            Error::ForeignRemotes { exposure: Exposure::Checkout, .. } => {
                vec![format!(
                    "{TRUST_VARIABLE}=DIR uses the remotes of the cache DIR like your own"
                )]
            }
            Error::ForeignRemotes { .. } => {
                let cache = self.cache.as_deref().unwrap_or(Path::new("DIR"));
                vec![format!("{} uses it like one of this user", self.way_to_trust(cache))]
            }
            Error::LockedFolder { owner } => {
                vec![self.to_write(&Unwritable::Permissions(owner.clone()))]
            }
            Error::Miss { query, nearest } => {
                let mut hints = [self.selects.hints(query), suggestions(nearest)].concat();
                if query.contains(['*', '?']) && !query.contains(',') {
                    let list = self.command(&format!("list '{query}'"));
                    hints.push(format!("{list} lists the eggs that a pattern matches"));
                }
                hints
            }
            Error::Ambiguous { has_all_builds, .. } => {
                let all = if *has_all_builds { ", or take all with --all-builds" } else { "" };
                vec![format!(
                    "name one by its digest, or choose with --python, --platform, --generation or \
                     --environment{all}"
                )]
            }
            Error::SameFileName { .. } => one("materialize them into different directories"),
            Error::InTheWay { .. } => one("move it away, then run this again"),
            Error::Unbundleable { .. } => one("--exclude PATTERN leaves it out"),
            Error::NotBundled { path, .. } => {
                vec![format!("`eggcache check --full {}` lists them", quoted(path))]
            }
            Error::NotDescribed { path } => vec![format!(
                "run buildout to its end; `eggcache check {}` says what is missing",
                quoted(path)
            )],
            Error::NotShown { path, .. } => vec![format!(
                "--import needs a folder {}, which may be empty, and `unshare` and `mount` of Linux",
                quoted(path)
            )],
            Error::NoPrefix { .. } => one("name the folder with --prefix"),
            Error::NotARoot { nearest, .. } => {
                let mut hints = self.listed(nearest.as_deref(), "roots", "buildouts");
                hints.push("a buildout is one of them after a run that has succeeded".into());
                hints
            }
            Error::Hashes { .. } => {
                one("name a file that `eggcache lock` has written, or a new one")
            }
            Error::NotAPin { nearest, .. } => self.listed(nearest.as_deref(), "pins", "pins"),
            Error::NoRemote { nearest, .. } => {
                self.listed(nearest.as_deref(), "remote list", "remotes")
            }
            Error::NotTrusted { .. } => self.listed(None, "remote list", "trusted keys"),
            Error::Thread(_) => one("allow this user more processes (`ulimit -u`)"),
            error => self.of_remotes(error),
        }
    }

    /// What to do about damage in the cache.
    pub fn repair(&self) -> String {
        format!("{} repairs the cache", self.command("verify --repair"))
    }

    /// What to do about a blob that `verify` could not read.
    pub fn of_unreadable(&self, blob: &Path) -> Vec<String> {
        let denied = nofollow::open(blob)
            .is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied);
        // Nothing but its format keeps it from being read otherwise.
        vec![if denied { self.to_read(&Owner::of(blob)) } else { UPGRADE.to_owned() }]
    }

    /// What to do about damage to the index.
    pub fn rebuild(&self) -> String {
        let reindex = self.command("reindex");
        format!("{reindex} sets the index aside and rebuilds it from the blobs")
    }

    /// What to do about a missing index.
    pub fn make_index(&self) -> String {
        format!("{} makes it from the blobs", self.command("reindex"))
    }

    /// The nearest name, and the command that lists all.
    fn listed(&self, nearest: Option<&str>, command: &str, what: &str) -> Vec<String> {
        let nearest = nearest.map(|nearest| format!("the nearest is {nearest}"));
        let all = format!("{} lists the {what}", self.command(command));
        nearest.into_iter().chain([all]).collect()
    }

    /// A command as a user types it.
    pub fn command(&self, words: &str) -> String {
        match &self.cache {
            Some(cache) => format!("`eggcache {words} --cache {}`", quoted(cache)),
            None => format!("`eggcache {words}`"),
        }
    }
}

impl Selects {
    /// Other ways to name eggs, if that is what was meant by the missing names.
    fn hints(self, query: &str) -> Vec<String> {
        if self == Self::Names {
            return Vec::new();
        }
        let names = || query.split(", ");
        let files = names().filter(|name| Path::new(name).is_file() && !name.ends_with(".egg"));
        let hint = |file: &str| {
            let file = quoted(Path::new(file));
            format!("--requirements {file} names the eggs that this file pins")
        };
        let mut hints: Vec<String> = files.map(hint).collect();
        if self == Self::RequirementsOrAll && names().any(|name| matches!(name, "*" | "all" | "."))
        {
            hints.push("--all names every egg in the cache".into());
        }
        hints
    }
}

/// What may have been meant, a line for each part of a query that has such.
fn suggestions(nearest: &[(String, Nearest)]) -> Vec<String> {
    match nearest {
        [(_, nearest)] => vec![nearest.to_string()],
        several => several.iter().map(|(of, nearest)| format!("{of}: {nearest}")).collect(),
    }
}

#[cfg(test)]
mod tests;
