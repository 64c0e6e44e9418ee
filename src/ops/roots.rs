//! Roots: list the buildouts that use the cache, or forget one.

use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

use serde::Serialize;

use crate::cache::Cache;
use crate::cache::retention::pins;
use crate::cache::retention::roots::{self, KnownRoot};
use crate::disk::boundary::Boundary;
use crate::error::{Error, IoContext, Result};
use crate::util::clock::now;
use crate::util::hash::digest::Digest;
use crate::util::suggest::nearest;

#[derive(Debug, Serialize)]
pub struct Report {
    pub roots: Vec<RootStatus>,
    /// Why records cannot be read.
    pub unreadable: Vec<String>,
    /// Buildouts that were forgotten.
    pub forgotten: Vec<PathBuf>,
}

/// A root, and the eggs in the cache that it uses.
#[derive(Debug, Serialize)]
pub struct RootStatus {
    #[serde(flatten)]
    pub known: KnownRoot,
    /// How many of its eggs the cache has.
    pub cached: usize,
    /// Bytes of their blobs.
    pub bytes: u64,
    /// Bytes of those that no other root uses and no pin matches.
    pub exclusive_bytes: u64,
}

/// Lists all roots by directory, after forgetting those of the folder `forget`.
///
/// # Errors
/// [`Error::NotARoot`] if there is none to forget.
pub fn roots(cache: &Cache, forget: Option<&Path>) -> Result<Report> {
    let (mut known, unreadable) = roots::all(cache.dir(), now())?;
    let mut forgotten = Vec::new();
    if let Some(directory) = forget {
        cache.check_writable()?;
        (forgotten, known) = forget_root(cache, directory, known)?;
    }
    let (pins, eggs) = (pins::all(cache.dir())?, cache.eggs()?);
    let sizes: HashMap<Digest, u64> = eggs.iter().map(|egg| (egg.digest, egg.blob_bytes)).collect();
    let mut uses: HashMap<Digest, usize> = HashMap::new();
    for digest in known.iter().flat_map(digests_of) {
        *uses.entry(digest).or_default() += 1;
    }
    for egg in eggs.iter().filter(|egg| pins.iter().any(|(_, pattern)| pattern.matches(egg))) {
        *uses.entry(egg.digest).or_default() += 1;
    }
    Ok(Report {
        roots: known.into_iter().map(|known| status(known, &sizes, &uses)).collect(),
        unreadable: unreadable.iter().map(Error::to_string).collect(),
        forgotten,
    })
}

/// Forgets the roots of a folder. Returns their directories and the other roots.
fn forget_root(
    cache: &Cache,
    directory: &Path,
    known: Vec<KnownRoot>,
) -> Result<(Vec<PathBuf>, Vec<KnownRoot>)> {
    // A folder that is gone has no canonical path, but the folders above it may have one.
    let directory = std::path::absolute(directory).at("read", directory)?;
    let directory = Boundary::new(Path::new("/"))?.real(&directory);
    let (gone, kept): (Vec<_>, Vec<_>) =
        known.into_iter().partition(|known| known.root.directory == directory);
    if gone.is_empty() {
        let nearest = nearest_to(&directory, &kept).map(|path| path.display().to_string());
        return Err(Error::NotARoot { path: directory, nearest });
    }
    gone.iter().try_for_each(|root| roots::forget(cache.dir(), root))?;
    Ok((gone.into_iter().map(|known| known.root.directory).collect(), kept))
}

/// `sizes` are the bytes of the blobs, `uses` the number of roots and pins that need an egg.
fn status(
    known: KnownRoot,
    sizes: &HashMap<Digest, u64>,
    uses: &HashMap<Digest, usize>,
) -> RootStatus {
    let digests = digests_of(&known).into_iter();
    let cached: HashMap<Digest, u64> =
        digests.filter_map(|digest| Some((digest, *sizes.get(&digest)?))).collect();
    let exclusive = cached.iter().filter(|(digest, _)| uses[digest] == 1);
    RootStatus {
        cached: cached.len(),
        bytes: cached.values().sum(),
        exclusive_bytes: exclusive.map(|(_, bytes)| bytes).sum(),
        known,
    }
}

fn digests_of(known: &KnownRoot) -> HashSet<Digest> {
    known.root.eggs.iter().filter_map(|egg| egg.digest).collect()
}

/// The root that contains a folder, or one whose path differs in one misspelt name.
fn nearest_to<'k>(directory: &Path, known: &'k [KnownRoot]) -> Option<&'k Path> {
    let all = || known.iter().map(|known| known.root.directory.as_path());
    if let Some(above) = all().rfind(|root| directory.starts_with(root)) {
        return Some(above);
    }
    let wanted: Vec<_> = directory.components().collect();
    let one_differs = |path: &&Path| {
        let found: Vec<_> = path.components().collect();
        let differ = || wanted.iter().zip(&found).filter(|(one, other)| one != other);
        let text = |name: &Component<'_>| name.as_os_str().to_string_lossy().into_owned();
        found.len() == wanted.len()
            && differ().count() == 1
            && differ().all(|(one, other)| nearest(&text(one), vec![text(other)]).is_some())
    };
    all().find(one_differs)
}
