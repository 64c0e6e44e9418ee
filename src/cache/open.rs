//! Opening a cache, making it, and sharing it with a group.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tracing::{debug, info};

use crate::cache::Cache;
use crate::cache::blobs::Blobs;
use crate::cache::index::{self, Index};
use crate::cache::rebuild::rebuild;
use crate::cache::retention::pins;
use crate::cache::retention::roots;
use crate::cache::{prefetch_hints, torn_copies};
use crate::disk::dir::Dir;
use crate::disk::files;
use crate::disk::filesystem;
use crate::disk::permissions;
use crate::disk::temp::Temp;
use crate::error::{Error, IoContext, OrLog, Owner, Result, Unwritable};
use crate::util::clock::now;
use crate::util::progress::{Progress, Silent};

/// A file that reserves some space: SQLite needs space even to free space.
const BALLAST: &str = "ballast";
const BALLAST_BYTES: u64 = 1 << 20;

const CACHEDIR_TAG_NAME: &str = "CACHEDIR.TAG";
const CACHEDIR_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
     # This directory holds a cache of built eggs. Backups may leave it out.\n\
     # See https://bford.info/cachedir/\n";

impl Cache {
    /// Whether there is a cache at `root`, or parts of one; also if that cannot be determined.
    #[must_use]
    pub fn is_at(root: &Path) -> bool {
        let is_there = |name: &str| root.join(name).try_exists().unwrap_or(true);
        root.is_dir() && [index::FILE_NAME, "blobs"].into_iter().any(is_there)
    }

    /// Opens the cache at `root`, making it if needed. A cache that this process cannot write is
    /// opened for reading. A missing index is rebuilt from the blobs.
    ///
    /// # Errors
    /// [`Error::NotACache`] if `root` is something else, [`Error::OpenToAll`] if everyone can write
    /// it, or an error of the index: [`Error::NotAnIndex`], [`Error::DamagedIndex`],
    /// [`Error::NewerSchema`].
    pub fn open(root: &Path) -> Result<Self> {
        Self::open_with_progress(root, &Silent)
    }

    /// As [`Cache::open`], and reports progress while it rebuilds the index.
    ///
    /// # Errors
    /// As [`Cache::open`].
    pub fn open_with_progress(root: &Path, progress: &dyn Progress) -> Result<Self> {
        let root = make_root(root)?;
        if permissions::is_open_to_all(&root) {
            return Err(Error::OpenToAll { path: root });
        }
        let dir = Dir::open(&root).at("open the cache directory", &root)?;
        let parts = [".", index::FILE_NAME, "blobs", "tmp"];
        let is_closed = |part: &&str| dir.stat(*part).is_ok() && !dir.is_writable(*part);
        if let Some(part) = parts.into_iter().find(is_closed) {
            let part = if part == "." { root } else { root.join(part) };
            debug!(path = %part.display(), "not writable");
            let reason = Unwritable::Permissions(Owner::of(&part));
            return Self::open_read_only(dir, reason);
        }
        let blobs = Blobs::new(&dir);
        blobs.create()?;
        write_tag(&dir);
        let is_new = dir.stat(index::FILE_NAME).is_err();
        let mut index = match Index::open(&dir) {
            Err(Error::Index { source, .. }) if let Some(reason) = index::unwritable(&source) => {
                // If it cannot be opened for reading either, the disk is the reason.
                return Self::open_read_only(dir, reason.clone())
                    .map_err(|_| Error::ReadOnly { path: root, reason });
            }
            index => index?,
        };
        let warning = (is_new && filesystem::is_network(&root)).then(|| {
            format!(
                "{} is on a network file system: its index does without a write-ahead log, and is \
                 only as safe as that file system's locks",
                root.display()
            )
        });
        if is_new && dir.is_shared() {
            index.share()?;
        }
        let is_complete = index.is_complete()?;
        let rebuilt = if is_complete { None } else { Some(rebuild(&blobs, &mut index, progress)?) };
        debug!(cache = %root.display(), is_new, rebuilt = rebuilt.is_some(), "opened the cache");
        Ok(Self { dir, blobs, index, rebuilt, read_only: None, warning })
    }

    /// Opens the cache at `root`. A damaged index, or another file in its place, is first set aside,
    /// never removed, and rebuilt; also returns where it was moved.
    ///
    /// # Errors
    /// As [`Cache::open`], or if the index cannot be set aside.
    pub fn open_or_rebuild(
        root: &Path,
        progress: &dyn Progress,
    ) -> Result<(Self, Option<PathBuf>)> {
        match Self::open_with_progress(root, progress) {
            Err(Error::NotAnIndex { .. } | Error::DamagedIndex { .. }) => {}
            Ok(cache) if cache.damage().is_some() => cache.check_writable()?,
            cache => return Ok((cache?, None)),
        }
        let path = root.canonicalize().at("open the cache directory", root)?;
        let aside = Index::set_aside(&Dir::open(&path).at("open the cache directory", &path)?)?;
        Ok((Self::open_with_progress(root, progress)?, Some(aside)))
    }

