//! Bundle: a self-contained buildout as one archive, whose bytes depend on nothing but the buildout.
//!
//! Whoever bundles has checked first: what a check finds is what a deployment would miss. The eggs
//! that the cache has go in as the cache has them: their files, and their times. So two buildouts that
//! were made from one cache give the same bytes, but for what names its own folder. docs/bundle.md
//! says what that is, and what goes in.
//!
//! # Order of writes
//! Every file is read twice: for the manifest, which comes first in the archive, and for the archive,
//! where it must still be the same. The archive has a temporary name until it is whole and synced.

mod archive;
mod manifest;
mod members;
mod select;
mod verify;
mod zstd_frames;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use crate::buildout::Buildout;
use crate::cache::Cache;
use crate::disk::files;
use crate::disk::permissions;
use crate::disk::temp::Temp;
use crate::egg::cached_egg::CachedEgg;
use crate::egg::manifest::Mtime;
use crate::egg::name::EggName;
use crate::error::{Error, IoContext, Result};
use crate::ops::check;
use crate::util::glob::PathPattern;
use crate::util::hash::sha256::{Hashing, Sha256};
use crate::util::progress::{Progress, Unit};

use manifest::{BundleEntry, BundledEgg, EntryKind, FORMAT, Manifest};
pub use members::{LeftOut, Mtimes};
use members::{Member, MemberKind, Members};
use select::Rules;
pub use select::Why;
pub use verify::{Problem, Verified, verify};

#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The archive: `.tar.zst`, or `.tar`.
    pub output: PathBuf,
    /// The eggs directory, as the check was told.
    pub eggs: Option<PathBuf>,
    /// The folder in the archive; the name of the buildout's folder if absent.
    pub prefix: Option<String>,
    pub mtimes: Mtimes,
    /// Patterns of what does not go in, and of what goes in although it would not.
    pub exclude: Vec<String>,
    pub include: Vec<String>,
    /// Also eggs that nothing uses.
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
    pub prefix: String,
    /// The mtime of what is of no egg, in seconds since the Unix epoch; absent if each has its own.
    pub mtime: Option<u64>,
    pub eggs: usize,
    /// Eggs that the cache has; the times of the others are those of this buildout.
    pub known_eggs: usize,
    pub files: usize,
    pub directories: usize,
    pub symlinks: usize,
    pub bytes: u64,
    pub left_out: Vec<LeftOut>,
}

/// How the archive is packed, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Tar,
    TarZst,
}

