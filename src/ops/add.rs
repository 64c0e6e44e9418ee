//! Add: keep eggs that stand on a file system. The order of writes is described in
//! [`crate::cache`].

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use crate::buildout::{self, Buildout, is_buildout, is_egg, is_temporary, layouts};
use crate::cache::{Cache, Commit, Staged, Staging};
use crate::egg::cached_egg::CachedEgg;
use crate::egg::completeness;
use crate::egg::key::EggKey;
use crate::egg::name::EggName;
use crate::egg::provenance::Provenance;
use crate::egg::scan::{Hints, Tree};
use crate::error::{Error, IoContext, Result};
use crate::util::clock::now;
use crate::util::hash::digest::Digest;
use crate::util::progress::{Progress, Silent, Unit};

/// How many eggs are committed together: few enough that a crash loses little, and enough that the
/// write lock and its syncs are shared.
const BATCH: usize = 32;

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What the eggs themselves do not tell.
    pub hints: Hints,
    /// Where they come from; when and by what they are added is filled in.
    pub provenance: Provenance,
    pub replace: Replace,
}

/// Which builds make place for a new one of their key.
#[derive(Debug, Clone, Default)]
pub enum Replace {
    /// The first build wins.
    #[default]
    None,
    /// The last build wins.
    All,
    /// These do not win: they are known to be damaged.
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

/// What became of one egg that was offered.
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
    /// Stored, and another build of the same key is gone for it.
    Replaced {
        egg: Box<CachedEgg>,
        old: Digest,
    },
    /// The cache had exactly this egg.
    Present {
        egg: Box<CachedEgg>,
    },
    /// The cache has another build of the same key, and keeps that one.
    Other {
        egg: Box<CachedEgg>,
    },
    Refused {
        reason: String,
    },
    /// No egg that a cache keeps, and nothing is wrong with it.
    Left {
        reason: String,
    },
}

impl Outcome {
    /// The egg of its key that the cache has now.
    #[must_use]
    pub fn egg(&self) -> Option<&CachedEgg> {
        match self {
            Self::Stored { egg }
            | Self::Replaced { egg, .. }
            | Self::Present { egg }
            | Self::Other { egg } => Some(egg),
            Self::Refused { .. } | Self::Left { .. } => None,
        }
    }
}

/// An egg that was listed and is to be kept.
#[derive(Debug)]
pub struct ScannedEgg {
    pub tree: Tree,
    /// As of [`Options`].
    pub provenance: Provenance,
}

/// What is offered as an egg.
struct Offered {
    path: PathBuf,
    /// Why it is not even looked at.
    left: Option<&'static str>,
}

impl Report {
    /// Eggs that were not taken because something is wrong with them.
    pub fn refused(&self) -> impl Iterator<Item = &Added> {
        self.eggs.iter().filter(|added| matches!(added.outcome, Outcome::Refused { .. }))
    }
}

/// Adds every egg at or directly below the paths, and those of buildouts.
///
/// # Errors
/// If a path names no egg and no folder of eggs, or if the cache cannot be written. An egg that is
/// not sound is no error: the report says why it was refused.
pub fn add(
    cache: &mut Cache,
    paths: &[PathBuf],
    options: &Options,
    progress: &dyn Progress,
) -> Result<Report> {
    cache.check_writable()?;
    cache.sweep()?;
    let mut offered = Vec::new();
    for path in paths {
        offered.extend(eggs_at(path)?);
    }
    let mut eggs = Vec::with_capacity(offered.len());
    let mut paths = Vec::with_capacity(offered.len());
    for Offered { path, left } in offered {
        match left {
            None => paths.push(path),
            Some(reason) => {
                let outcome = Outcome::Left { reason: reason.to_owned() };
                eggs.push(Added { path, outcome });
            }
        }
    }
    progress.begin("adding", paths.len() as u64, Unit::Eggs);
    for batch in paths.chunks(BATCH) {
        eggs.extend(add_batch(cache, batch, options, progress)?);
    }
    progress.end();
    cache.take_ballast();
    Ok(Report { eggs })
}

fn add_batch(
    cache: &mut Cache,
    paths: &[PathBuf],
    options: &Options,
    progress: &dyn Progress,
) -> Result<Vec<Added>> {
    let provenance = &options.provenance;
    let listed = paths
        .par_iter()
        .map(|path| Ok(ScannedEgg { tree: scan(path, options)?, provenance: provenance.clone() }))
        .collect();
    let outcomes = keep_each(cache, paths, listed, &options.replace, progress)?;
    let added = |(path, outcome): (&PathBuf, _)| Added { path: path.clone(), outcome };
    Ok(paths.iter().zip(outcomes).map(added).collect())
}

/// Lists an egg that was built just now: nothing in it is half-copied, and what is not there never
/// was. Answers why it is refused, if it is not sound.
///
/// # Errors
/// If something else is wrong than the egg.
pub fn list(path: &Path, hints: &Hints) -> Result<std::result::Result<Tree, String>> {
    match Tree::scan(path, hints) {
        Ok(tree) => Ok(Ok(tree)),
        Err(error) => refusal(error, path).map(Err),
    }
}

/// Keeps eggs that were listed, all under one hold of the write lock. One that has changed since is
/// refused.
///
/// # Errors
/// If the cache cannot be written; then none of them is kept.
pub fn keep(cache: &mut Cache, eggs: Vec<ScannedEgg>, replace: &Replace) -> Result<Vec<Outcome>> {
    let paths: Vec<PathBuf> = eggs.iter().map(|egg| egg.tree.path().to_owned()).collect();
    let eggs = eggs.into_iter().map(Ok).collect();
    let outcomes = keep_each(cache, &paths, eggs, replace, &Silent)?;
    cache.take_ballast();
    Ok(outcomes)
}