    fn open_read_only(dir: Dir, reason: Unwritable) -> Result<Self> {
        let index = Index::open_read_only(&dir)?;
        info!(cache = %dir.path().display(), %reason, "opened the cache read-only");
        let blobs = Blobs::new(&dir);
        Ok(Self { dir, blobs, index, rebuilt: None, read_only: Some(reason), warning: None })
    }

    /// The first problem with the index, if there is one.
    #[must_use]
    pub fn damage(&self) -> Option<String> {
        let rows = || {
            let read = self
                .index
                .all()
                .and_then(|_| self.index.evicted())
                .and_then(|_| self.index.regrets(now()))
                .and_then(|_| self.index.days());
            read.err().map(|error| error.to_string())
        };
        self.index.damage().or_else(rows)
    }

    /// Reserves some space, for [`Cache::drop_ballast`].
    pub fn take_ballast(&self) {
        files::reserve(&self.dir, BALLAST, BALLAST_BYTES);
    }

    /// Frees the reserved space, so that a cache on a full disk can be opened and collected.
    pub fn drop_ballast(root: &Path) {
        if let Some(dir) = Dir::open(root).or_log()
            && dir.stat(index::FILE_NAME).is_ok()
        {
            dir.remove_file(BALLAST).or_log();
        }
    }

    /// Lets the group of the cache directory, which is shared, use all of the cache: existing files
    /// and later ones. Fails if this process does not own all of it.
    pub fn share(&mut self) -> Result<()> {
        self.check_writable()?;
        self.index.share()?;
        self.blobs.share()?;
        torn_copies::share(&self.dir)?;
        prefetch_hints::share(&self.dir)?;
        roots::share(&self.dir)?;
        pins::share(&self.dir)
    }

    /// Removes torn copies from an eggs directory, given by its canonical path, and returns their names.
    #[must_use]
    pub fn remove_torn_copies(&self, eggs_directory: &Path) -> Vec<String> {
        torn_copies::remove(&self.dir, &self.blobs, &self.index, eggs_directory)
    }

    /// Records that eggs are copied to an eggs directory, given by its canonical path. Does nothing if
    /// this process cannot write the cache.
    pub fn begin_copies(&self, eggs_directory: &Path) -> Result<()> {
        match self.check_writable() {
            Ok(()) => torn_copies::begin(&self.dir, eggs_directory),
            Err(_) => Ok(()),
        }
    }

    /// Removes records about eggs directories and configurations that were last used long ago.
    pub fn forget_old_records(&self) -> Result<()> {
        torn_copies::forget_gone(&self.dir)?;
        prefetch_hints::forget_old(&self.dir)
    }
}

/// Makes the cache directory if needed, and returns its canonical path.
fn make_root(root: &Path) -> Result<PathBuf> {
    if let Err(error) = files::make_dirs_durably(root) {
        if let Ok(target) = fs::read_link(root)
            && !root.exists()
        {
            return Err(Error::BrokenLink { path: root.to_owned(), target });
        }
        if root.symlink_metadata().is_ok() && !root.is_dir() {
            let reason = "it is not a directory";
            return Err(Error::NotACache { path: root.to_owned(), reason });
        }
        return Err(error).at("make the cache directory", root);
    }
    root.canonicalize().at("open the cache directory", root)
}

/// Writes the tag by which backup programs recognise a cache, if there is none. A failure is not worth
/// an error.
///
/// A member of the group, or the author of a checkout that contains the cache, may have put a link
/// there. So nothing is written through the name: a new file is renamed to it.
fn write_tag(root: &Dir) {
    if !needs_tag(root) {
        return;
    }
    let written = root.subdir("tmp").at("write", &root.join(CACHEDIR_TAG_NAME)).and_then(|tmp| {
        let temp = Temp::file(&tmp)?;
        let mode = fs::Permissions::from_mode(0o644);
        temp.handle()
            .write_all(CACHEDIR_TAG.as_bytes())
            .and_then(|()| temp.handle().set_permissions(mode))
            .and_then(|()| temp.persist(root, CACHEDIR_TAG_NAME))
            .at("write", &root.join(CACHEDIR_TAG_NAME))
    });
    written.or_log();
}

/// Whether there is no tag, or one that a crash or a power cut has left without its text. Links,
/// directories and files of others stay.
fn needs_tag(root: &Dir) -> bool {
    match root.read_short(CACHEDIR_TAG_NAME, CACHEDIR_TAG.len() as u64) {
        Err(error) => error.kind() == ErrorKind::NotFound,
        Ok(text) => {
            let is_lost = text.iter().all(|byte| *byte == 0);
            is_lost
                || (text != CACHEDIR_TAG.as_bytes() && CACHEDIR_TAG.as_bytes().starts_with(&text))
        }
    }
}
