//! Add: store eggs from a file system in the cache. [`crate::cache`] describes the order of writes.

mod folders;
mod offered;

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use crate::cache::{Cache, Commit, Staged, Staging};
use crate::egg::cached_egg::CachedEgg;
use crate::egg::completeness;
use crate::egg::key::EggKey;
use crate::egg::name::EggName;
use crate::egg::provenance::Provenance;
use crate::egg::scan::{Hints, Tree};
use crate::error::{Error, Result};
use crate::remote::withdrawals::record::Withdrawals;
use crate::util::clock::now;
use crate::util::hash::digest::Digest;
use crate::util::progress::{Progress, Silent, Unit};
use crate::util::threads;

use folders::OlderFolders;
use offered::{Offered, eggs_at};

/// How many eggs are committed together: few enough that a crash loses little, and enough to share the
/// write lock and its syncs.
const BATCH: usize = 32;

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Facts that the eggs do not contain.
    pub hints: Hints,
    /// Where they come from. The time and the version of eggcache are filled in.
    pub provenance: Provenance,
    pub replace: Replace,
}

/// Which eggs a new build of their key replaces.
#[derive(Debug, Clone, Default)]
pub enum Replace {
    /// None: the first build wins.
    #[default]
    None,
    /// All: the last build wins.
    All,
    /// These, which are known to be damaged.
    These(Vec<Digest>),
}

impl Replace {
    fn covers(&self, digest: Digest) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::These(digests) => digests.contains(&digest),
        }
    }
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub eggs: Vec<Added>,
}

/// The outcome for one path.
#[derive(Debug, Serialize)]
pub struct Added {
    #[serde(serialize_with = "crate::disk::files::lossy")]
    pub path: PathBuf,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    Stored {
        egg: Box<CachedEgg>,
    },
    /// Stored in place of another build of the same key.
    Replaced {
        egg: Box<CachedEgg>,
        old: Digest,
    },
    /// The cache already has exactly this egg.
    Present {
        egg: Box<CachedEgg>,
    },
    /// The cache keeps another build of the same key.
    Other {
        egg: Box<CachedEgg>,
    },
    Refused {
        reason: String,
    },
    /// Not an egg that a cache stores, but no problem.
    #[serde(rename = "left")]
    Skipped {
        reason: String,
    },
}

impl Outcome {
    /// The egg of its key that is now in the cache.
    #[must_use]
    pub fn egg(&self) -> Option<&CachedEgg> {
        match self {
            Self::Stored { egg }
            | Self::Replaced { egg, .. }
            | Self::Present { egg }
            | Self::Other { egg } => Some(egg),
            Self::Refused { .. } | Self::Skipped { .. } => None,
        }
    }
}

/// An egg that was listed and is to be stored.
#[derive(Debug)]
pub struct ScannedEgg {
    pub tree: Tree,
    /// As in [`Options`].
    pub provenance: Provenance,
}

impl Report {
    /// Eggs that were not stored because of a problem.
    pub fn refused(&self) -> impl Iterator<Item = &Added> {
        self.eggs.iter().filter(|added| matches!(added.outcome, Outcome::Refused { .. }))
    }
}

/// Adds the eggs at the paths: eggs, eggs directories and buildouts.
///
/// # Errors
/// [`Error::UnsoundEgg`] if there is no egg at a path. An egg that cannot be stored is not an error: the
/// report says why it was refused.
pub fn add(
    cache: &mut Cache,
    paths: &[PathBuf],
    options: &Options,
    progress: &dyn Progress,
) -> Result<Report> {
    cache.check_writable()?;
    threads::start_pool()?;
    cache.sweep()?;
    let mut offered = Vec::new();
    for path in paths {
        offered.extend(eggs_at(path)?);
    }
    let mut eggs = Vec::with_capacity(offered.len());
    let mut paths = Vec::with_capacity(offered.len());
    for Offered { path, skipped } in offered {
        match skipped {
            None => paths.push(path),
            Some(reason) => {
                let outcome = Outcome::Skipped { reason: reason.to_owned() };
                eggs.push(Added { path, outcome });
            }
        }
    }
    progress.begin("adding", paths.len() as u64, Unit::Eggs);
    let folders = OlderFolders::of(&paths);
    for batch in paths.chunks(BATCH) {
        eggs.extend(add_batch(cache, batch, options, &folders, progress)?);
    }
    progress.end();
    cache.take_ballast();
    Ok(Report { eggs })
}

fn add_batch(
    cache: &mut Cache,
    paths: &[PathBuf],
    options: &Options,
    folders: &OlderFolders,
    progress: &dyn Progress,
) -> Result<Vec<Added>> {
    let provenance = &options.provenance;
    let listed = paths
        .par_iter()
        .map(|path| {
            let tree = scan(path, options, folders)?;
            Ok(ScannedEgg { tree, provenance: provenance.clone() })
        })
        .collect();
    let outcomes = keep_each(cache, paths, listed, &options.replace, progress)?;
    let added = |(path, outcome): (&PathBuf, _)| Added { path: path.clone(), outcome };
    Ok(paths.iter().zip(outcomes).map(added).collect())
}

/// Lists an egg that was built just now, so that it is complete. The inner error says why the egg is
/// refused.
///
/// # Errors
/// Errors that are not about the egg.
pub fn list(path: &Path, hints: &Hints) -> Result<std::result::Result<Tree, String>> {
    match Tree::scan(path, hints) {
        Ok(tree) => Ok(Ok(tree)),
        Err(error) => refusal(error, path).map(Err),
    }
}

