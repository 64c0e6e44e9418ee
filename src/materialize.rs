//! Materialize: copy eggs from the cache into an eggs directory.
//!
//! An egg is decoded into a temporary sibling of its final place and renamed when it is whole, so
//! an egg directory is complete or absent. Every byte is checked against the egg's digest on the
//! way. Nothing in it is linked to the cache.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Write;
use std::ops::Deref;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use rustix::fs::{Mode, OFlags};
use serde::Serialize;

use crate::beneath::Beneath;
use crate::blob::{BadBlob, Blob, Decoder};
use crate::cache::Cache;
use crate::difference::difference;
use crate::digest::Digest;
use crate::egg::Egg;
use crate::error::{Error, IoContext, Result};
use crate::fs as files;
use crate::layout::Unit;
use crate::manifest::{Counts, Entry, EntryKind, Manifest};
use crate::progress::{self, Progress};
use crate::store::Store;
use crate::subtree;
use crate::temp::{self, Temp};
use crate::tree;

#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(serialize_with = "crate::fs::lossy")]
    pub into: PathBuf,
    pub eggs: Vec<Materialized>,
    /// Names of eggs that were there, left incomplete when the machine went down, and are removed.
    pub torn: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Materialized {
    pub file_name: String,
    pub digest: Digest,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum Outcome {
    Copied(Counts),
    /// It was there already, whole.
    Present,
    /// The cache does not have it: its blob is gone, or not for this user.
    Missing {
        reason: String,
    },
    Failed {
        reason: String,
    },
}

impl Report {
    pub fn failed(&self) -> impl Iterator<Item = (&Materialized, &str)> {
        self.eggs.iter().filter_map(|egg| match &egg.outcome {
            Outcome::Failed { reason } => Some((egg, reason.as_str())),
            _ => None,
        })
    }

    pub fn missing(&self) -> impl Iterator<Item = &Materialized> {
        self.eggs.iter().filter(|egg| matches!(egg.outcome, Outcome::Missing { .. }))
    }

    /// Digests of the eggs that are in place.
    #[must_use]
    pub fn in_place(&self) -> Vec<Digest> {
        let in_place =
            |egg: &&Materialized| matches!(egg.outcome, Outcome::Copied(_) | Outcome::Present);
        self.eggs.iter().filter(in_place).map(|egg| egg.digest).collect()
    }
}

/// Copies eggs into the directory `into`, which is made if needed. One egg that fails does not
/// keep the others from being copied; the report names it.
///
/// # Errors
/// If `into` cannot be used, or if two eggs would have the same name in it.
pub fn materialize(
    cache: &Cache,
    eggs: &[Egg],
    into: &Path,
    progress: &dyn Progress,
) -> Result<Report> {
    let mut names: HashMap<&str, Digest> = HashMap::new();
    for egg in eggs {
        if let Some(other) = names.insert(&egg.file_name, egg.digest)
            && other != egg.digest
        {
            return Err(Error::Usage(format!(
                "{} and {} are both named {}; materialize them into different directories",
                other.short(),
                egg.digest.short(),
                egg.file_name
            )));
        }
    }
    let Prepared { path: into, torn } = prepare(cache, into)?;
    progress.begin("copying", eggs.iter().map(|egg| egg.counts.bytes).sum(), progress::Unit::Bytes);
    // The largest first, so that no thread is left with it at the end.
    let mut seen = HashSet::new();
    let mut order: Vec<&Egg> = eggs.iter().filter(|egg| seen.insert(egg.digest)).collect();
    order.sort_by_key(|egg| std::cmp::Reverse(egg.counts.bytes));
    let store = &cache.store;
    let mut eggs: Vec<Materialized> = order
        .into_par_iter()
        .map(|egg| Materialized {
            file_name: egg.file_name.clone(),
            digest: egg.digest,
            outcome: materialize_egg(store, egg, &into, progress).unwrap_or_else(
                |error| match error {
                    Error::Miss { .. } => Outcome::Missing { reason: "its blob is gone".into() },
                    Error::UnreadableBlob { .. } => Outcome::Missing { reason: error.to_string() },
                    error => Outcome::Failed { reason: error.to_string() },
                },
            ),
        })
        .collect();
    eggs.sort_unstable_by(|a, b| a.file_name.cmp(&b.file_name));
    progress.end();
    Ok(Report { into, eggs, torn })
}

/// A directory that eggs can be copied into.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Canonical.
    pub path: PathBuf,
    /// As [`Report::torn`].
    pub torn: Vec<String>,
}

/// Makes a directory ready to take eggs: it exists, and has neither temporary files of a dead
/// process nor eggs that a power cut has left incomplete.
///
/// # Errors
/// If it cannot be made or read.
pub fn prepare(cache: &Cache, into: &Path) -> Result<Prepared> {
    std::fs::create_dir_all(into).at("make directory", into)?;
    temp::sweep(into)?;
    let path = into.canonicalize().at("open directory", into)?;
    let torn = cache.begin_copies(&path)?;
    Ok(Prepared { path, torn })
}

