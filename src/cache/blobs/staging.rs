//! Staging: blobs under a temporary name, before [`crate::cache::Cache::commit`] names them.

use std::io::{BufWriter, Cursor, Read, Seek, Write};

use super::TMP;
use crate::disk::dir::Dir;
use crate::disk::filesystem;
use crate::disk::mmap::map;
use crate::disk::permissions::{Kind, Rights};
use crate::disk::temp::{self, Temp};
use crate::egg::arrival::Arrival;
use crate::egg::blob::BadBlob;
use crate::egg::blob::header::FORMAT;
use crate::egg::blob::reader::Blob;
use crate::egg::blob::writer::{self, Content, Packing, WriteError, Written};
use crate::egg::manifest::{Entry, Manifest};
use crate::egg::provenance::Provenance;
use crate::egg::scan::{OpenTree, Tree};
use crate::error::{Error, IoContext, Result};
use crate::util::stop::Stop;
use crate::util::threads;

/// The largest egg whose compressed frames are kept in memory, and not in a file, in bytes.
const SPOOL_IN_MEMORY: u64 = 16 << 20;

/// Writes new blobs under `tmp/`. Nothing there is part of the cache, and a later run removes what a
/// process that died left there. It is cheap to clone.
#[derive(Debug, Clone)]
pub struct Staging {
    root: Dir,
}

/// A blob that is complete and durable under a temporary name.
#[derive(Debug)]
pub struct Staged {
    pub(super) temp: Temp,
    pub written: Written,
    pub manifest: Manifest,
    pub provenance: Provenance,
    /// How it came from a remote, if it did.
    pub arrival: Option<Arrival>,
}

impl Staging {
    /// Staging for the cache with this directory.
    #[must_use]
    pub fn new(root: &Dir) -> Self {
        Self { root: root.clone() }
    }

    fn tmp(&self) -> Result<Dir> {
        self.root.subdir(TMP).at("make a temporary file in", &self.root.join(TMP))
    }

    /// Packs an egg into a blob under a temporary name and syncs it. On failure nothing is left behind.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if it is asked to stop.
    pub fn pack(&self, tree: &Tree, provenance: Provenance, stop: &Stop) -> Result<Staged> {
        threads::start_pool()?;
        let temp = self.receive()?;
        let dir = self.tmp()?;
        let spool = spool(&dir, &tree.manifest)?;
        let mut manifest = tree.manifest.clone();
        let output = BufWriter::with_capacity(1 << 18, temp.handle());
        let packing = if filesystem::clones(&dir) { Packing::CLONABLE } else { Packing::SMALL };
        let of_blob = provenance.clone();
        let source = Stoppable { tree: tree.open()?, stop };
        let written = writer::write(&mut manifest, of_blob, packing, &source, spool, output)
            .map_err(|error| match error {
                WriteError::Content(error) => error,
                WriteError::Output(source) => {
                    Error::Io { action: "write", path: temp.path().to_owned(), source }
                }
            })?;
        temp.handle().sync_all().at("write", temp.path())?;
        Ok(Staged { temp, written, manifest, provenance, arrival: None })
    }

    /// An empty temporary file for a blob that arrives from a remote; see [`Staging::received`].
    pub fn receive(&self) -> Result<Temp> {
        let temp = Temp::file(&self.tmp()?)?;
        // From the beginning, so that others of the group can sweep it if this process dies.
        let give = |rights: Rights| rights.give(temp.handle(), Kind::Blob);
        self.root.rights().and_then(give).at("write", temp.path())?;
        Ok(temp)
    }

    /// Takes a blob that has arrived completely and syncs it. Its frames are not checked.
    ///
    /// # Errors
    /// [`Error::DamagedBlob`] or [`Error::NewerFormat`] if it is not a blob.
    pub fn received(temp: Temp) -> Result<Staged> {
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
        Ok(Staged { temp, written, manifest, provenance, arrival: None })
    }
}

/// Where compressed frames wait for their place in the blob.
trait Spool: Read + Write + Seek {}

impl<T: Read + Write + Seek> Spool for T {}