/// What becomes of the eggs at these paths, each listed or found to be not sound.
fn keep_each(
    cache: &mut Cache,
    paths: &[PathBuf],
    listed: Vec<Result<ScannedEgg>>,
    replace: &Replace,
    progress: &dyn Progress,
) -> Result<Vec<Outcome>> {
    let others = listed
        .iter()
        .map(|listed| match listed {
            Ok(listed) => other_build(cache, &listed.tree.manifest.key),
            Err(_) => Ok(None),
        })
        .map(|other| other.map(|other| other.filter(|&digest| replace.covers(digest))))
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
        match staged {
            Ok(staged) => {
                sound.push(staged);
                refusals.push(None);
            }
            Err(error) => refusals.push(Some(refusal(error, path)?)),
        }
    }
    let mut commits = cache.commit(sound, |egg| replace.covers(egg.digest))?.into_iter();
    let outcome = |refusal: Option<String>| match refusal {
        Some(reason) => Outcome::Refused { reason },
        None => commits.next().map_or_else(
            || Outcome::Refused { reason: "it was not committed".into() },
            Outcome::from,
        ),
    };
    Ok(refusals.into_iter().map(outcome).collect())
}

/// Lists an egg that somebody has left there, and asks whether it is whole.
fn scan(path: &Path, options: &Options) -> Result<Tree> {
    let tree = Tree::scan(path, &options.hints)?;
    let entries = &tree.manifest.entries;
    let name: Option<EggName> = tree.manifest.file_name.parse().ok();
    let python = name.map(|name| name.python).unwrap_or_default();
    let wrong =
        completeness::other_python(&python, entries).into_iter().next().map(|(module, it)| {
            format!("{module} is compiled for Python {it}, the egg is for {python}")
        });
    match wrong.map_or_else(|| completeness::half_copied(path, entries), |wrong| Ok(Some(wrong)))? {
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

/// The egg that the cache has of a key.
fn other_build(cache: &Cache, key: &EggKey) -> Result<Option<Digest>> {
    let eggs = cache.eggs_of_project(&key.name)?;
    Ok(eggs.into_iter().find(|egg| egg.key == *key).map(|egg| egg.digest))
}

/// What is wrong with the egg, if it is the egg that something is wrong with.
fn refusal(error: Error, egg: &Path) -> Result<String> {
    match error {
        Error::UnsoundEgg { path, reason } if path == egg => Ok(reason),
        Error::UnsoundEgg { path, reason } => Ok(format!("{}: {reason}", path.display())),
        Error::Io { ref path, .. } if path.starts_with(egg) => Ok(error.to_string()),
        error => Err(error),
    }
}

/// A path that is an egg, or the eggs of an eggs directory, or those of a buildout, and what else is
/// offered as one there.
fn eggs_at(path: &Path) -> Result<Vec<Offered>> {
    let metadata = path.symlink_metadata().at("read", path)?;
    if is_egg(path) || is_link(path) || !(metadata.is_dir() || path.is_dir()) {
        return Ok(vec![Offered { path: path.to_owned(), left: None }]);
    }
    let mut eggs = Vec::new();
    for folder in layouts(path)? {
        eggs.extend(eggs_in(&folder)?);
    }
    if eggs.is_empty() && is_buildout(path) {
        eggs = eggs_of(&Buildout::open(path, None)?)?;
    }
    if eggs.is_empty() {
        return Err(Error::UnsoundEgg {
            path: path.to_owned(),
            reason:
                "it is neither an egg nor a folder with eggs in it (or in its v5/, or in a folder \
                     of an ABI as cp311/), nor a buildout that has any"
                    .into(),
        });
    }
    Ok(eggs)
}

fn eggs_in(folder: &Path) -> Result<Vec<Offered>> {
    let found = buildout::entries(folder)?.into_iter().filter_map(|path| {
        let left = is_temporary(&path)
            .then_some("it is what an installation has left that was interrupted");
        (left.is_some() || is_egg(&path) || is_link(&path)).then_some(Offered { path, left })
    });
    Ok(found.collect())
}

fn eggs_of(buildout: &Buildout) -> Result<Vec<Offered>> {
    let mut eggs = Vec::new();
    for folder in &buildout.eggs_directories {
        eggs.extend(eggs_in(folder)?);
    }
    if buildout.develop_eggs.is_dir() {
        let develop = eggs_in(&buildout.develop_eggs)?.into_iter();
        eggs.extend(develop.map(|Offered { path, .. }| {
            let left = if is_link(&path) {
                "it is a develop egg, which stays with its project"
            } else {
                "it is a custom build, and nothing tells its options"
            };
            Offered { path, left: Some(left) }
        }));
    }
    Ok(eggs)
}

fn is_link(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "egg-link")
}

impl From<Commit> for Outcome {
    fn from(commit: Commit) -> Self {
        match commit {
            Commit::Stored(egg) => Self::Stored { egg: Box::new(egg) },
            Commit::Kept { existing, same: true } => Self::Present { egg: Box::new(existing) },
            Commit::Kept { existing, same: false } => Self::Other { egg: Box::new(existing) },
            Commit::Replaced { egg, old } => Self::Replaced { egg: Box::new(egg), old },
        }
    }
}
