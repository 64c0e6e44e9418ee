//! Add: store eggs from a file system in the cache. [`crate::cache`] describes the order of writes.

mod archive;
mod builder;
mod folders;
mod offered;

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use crate::cache::{Cache, Commit, Likeness, Staged, Staging};
use crate::egg::cached_egg::CachedEgg;
use crate::egg::completeness;
use crate::egg::key::EggKey;
use crate::egg::name::EggName;
use crate::egg::provenance::Provenance;
use crate::egg::sameness::knows_less;
use crate::egg::scan::{Hints, Tree};
use crate::error::{Error, Result};
use crate::remote::withdrawals::contents::{self, WithdrawnContent};
use crate::remote::withdrawals::record::Withdrawals;
use crate::util::clock::now;
use crate::util::hash::digest::Digest;
use crate::util::progress::{Progress, Silent, Unit};
use crate::util::stop::Stop;
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
    /// Whether the archive of an egg is the wheel that pip has noted in it.
    pub trust_records: bool,
    /// A request to stop. Eggs that are complete then are stored.
    pub stop: Stop,
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
    /// Set if it ended before it was done with all eggs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
}

/// Why not all eggs were added. Those that were complete are stored and in the report.
#[derive(Debug, Serialize)]
pub struct Stopped {
    /// [`Error::Interrupted`], or a full disk, for example.
    #[serde(serialize_with = "crate::error::as_text")]
    pub reason: Error,
    /// How many eggs are left.
    pub left: usize,
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
    /// Stored in place of another build of the same key, or of the same egg without its archive.
    Replaced {
        egg: Box<CachedEgg>,
        old: Digest,
    },
    /// The cache already has this egg, perhaps with other times or bytecode, or with more about its origin.
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
    /// Refused because it is a withdrawn build, or has the same content.
    #[serde(rename = "refused")]
    Withdrawn {
        /// The withdrawn build.
        #[serde(skip)]
        digest: Digest,
        #[serde(rename = "reason", serialize_with = "crate::error::as_text")]
        error: Error,
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
            Self::Refused { .. } | Self::Withdrawn { .. } | Self::Skipped { .. } => None,
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
        let is_refused = |outcome: &Outcome| {
            matches!(outcome, Outcome::Refused { .. } | Outcome::Withdrawn { .. })
        };
        self.eggs.iter().filter(move |added| is_refused(&added.outcome))
    }
}

/// Adds the eggs at the paths: eggs, eggs directories and buildouts.
///
/// # Errors
/// [`Error::UnsoundEgg`] if there is no egg at a path. An egg that cannot be stored is not an error: the
/// report says why it was refused. Nor is a failure after the first egg was read: the report has what is
/// stored, and the reason.
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
    let mut left = paths.len();
    let mut stopped = None;
    for batch in paths.chunks(BATCH) {
        let (added, reason) = add_batch(cache, batch, options, &folders, progress);
        left -= added.len();
        eggs.extend(added);
        if let Some(reason) = reason {
            stopped = Some(Stopped { reason, left });
            break;
        }
    }
    progress.end();
    cache.take_ballast();
    Ok(Report { eggs, stopped })
}

