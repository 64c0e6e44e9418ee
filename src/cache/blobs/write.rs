//! Giving blobs their names and taking them away. Every function that does so takes the [`Writer`] of
//! the index: it exists only while this process holds the write lock.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tracing::{trace, warn};

use super::{Blobs, Staged, blob_mode};
use crate::cache::index::Writer;
use crate::disk::files;
use crate::disk::permissions;
use crate::disk::temp::{self, TEMP_PREFIX};
use crate::error::{IoContext, OrLog, Result};
use crate::util::hash::digest::Digest;

/// A blob that has lost its name; dropping this removes it.
#[derive(Debug)]
pub(in crate::cache) struct Taken(PathBuf);

impl Drop for Taken {
    fn drop(&mut self) {
        fs::remove_file(&self.0).or_log();
    }
}

impl Blobs {
    /// Makes the directories.
    pub(in crate::cache) fn create(&self) -> Result<()> {
        [self.dir(), self.tmp()].iter().try_for_each(|dir| permissions::make_dir(dir))
    }

    /// Gives a staged blob its name, and adds to `changed` the directories that [`Blobs::sync`] then
    /// makes durable.
    pub(in crate::cache) fn persist(
        &self,
        _lock: &Writer<'_>,
        staged: Staged,
        changed: &mut BTreeSet<PathBuf>,
    ) -> Result<()> {
        let path = self.path(staged.written.digest);
        let dir = path.parent().unwrap_or(&self.root);
        if !dir.exists() {
            permissions::make_dir(dir)?;
            changed.insert(self.dir());
        }
        trace!(path = %path.display(), "stored a blob");
        staged.temp.persist(&path).at("write", &path)?;
        changed.insert(dir.to_owned());
        Ok(())
    }

    /// Makes the names of blobs durable. On a journalling file system the first sync usually syncs all
    /// others too, so many blobs get their names before one sync.
    pub(in crate::cache) fn sync(changed: &BTreeSet<PathBuf>) -> Result<()> {
        changed.iter().try_for_each(|dir| files::sync_dir(dir))
    }

    /// Takes a blob's name away, which is quick for any size; dropping the result removes the file.
    /// `None` if there is no such blob.
    pub(in crate::cache) fn take(
        &self,
        _lock: &Writer<'_>,
        digest: Digest,
    ) -> Result<Option<Taken>> {
        let path = self.path(digest);
        let taken = self.tmp().join(format!("{TEMP_PREFIX}removed-{digest}"));
        match fs::rename(&path, &taken) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            renamed => renamed.at("remove", &path).map(|()| Some(Taken(taken))),
        }
    }

    /// Moves a file or directory to `quarantine/`, durably, and returns its new path.
    pub(in crate::cache) fn quarantine(&self, _lock: &Writer<'_>, path: &Path) -> Result<PathBuf> {
        let dir = self.quarantine_dir();
        permissions::make_dir(&dir)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        for n in 0.. {
            let name = if n == 0 { name.to_string() } else { format!("{name}-{n}") };
            let to = dir.join(name);
            match files::rename_new(path, &to) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                renamed => {
                    renamed.at("quarantine", path)?;
                    files::sync_dir(&dir)?;
                    files::sync_dir(path.parent().unwrap_or(&self.root))?;
                    warn!(from = %path.display(), to = %to.display(), "quarantined");
                    return Ok(to);
                }
            }
        }
        unreachable!("there is always another name")
    }

    /// Gives a blob its proper mode. Fails if this process does not own it.
    pub(in crate::cache) fn restore_mode(&self, digest: Digest) -> Result<()> {
        let path = self.path(digest);
        let mode = Permissions::from_mode(blob_mode(&self.root));
        fs::set_permissions(&path, mode).at("write", &path)
    }

    /// Lets the group of the cache directory, which is shared, use all blobs. Fails if this process
    /// does not own them all.
    pub(in crate::cache) fn share(&self) -> Result<()> {
        let blob_mode = blob_mode(&self.root);
        for dir in [self.dir(), self.tmp(), self.quarantine_dir()] {
            for entry in walkdir::WalkDir::new(&dir).into_iter().flatten() {
                let path = entry.path();
                if entry.file_type().is_dir() {
                    permissions::share(path, &self.root)?;
                } else if dir == self.dir() && entry.file_type().is_file() {
                    permissions::join(path, &self.root)?;
                    let mode = path.metadata().at("read", path)?.mode();
                    if mode & 0o440 != 0o440 {
                        let mode = Permissions::from_mode(blob_mode);
                        fs::set_permissions(path, mode).at("share", path)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Removes the unfinished blobs of processes that died, and returns how many.
    pub(in crate::cache) fn sweep(&self) -> Result<usize> {
        temp::sweep(&self.tmp())
    }
}
