//! The blob store: `blobs/ab/<egg digest>`, `tmp/` for blobs that come and go, and `quarantine/` for
//! what turned out to be none.
//!
//! What never reaches a blob's path: a blob that is incomplete, not synced, or not named by the
//! digest of its manifest. The store knows no index; [`crate::cache`] keeps the two together.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::BufWriter;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::disk::files;
use crate::disk::filesystem;
use crate::disk::mmap::{Mapped, map};
use crate::disk::permissions;
use crate::disk::temp::{self, TEMP_PREFIX, Temp};
use crate::egg::blob::reader::{BadBlob, Blob, FORMAT};
use crate::egg::blob::writer::{self, Content, Packing, WriteError, Written};
use crate::egg::manifest::{Entry, Manifest};
use crate::egg::provenance::Provenance;
use crate::egg::scan::{Tree, kind_of, mtime_of};
use crate::error::{Error, IoContext, Result};
use crate::util::hash::digest::Digest;

/// Compressed frames that are kept in memory before they go to a temporary file, in bytes.
const SPOOL_IN_MEMORY: usize = 16 << 20;

#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    /// Whether a group shares the cache.
    shared: bool,
}

/// A blob that is complete and durable under a temporary name.
#[derive(Debug)]
pub struct Staged {
    temp: Temp,
    pub written: Written,
    pub manifest: Manifest,
    pub provenance: Provenance,
}

/// A file in the store that is named and placed like a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    pub digest: Digest,
    pub bytes: u64,
    /// Permission bits.
    pub mode: u32,
    /// Tells it from another file of that name.
    pub identity: (u64, u64),
    /// Whether it is a regular file.
    pub is_file: bool,
}

/// A blob that has lost its name and is gone when this is dropped.
#[derive(Debug)]
pub struct Taken(PathBuf);

impl Drop for Taken {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Stored {
    fn new(digest: Digest, metadata: &fs::Metadata) -> Self {
        Self {
            digest,
            bytes: metadata.size(),
            mode: metadata.mode() & 0o777,
            identity: files::identity(metadata),
            is_file: metadata.is_file(),
        }
    }
}

impl Store {
    /// The store of the cache at `root`, which exists.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), shared: permissions::is_shared(root) }
    }

    /// Makes the directories of a store.
    ///
    /// # Errors
    /// If one cannot be made.
    pub fn create(&self) -> Result<()> {
        [self.blobs(), self.tmp()].iter().try_for_each(|dir| permissions::make_dir(dir))
    }

    fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    fn quarantine_dir(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    /// The mode of a blob: nobody writes it, whoever shares the cache reads it.
    #[must_use]
    pub fn blob_mode(&self) -> u32 {
        0o444 & !permissions::umask() | if self.shared { 0o440 } else { 0o400 }
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
    pub fn pack(&self, tree: &Tree, provenance: Provenance) -> Result<Staged> {
        let temp = self.receive()?;
        let spool = tempfile::spooled_tempfile_in(SPOOL_IN_MEMORY, self.tmp());
        let mut manifest = tree.manifest.clone();
        let output = BufWriter::with_capacity(1 << 18, temp.handle());
        let packing =
            if filesystem::clones(&self.tmp()) { Packing::CLONABLE } else { Packing::SMALL };
        let of_blob = provenance.clone();
        let written = writer::write(&mut manifest, of_blob, packing, tree, spool, output).map_err(
            |error| match error {
                WriteError::Content(error) => error,
                WriteError::Output(source) => {
                    Error::Io { action: "write", path: temp.path().to_owned(), source }
                }
            },
        )?;
        temp.handle().sync_all().at("write", temp.path())?;
        Ok(Staged { temp, written, manifest, provenance })
    }

    /// An empty temporary file for a blob that comes from elsewhere.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(crate) fn receive(&self) -> Result<Temp> {
        let temp = Temp::file(&self.tmp())?;
        // From the beginning, so that others of the group can sweep it should this process die.
        let mode = Permissions::from_mode(self.blob_mode());
        temp.handle().set_permissions(mode).at("write", temp.path())?;
        Ok(temp)
    }

    /// Takes a blob that has come from elsewhere, and syncs it. Its frames are not looked at.
    ///
    /// # Errors
    /// [`Error::DamagedBlob`] or [`Error::NewerFormat`] if it is none.
    pub(crate) fn received(temp: Temp) -> Result<Staged> {
        let file = temp.handle().try_clone().at("open", temp.path())?;
        let path = || temp.path().to_owned();
        let blob = Blob::open(map(file).at("map", temp.path())?).map_err(|bad| match bad {
            BadBlob::NewerFormat(found) => {
                Error::NewerFormat { path: path(), found, known: FORMAT }
            }
            bad => Error::DamagedBlob { path: path(), reason: bad.to_string() },
        })?;
        let written = Written { digest: blob.digest, len: blob.len() };
        let (manifest, provenance) = (blob.manifest, blob.provenance);
        temp.handle().sync_all().at("write", temp.path())?;
        Ok(Staged { temp, written, manifest, provenance })
    }

    /// Gives a staged blob its name, and adds to `changed` the directories that [`Store::sync`] then
    /// has to make durable. The index's write lock is held.
    ///
    /// # Errors
    /// If it cannot be renamed.
    pub fn persist(&self, staged: Staged, changed: &mut BTreeSet<PathBuf>) -> Result<()> {
        let path = self.blob_path(staged.written.digest);
        let dir = path.parent().unwrap_or(&self.root);
        if !dir.exists() {
            permissions::make_dir(dir)?;
            changed.insert(self.blobs());
        }
        staged.temp.persist(&path).at("write", &path)?;
        changed.insert(dir.to_owned());
        Ok(())
    }

    /// Makes the names of blobs durable. The first sync of a journalling file system mostly is the
    /// sync of all, so many names are given before.
    ///
    /// # Errors
    /// If a directory cannot be synced.
    pub fn sync(changed: &BTreeSet<PathBuf>) -> Result<()> {
        changed.iter().try_for_each(|dir| files::sync_dir(dir))
    }

    /// Opens the blob of an egg; `None` if there is no such blob.
    ///
    /// # Errors
    /// [`Error::DamagedBlob`] or [`Error::NewerFormat`] if its bytes are not what its name says,
    /// [`Error::UnreadableBlob`] if this user may not read it.
    pub fn open(&self, digest: Digest) -> Result<Option<Blob<Mapped>>> {
        let path = self.blob_path(digest);
        // Neither a FIFO in its place nor a symlink shall lead anywhere.
        let mut options = File::options();
        options.read(true).custom_flags((OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed());
        let file = match options.open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                return Err(Error::UnreadableBlob { path });
            }
            file => file.at("open", &path)?,
        };
        let metadata = file.metadata().at("read", &path)?;
        if !metadata.is_file() || metadata.len() == 0 {
            let reason = if metadata.is_file() { "it is empty" } else { "it is not a file" };
            return Err(Error::DamagedBlob { path, reason: reason.into() });
        }
        let blob = Blob::open(map(file).at("map", &path)?).map_err(|bad| self.bad(digest, &bad))?;
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

    /// The file that stands in a blob's place, whatever it is; `None` if there is none.
    ///
    /// # Errors
    /// If that cannot be told.
    pub fn stored(&self, digest: Digest) -> Result<Option<Stored>> {
        let path = self.blob_path(digest);
        match path.symlink_metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            metadata => Ok(Some(Stored::new(digest, &metadata.at("read", &path)?))),
        }
    }

