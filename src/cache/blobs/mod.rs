//! The blobs of a cache: `blobs/ab/<egg digest>`, `tmp/` for blobs that are written or removed, and
//! `quarantine/` for damaged blobs and files that are not blobs.
//!
//! This file reads them, `staging` packs and receives new ones under `tmp/`, and `write` gives a blob
//! its name or takes it away, which only [`crate::cache`] can do. A file in a blob's place is complete,
//! synced, and named by the digest of its manifest. All are used through the open root of the cache
//! ([`Dir`]), which follows no symlink below it.

mod staging;
mod write;

use std::ffi::OsStr;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::disk::dir::{Dir, Stat};
use crate::disk::mmap::{Mapped, map};
use crate::disk::temp;
use crate::egg::blob::BadBlob;
use crate::egg::blob::header::{FORMAT, MAGIC};
use crate::egg::blob::reader::Blob;
use crate::egg::manifest::MODE_MASK;
use crate::error::{Error, IoContext, OrLog, Owner, Result};
use crate::util::hash::digest::Digest;
use crate::util::hash::is_lower_hex;

pub use staging::{Staged, Staging};

/// The directories, below the cache.
const BLOBS: &str = "blobs";
const TMP: &str = "tmp";
const QUARANTINE: &str = "quarantine";
/// The most files among the blobs that are not blobs of which a scan keeps the paths.
const MAX_FOREIGN: usize = 10_000;
/// How many files are looked at in search of one blob.
const MAX_LOOKS: usize = 1000;

/// Read access to the blobs of one cache. It is cheap to clone, so each thread can have its own.
#[derive(Debug, Clone)]
pub struct Blobs {
    root: Dir,
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
    fn new(digest: Digest, found: Stat) -> Self {
        Self {
            digest,
            bytes: found.len(),
            mode: found.mode() & MODE_MASK,
            identity: found.identity(),
            is_file: found.is_file(),
        }
    }
}

impl Blobs {
    /// The blobs of the cache with this directory.
    #[must_use]
    pub fn new(root: &Dir) -> Self {
        Self { root: root.clone() }
    }

    #[must_use]
    pub fn path(&self, digest: Digest) -> PathBuf {
        self.root.join(below(digest))
    }

