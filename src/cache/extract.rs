//! Staging: the egg of a blob, decoded into a temporary sibling of its final place. Whoever stages it
//! decides which name it gets.
//!
//! Every byte is checked against the egg's digest on the way, and nothing in it is linked to the cache.
//! Frames are decoded in parallel. A large file that lies in the blob as it is, is copied by the file
//! system where that can be, without its bytes being written, and is checked all the same.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::ops::{Deref, Range};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rayon::prelude::*;
use rustix::fs::{Mode, OFlags};

use crate::cache::blobs::Blobs;
use crate::disk::files;
use crate::disk::filesystem;
use crate::disk::mmap::Mapped;
use crate::disk::nofollow::Beneath;
use crate::disk::temp::Temp;
use crate::egg::blob::frame_layout::FrameGroup;
use crate::egg::blob::reader::{BadBlob, Blob, Decoder};
use crate::egg::cached_egg::CachedEgg;
use crate::egg::diff::difference;
use crate::egg::manifest::{Entry, EntryKind, Manifest};
use crate::egg::scan;
use crate::error::{Error, Result};
use crate::util::hash::blake3_subtree;
use crate::util::hash::digest::Digest;
use crate::util::progress::Progress;

/// Checks that no two eggs would have the same name in a directory.
///
/// # Errors
/// [`Error::Usage`] if two would.
pub fn check_names(eggs: &[CachedEgg]) -> Result<()> {
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
    Ok(())
}

/// Checks that a blob holds the egg that the index has told of.
///
/// # Errors
/// [`Error::WrongRow`] if it is another.
pub fn check_row<B: Deref<Target = [u8]>>(
    blobs: &Blobs,
    egg: &CachedEgg,
    blob: &Blob<B>,
) -> Result<()> {
    let manifest = &blob.manifest;
    if egg.key == manifest.key && egg.file_name == manifest.file_name {
        return Ok(());
    }
    Err(Error::WrongRow {
        path: blobs.path(egg.digest),
        wanted: egg.file_name.clone(),
        found: manifest.file_name.clone(),
    })
}

/// Checks that what has the name of an egg in a directory is that egg.
///
/// # Errors
/// [`Error::InTheWay`] if it is another.
pub fn check_present(target: &Path, manifest: &Manifest) -> Result<()> {
    let difference = match scan::list(target) {
        Ok(found) => difference(manifest, &found),
        Err(Error::UnsoundEgg { path, reason }) => Some(format!("{}: {reason}", path.display())),
        Err(error) => Some(error.to_string()),
    };
    match difference {
        None => Ok(()),
        Some(difference) => Err(Error::InTheWay {
            target: target.to_owned(),
            wanted: format!("{} {}", manifest.key.name, manifest.key.version),
            difference,
        }),
    }
}

/// Copies the egg of an open blob into a directory, under a temporary name. `mode_mask` is what
/// [`crate::disk::permissions::mode_mask`] tells of the directory.
///
/// # Errors
/// [`Error::DamagedBlob`], or what the file system says.
pub fn extract(
    blobs: &Blobs,
    blob: &Blob<Mapped>,
    into: &Path,
    mode_mask: u32,
    progress: &dyn Progress,
) -> Result<Temp> {
    check_space(&blob.manifest, into)?;
    let is_directory = blob.manifest.entries[0].kind == EntryKind::Directory;
    let temp = if is_directory { Temp::dir(into)? } else { Temp::file(into)? };
    let copy = Copy { blob, temp: &temp, mode_mask, progress };
    match copy.run() {
        Ok(()) => Ok(temp),
        Err(Failure::Blob(bad)) => Err(blobs.error_for(blob.digest, &bad)),
        Err(Failure::File { entry, source }) => {
            let path = scan::path_of(&into.join(&blob.manifest.file_name), entry);
            Err(Error::Io { action: "write", path, source })
        }
    }
}

/// Checks that an egg is not larger than what is free, whatever it claims to hold.
fn check_space(manifest: &Manifest, into: &Path) -> Result<()> {
    let needed = manifest.counts().bytes;
    match filesystem::free_bytes(into) {
        Some(free) if free < needed => Err(Error::NoSpace {
            path: into.to_owned(),
            needed: bytesize::ByteSize::b(needed),
            free: bytesize::ByteSize::b(free),
        }),
        _ => Ok(()),
    }
}