/// Stores listed eggs under one hold of the write lock. An egg that has changed since is refused.
///
/// # Errors
/// After an error, none of them is stored.
pub fn keep(cache: &mut Cache, eggs: Vec<ScannedEgg>, replace: &Replace) -> Result<Vec<Outcome>> {
    threads::start_pool()?;
    let paths: Vec<PathBuf> = eggs.iter().map(|egg| egg.tree.path().to_owned()).collect();
    let eggs = eggs.into_iter().map(Ok).collect();
    let outcomes = keep_each(cache, &paths, eggs, replace, &Silent)?;
    cache.take_ballast();
    Ok(outcomes)
}

/// Stores the eggs at these paths, each of which is listed or has a problem.
fn keep_each(
    cache: &mut Cache,
    paths: &[PathBuf],
    listed: Vec<Result<ScannedEgg>>,
    replace: &Replace,
    progress: &dyn Progress,
) -> Result<Vec<Outcome>> {
    let withdrawals = Withdrawals::of(cache.root())?;
    let replaces = |digest| replace.covers(digest) || withdrawals.has(digest);
    let others = listed
        .iter()
        .map(|listed| match listed {
            Ok(listed) => replaced_build(cache, &listed.tree.manifest.key, replaces),
            Err(_) => Ok(None),
        })
        .collect::<Result<Vec<_>>>()?;
    let staging = cache.staging();
    let staged: Vec<Result<Staged>> = listed
        .into_par_iter()
        .zip(others)
        .map(|(listed, replaces)| {
            let staged = pack(&staging, listed?, replaces);
            progress.advance(1);
            staged
        })
        .collect();
    let mut refusals = Vec::new();
    let mut sound = Vec::new();
    for (staged, path) in staged.into_iter().zip(paths) {
        let checked = staged.and_then(|staged| {
            withdrawals.check(staged.written.digest, &staged.manifest.file_name).map(|()| staged)
        });
        match checked {
            Ok(staged) => {
                sound.push(staged);
                refusals.push(None);
            }
            Err(error) => refusals.push(Some(refusal(error, path)?)),
        }
    }
    let mut commits = cache.commit(sound, |egg| replaces(egg.digest))?.into_iter();
    let outcome = |refusal: Option<String>| match refusal {
        Some(reason) => Outcome::Refused { reason },
        None => commits.next().map_or_else(
            || Outcome::Refused { reason: "it was not committed".into() },
            Outcome::from,
        ),
    };
    Ok(refusals.into_iter().map(outcome).collect())
}

/// Lists an egg of unknown origin, and checks that it is complete.
fn scan(path: &Path, options: &Options, folders: &OlderFolders) -> Result<Tree> {
    let mut tree = Tree::scan(path, &options.hints)?;
    if options.hints.generation.is_none() && folders.contains(path) {
        folders::correct(&mut tree.manifest.key);
    }
    let entries = &tree.manifest.entries;
    let name: Option<EggName> = tree.manifest.file_name.parse().ok();
    let python = name.map(|name| name.python).unwrap_or_default();
    let other_python = completeness::other_python(&python, entries).into_iter().next();
    let reason = match other_python {
        Some((module, pythons)) => Some(format!(
            "{module} is compiled for Python {pythons}, but the egg is for Python {python}"
        )),
        None => completeness::half_copied(&tree.open()?.files, entries)?,
    };
    match reason {
        Some(reason) => Err(Error::UnsoundEgg { path: path.to_owned(), reason }),
        None => Ok(tree),
    }
}

fn pack(staging: &Staging, listed: ScannedEgg, replaces: Option<Digest>) -> Result<Staged> {
    let provenance = Provenance {
        added_at: now(),
        eggcache: env!("CARGO_PKG_VERSION").to_owned(),
        replaces,
        ..listed.provenance
    };
    staging.pack(&listed.tree, provenance)
}

/// The egg in the cache that a new build of this key replaces.
fn replaced_build(
    cache: &Cache,
    key: &EggKey,
    replaces: impl Fn(Digest) -> bool,
) -> Result<Option<Digest>> {
    let eggs = cache.eggs_of_project(&key.name)?;
    let other = eggs.into_iter().find(|egg| egg.key == *key).map(|egg| egg.digest);
    Ok(other.filter(|&digest| replaces(digest)))
}

/// The problem with the egg, if the error is about the egg.
fn refusal(error: Error, egg: &Path) -> Result<String> {
    match error {
        Error::UnsoundEgg { path, reason } if path == egg => Ok(reason),
        Error::UnsoundEgg { path, reason } => Ok(format!("{}: {reason}", path.display())),
        Error::Io { ref path, .. } if path.starts_with(egg) => Ok(error.to_string()),
        error => Err(error),
    }
}

impl From<Commit> for Outcome {
    fn from(commit: Commit) -> Self {
        match commit {
            Commit::Stored(egg) => Self::Stored { egg: Box::new(egg) },
            Commit::Kept { existing, same: true } => Self::Present { egg: Box::new(existing) },
            Commit::Kept { existing, same: false } => Self::Other { egg: Box::new(existing) },
            Commit::Replaced { egg, old } => Self::Replaced { egg: Box::new(egg), old },
            Commit::Refused { reason } => Self::Refused { reason },
        }
    }
}
