//! Extracting an egg from its blob, into a temporary sibling of its final path. The caller then gives
//! it its name.
//!
//! Every byte is checked against the egg's digest, and nothing is linked to the cache. Frames are
//! decoded in parallel. A large file that is stored uncompressed is copied by the file system where
//! possible, so that its bytes are not written again.
//!
//! What is checked is what is written, even if somebody changes the blob meanwhile: frames are decoded
//! into private memory, and of a file that the file system has copied, the copy is read.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::ops::{Deref, Range};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use rayon::prelude::*;
use tracing::debug;

use crate::cache::blobs::Blobs;
use crate::disk::dir::Dir;
use crate::disk::files;
use crate::disk::filesystem;
use crate::disk::mmap::Mapped;
use crate::disk::nofollow::NoFollowDir;
use crate::disk::system;
use crate::disk::temp::Temp;
use crate::egg::blob::BadBlob;
use crate::egg::blob::frame_layout::FrameGroup;
use crate::egg::blob::reader::{Blob, Decoder};
use crate::egg::cached_egg::CachedEgg;
use crate::egg::diff::difference;
use crate::egg::manifest::{Entry, EntryKind, Manifest};
use crate::egg::scan;
use crate::error::{Error, Result};
use crate::util::hash::blake3_subtree;
use crate::util::hash::digest::Digest;
use crate::util::progress::Progress;
use crate::util::threads;

/// Checks that no two eggs would have the same name in a directory.
///
/// # Errors
/// [`Error::SameFileName`]
pub fn check_names(eggs: &[CachedEgg]) -> Result<()> {
    let mut names: HashMap<&str, Digest> = HashMap::new();
    for egg in eggs {
        if let Some(other) = names.insert(&egg.file_name, egg.digest)
            && other != egg.digest
        {
            return Err(Error::SameFileName {
                file_name: egg.file_name.clone(),
                one: other.short(),
                other: egg.digest.short(),
            });
        }
    }
    Ok(())
}

/// Checks that a blob holds the egg that its row describes.
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

/// Checks that the file or directory at `target`, which has the name of an egg, is that egg.
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

/// Copies the egg of an open blob into a directory, under a temporary name. Everything gets the
/// permissions that it would get if it was built there: by the umask, or the default ACL and the
/// set-group-ID bit of the directory. No mode is set afterwards, which would undo that.
///
/// # Errors
/// [`Error::DamagedBlob`], or [`Error::NoSpace`] if the egg is larger than the free space.
pub fn extract(
    blobs: &Blobs,
    blob: &Blob<Mapped>,
    dir: &Dir,
    progress: &dyn Progress,
) -> Result<Temp> {
    let into = dir.path();
    check_space(&blob.manifest, into)?;
    threads::start_pool()?;
    let root = &blob.manifest.entries[0];
    let is_directory = root.kind == EntryKind::Directory;
    let make = if is_directory { Temp::dir_with_mode } else { Temp::file_with_mode };
    let temp = make(dir, root.open_mode())?;
    let extraction = Extraction { blob, temp: &temp, progress };
    let begun = Instant::now();
    match extraction.run() {
        Ok(()) => {
            let (egg, ms) = (&blob.manifest.file_name, begun.elapsed().as_millis());
            debug!(egg, digest = %blob.digest, into = %into.display(), ms, "extracted");
            Ok(temp)
        }
        Err(Failure::Blob(bad)) => Err(blobs.error_for(blob.digest, &bad)),
        Err(Failure::File { entry, source }) => {
            let path = scan::path_of(&into.join(&blob.manifest.file_name), entry);
            Err(Error::Io { action: "write", path, source })
        }
    }
}

/// Checks that an egg is not larger than the free space, whatever its manifest claims.
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