/// Adds some eggs. Returns what is done, and what kept it from doing the rest.
fn add_batch(
    cache: &mut Cache,
    paths: &[PathBuf],
    options: &Options,
    folders: &OlderFolders,
    progress: &dyn Progress,
) -> (Vec<Added>, Option<Error>) {
    let provenance = &options.provenance;
    let listed = paths
        .par_iter()
        .map(|path| {
            let (tree, wheel) = scan(path, options, folders)?;
            let mut provenance = provenance.clone();
            provenance.source = provenance.source.or(wheel);
            Ok(ScannedEgg { tree, provenance })
        })
        .collect();
    let kept = keep_each(cache, paths, listed, options, progress);
    let (outcomes, reason) = match kept {
        Ok(Kept { outcomes, failure }) => (outcomes, failure),
        Err(error) => (Vec::new(), Some(error)),
    };
    let added = |(path, outcome): (&PathBuf, Option<_>)| {
        Some(Added { path: path.clone(), outcome: outcome? })
    };
    (paths.iter().zip(outcomes).filter_map(added).collect(), reason)
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
/// Errors that are not about the eggs, as a full disk. Those that were complete then are stored.
pub fn keep(cache: &mut Cache, eggs: Vec<ScannedEgg>, replace: &Replace) -> Result<Vec<Outcome>> {
    threads::start_pool()?;
    let paths: Vec<PathBuf> = eggs.iter().map(|egg| egg.tree.path().to_owned()).collect();
    let eggs = eggs.into_iter().map(Ok).collect();
    let options = Options { replace: replace.clone(), ..Options::default() };
    let Kept { outcomes, failure } = keep_each(cache, &paths, eggs, &options, &Silent)?;
    cache.take_ballast();
    failure.map_or_else(|| Ok(outcomes.into_iter().flatten().collect()), Err)
}

/// What became of several eggs.
struct Kept {
    /// In the order of the eggs; `None` for one that is not done.
    outcomes: Vec<Option<Outcome>>,
    /// Why not all are done.
    failure: Option<Error>,
}

/// Stores the eggs at these paths, each of which is listed or has a problem. What is complete is stored,
/// whatever keeps the others from it.
fn keep_each(
    cache: &mut Cache,
    paths: &[PathBuf],
    listed: Vec<Result<ScannedEgg>>,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Kept> {
    let Options { replace, stop, .. } = options;
    let withdrawals = Withdrawals::of(cache.root())?;
    let contents = contents::of(cache.dir(), withdrawals.eggs())?;
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
            let staged = pack(&staging, listed?, replaces, stop);
            progress.advance(1);
            staged
        })
        .collect();
    let mut sound = Vec::new();
    let mut packed = Vec::new();
    let mut failure = None;
    for (staged, path) in staged.into_iter().zip(paths) {
        packed.push(match staged.map_err(|error| refusal(error, path)) {
            Ok(staged) => {
                if let Some(outcome) = withdrawn(&staged, &withdrawals, &contents) {
                    Packed::Refused(outcome)
                } else {
                    sound.push(staged);
                    Packed::Sound
                }
            }
            Err(Ok(reason)) => Packed::Refused(Outcome::Refused { reason }),
            Err(Err(error)) => {
                failure.get_or_insert(error);
                Packed::NotDone
            }
        });
    }
    if failure.as_ref().is_some_and(Error::is_full) && !cache.free_ballast() {
        make_room(&mut sound, &mut packed);
    }
    let mut commits = match cache.commit(sound, |egg| replaces(egg.digest)) {
        Ok(commits) => commits.into_iter(),
        // A full disk, for example, is the reason for both.
        Err(error) => return Err(failure.unwrap_or(error)),
    };
    let outcome = |it| match it {
        Packed::Refused(outcome) => Some(outcome),
        Packed::Sound => commits.next().map(Outcome::from),
        Packed::NotDone => None,
    };
    Ok(Kept { outcomes: packed.into_iter().map(outcome).collect(), failure })
}

/// The refusal of a withdrawn build, and of one that has its content and key.
fn withdrawn(
    staged: &Staged,
    withdrawals: &Withdrawals,
    contents: &[WithdrawnContent],
) -> Option<Outcome> {
    let digest = staged.written.digest;
    let again = || contents::made_again(contents, &staged.manifest);
    let digest = withdrawals.has(digest).then_some(digest).or_else(again)?;
    let error = withdrawals.get(digest)?.again_error("it");
    Some(Outcome::Withdrawn { digest, error })
}

/// Gives up the egg that was packed last, so that a full disk has room for the rows of the others.
fn make_room(sound: &mut Vec<Staged>, packed: &mut [Packed]) {
    let last = packed.iter_mut().rfind(|it| matches!(it, Packed::Sound));
    if let Some(last) = last {
        *last = Packed::NotDone;
        drop(sound.pop());
    }
}

/// An egg before it is committed.
enum Packed {
    Sound,
    Refused(Outcome),
    NotDone,
}