/// Writes the archive of the buildout that `checked` is the report of.
///
/// # Errors
/// [`Error::NotBundled`] if there is a problem, [`Error::Usage`] for an output or a prefix that cannot
/// be, [`Error::Unbundleable`], [`Error::Changing`], or what the file system says. Nothing is then left
/// of the archive.
pub fn bundle(
    cache: Option<&Cache>,
    checked: &check::Report,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Report> {
    let buildout = Buildout::open(&checked.buildout, options.eggs.as_deref())?;
    let root = buildout.boundary.root();
    let problems = checked.unsolved().count();
    if problems > 0 {
        let problems = format!("{problems} problem{}", if problems == 1 { "" } else { "s" });
        return Err(Error::NotBundled { path: root.to_owned(), problems });
    }
    let format = format_of(&options.output)?;
    let prefix = prefix(options.prefix.as_deref(), root)?;
    let known = known_eggs(cache, checked)?;
    let rules = rules(cache, checked, &buildout, &known, options)?;
    let output = output(&options.output, &buildout, &rules)?;
    let times = known.iter().map(|(path, known)| (path.clone(), known.times.clone())).collect();
    let Members { taken: members, left_out, mtime } =
        members::members(root, &rules, &times, options.mtimes)?;
    let entries = entries(root, &members, progress)?;
    let eggs = bundled_eggs(&rules, &known, &entries);
    let manifest = Manifest {
        format: FORMAT,
        eggcache: env!("CARGO_PKG_VERSION").to_owned(),
        prefix,
        eggs,
        entries,
    };
    let (sha256, archive_bytes) = write(&manifest, root, &output, format, progress)?;
    let count =
        |is: fn(&EntryKind) -> bool| manifest.entries.iter().filter(|it| is(&it.kind)).count();
    Ok(Report {
        archive: output,
        sha256,
        archive_bytes,
        mtime,
        eggs: manifest.eggs.len(),
        known_eggs: manifest.eggs.iter().filter(|egg| egg.digest.is_some()).count(),
        files: count(|it| matches!(it, EntryKind::File { .. })),
        directories: count(|it| matches!(it, EntryKind::Directory)),
        symlinks: count(|it| matches!(it, EntryKind::Symlink { .. })),
        bytes: bytes(&members),
        prefix: manifest.prefix,
        left_out,
    })
}

fn format_of(output: &Path) -> Result<Format> {
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    if name.ends_with(".tar.zst") {
        Ok(Format::TarZst)
    } else if name.ends_with(".tar") {
        Ok(Format::Tar)
    } else {
        let output = output.display();
        Err(Error::Usage(format!("{output}: name the archive .tar.zst or .tar")))
    }
}

/// The folder in the archive.
fn prefix(wanted: Option<&str>, root: &Path) -> Result<String> {
    let Some(prefix) = wanted.or_else(|| root.file_name()?.to_str()) else {
        let reason = "its name cannot be that of the folder in the archive: name one with --prefix";
        return Err(Error::Usage(format!("{}: {reason}", root.display())));
    };
    let parts: Vec<&str> = prefix.split('/').filter(|it| !it.is_empty() && *it != ".").collect();
    if prefix.starts_with('/') || parts.contains(&"..") {
        let reason = "the folder in the archive is relative, and stays in it";
        return Err(Error::Usage(format!("{prefix}: {reason}")));
    }
    Ok(parts.join("/"))
}

/// The canonical path of the archive, unless it would go into itself.
fn output(output: &Path, buildout: &Buildout, rules: &Rules) -> Result<PathBuf> {
    let name = output.file_name().unwrap_or_default();
    let folder = output.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let output = folder.canonicalize().at("open directory", folder)?.join(name);
    if let Ok(within) = output.strip_prefix(buildout.boundary.root())
        && rules.why_not(&within.to_string_lossy()).is_none()
    {
        return Err(Error::Usage(format!(
            "{} would go into itself: name an archive outside of the buildout",
            output.display()
        )));
    }
    Ok(output)
}

/// What the cache knows of an egg.
struct Known {
    egg: CachedEgg,
    /// By the path in the egg.
    times: HashMap<String, Mtime>,
}

/// The eggs that the cache has, by their paths in the buildout.
fn known_eggs(cache: Option<&Cache>, checked: &check::Report) -> Result<BTreeMap<String, Known>> {
    let Some(blobs) = cache.map(Cache::blobs) else { return Ok(BTreeMap::new()) };
    let known = checked.digests.par_iter().filter_map(|(path, digest)| {
        let known = blobs.open(*digest).transpose()?.map(|blob| {
            let entries = blob.manifest.entries.iter();
            let times = entries.map(|it| (it.path.as_str().to_owned(), it.mtime)).collect();
            (path.clone(), Known { egg: blob.cached_egg(), times })
        });
        Some(known)
    });
    known.collect()
}

fn rules(
    cache: Option<&Cache>,
    checked: &check::Report,
    buildout: &Buildout,
    known: &BTreeMap<String, Known>,
    options: &Options,
) -> Result<Rules> {
    let short = |path: &Path| buildout.boundary.short(path).to_string_lossy().into_owned();
    let patterns = |texts: &[String]| texts.iter().map(|text| PathPattern::new(text)).collect();
    let caches = buildout.caches.iter().map(PathBuf::as_path).chain(cache.map(Cache::root));
    let eggs = buildout.eggs()?.into_iter().map(|path| {
        let path = short(&path);
        let within = known.get(&path).map(|it| it.times.keys().cloned().collect::<HashSet<_>>());
        (path, within)
    });
    let is_unused = |it: &&check::Finding| it.kind == check::FindingKind::Unused && !options.unused;
    let unused = checked.notes.iter().filter(is_unused);
    Ok(Rules {
        exclude: patterns(&options.exclude),
        include: patterns(&options.include),
        caches: caches.map(short).collect(),
        eggs_directories: buildout.eggs_directories.iter().map(|it| short(it)).collect(),
        eggs: eggs.collect(),
        unused: unused.map(|it| it.path.to_string_lossy().into_owned()).collect(),
    })
}

fn bytes(members: &[Member]) -> u64 {
    let size = |member: &Member| match member.kind {
        MemberKind::File { size, .. } => size,
        _ => 0,
    };
    members.iter().map(size).sum()
}

/// Reads every file.
fn entries(root: &Path, members: &[Member], progress: &dyn Progress) -> Result<Vec<BundleEntry>> {
    progress.begin("reading", bytes(members), Unit::Bytes);
    let entry = |member: &Member| {
        let kind = match &member.kind {
            MemberKind::Directory => EntryKind::Directory,
            MemberKind::Symlink { target } => EntryKind::Symlink { target: target.clone() },
            MemberKind::File { size, executable } => EntryKind::File {
                size: *size,
                executable: *executable,
                sha256: archive::digest(root, &member.path, *size, progress)?,
            },
        };
        Ok(BundleEntry { path: member.path.clone(), kind, mtime: member.mtime })
    };
    let entries = members.par_iter().map(entry).collect();
    progress.end();
    entries
}

/// The eggs that go in.
fn bundled_eggs(
    rules: &Rules,
    known: &BTreeMap<String, Known>,
    entries: &[BundleEntry],
) -> Vec<BundledEgg> {
    let eggs = entries.iter().filter(|entry| rules.eggs.contains_key(&entry.path));
    eggs.map(|BundleEntry { path, .. }| {
        if let Some(Known { egg, .. }) = known.get(path) {
            let source = &egg.key.source_sha256;
            return BundledEgg {
                path: path.clone(),
                name: egg.key.name.clone(),
                version: egg.key.version.clone(),
                digest: Some(egg.digest),
                source_sha256: (!source.is_empty()).then(|| source.clone()),
            };
        }
        let file_name = path.rsplit('/').next().unwrap_or_default();
        let (name, version) = file_name
            .parse()
            .map_or_else(|_| <_>::default(), |EggName { name, version, .. }| (name, version));
        BundledEgg { path: path.clone(), name, version, digest: None, source_sha256: None }
    })
    .collect()
}

/// Writes the archive under a temporary name, and gives it its own.
fn write(
    manifest: &Manifest,
    root: &Path,
    output: &Path,
    format: Format,
    progress: &dyn Progress,
) -> Result<(Sha256, u64)> {
    let folder = output.parent().unwrap_or(output);
    let size = |entry: &BundleEntry| match entry.kind {
        EntryKind::File { size, .. } => size,
        _ => 0,
    };
    progress.begin("packing", manifest.entries.iter().map(size).sum(), Unit::Bytes);
    let temp = Temp::file(folder)?;
    let mut out = Hashing::new(temp.handle());
    match format {
        Format::Tar => {
            let mut buffered = io::BufWriter::with_capacity(1 << 20, &mut out);
            archive::write(&mut buffered, manifest, root, output, progress)?;
            buffered.flush().at("write", output)?;
        }
        Format::TarZst => {
            let produce = |to: &mut dyn Write| archive::write(to, manifest, root, output, progress);
            let failed = |source| Error::Io { action: "write", path: output.to_owned(), source };
            zstd_frames::compress(&mut out, produce, failed)?;
        }
    }
    progress.end();
    let written = out.finish();
    // As a file that this user makes anew, and not for its owner alone.
    let mode = 0o666 & !permissions::umask();
    let handle: &File = temp.handle();
    handle
        .set_permissions(Permissions::from_mode(mode | 0o600))
        .and_then(|()| handle.sync_all())
        .and_then(|()| temp.persist(output))
        .at("write", output)?;
    files::sync_dir(folder)?;
    Ok(written)
}