/// Copies the egg of an open blob into a directory that is [`prepare`]d.
///
/// # Errors
/// [`Error::DamagedBlob`], [`Error::InTheWay`], or what the file system says. Nothing partial is
/// left.
pub fn materialize_blob<B: Deref<Target = [u8]> + Sync>(
    store: &Store,
    blob: &Blob<B>,
    into: &Path,
    progress: &dyn Progress,
) -> Result<Outcome> {
    let target = into.join(&blob.manifest.file_name);
    if target.symlink_metadata().is_ok() {
        return present(&target, &blob.manifest);
    }
    let temp = stage(store, blob, into, progress)?;
    place(blob, temp, into)
}

/// Copies the egg of an open blob into a directory that is [`prepare`]d, under a temporary name.
///
/// # Errors
/// [`Error::DamagedBlob`], or what the file system says.
pub(crate) fn stage<B: Deref<Target = [u8]> + Sync>(
    store: &Store,
    blob: &Blob<B>,
    into: &Path,
    progress: &dyn Progress,
) -> Result<Temp> {
    check_space(&blob.manifest, into)?;
    let is_directory = blob.manifest.entries[0].kind == EntryKind::Directory;
    let temp = if is_directory { Temp::dir(into)? } else { Temp::file(into)? };
    let copy = Copy { blob, temp: &temp, umask: files::mode_mask(into), progress };
    match copy.run() {
        Ok(()) => Ok(temp),
        Err(Failure::Blob(bad)) => Err(store.bad(blob.digest, &bad)),
        Err(Failure::File { entry, source }) => {
            let path = tree::path_of(&into.join(&blob.manifest.file_name), entry);
            Err(Error::Io { action: "write", path, source })
        }
    }
}

/// Gives a staged egg its name.
///
/// # Errors
/// [`Error::InTheWay`], or what the file system says. It is then removed.
pub(crate) fn place<B>(blob: &Blob<B>, temp: Temp, into: &Path) -> Result<Outcome> {
    let target = into.join(&blob.manifest.file_name);
    match temp.persist_new(&target) {
        Ok(()) => Ok(Outcome::Copied(blob.manifest.counts())),
        // Another process was faster.
        Err(_) if target.symlink_metadata().is_ok() => present(&target, &blob.manifest),
        Err(source) => Err(Error::Io { action: "write", path: target, source }),
    }
}

fn materialize_egg(
    store: &Store,
    egg: &Egg,
    into: &Path,
    progress: &dyn Progress,
) -> Result<Outcome> {
    let digest = egg.digest;
    let blob = store.open(digest)?.ok_or_else(|| Error::Miss { query: digest.to_string() })?;
    check_row(store, egg, &blob)?;
    materialize_blob(store, &blob, into, progress)
}

/// Checks that a blob holds the egg that the index has told of.
///
/// # Errors
/// [`Error::WrongRow`] if it is another.
pub fn check_row<B: Deref<Target = [u8]>>(store: &Store, egg: &Egg, blob: &Blob<B>) -> Result<()> {
    let manifest = &blob.manifest;
    if egg.key == manifest.key && egg.file_name == manifest.file_name {
        return Ok(());
    }
    Err(Error::WrongRow {
        path: store.blob_path(egg.digest),
        wanted: egg.file_name.clone(),
        found: manifest.file_name.clone(),
    })
}

/// Checks that an egg is not larger than what is free, whatever it claims to hold.
fn check_space(manifest: &Manifest, into: &Path) -> Result<()> {
    let needed = manifest.counts().bytes;
    match files::free_bytes(into) {
        Some(free) if free < needed => Err(Error::NoSpace {
            path: into.to_owned(),
            needed: bytesize::ByteSize::b(needed),
            free: bytesize::ByteSize::b(free),
        }),
        _ => Ok(()),
    }
}

fn present(target: &Path, manifest: &Manifest) -> Result<Outcome> {
    let difference = match tree::list(target) {
        Ok(found) => difference(manifest, &found),
        Err(Error::UnsoundEgg { path, reason }) => Some(format!("{}: {reason}", path.display())),
        Err(error) => Some(error.to_string()),
    };
    match difference {
        None => Ok(Outcome::Present),
        Some(difference) => Err(Error::InTheWay {
            target: target.to_owned(),
            wanted: format!("{} {}", manifest.key.name, manifest.key.version),
            difference,
        }),
    }
}

/// One egg on its way.
struct Copy<'a, B> {
    blob: &'a Blob<B>,
    /// Stands for the egg itself: its directory, or its file if it is zipped.
    temp: &'a Temp,
    /// Mode bits that have to be set again.
    umask: u32,
    progress: &'a dyn Progress,
}

enum Failure<'a> {
    Blob(BadBlob),
    File { entry: &'a Entry, source: std::io::Error },
}

impl From<BadBlob> for Failure<'_> {
    fn from(bad: BadBlob) -> Self {
        Self::Blob(bad)
    }
}

thread_local! {
    static DECODER: RefCell<Decoder> = RefCell::new(Decoder::new());
}