fn spool(tmp: &Dir, manifest: &Manifest) -> Result<Box<dyn Spool>> {
    if manifest.counts().bytes <= SPOOL_IN_MEMORY {
        return Ok(Box::new(Cursor::new(Vec::new())));
    }
    Ok(Box::new(temp::unnamed(tmp).at("make a temporary file in", tmp.path())?))
}

impl Content for OpenTree<'_> {
    type Error = Error;

    fn read(&self, entry: &Entry, offset: u64, buffer: &mut [u8]) -> Result<()> {
        OpenTree::read(self, entry, offset, buffer)
    }
}

/// An egg that is read until a stop is requested.
struct Stoppable<'a> {
    tree: OpenTree<'a>,
    stop: &'a Stop,
}

impl Content for Stoppable<'_> {
    type Error = Error;

    fn read(&self, entry: &Entry, offset: u64, buffer: &mut [u8]) -> Result<()> {
        if self.stop.is_requested() {
            return Err(Error::Interrupted);
        }
        self.tree.read(entry, offset, buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::egg::scan::Hints;

    /// Stages an egg whose file `data` `change` replaces after it was listed. It also gets the path of a
    /// private file of the same size and mtime, on the same file system.
    fn stage(change: impl FnOnce(&std::path::Path, &std::path::Path)) -> Result<Staged> {
        let dir = tempfile::tempdir().unwrap();
        let egg = dir.path().join("demo-1.0-py3.11.egg");
        fs::create_dir_all(egg.join("EGG-INFO")).unwrap();
        fs::create_dir_all(dir.path().join("cache/tmp")).unwrap();
        fs::write(egg.join("EGG-INFO/PKG-INFO"), "Name: demo\nVersion: 1.0\n").unwrap();
        let (data, private) = (egg.join("data"), dir.path().join("private"));
        for (path, text) in [(&data, "public"), (&private, "secret")] {
            fs::write(path, text).unwrap();
            let file = fs::File::options().write(true).open(path).unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
        }
        let tree = Tree::scan(&egg, &Hints::default()).unwrap();
        change(&data, &private);
        let staging = Staging::new(&Dir::open(&dir.path().join("cache")).unwrap());
        staging.pack(&tree, Provenance::default(), &Stop::default())
    }

    /// Writes into a file, and sets its mtime to what it was.
    fn patch(path: &std::path::Path) {
        let mut file = fs::File::options().write(true).open(path).unwrap();
        file.write_all(b"secret").unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    }

    #[test]
    fn a_listed_file_that_was_patched_with_its_size_and_mtime_kept_is_not_packed() {
        let own_name = stage(|data, _| patch(data));
        assert!(own_name.unwrap_err().to_string().contains("it changes while it is read"));
        let other_name = stage(|data, private| {
            let link = private.with_extension("link");
            fs::hard_link(data, &link).unwrap();
            patch(&link);
            fs::remove_file(&link).unwrap();
        });
        assert!(other_name.is_err(), "patched through a hard link");
        let folder_link = stage(|data, private| {
            let link = private.with_extension("folder");
            symlink(data.parent().unwrap(), &link).unwrap();
            patch(&link.join("data"));
        });
        assert!(folder_link.is_err(), "patched through a symlink to its folder");
    }

    #[test]
    fn a_listed_file_that_became_another_one_is_not_packed() {
        assert!(stage(|_, _| ()).is_ok());
        let link = |data: &std::path::Path, private: &std::path::Path| {
            fs::remove_file(data).unwrap();
            symlink(private, data).unwrap();
        };
        assert!(stage(link).is_err(), "a link to a file of the same size and mtime");
        let other = |data: &std::path::Path, private: &std::path::Path| {
            fs::rename(private, data).unwrap();
        };
        assert!(stage(other).unwrap_err().to_string().contains("it changes while it is read"));
        let egg = |data: &std::path::Path, private: &std::path::Path| {
            let egg = data.parent().unwrap();
            fs::rename(egg, private.with_extension("moved")).unwrap();
            symlink("private.moved", egg).unwrap();
        };
        assert!(stage(egg).unwrap_err().to_string().contains("it changes while it is read"));
    }
}