/// One egg on its way.
struct Copy<'a, 't> {
    blob: &'a Blob<Mapped>,
    /// Stands for the egg itself: its directory, or its file if it is zipped.
    temp: &'t Temp,
    /// Mode bits that have to be set again.
    mode_mask: u32,
    progress: &'t dyn Progress,
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

impl<'a> Copy<'a, '_> {
    fn run(&self) -> std::result::Result<(), Failure<'a>> {
        let entries = &self.blob.manifest.entries;
        let of_kind =
            |kind: fn(&EntryKind) -> bool| entries.iter().filter(move |it| kind(&it.kind));
        let directories = || of_kind(|kind| *kind == EntryKind::Directory);
        let mut beneath = Beneath::new(self.temp.handle());
        for directory in directories().filter(|entry| !entry.path.is_root()) {
            let mode = Mode::from_raw_mode(directory.mode | 0o700);
            beneath
                .parent(directory.path.as_str())
                .and_then(|(parent, name)| Ok(rustix::fs::mkdirat(parent, name, mode)?))
                .map_err(|error| failure(directory, error))?;
        }
        let (layout, empty) = (&self.blob.layout, &self.blob.layout.empty);
        layout.units.par_iter().try_for_each_init(
            || Beneath::new(self.temp.handle()),
            |beneath, unit| match unit {
                FrameGroup::Small { frame, entries } => self.small(*frame, entries, beneath),
                FrameGroup::Large { entry, frames } => self.large(*entry, frames.clone(), beneath),
            },
        )?;
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
                .parent(link.path.as_str())
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

    fn small(
        &self,
        frame: usize,
        entries: &[usize],
        beneath: &mut Beneath<'_>,
    ) -> std::result::Result<(), Failure<'a>> {
        DECODER.with_borrow_mut(|decoder| {
            for (entry, content) in self.blob.small_files(frame, entries, decoder)? {
                let entry = &self.blob.manifest.entries[entry];
                self.create(entry, beneath)
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

    fn large(
        &self,
        entry: usize,
        frames: Range<usize>,
        beneath: &mut Beneath<'_>,
    ) -> std::result::Result<(), Failure<'a>> {
        let (blob, index) = (self.blob, entry);
        let entry = &blob.manifest.entries[index];
        let file = self.create(entry, beneath).map_err(|error| failure(entry, error))?;
        let size_of = |frame: usize| blob.layout.frame_sizes[frame];
        let source = &blob.bytes().file;
        let copied_from = blob.raw_offset(frames.clone()).filter(|&offset| {
            let size = frames.clone().map(|frame| u64::from(size_of(frame))).sum();
            filesystem::copy_range(source, offset, &file, size)
        });
        let first = frames.start;
        let subtrees = frames
            .into_par_iter()
            .map(|frame| {
                DECODER.with_borrow_mut(|decoder| {
                    let part = frame - first;
                    let offset = part as u64 * u64::from(blob.frame_size());
                    let content = if let Some(from) = copied_from {
                        // Read, not mapped: pages that are mapped count as memory of this process.
                        let buffer = decoder.buffer(size_of(frame) as usize);
                        let read = source.read_exact_at(buffer, from + offset);
                        read.map_err(|error| failure(entry, error))?;
                        &*buffer
                    } else {
                        let content = blob.decode(frame, decoder)?;
                        let written = file.write_all_at(content, offset);
                        written.map_err(|error| failure(entry, error))?;
                        content
                    };
                    self.progress.advance(content.len() as u64);
                    Ok(blake3_subtree::of_frame(part, blob.frame_size(), content))
                })
            })
            .collect::<std::result::Result<Vec<_>, Failure<'a>>>()?;
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
        let (parent, name) = beneath.parent(entry.path.as_str())?;
        Ok(rustix::fs::openat(parent, name, flags, mode)?.into())
    }

    fn finish(&self, entry: &Entry, file: &File) -> std::io::Result<()> {
        if entry.path.is_root() || entry.mode & self.mode_mask != 0 {
            rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode))?;
        }
        Ok(files::set_mtime(file, None, entry.mtime.parts())?)
    }

    fn finish_directory(&self, entry: &Entry, beneath: &mut Beneath<'_>) -> std::io::Result<()> {
        if entry.path.is_root() {
            return self.finish(entry, self.temp.handle());
        }
        if entry.mode & self.mode_mask != 0 || entry.mode & 0o700 != 0o700 {
            let directory = beneath.directory(entry.path.as_str())?;
            rustix::fs::fchmod(directory, Mode::from_raw_mode(entry.mode))?;
        }
        let (parent, name) = beneath.parent(entry.path.as_str())?;
        Ok(files::set_mtime(parent, Some(name), entry.mtime.parts())?)
    }
}

fn failure(entry: &Entry, error: impl Into<std::io::Error>) -> Failure<'_> {
    Failure::File { entry, source: error.into() }
}
