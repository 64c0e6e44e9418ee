//! The blob store: `blobs/ab/<egg digest>`, and `tmp/` for blobs that are being written.
//!
//! What never reaches a blob's path: a blob that is incomplete, not synced, or not named by the
//! digest of its manifest. The store knows no index; [`crate::cache`] keeps the two together.

use std::fs::{self, File, Permissions};
use std::io::BufWriter;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use rustix::fs::OFlags;

use crate::blob::{BadBlob, Blob, FORMAT, Provenance};
use crate::blob_writer::{self, WriteError, Written};
use crate::digest::Digest;
use crate::error::{Error, IoContext, Result};
use crate::fs::{self as files, Abandoned, Temp};
use crate::manifest::Manifest;
use crate::map::map;
use crate::tree::Tree;

/// Compressed frames that are kept in memory before they go to a temporary file, in bytes.
const SPOOL_IN_MEMORY: usize = 16 << 20;

#[derive(Debug)]
pub struct Store {
    root: PathBuf,
}

/// A blob that is complete and durable under a temporary name.
#[derive(Debug)]
pub struct Staged {
    temp: Temp,
    pub written: Written,
    pub manifest: Manifest,
    pub provenance: Provenance,
}

/// A file in the store that is named like a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    pub digest: Digest,
    pub bytes: u64,
}

impl Store {
    /// The store of the cache at `root`, which exists.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Makes the directories of a store.
    ///
    /// # Errors
    /// If one cannot be made.
    pub fn create(&self) -> Result<()> {
        for dir in [self.blobs(), self.tmp()] {
            fs::create_dir_all(&dir).at("make directory", &dir)?;
        }
        Ok(())
    }

    fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    #[must_use]
    pub fn blob_path(&self, digest: Digest) -> PathBuf {
        let text = digest.to_string();
        self.blobs().join(&text[..2]).join(text)
    }

    /// Writes the blob of an egg under a temporary name, and syncs it.
    ///
    /// # Errors
    /// If the egg cannot be read or the blob not written; nothing is left behind.
    pub fn stage(&self, tree: &Tree, provenance: Provenance) -> Result<Staged> {
        let temp = Temp::file(&self.tmp())?;
        let spool = tempfile::spooled_tempfile_in(SPOOL_IN_MEMORY, self.tmp());
        let mut manifest = tree.manifest.clone();
        let output = BufWriter::with_capacity(1 << 18, temp.handle());
        let written = blob_writer::write(&mut manifest, provenance.clone(), tree, spool, output)
            .map_err(|error| match error {
                WriteError::Source(error) => error,
                WriteError::Output(source) => {
                    Error::Io { action: "write", path: temp.path().to_owned(), source }
                }
            })?;
        let mode = 0o444 & !files::umask() | 0o400;
        temp.handle()
            .set_permissions(Permissions::from_mode(mode))
            .and_then(|()| temp.handle().sync_all())
            .at("write", temp.path())?;
        Ok(Staged { temp, written, manifest, provenance })
    }

    /// Gives a staged blob its name, durably. The index's write lock is held.
    ///
    /// # Errors
    /// If it cannot be renamed.
    pub fn persist(&self, staged: Staged) -> Result<()> {
        let path = self.blob_path(staged.written.digest);
        let dir = path.parent().unwrap_or(&self.root);
        if !dir.exists() {
            fs::create_dir_all(dir).at("make directory", dir)?;
            files::sync_dir(&self.blobs())?;
        }
        staged.temp.persist(&path).at("write", &path)?;
        files::sync_dir(dir)
    }

    /// Opens the blob of an egg; `None` if there is no such blob.
    ///
    /// # Errors
    /// [`Error::DamagedBlob`] or [`Error::NewerFormat`] if its bytes are not what its name says.
    pub fn open(&self, digest: Digest) -> Result<Option<Blob<Mmap>>> {
        let path = self.blob_path(digest);
        // Neither a FIFO in its place nor a symlink shall lead anywhere.
        let mut options = File::options();
        options.read(true).custom_flags((OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed());
        let file = match options.open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            file => file.at("open", &path)?,
        };
        let metadata = file.metadata().at("read", &path)?;
        if !metadata.is_file() || metadata.len() == 0 {
            let reason = if metadata.is_file() { "it is empty" } else { "it is not a file" };
            return Err(Error::DamagedBlob { path, reason: reason.into() });
        }
        let blob =
            Blob::open(map(&file).at("map", &path)?).map_err(|bad| self.bad(digest, &bad))?;
        if blob.digest != digest {
            let reason = format!("it is the blob of {}", blob.digest);
            return Err(Error::DamagedBlob { path, reason });
        }
        Ok(Some(blob))
    }

    /// The error for a blob whose bytes are bad.
    #[must_use]
    pub fn bad(&self, digest: Digest, bad: &BadBlob) -> Error {
        let path = self.blob_path(digest);
        match *bad {
            BadBlob::NewerFormat(found) => Error::NewerFormat { path, found, known: FORMAT },
            _ => Error::DamagedBlob { path, reason: bad.to_string() },
        }
    }

    /// Removes a blob. One that is not there is removed already.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn remove(&self, digest: Digest) -> Result<()> {
        let path = self.blob_path(digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            done => done.at("remove", &path),
        }
    }

    /// Every blob in the store, sorted by digest.
    ///
    /// # Errors
    /// If a directory cannot be read.
    pub fn list(&self) -> Result<Vec<Stored>> {
        let mut found = Vec::new();
        for entry in walkdir::WalkDir::new(self.blobs()).min_depth(2).max_depth(2) {
            let entry = match entry {
                // Another process may remove a blob, or make the first one, while this looks.
                Err(error)
                    if error
                        .io_error()
                        .is_some_and(|it| it.kind() == std::io::ErrorKind::NotFound) =>
                {
                    continue;
                }
                entry => entry.at("read", &self.blobs())?,
            };
            let digest = entry.file_name().to_str().and_then(|name| name.parse::<Digest>().ok());
            if let Some(digest) = digest
                && let Ok(metadata) = entry.metadata()
                && metadata.is_file()
            {
                found.push(Stored { digest, bytes: metadata.size() });
            }
        }
        found.sort_unstable_by_key(|stored| stored.digest);
        Ok(found)
    }

    /// Blobs that a process that died was writing.
    ///
    /// # Errors
    /// If `tmp/` cannot be read.
    pub fn abandoned(&self) -> Result<Vec<Abandoned>> {
        files::abandoned(&self.tmp())
    }
}
