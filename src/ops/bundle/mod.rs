//! Bundle: a self-contained buildout as one archive, whose bytes depend only on the buildout.
//!
//! The caller checks the buildout first: a problem there is a problem of the deployment. Eggs that the
//! cache has are archived with the files and mtimes that the cache has, so two buildouts from one cache
//! give the same bytes, except in files that contain the path of the buildout. docs/reference/bundle.md lists
//! these, and what an archive contains.
//!
//! # Order of writes
//! Every file is read twice: for the manifest, which is first in the archive, and for the archive,
//! where it must be unchanged. The archive has a temporary name until it is complete and synced.

mod archive;
mod bound;
mod destination;
mod import;
mod manifest;
mod members;
pub mod provenance;
mod safe_paths;
mod select;
mod stream;
mod tar_members;
mod verify;
mod zstd_frames;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use crate::buildout::Buildout;
use crate::buildout::develop_eggs::DevelopEgg;
use crate::cache::Cache;
use crate::disk::dir::Dir;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::manifest::Mtime;
use crate::egg::metadata::Metadata;
use crate::egg::name::EggName;
use crate::error::{Error, IoContext, OrLog, Result};
use crate::ops::check;
use crate::ops::sbom::contents::Contents;
use crate::util::glob::PathPattern;
use crate::util::hash::sha256::Sha256;
use crate::util::path_search::SoughtPath;
use crate::util::progress::{Progress, Unit};
use crate::util::threads;

use bound::Bound;
use destination::Destination;
pub use import::{Imports, import};
pub use manifest::BundledEgg;
use manifest::{BundleEntry, EntryKind, FORMAT, Manifest};
pub use members::{LeftOut, Mtimes};
use members::{Member, MemberKind, Members};
use select::Rules;
pub use select::Why;
pub use verify::{Known, Problem, Verified, verify};

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The archive: `.tar.zst`, or `.tar`.
    pub output: PathBuf,
    /// The eggs directory, as for the check.
    pub eggs: Option<PathBuf>,
    /// The folder in the archive; the name of the buildout's folder if absent.
    pub prefix: Option<String>,
    pub mtimes: Mtimes,
    /// Patterns of paths to leave out.
    pub exclude: Vec<String>,
    /// Patterns of paths to include that are left out by default.
    pub include: Vec<String>,
    /// Include unused eggs.
    pub unused: bool,
}

#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(serialize_with = "crate::disk::files::lossy")]
    pub archive: PathBuf,
    /// Of the archive.
    pub sha256: Sha256,
    /// Length of the archive.
    pub archive_bytes: u64,
    pub is_compressed: bool,
    pub prefix: String,
    /// The only path at which the buildout works; absent if it works anywhere.
    pub path: Option<String>,
    /// What in the archive contains that path.
    pub bound: Vec<String>,
    /// Whether scripts import packages that are installed in their Python, and so are not in the archive.
    pub needs_packages: bool,
    /// These scripts.
    #[serde(skip)]
    pub importers: Vec<PathBuf>,
    /// Which parts of its configuration buildout has not installed, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_installed: Vec<String>,
    /// Other files with the path of the buildout, which only the next run of buildout reads.
    pub records: Vec<String>,
    /// The mtime of files outside eggs, in seconds since the Unix epoch; absent if each has its own.
    pub mtime: Option<u64>,
    pub eggs: usize,
    /// Eggs that the cache has. The mtimes of the others are those of this buildout.
    pub known_eggs: usize,
    pub files: usize,
    pub directories: usize,
    pub symlinks: usize,
    pub bytes: u64,
    pub left_out: Vec<LeftOut>,
    /// The eggs in the archive.
    #[serde(skip)]
    pub bundled: Vec<BundledEgg>,
    /// The develop eggs in the archive that are in a git repository.
    #[serde(skip)]
    pub checkouts: Vec<Checkout>,
    /// A bill of materials of the archive, if one was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sbom: Option<PathBuf>,
    /// Files with native code in `parts/` that the bill of materials does not list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unlisted: Vec<String>,
    /// The provenance of the archive, if one was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provenance: Option<PathBuf>,
}

