//! Giving blobs their names and taking them away. Every function that does so takes the [`Writer`] of
//! the index: it exists only while this process holds the write lock.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tracing::{trace, warn};

use super::{BLOBS, Blobs, QUARANTINE, Staged, TMP, below};
use crate::cache::index::Writer;
use crate::disk::dir::Dir;
use crate::disk::permissions::{self, Kind, Rights};
use crate::disk::temp::{self, TEMP_PREFIX};
use crate::error::{Error, IoContext, OrLog, Owner, Result};
use crate::util::hash::digest::Digest;

/// A blob that has lost its name; dropping this removes it.
#[derive(Debug)]
pub(in crate::cache) struct Taken {
    root: Dir,
    path: PathBuf,
}

impl Drop for Taken {
    fn drop(&mut self) {
        // It can be a directory that somebody has put in the place of a blob.
        self.root.remove_all(&self.path).or_log();
    }
}

impl Blobs {
    /// Makes the directories.
    pub(in crate::cache) fn create(&self) -> Result<()> {
        [BLOBS, TMP].into_iter().try_for_each(|dir| {
            self.root.make_dir(dir).map(drop).at("make directory", &self.root.join(dir))
        })
    }

    /// Gives a staged blob its name, and adds to `changed` the directories that [`Blobs::sync`] then
    /// makes durable; they are below the cache.
    pub(in crate::cache) fn persist(
        &self,
        _lock: &Writer<'_>,
        staged: Staged,
        changed: &mut BTreeSet<PathBuf>,
    ) -> Result<()> {
        let digest = staged.written.digest;
        let (path, at) = (below(digest), self.path(digest));
        let shard = path.parent().unwrap_or(&path);
        let (_, is_new) = self.root.make_dir(shard).at("make directory", &self.root.join(shard))?;
        if is_new {
            changed.insert(BLOBS.into());
        }
        trace!(path = %at.display(), "stored a blob");
        staged.temp.persist(&self.root, &path).at("write", &at)?;
        changed.insert(shard.to_owned());
        Ok(())
    }

    /// Checks that this process can write the folder of a blob.
    ///
    /// # Errors
    /// [`Error::LockedFolder`] if it belongs to somebody else.
    pub(in crate::cache) fn check_folder(&self, digest: Digest) -> Result<()> {
        let path = below(digest);
        let folder = path.parent().unwrap_or(&path);
        match self.root.check_writable(folder) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                Err(Error::LockedFolder { owner: Owner::of_entry(&self.root.join(folder)) })
            }
            // A missing folder is made. A full or read-only disk is reported where it matters.
            _ => Ok(()),
        }
    }

    /// Makes the names of blobs durable. On a journalling file system the first sync usually syncs all
    /// others too, so many blobs get their names before one sync.
    pub(in crate::cache) fn sync(&self, changed: &BTreeSet<PathBuf>) -> Result<()> {
        changed.iter().try_for_each(|dir| self.sync_dir(dir))
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        self.root.subdir(dir).and_then(|dir| dir.sync()).at("sync", &self.root.join(dir))
    }

    /// Takes a blob's name away, which is quick for any size; dropping the result removes the file.
    /// `None` if there is no such blob.
    pub(in crate::cache) fn take(
        &self,
        _lock: &Writer<'_>,
        digest: Digest,
    ) -> Result<Option<Taken>> {
        let taken = Path::new(TMP).join(format!("{TEMP_PREFIX}removed-{digest}"));
        match self.root.rename(below(digest), &self.root, &taken) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            renamed => renamed
                .at("remove", &self.path(digest))
                .map(|()| Some(Taken { root: self.root.clone(), path: taken })),
        }
    }

    /// Moves a file or directory below the cache to `quarantine/`, durably, and returns its new path.
    pub(in crate::cache) fn quarantine(&self, _lock: &Writer<'_>, path: &Path) -> Result<PathBuf> {
        let at = self.root.join(QUARANTINE);
        let (dir, _) = self.root.make_dir(QUARANTINE).at("make directory", &at)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let from = self.root.join(path);
        for n in 0.. {
            let name = if n == 0 { name.to_string() } else { format!("{name}-{n}") };
            match self.root.rename_new(path, &dir, &name) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                renamed => {
                    renamed.at("quarantine", &from)?;
                    dir.sync().at("sync", &at)?;
                    self.sync_dir(path.parent().unwrap_or(Path::new(".")))?;
                    let to = dir.join(name);
                    warn!(from = %from.display(), to = %to.display(), "quarantined");
                    return Ok(to);
                }
            }
        }
        unreachable!("there is always another name")
    }

    /// As [`Blobs::quarantine`], for the file in a blob's place.
    pub(in crate::cache) fn quarantine_blob(
        &self,
        lock: &Writer<'_>,
        digest: Digest,
    ) -> Result<PathBuf> {
        self.quarantine(lock, &below(digest))
    }

    /// Gives a blob its proper mode. Fails if this process does not own it, or if the file is not that
    /// blob: a name can be given to any file.
    pub(in crate::cache) fn restore_mode(&self, digest: Digest) -> Result<()> {
        let Some(blob) = self.open(digest)? else { return Ok(()) };
        let change =
            |rights: Rights| permissions::change_mode(&blob.bytes().file, rights.mode(Kind::Blob));
        self.root.rights().and_then(change).at("write", &self.path(digest))
    }

    /// Removes the unfinished blobs of processes that died, and returns how many.
    pub(in crate::cache) fn sweep(&self) -> Result<usize> {
        temp::sweep_below(&self.root, TMP)
    }
}