/// Lists an egg of unknown origin, and checks that it is complete. Returns also the file name of its wheel, if
/// it shows that.
fn scan(path: &Path, options: &Options, folders: &OlderFolders) -> Result<(Tree, Option<String>)> {
    let mut tree = Tree::scan(path, &options.hints)?;
    if options.hints.generation.is_none() && folders.contains(path) {
        folders::correct(&mut tree.manifest.key);
    }
    let name: Option<EggName> = tree.manifest.file_name.parse().ok();
    let python = name.map(|name| name.python).unwrap_or_default();
    complete_key(&mut tree, &python)?;
    let wheel = if options.trust_records { add_wheel(&mut tree)? } else { None };
    let entries = &tree.manifest.entries;
    let other_python = completeness::other_python(&python, entries).into_iter().next();
    let reason = match other_python {
        Some((module, pythons)) => Some(format!(
            "{module} is compiled for Python {pythons}, but the egg is for Python {python}"
        )),
        None => completeness::half_copied(&tree.open()?.files, entries)?,
    };
    match reason {
        Some(reason) => Err(Error::UnsoundEgg { path: path.to_owned(), reason }),
        None => Ok((tree, wheel)),
    }
}

/// Adds the wheel to the key of an egg that shows it. Returns the file name of the wheel.
fn add_wheel(tree: &mut Tree) -> Result<Option<String>> {
    let wheel = archive::wheel(&tree.open()?.files, &tree.manifest.entries)?;
    Ok(wheel.map(|wheel| {
        tree.manifest.key.source_sha256 = wheel.sha256.to_string();
        wheel.file_name
    }))
}

/// Adds to a key what only the files of the egg show.
fn complete_key(tree: &mut Tree, python: &str) -> Result<()> {
    let open = tree.open()?;
    let (files, entries) = (&open.files, &tree.manifest.entries);
    let variant = builder::variant(files, entries)?;
    let abi = if python == "2.7" { builder::python2_abi(files, entries)? } else { None };
    let key = &mut tree.manifest.key;
    if let Some(variant) = variant.filter(|_| key.variant.is_empty()) {
        variant.clone_into(&mut key.variant);
    }
    if let Some(abi) = abi.filter(|_| key.abi.is_empty()) {
        abi.clone_into(&mut key.abi);
    }
    Ok(())
}

fn pack(
    staging: &Staging,
    listed: ScannedEgg,
    replaces: Option<Digest>,
    stop: &Stop,
) -> Result<Staged> {
    if stop.is_requested() {
        return Err(Error::Interrupted);
    }
    let provenance = Provenance {
        added_at: now(),
        eggcache: env!("CARGO_PKG_VERSION").to_owned(),
        replaces,
        ..listed.provenance
    };
    staging.pack(&listed.tree, provenance, stop)
}

/// The egg in the cache that a new build of this key replaces: one of the same key, or of a key that only
/// lacks the archive.
fn replaced_build(
    cache: &Cache,
    key: &EggKey,
    replaces: impl Fn(Digest) -> bool,
) -> Result<Option<Digest>> {
    let eggs = cache.eggs_of_project(&key.name)?;
    let is_other = |egg: &CachedEgg| egg.key == *key || knows_less(&egg.key, key);
    Ok(eggs.into_iter().filter(is_other).map(|egg| egg.digest).find(|&digest| replaces(digest)))
}

/// The problem with the egg, if the error is about the egg.
///
/// # Errors
/// Any other error.
pub fn refusal(error: Error, egg: &Path) -> Result<String> {
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
            Commit::Kept { existing, likeness: Likeness::Same | Likeness::Known } => {
                Self::Present { egg: Box::new(existing) }
            }
            Commit::Kept { existing, likeness: Likeness::Other } => {
                Self::Other { egg: Box::new(existing) }
            }
            Commit::Replaced { egg, old } => Self::Replaced { egg: Box::new(egg), old },
            Commit::Refused { reason } => Self::Refused { reason },
        }
    }
}