    /// Takes a blob's name away, which is quick however large it is; dropping what is returned
    /// removes it. `None` if there is no such blob. The index's write lock is held.
    ///
    /// # Errors
    /// If it cannot be renamed.
    pub fn take(&self, digest: Digest) -> Result<Option<Taken>> {
        let path = self.blob_path(digest);
        let taken = self.tmp().join(format!("{TEMP_PREFIX}removed-{digest}"));
        match fs::rename(&path, &taken) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            renamed => renamed.at("remove", &path).map(|()| Some(Taken(taken))),
        }
    }

    /// Moves a file or directory out of the store, durably, and answers where it is now.
    ///
    /// # Errors
    /// If it cannot be moved.
    pub fn quarantine(&self, path: &Path) -> Result<PathBuf> {
        let dir = self.quarantine_dir();
        permissions::make_dir(&dir)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        for n in 0.. {
            let name = if n == 0 { name.to_string() } else { format!("{name}-{n}") };
            let to = dir.join(name);
            match files::rename_new(path, &to) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                renamed => {
                    renamed.at("quarantine", path)?;
                    files::sync_dir(&dir)?;
                    files::sync_dir(path.parent().unwrap_or(&self.root))?;
                    return Ok(to);
                }
            }
        }
        unreachable!("there is always another name")
    }

    /// Gives a blob the mode that it should have.
    ///
    /// # Errors
    /// If this process does not own it.
    pub fn restore_mode(&self, digest: Digest) -> Result<()> {
        let path = self.blob_path(digest);
        fs::set_permissions(&path, Permissions::from_mode(self.blob_mode())).at("write", &path)
    }

    /// Every blob in the store, sorted by digest.
    ///
    /// # Errors
    /// If a directory cannot be read.
    pub fn list(&self) -> Result<Vec<Stored>> {
        Ok(self.scan()?.0)
    }

    /// Every blob in the store, sorted by digest, and every path that does not belong there.
    ///
    /// # Errors
    /// If a directory cannot be read.
    pub fn scan(&self) -> Result<(Vec<Stored>, Vec<PathBuf>)> {
        let (mut found, mut foreign) = (Vec::new(), Vec::new());
        let blobs = self.blobs();
        for entry in walkdir::WalkDir::new(&blobs).min_depth(1).max_depth(2).sort_by_file_name() {
            let entry = match entry {
                // Another process may remove a blob, or make the first one, while this looks.
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
            let is_shard = entry.depth() == 1
                && metadata.is_dir()
                && name.len() == 2
                && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            match name.parse::<Digest>() {
                Ok(digest) if metadata.is_file() && self.blob_path(digest) == entry.path() => {
                    found.push(Stored::new(digest, &metadata));
                }
                _ if is_shard => {}
                // Below a directory that does not belong there, nothing does.
                _ if foreign.iter().any(|above| entry.path().starts_with(above)) => {}
                _ => foreign.push(entry.into_path()),
            }
        }
        found.sort_unstable_by_key(|stored| stored.digest);
        Ok((found, foreign))
    }

    /// What was quarantined and is still there.
    #[must_use]
    pub fn quarantined(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.quarantine_dir()).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        found.sort_unstable();
        found
    }

    /// Lets the group of the cache use everything in the store.
    ///
    /// # Errors
    /// If this process does not own all of it.
    pub fn share(&mut self) -> Result<()> {
        self.shared = true;
        for dir in [self.blobs(), self.tmp(), self.quarantine_dir()] {
            for entry in walkdir::WalkDir::new(&dir).into_iter().flatten() {
                let path = entry.path();
                if entry.file_type().is_dir() {
                    permissions::share(path, &self.root)?;
                } else if dir == self.blobs() && entry.file_type().is_file() {
                    permissions::join(path, &self.root)?;
                    let mode = path.metadata().at("read", path)?.mode();
                    if mode & 0o440 != 0o440 {
                        let mode = Permissions::from_mode(self.blob_mode());
                        fs::set_permissions(path, mode).at("share", path)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// How many blobs processes that died were writing.
    ///
    /// # Errors
    /// If `tmp/` cannot be read.
    pub fn abandoned(&self) -> Result<usize> {
        Ok(temp::abandoned(&self.tmp())?.len())
    }

    /// Removes what processes that died were writing, and answers how much is gone.
    ///
    /// # Errors
    /// If `tmp/` cannot be read.
    pub fn sweep(&self) -> Result<usize> {
        temp::sweep(&self.tmp())
    }
}

impl Content for Tree {
    type Error = Error;

    fn read(&self, entry: &Entry, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let path = self.path_of(entry);
        let file = File::open(&path).at("open", &path)?;
        file.read_exact_at(buffer, offset).at("read", &path)?;
        let metadata = file.metadata().at("read", &path)?;
        if kind_of(&metadata) != Some(entry.kind.clone_without_digest())
            || mtime_of(&metadata) != entry.mtime
        {
            let reason = "it changes while it is read".to_owned();
            return Err(Error::UnsoundEgg { path, reason });
        }
        Ok(())
    }
}