/// Writes the archive of the buildout that `checked` is the report of.
///
/// # Errors
/// [`Error::NotBundled`] if the check has found a problem, [`Error::Usage`] for an impossible output
/// or prefix, [`Error::Unbundleable`], or [`Error::Changing`]. No part of the archive is left then.
pub fn bundle(
    cache: Option<&Cache>,
    checked: &check::Report,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Report> {
    threads::start_pool()?;
    let buildout = Buildout::open(&checked.buildout, options.eggs.as_deref())?;
    let root = buildout.boundary.root();
    // Everything is read below this handle. A canonical path has no symlink in it.
    let opened = Dir::open_canonical(&checked.buildout).at("open directory", &checked.buildout)?;
    if root != checked.buildout {
        return Err(Error::Changing { path: checked.buildout.clone() });
    }
    let problems = checked.unsolved().count();
    if problems > 0 {
        let problems = format!("{problems} problem{}", if problems == 1 { "" } else { "s" });
        return Err(Error::NotBundled { path: root.to_owned(), problems });
    }
    let format = destination::format_of(&options.output)?;
    let prefix = destination::prefix(options.prefix.as_deref(), root)?;
    let cached = cached_eggs(cache, checked)?;
    let rules = rules(cache, checked, &buildout, &cached, options)?;
    let path = destination::path(&options.output, &buildout, &rules)?;
    let Members { taken: members, left_out, mtime } =
        members::members(&opened, &rules, &cached, options.mtimes)?;
    let (entries, contain) = entries(&opened, &members, &SoughtPath::new(root), progress)?;
    let tied = Bound::new(&buildout, &entries, &contain, &checked.notes);
    let folders = tied.folders(&buildout);
    let Bound { bound, records } = tied;
    let works_only_at = (!bound.is_empty()).then(|| root.to_string_lossy().into_owned());
    let manifest = Manifest {
        format: FORMAT,
        eggcache: env!("CARGO_PKG_VERSION").to_owned(),
        prefix,
        path: works_only_at,
        bound,
        folders,
        eggs: bundled_eggs(root, &rules, &cached, &entries),
        entries,
    };
    let checkouts = checkouts(&buildout, &manifest.entries)?;
    let destination = Destination { path, format };
    let (sha256, archive_bytes) = destination.write(&manifest, &opened, progress)?;
    let count = |is: fn(&EntryKind) -> bool| {
        manifest.entries.iter().filter(|entry| is(&entry.kind)).count()
    };
    let packed: HashSet<&str> = manifest.entries.iter().map(|entry| &*entry.path).collect();
    let mut importers = checked.importers.clone();
    importers.retain(|path| path.to_str().is_some_and(|path| packed.contains(path)));
    Ok(Report {
        archive: destination.path,
        sha256,
        archive_bytes,
        is_compressed: destination.format == destination::Format::TarZst,
        mtime,
        eggs: manifest.eggs.len(),
        known_eggs: manifest.eggs.iter().filter(|egg| egg.digest.is_some()).count(),
        files: count(|kind| matches!(kind, EntryKind::File { .. })),
        directories: count(|kind| matches!(kind, EntryKind::Directory)),
        symlinks: count(|kind| matches!(kind, EntryKind::Symlink { .. })),
        bytes: bytes(&members),
        prefix: manifest.prefix,
        path: manifest.path,
        bound: manifest.bound,
        needs_packages: !importers.is_empty(),
        importers,
        not_installed: checked.not_installed().map(str::to_owned).collect(),
        records,
        left_out,
        bundled: manifest.eggs,
        checkouts,
        sbom: None,
        unlisted: Vec::new(),
        provenance: None,
    })
}

/// An egg of the buildout that the cache has.
struct CachedContent {
    egg: CachedEgg,
    /// By the path in the egg.
    mtimes: HashMap<String, Mtime>,
}

/// The eggs that the cache has, by their paths in the buildout.
type CachedContents = BTreeMap<String, CachedContent>;

fn cached_eggs(cache: Option<&Cache>, checked: &check::Report) -> Result<CachedContents> {
    let Some(blobs) = cache.map(Cache::blobs) else { return Ok(BTreeMap::new()) };
    let cached = checked.digests.par_iter().filter_map(|(path, digest)| {
        let content = blobs.open(*digest).transpose()?.map(|blob| {
            let entries = blob.manifest.entries.iter();
            let mtimes = entries.map(|entry| (entry.path.as_str().to_owned(), entry.mtime));
            let mtimes = mtimes.collect();
            (path.clone(), CachedContent { egg: blob.cached_egg(), mtimes })
        });
        Some(content)
    });
    cached.collect()
}

/// The rules for this buildout and these options.
fn rules(
    cache: Option<&Cache>,
    checked: &check::Report,
    buildout: &Buildout,
    contents: &CachedContents,
    options: &Options,
) -> Result<Rules> {
    let short = |path: &Path| buildout.boundary.short(path).to_string_lossy().into_owned();
    let patterns = |texts: &[String]| texts.iter().map(|text| PathPattern::new(text)).collect();
    let caches = buildout.caches.iter().map(PathBuf::as_path).chain(cache.map(Cache::root));
    let eggs = buildout.eggs()?.into_iter().map(|path| {
        let path = short(&path);
        let content = contents.get(&path);
        let paths = content.map(|egg| egg.mtimes.keys().cloned().collect::<HashSet<_>>());
        (path, paths)
    });
    let is_unused = |note: &&check::Finding| note.kind == check::FindingKind::Unused;
    let unused = checked.notes.iter().filter(|_| !options.unused).filter(is_unused);
    Ok(Rules {
        exclude: patterns(&options.exclude),
        include: patterns(&options.include),
        caches: caches.map(short).collect(),
        eggs_directories: buildout.eggs_directories.iter().map(|folder| short(folder)).collect(),
        eggs: eggs.collect(),
        unused: unused.map(|note| note.path.to_string_lossy().into_owned()).collect(),
    })
}

fn bytes(members: &[Member]) -> u64 {
    let size = |member: &Member| match member.kind {
        MemberKind::File { size, .. } => size,
        _ => 0,
    };
    members.iter().map(size).sum()
}

/// The entries of the manifest, and for each whether it contains the path of the buildout. Every file is
/// read for its digest.
fn entries(
    root: &Dir,
    members: &[Member],
    root_path: &SoughtPath,
    progress: &dyn Progress,
) -> Result<(Vec<BundleEntry>, Vec<bool>)> {
    progress.begin("reading", bytes(members), Unit::Bytes);
    let entry = |member: &Member| {
        let (kind, contains) = match &member.kind {
            MemberKind::Directory => (EntryKind::Directory, false),
            MemberKind::Symlink { target } => {
                (EntryKind::Symlink { target: target.clone() }, root_path.is_in(target.as_bytes()))
            }
            MemberKind::File { size, executable } => {
                let (sha256, contains) =
                    archive::digest(root, &member.path, *size, root_path, progress)?;
                let (size, executable) = (*size, *executable);
                (EntryKind::File { size, executable, sha256 }, contains)
            }
        };
        let entry = BundleEntry { path: member.path.clone(), kind, mtime: member.mtime };
        Ok((entry, contains))
    };
    let entries: Result<Vec<_>> = members.par_iter().map(entry).collect();
    progress.end();
    Ok(entries?.into_iter().unzip())
}

/// A develop egg and the git commit of its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    pub name: String,
    /// Of the link, relative to the buildout.
    pub path: String,
    pub commit: String,
}

