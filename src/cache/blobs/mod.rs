//! The blobs of a cache: `blobs/ab/<egg digest>`, `tmp/` for blobs that are written or removed, and
//! `quarantine/` for damaged blobs and files that are not blobs.
//!
//! This file reads them, `staging` packs and receives new ones under `tmp/`, and `write` gives a blob
//! its name or takes it away, which only [`crate::cache`] can do. A file in a blob's place is complete,
//! synced, and named by the digest of its manifest.

mod staging;
mod write;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::disk::files;
use crate::disk::mmap::{Mapped, map};
use crate::disk::nofollow;
use crate::disk::permissions;
use crate::disk::temp;
use crate::egg::blob::BadBlob;
use crate::egg::blob::header::FORMAT;
use crate::egg::blob::reader::Blob;
use crate::egg::manifest::MODE_MASK;
use crate::error::{Error, IoContext, Owner, Result};
use crate::util::hash::digest::Digest;
use crate::util::hash::is_lower_hex;

pub use staging::{Staged, Staging};

/// Read access to the blobs of one cache. It is cheap to clone, so each thread can have its own.
#[derive(Debug, Clone)]
pub struct Blobs {
    /// The cache directory.
    root: PathBuf,
}

/// A file that is named and placed like a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobFile {
    pub digest: Digest,
    pub bytes: u64,
    /// Permission bits.
    pub mode: u32,
    /// Distinguishes it from another file of the same name.
    pub identity: (u64, u64),
    /// Whether it is a regular file.
    pub is_file: bool,
}

impl BlobFile {
    fn new(digest: Digest, metadata: &fs::Metadata) -> Self {
        Self {
            digest,
            bytes: metadata.size(),
            mode: metadata.mode() & MODE_MASK,
            identity: files::identity(metadata),
            is_file: metadata.is_file(),
        }
    }
}

impl Blobs {
    /// The blobs of the cache at `root`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(in crate::cache) fn dir(&self) -> PathBuf {
        self.root.join("blobs")
    }

    fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    fn quarantine_dir(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    #[must_use]
    pub fn path(&self, digest: Digest) -> PathBuf {
        let text = digest.to_string();
        self.dir().join(&text[..2]).join(text)
    }

    /// Opens the blob of an egg; `None` if there is no such blob.
    ///
    /// # Errors
    /// [`Error::DamagedBlob`] or [`Error::NewerFormat`] if its bytes do not match its name,
    /// [`Error::UnreadableBlob`] if this user may not read it.
    pub fn open(&self, digest: Digest) -> Result<Option<Blob<Mapped>>> {
        let path = self.path(digest);
        let file = match nofollow::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                return Err(Error::UnreadableBlob { owner: Owner::of(&path), path });
            }
            file => file.at("open", &path)?,
        };
        let metadata = file.metadata().at("read", &path)?;
        if !metadata.is_file() || metadata.len() == 0 {
            let reason = if metadata.is_file() { "it is empty" } else { "it is not a file" };
            return Err(Error::DamagedBlob { path, reason: reason.into() });
        }
        let blob =
            Blob::open(map(file).at("map", &path)?).map_err(|bad| self.error_for(digest, &bad))?;
        if blob.digest != digest {
            let reason = format!("it contains the blob {}", blob.digest);
            return Err(Error::DamagedBlob { path, reason });
        }
        Ok(Some(blob))
    }

    /// The error for a blob whose bytes are bad.
    #[must_use]
    pub fn error_for(&self, digest: Digest, bad: &BadBlob) -> Error {
        let path = self.path(digest);
        match *bad {
            BadBlob::NewerFormat(found) => Error::NewerFormat { path, found, known: FORMAT },
            _ => Error::DamagedBlob { path, reason: bad.to_string() },
        }
    }

    /// The file in a blob's place, of whatever type; `None` if there is none.
    pub fn file(&self, digest: Digest) -> Result<Option<BlobFile>> {
        let path = self.path(digest);
        match path.symlink_metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            metadata => Ok(Some(BlobFile::new(digest, &metadata.at("read", &path)?))),
        }
    }

    /// All blobs, sorted by digest.
    pub fn list(&self) -> Result<Vec<BlobFile>> {
        Ok(self.scan()?.0)
    }

    /// All blobs, sorted by digest, and every path among them that is not a blob.
    pub fn scan(&self) -> Result<(Vec<BlobFile>, Vec<PathBuf>)> {
        let (mut found, mut foreign) = (Vec::new(), Vec::new());
        let blobs = self.dir();
        for entry in walkdir::WalkDir::new(&blobs).min_depth(1).max_depth(2).sort_by_file_name() {
            let entry = match entry {
                // Another process can remove a blob, or write the first one, during the walk.
                Err(error)
                    if error
                        .io_error()
                        .is_some_and(|it| it.kind() == std::io::ErrorKind::NotFound) =>
                {
                    continue;
                }
                entry => entry.at("read", &blobs)?,
            };
            let Ok(metadata) = entry.metadata() else { continue };
            let name = entry.file_name().to_str().unwrap_or_default();
            let is_shard =
                entry.depth() == 1 && metadata.is_dir() && name.len() == 2 && is_lower_hex(name);
            match self.digest_of(entry.path()) {
                Some(digest) if metadata.is_file() => found.push(BlobFile::new(digest, &metadata)),
                _ if is_shard => {}
                // Everything below a foreign directory is foreign too.
                _ if foreign.iter().any(|above| entry.path().starts_with(above)) => {}
                _ => foreign.push(entry.into_path()),
            }
        }
        found.sort_unstable_by_key(|blob| blob.digest);
        Ok((found, foreign))
    }

    /// The digest whose blob has this path, if there is one.
    fn digest_of(&self, path: &Path) -> Option<Digest> {
        let digest = path.file_name()?.to_str()?.parse().ok()?;
        (self.path(digest) == path).then_some(digest)
    }

    /// Whether there is a blob at `path`.
    pub(in crate::cache) fn is_blob(&self, path: &Path) -> bool {
        self.digest_of(path).is_some()
            && path.symlink_metadata().is_ok_and(|metadata| metadata.is_file())
    }

    /// The files in quarantine.
    #[must_use]
    pub fn quarantined(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.quarantine_dir()).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        found.sort_unstable();
        found
    }

    /// How many unfinished blobs processes left behind when they died.
    pub fn abandoned(&self) -> Result<usize> {
        Ok(temp::abandoned(&self.tmp())?.len())
    }
}

/// The mode of a blob: nobody writes it, and everyone who shares the cache reads it.
fn blob_mode(root: &Path) -> u32 {
    let shared = permissions::is_shared(root);
    0o444 & !permissions::umask() | if shared { 0o440 } else { 0o400 }
}