impl<'a, B: Deref<Target = [u8]> + Sync> Copy<'a, B> {
    fn run(&self) -> Result<(), Failure<'a>> {
        let entries = &self.blob.manifest.entries;
        let of_kind =
            |kind: fn(&EntryKind) -> bool| entries.iter().filter(move |it| kind(&it.kind));
        let directories = || of_kind(|kind| *kind == EntryKind::Directory);
        let mut beneath = Beneath::new(self.temp.handle());
        for directory in directories().filter(|entry| !entry.path.is_root()) {
            let mode = Mode::from_raw_mode(directory.mode | 0o700);
            beneath
                .parent(&directory.path)
                .and_then(|(parent, name)| Ok(rustix::fs::mkdirat(parent, name, mode)?))
                .map_err(|error| failure(directory, error))?;
        }
        let (layout, empty) = (&self.blob.layout, &self.blob.layout.empty);
        layout.units.par_iter().try_for_each(|unit| match unit {
            Unit::Small { frame, entries } => self.small(*frame, entries),
            Unit::Large { entry, frames } => self.large(*entry, frames.start, frames.len()),
        })?;
        for &entry in empty {
            let entry = &entries[entry];
            self.create(entry, &mut beneath)
                .and_then(|file| self.finish(entry, &file))
                .map_err(|error| failure(entry, error))?;
        }
        // Only now, so that no file is written through a symlink of the egg.
        for link in of_kind(|kind| matches!(kind, EntryKind::Symlink { .. })) {
            let EntryKind::Symlink { target } = &link.kind else { continue };
            beneath
                .parent(&link.path)
                .and_then(|(parent, name)| {
                    rustix::fs::symlinkat(target.as_str(), parent, name)?;
                    Ok(files::set_mtime(parent, Some(name), link.mtime.parts())?)
                })
                .map_err(|error| failure(link, error))?;
        }
        // Children first: making an entry sets the mtime of its directory.
        for directory in directories().collect::<Vec<_>>().into_iter().rev() {
            self.finish_directory(directory, &mut beneath)
                .map_err(|error| failure(directory, error))?;
        }
        Ok(())
    }

    fn small(&self, frame: usize, entries: &[usize]) -> Result<(), Failure<'a>> {
        let mut beneath = Beneath::new(self.temp.handle());
        DECODER.with_borrow_mut(|decoder| {
            for (entry, content) in self.blob.small_files(frame, entries, decoder)? {
                let entry = &self.blob.manifest.entries[entry];
                self.create(entry, &mut beneath)
                    .and_then(|mut file| {
                        file.write_all(content)?;
                        self.finish(entry, &file)
                    })
                    .map_err(|error| failure(entry, error))?;
                self.progress.advance(content.len() as u64);
            }
            Ok(())
        })
    }

    fn large(&self, entry: usize, first: usize, frames: usize) -> Result<(), Failure<'a>> {
        let (blob, index) = (self.blob, entry);
        let entry = &blob.manifest.entries[index];
        let file = self
            .create(entry, &mut Beneath::new(self.temp.handle()))
            .map_err(|error| failure(entry, error))?;
        let subtrees = (0..frames)
            .into_par_iter()
            .map(|part| {
                DECODER.with_borrow_mut(|decoder| {
                    let content = blob.decode(first + part, decoder)?;
                    let offset = part as u64 * u64::from(blob.frame_size());
                    file.write_all_at(content, offset).map_err(|error| failure(entry, error))?;
                    self.progress.advance(content.len() as u64);
                    Ok(subtree::of_frame(part, blob.frame_size(), content))
                })
            })
            .collect::<Result<Vec<_>, Failure<'a>>>()?;
        blob.check_large(index, &subtrees)?;
        self.finish(entry, &file).map_err(|error| failure(entry, error))
    }

    fn create(&self, entry: &Entry, beneath: &mut Beneath<'_>) -> std::io::Result<File> {
        if entry.path.is_root() {
            return self.temp.handle().try_clone();
        }
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mode = Mode::from_raw_mode(entry.mode);
        let (parent, name) = beneath.parent(&entry.path)?;
        Ok(rustix::fs::openat(parent, name, flags, mode)?.into())
    }

    fn finish(&self, entry: &Entry, file: &File) -> std::io::Result<()> {
        if entry.path.is_root() || entry.mode & self.umask != 0 {
            rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode))?;
        }
        Ok(files::set_mtime(file, None, entry.mtime.parts())?)
    }

    fn finish_directory(&self, entry: &Entry, beneath: &mut Beneath<'_>) -> std::io::Result<()> {
        if entry.path.is_root() {
            return self.finish(entry, self.temp.handle());
        }
        if entry.mode & self.umask != 0 || entry.mode & 0o700 != 0o700 {
            let directory = beneath.directory(&entry.path)?;
            rustix::fs::fchmod(directory, Mode::from_raw_mode(entry.mode))?;
        }
        let (parent, name) = beneath.parent(&entry.path)?;
        Ok(files::set_mtime(parent, Some(name), entry.mtime.parts())?)
    }
}

fn failure(entry: &Entry, error: impl Into<std::io::Error>) -> Failure<'_> {
    Failure::File { entry, source: error.into() }
}