/// The extraction of one egg.
struct Extraction<'a, 't> {
    blob: &'a Blob<Mapped>,
    /// The egg itself: its directory, or its file if it is zipped.
    temp: &'t Temp,
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

type Extracted<'a> = std::result::Result<(), Failure<'a>>;

thread_local! {
    static DECODER: RefCell<Decoder> = RefCell::new(Decoder::new());
}

impl<'a> Extraction<'a, '_> {
    fn run(&self) -> Extracted<'a> {
        let mut dir = NoFollowDir::new(self.temp.handle());
        let is_directory = |entry: &&Entry| entry.kind == EntryKind::Directory;
        let directories: Vec<&Entry> = self.entries().iter().filter(is_directory).collect();
        for directory in directories.iter().filter(|entry| !entry.path.is_root()) {
            dir.make_dir(directory.path.as_str(), directory.open_mode())
                .map_err(|error| failure(directory, error))?;
        }
        self.write_files()?;
        // After all files, so that none is written through a symlink of the egg.
        for entry in self.entries() {
            if let EntryKind::Symlink { target } = &entry.kind {
                dir.make_symlink(entry.path.as_str(), target)
                    .and_then(|()| dir.set_mtime(entry.path.as_str(), entry.mtime.parts()))
                    .map_err(|error| failure(entry, error))?;
            }
        }
        // Children first: making an entry sets the mtime of its directory.
        for directory in directories.into_iter().rev() {
            self.finish_directory(directory, &mut dir)
                .map_err(|error| failure(directory, error))?;
        }
        Ok(())
    }

    fn entries(&self) -> &'a [Entry] {
        &self.blob.manifest.entries
    }

    fn write_files(&self) -> Extracted<'a> {
        let layout = &self.blob.layout;
        layout.groups.par_iter().try_for_each_init(
            || NoFollowDir::new(self.temp.handle()),
            |dir, group| match group {
                FrameGroup::Small { frame, entries } => self.write_small(*frame, entries, dir),
                FrameGroup::Large { entry, frames } => {
                    self.write_large(*entry, frames.clone(), dir)
                }
            },
        )?;
        let mut dir = NoFollowDir::new(self.temp.handle());
        for &entry in &layout.empty {
            let entry = &self.entries()[entry];
            self.create(entry, &mut dir)
                .and_then(|file| finish(entry, &file))
                .map_err(|error| failure(entry, error))?;
        }
        Ok(())
    }

    fn write_small(
        &self,
        frame: usize,
        entries: &[usize],
        dir: &mut NoFollowDir<'_>,
    ) -> Extracted<'a> {
        DECODER.with_borrow_mut(|decoder| {
            for (entry, content) in self.blob.small_files(frame, entries, decoder)? {
                let entry = &self.entries()[entry];
                self.create(entry, dir)
                    .and_then(|mut file| {
                        file.write_all(content)?;
                        finish(entry, &file)
                    })
                    .map_err(|error| failure(entry, error))?;
                self.progress.advance(content.len() as u64);
            }
            Ok(())
        })
    }

    fn write_large(
        &self,
        index: usize,
        frames: Range<usize>,
        dir: &mut NoFollowDir<'_>,
    ) -> Extracted<'a> {
        let blob = self.blob;
        let entry = &self.entries()[index];
        let file = self.create(entry, dir).map_err(|error| failure(entry, error))?;
        let size_of = |frame: usize| blob.layout.frame_sizes[frame];
        let source = &blob.bytes().file;
        let is_copied = blob.raw_offset(frames.clone()).is_some_and(|offset| {
            let size = frames.clone().map(|frame| u64::from(size_of(frame))).sum();
            system::copy_range(source, offset, &file, size)
        });
        let first = frames.start;
        let subtrees = frames
            .into_par_iter()
            .map(|frame| {
                DECODER.with_borrow_mut(|decoder| {
                    let part = frame - first;
                    let offset = part as u64 * u64::from(blob.frame_size());
                    let content = if is_copied {
                        // The copy, not the blob, which can be another by now.
                        let buffer = decoder.buffer(size_of(frame) as usize);
                        let read = file.read_exact_at(buffer, offset);
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
        finish(entry, &file).map_err(|error| failure(entry, error))
    }

    fn create(&self, entry: &Entry, dir: &mut NoFollowDir<'_>) -> std::io::Result<File> {
        if entry.path.is_root() {
            return self.temp.handle().try_clone();
        }
        dir.make_file(entry.path.as_str(), entry.open_mode())
    }

    fn finish_directory(&self, entry: &Entry, dir: &mut NoFollowDir<'_>) -> std::io::Result<()> {
        if entry.path.is_root() {
            return finish(entry, self.temp.handle());
        }
        dir.set_mtime(entry.path.as_str(), entry.mtime.parts())
    }
}

fn finish(entry: &Entry, file: &File) -> std::io::Result<()> {
    files::set_mtime(file, None, entry.mtime.parts())
}

fn failure(entry: &Entry, error: std::io::Error) -> Failure<'_> {
    Failure::File { entry, source: error }
}