    /// Opens the blob of an egg; `None` if there is no such blob.
    ///
    /// # Errors
    /// [`Error::DamagedBlob`] or [`Error::NewerFormat`] if its bytes do not match its name,
    /// [`Error::UnreadableBlob`] if this user may not read it.
    pub fn open(&self, digest: Digest) -> Result<Option<Blob<Mapped>>> {
        let path = self.path(digest);
        let file = match self.root.read(below(digest)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
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
        let found = self.root.find(below(digest)).at("read", &self.path(digest))?;
        Ok(found.map(|found| BlobFile::new(digest, found)))
    }

    /// All blobs, sorted by digest.
    pub fn list(&self) -> Result<Vec<BlobFile>> {
        Ok(self.scan()?.0)
    }

    /// All blobs, sorted by digest, and the paths among them that are not a blob: the first 10,000
    /// that it finds.
    pub fn scan(&self) -> Result<(Vec<BlobFile>, Vec<PathBuf>)> {
        let (mut found, mut foreign) = (Vec::new(), Vec::new());
        let Some(blobs) = open_listed(&self.root, OsStr::new(BLOBS))? else {
            return Ok((found, foreign));
        };
        each_entry(&blobs, |name, entry| {
            if !is_shard(name, entry) {
                keep_foreign(&mut foreign, blobs.join(name));
                return Ok(());
            }
            let shard = match open_listed(&blobs, name) {
                // It hides its blobs, and no others.
                Err(error) if error.is_forbidden() => return Ok(()),
                shard => shard?,
            };
            let Some(shard) = shard else { return Ok(()) };
            each_entry(&shard, |name, entry| {
                match digest_in(&shard, name) {
                    Some(digest) if entry.is_file() => found.push(BlobFile::new(digest, entry)),
                    _ => keep_foreign(&mut foreign, shard.join(name)),
                }
                Ok(())
            })?;
            Ok(())
        })?;
        found.sort_unstable_by_key(|blob| blob.digest);
        foreign.sort_unstable();
        Ok((found, foreign))
    }

    /// The directories of blobs, below the cache.
    fn shards(&self) -> Result<Vec<PathBuf>> {
        let mut shards = Vec::new();
        if let Some(blobs) = open_listed(&self.root, OsStr::new(BLOBS))? {
            each_entry(&blobs, |name, entry| {
                if is_shard(name, entry) {
                    shards.push(Path::new(BLOBS).join(name));
                }
                Ok(())
            })?;
        }
        Ok(shards)
    }

    /// Whether there is a blob at `path`, which is below the cache.
    pub(in crate::cache) fn is_blob(&self, path: &Path) -> bool {
        let digest = path.file_name().and_then(OsStr::to_str).and_then(|name| name.parse().ok());
        digest.is_some_and(|digest| below(digest) == path)
            && self.root.stat(path).is_ok_and(|found| found.is_file())
    }

    /// Whether there is a blob, by the name and the beginning of a file. A blob that this user cannot read
    /// counts by its name.
    pub(in crate::cache) fn has_any(&self) -> bool {
        let shards = self.shards().unwrap_or_default();
        let files = shards.into_iter().flat_map(|shard| {
            let names = self.root.subdir(&shard).and_then(|shard| shard.names());
            names.into_iter().flatten().flatten().map(move |name| shard.join(name))
        });
        let begins_a_blob = |path: &PathBuf| {
            let mut begin = [0; MAGIC.len()];
            let mut file = match self.root.read(path) {
                Err(error) => return error.kind() == ErrorKind::PermissionDenied,
                Ok(file) => file,
            };
            file.read_exact(&mut begin).is_ok() && begin == MAGIC
        };
        files.take(MAX_LOOKS).any(|path| self.is_blob(&path) && begins_a_blob(&path))
    }

    /// The files in quarantine.
    #[must_use]
    pub fn quarantined(&self) -> Vec<PathBuf> {
        let Some(dir) = self.root.subdir(QUARANTINE).or_log() else { return Vec::new() };
        let names = dir.names().or_log().into_iter().flatten();
        let mut found: Vec<PathBuf> = names.flatten().map(|name| dir.join(name)).collect();
        found.sort_unstable();
        found
    }

    /// How many unfinished blobs processes left behind when they died.
    pub fn abandoned(&self) -> Result<usize> {
        match self.root.subdir(TMP) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            dir => temp::count_abandoned(&dir.at("read", &self.root.join(TMP))?),
        }
    }
}

/// Whether an entry among the blobs is a directory of blobs.
fn is_shard(name: &OsStr, entry: Stat) -> bool {
    entry.is_dir() && name.to_str().is_some_and(|it| it.len() == 2 && is_lower_hex(it))
}

/// The path of a blob below the cache.
fn below(digest: Digest) -> PathBuf {
    let text = digest.to_string();
    [BLOBS, &text[..2], &text].iter().collect()
}

/// The digest whose blob has this name in the directory `shard`, if there is one.
fn digest_in(shard: &Dir, name: &OsStr) -> Option<Digest> {
    let name = name.to_str()?;
    let digest = name.parse().ok()?;
    let is_its_place = shard.path().file_name().is_some_and(|it| it == &name[..2]);
    (is_its_place && below(digest).file_name()? == name).then_some(digest)
}

/// Opens a directory for a scan; `None` if another process has removed it.
fn open_listed(dir: &Dir, name: &OsStr) -> Result<Option<Dir>> {
    match dir.subdir(name) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some).at("read", &dir.join(name)),
    }
}

/// Calls `act` for each entry of a directory, except those that other processes remove meanwhile.
fn each_entry(dir: &Dir, mut act: impl FnMut(&OsStr, Stat) -> Result<()>) -> Result<()> {
    for name in dir.names().at("read", dir.path())? {
        let name = name.at("read", dir.path())?;
        if let Some(found) = dir.find(&name).or_log().flatten() {
            act(&name, found)?;
        }
    }
    Ok(())
}

/// Keeps a path, unless there are so many that they would fill the memory.
fn keep_foreign(foreign: &mut Vec<PathBuf>, path: PathBuf) {
    if foreign.len() < MAX_FOREIGN {
        foreign.push(path);
    }
}