/// The develop eggs whose links are in the archive and whose commits are known.
fn checkouts(buildout: &Buildout, entries: &[BundleEntry]) -> Result<Vec<Checkout>> {
    let checkout = |egg: DevelopEgg| {
        let path = buildout.boundary.short(&egg.link).to_string_lossy().into_owned();
        let is_bundled = entries.iter().any(|entry| entry.path == path);
        let commit = egg.commit(&buildout.boundary).filter(|_| is_bundled)?;
        Some(Checkout { name: egg.name, path, commit })
    };
    Ok(buildout.develop_eggs()?.into_iter().filter_map(checkout).collect())
}

/// The eggs in the archive.
fn bundled_eggs(
    root: &Path,
    rules: &Rules,
    cached: &CachedContents,
    entries: &[BundleEntry],
) -> Vec<BundledEgg> {
    let eggs: Vec<&String> =
        entries.iter().map(|entry| &entry.path).filter(|it| rules.eggs.contains_key(*it)).collect();
    let bundled = |path: &String| bundled_egg(root, path, cached.get(path).map(|it| &it.egg));
    eggs.into_par_iter().map(bundled).collect()
}

fn bundled_egg(root: &Path, path: &str, cached: Option<&CachedEgg>) -> BundledEgg {
    let file_name = || path.rsplit('/').next()?.parse::<EggName>().ok();
    let metadata = Contents::metadata_of(&root.join(path)).or_log().flatten();
    let (name, version) = match metadata {
        Some(Metadata { name, version }) => (name, version),
        None => file_name().map(|it| (it.name, it.version)).unwrap_or_default(),
    };
    let source = cached.map(|egg| egg.key.source_sha256.clone()).filter(|it| !it.is_empty());
    BundledEgg {
        path: path.to_owned(),
        name,
        version,
        digest: cached.map(|egg| egg.digest),
        source_sha256: source,
        archive_url: cached.and_then(|egg| egg.provenance.archive_url.clone()),
    }
}
