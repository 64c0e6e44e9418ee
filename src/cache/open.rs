//! Opening a cache, and making it.
//!
//! | | no cache | a cache | something else |
//! |---|---|---|---|
//! | [`Cache::open`] | makes one | may write it | [`Error::NotACache`] |
//! | [`Cache::open_existing`] | [`Error::NoCache`] | may write it | [`Error::NotACache`] |
//! | [`Cache::open_to_read`] | an empty one in memory | writes nothing | [`Error::NotACache`] |
//!
//! The table in `cli/commands/mod.rs` says which command uses which.

use std::io::ErrorKind;
use std::io::Write;
use std::path::{Path, PathBuf};

use tracing::{debug, info};

use crate::cache::blobs::Blobs;
use crate::cache::index::{self, Index};
use crate::cache::last_run;
use crate::cache::marker::{self, Found, OPEN, TAG, TAG_NAME, Tag};
use crate::cache::modes;
use crate::cache::rebuild::rebuild;
use crate::cache::trust::{self, Trust};
use crate::cache::{Cache, Missing, parity, prefetch_hints, signatures, torn_copies};
use crate::disk::dir::Dir;
use crate::disk::files;
use crate::disk::filesystem;
use crate::disk::permissions::Kind;
use crate::disk::temp::Temp;
use crate::error::{Error, IoContext, OrLog, Owner, Result, Unwritable};
use crate::util::clock::now;
use crate::util::progress::{Progress, Silent};

/// A file that reserves some space: SQLite needs space even to free space.
const BALLAST: &str = "ballast";
const BALLAST_BYTES: u64 = 1 << 20;

impl Cache {
    /// Whether there is a cache at `root`; also if that cannot be determined.
    #[must_use]
    pub fn is_at(root: &Path) -> bool {
        matches!(marker::found(root), Ok(Found::Cache(_) | Found::Closed(_)))
    }

    /// What there is not at `root`, as [`Cache::missing`] of a cache that is open to be read.
    #[must_use]
    pub fn missing_at(root: &Path) -> Option<Missing> {
        match marker::found(root) {
            Ok(Found::Nothing | Found::Empty(_)) => Some(Missing::Cache),
            Ok(Found::Cache(dir)) => {
                let index = dir.find(index::FILE_NAME);
                index.is_ok_and(|index| index.is_none()).then_some(Missing::Index)
            }
            Ok(Found::Closed(_) | Found::Other { .. }) | Err(_) => None,
        }
    }

    /// Opens the cache at `root`, making it if there is nothing or an empty directory. A cache that this
    /// process cannot write is opened to be read. A missing index is rebuilt from the blobs.
    ///
    /// # Errors
    /// [`Error::NotACache`] if `root` is something else, [`Error::Untrusted`] if somebody else can change
    /// it, or an error of the index: [`Error::NotAnIndex`], [`Error::DamagedIndex`],
    /// [`Error::NewerSchema`].
    pub fn open(root: &Path) -> Result<Self> {
        Self::open_with(root, &Trust::default(), &Silent)
    }

    /// As [`Cache::open`], also if somebody else can change the cache and `trust` says so. Reports
    /// progress while it rebuilds the index.
    ///
    /// # Errors
    /// As [`Cache::open`].
    pub fn open_with(root: &Path, trust: &Trust, progress: &dyn Progress) -> Result<Self> {
        match place(root, trust)? {
            Place::Cache(dir) => Self::open_to_write(dir, trust, progress),
            Place::Empty(dir) => Self::make(closed(dir, false, trust)?, trust, progress),
            Place::Nothing => Self::make(make_root(root, trust)?, trust, progress),
        }
    }

    /// As [`Cache::open_with`], but makes no cache.
    ///
    /// # Errors
    /// As [`Cache::open`], and [`Error::NoCache`] if there is none.
    pub fn open_existing(root: &Path, trust: &Trust, progress: &dyn Progress) -> Result<Self> {
        match place(root, trust)? {
            Place::Cache(dir) => Self::open_to_write(dir, trust, progress),
            Place::Empty(_) | Place::Nothing => Err(Error::NoCache { path: root.to_owned() }),
        }
    }

    /// Opens the cache at `root` to read it, which changes no file and makes none. If there is no cache,
    /// this is an empty one. Without its index, the eggs are read from the blobs.
    ///
    /// # Errors
    /// As [`Cache::open`].
    pub fn open_to_read(root: &Path) -> Result<Self> {
        Self::open_to_read_with(root, &Trust::default(), &Silent)
    }

    /// As [`Cache::open_to_read`], also if somebody else can change the cache and `trust` says so.
    /// Reports progress while it reads the blobs.
    ///
    /// # Errors
    /// As [`Cache::open`].
    pub fn open_to_read_with(root: &Path, trust: &Trust, progress: &dyn Progress) -> Result<Self> {
        if let Place::Cache(dir) = place(root, trust)? {
            return Self::open_read_only(dir, trust, Unwritable::OpenToRead, progress);
        }
        let dir = Dir::without_entries(&std::path::absolute(root).at(OPEN, root)?);
        let dir = dir.at(OPEN, root)?;
        Ok(Self {
            blobs: Blobs::new(&dir),
            index: Index::in_memory(&dir)?,
            dir,
            trust: trust.clone(),
            rebuilt: None,
            missing: Some(Missing::Cache),
            read_only: Some(Unwritable::OpenToRead),
            warning: None,
        })
    }

    /// Makes a cache in an empty directory.
    fn make(dir: Dir, trust: &Trust, progress: &dyn Progress) -> Result<Self> {
        if let Some(reason) = unwritable(&dir, ".") {
            return Err(Error::ReadOnly { path: dir.path().to_owned(), reason });
        }
        Self::open_to_write(dir, trust, progress)
    }

    fn open_to_write(dir: Dir, trust: &Trust, progress: &dyn Progress) -> Result<Self> {
        let root = dir.path().to_owned();
        if let Some(reason) = unwritable_part(&dir) {
            debug!(path = %root.display(), ?reason, "not writable");
            return Self::open_read_only(dir, trust, reason, progress);
        }
        let blobs = Blobs::new(&dir);
        blobs.create()?;
        write_tag(&dir);
        let is_new = dir.stat(index::FILE_NAME).is_err();
        let mut index = match Index::open(&dir) {
            Err(Error::Index { source, .. }) if let Some(reason) = index::unwritable(&source) => {
                // If it cannot be opened for reading either, the disk is the reason.
                return Self::open_read_only(dir, trust, reason.clone(), progress)
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
        let is_complete = index.is_complete()?;
        let rebuilt = if is_complete {
            None
        } else {
            trust::check_shards(&root, trust)?;
            Some(rebuild(&blobs, &mut index, progress)?)
        };
        debug!(cache = %root.display(), is_new, rebuilt = rebuilt.is_some(), "opened the cache");
        let trust = trust.clone();
        Ok(Self { dir, blobs, index, trust, rebuilt, missing: None, read_only: None, warning })
    }

    /// Opens the cache at `root`. A damaged index, or another file in its place, is first set aside,
    /// never removed, and rebuilt; also returns where it was moved.
    ///
    /// # Errors
    /// As [`Cache::open`], or if the index cannot be set aside.
    pub fn open_or_rebuild(
        root: &Path,
        trust: &Trust,
        progress: &dyn Progress,
    ) -> Result<(Self, Option<PathBuf>)> {
        match Self::open_with(root, trust, progress) {
            Err(Error::NotAnIndex { .. } | Error::DamagedIndex { .. }) => {}
            Ok(cache) if cache.damage().is_some() => cache.check_writable()?,
            cache => return Ok((cache?, None)),
        }
        let Place::Cache(dir) = place(root, trust)? else {
            return Ok((Self::open_with(root, trust, progress)?, None));
        };
        let aside = Index::set_aside(&dir)?;
        Ok((Self::open_with(root, trust, progress)?, Some(aside)))
    }

    fn open_read_only(
        dir: Dir,
        trust: &Trust,
        reason: Unwritable,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let blobs = Blobs::new(&dir);
        let mut index = Index::open_to_read(&dir)?;
        let mut missing = None;
        if !index.is_complete()? {
            // This index is in memory.
            trust::check_shards(dir.path(), trust)?;
            rebuild(&blobs, &mut index, progress)?;
            missing = Some(Missing::Index);
        }
        if reason == Unwritable::OpenToRead {
            debug!(cache = %dir.path().display(), ?missing, "opened the cache to read it");
        } else {
            info!(cache = %dir.path().display(), %reason, ?missing, "opened the cache read-only");
        }
        let (read_only, trust) = (Some(reason), trust.clone());
        Ok(Self { dir, blobs, index, trust, rebuilt: None, missing, read_only, warning: None })
    }

    /// Why this process could not store eggs; `None` if permissions and mount allow it.
    #[must_use]
    pub fn unwritable(&self) -> Option<Unwritable> {
        unwritable_part(&self.dir)
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

    /// Frees the reserved space of this cache, so that eggs that are complete can be committed. Returns
    /// whether there was any.
    pub fn free_ballast(&self) -> bool {
        self.dir.remove_file(BALLAST).is_ok()
    }

    /// Frees the reserved space, so that a cache on a full disk can be opened and collected.
    pub fn drop_ballast(root: &Path, trust: &Trust) {
        if let Ok(Place::Cache(dir)) = place(root, trust)
            && dir.stat(index::FILE_NAME).is_ok()
        {
            dir.remove_file(BALLAST).or_log();
        }
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
        prefetch_hints::forget_old(&self.dir)?;
        last_run::forget_old(&self.dir)?;
        parity::forget_old(&self.dir)?;
        signatures::forget_old(&self.dir)?;
        self.forget_build_options()
    }
}

/// Why something that a change of a cache writes cannot be written.
fn unwritable_part(cache: &Dir) -> Option<Unwritable> {
    let parts = [".", index::FILE_NAME, "blobs", "tmp"];
    let mut there = parts.into_iter().filter(|part| cache.stat(part).is_ok());
    there.find_map(|part| unwritable(cache, part))
}

/// Why a part of a cache cannot be written.
fn unwritable(cache: &Dir, part: &str) -> Option<Unwritable> {
    let error = cache.check_writable(part).err()?;
    if error.kind() == ErrorKind::ReadOnlyFilesystem {
        return Some(Unwritable::Mount);
    }
    let root = cache.path();
    let path = if part == "." { root.to_owned() } else { root.join(part) };
    Some(Unwritable::Permissions(Owner::of(&path)))
}

/// What there is at the path of a cache.
enum Place {
    /// A cache that can be trusted.
    Cache(Dir),
    Empty(Dir),
    Nothing,
}

/// Opens what is at `root`: the open directory is the one that was judged.
///
/// # Errors
/// [`Error::NotACache`] if it is something else, or [`Error::Untrusted`].
fn place(root: &Path, trust: &Trust) -> Result<Place> {
    match marker::found(root)? {
        Found::Nothing => Ok(Place::Nothing),
        Found::Empty(dir) => Ok(Place::Empty(dir)),
        Found::Cache(dir) => trusted(dir, trust).map(Place::Cache),
        Found::Closed(error) => {
            trust::check(&root.canonicalize().at(OPEN, root)?, trust)?;
            Err(error).at(OPEN, root)
        }
        Found::Other { reason } => Err(Error::NotACache { path: root.to_owned(), reason }),
    }
}

/// Makes the cache directory, in a place that nobody else can change, and opens it.
fn make_root(root: &Path, trust: &Trust) -> Result<Dir> {
    trust::check_place(root, trust)?;
    let is_made = files::make_dirs_durably(root, 0o700).at("make the cache directory", root)?;
    let dir = root.canonicalize().and_then(|path| Dir::open(&path)).at(OPEN, root)?;
    closed(dir, is_made, trust)
}

/// Closes an empty directory to others, if it belongs to this user and is in a place that nobody else can
/// change. Others may have filled it before.
fn closed(dir: Dir, is_made: bool, trust: &Trust) -> Result<Dir> {
    trust::check_above(dir.path(), trust)?;
    check_same(&dir)?;
    if trust.may_close(&dir).at(OPEN, dir.path())? {
        modes::make_private(&dir, is_made)?;
    }
    let dir = trusted(dir, trust)?;
    let path = dir.path().to_owned();
    match marker::in_directory(dir) {
        Found::Empty(dir) | Found::Cache(dir) => Ok(dir),
        Found::Nothing => Err(Error::NoCache { path }),
        Found::Closed(error) => Err(error).at(OPEN, &path),
        Found::Other { reason } => Err(Error::NotACache { path, reason }),
    }
}

/// The directory, if it can be trusted.
fn trusted(dir: Dir, trust: &Trust) -> Result<Dir> {
    trust::check(dir.path(), trust)?;
    check_same(&dir)?;
    Ok(dir)
}

/// Checks that an open directory has its path still. Once its place is trusted, it keeps it.
fn check_same(dir: &Dir) -> Result<()> {
    let opened = dir.handle().metadata().at(OPEN, dir.path())?;
    let named = dir.path().symlink_metadata().at(OPEN, dir.path())?;
    if files::identity(&opened) == files::identity(&named) {
        return Ok(());
    }
    Err(std::io::Error::other("it was replaced while it was opened")).at(OPEN, dir.path())
}

/// Writes the tag by which backup programs recognise a cache, if there is none. A failure is not worth
/// an error. Links, directories and files of others stay. The tag is durable before there is an index: a
/// directory with a part of an index and no tag would not count as a cache after a power cut.
///
/// A member of the group, or the author of a checkout that contains the cache, may have put a link
/// there. So nothing is written through the name: a new file is renamed to it.
fn write_tag(root: &Dir) {
    if !matches!(marker::tag(root), Tag::Missing | Tag::Unfinished) {
        return;
    }
    let written = root.subdir("tmp").at("write", &root.join(TAG_NAME)).and_then(|tmp| {
        let temp = Temp::file(&tmp)?;
        temp.handle()
            .write_all(TAG.as_bytes())
            .and_then(|()| root.rights()?.give(temp.handle(), Kind::File))
            .and_then(|()| temp.handle().sync_all())
            .and_then(|()| temp.persist(root, TAG_NAME))
            .and_then(|()| root.sync())
            .at("write", &root.join(TAG_NAME))
    });
    written.or_log();
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_directory_that_gets_another_name_meanwhile_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        let (opened, other) = (path.join("opened"), path.join("other"));
        for directory in [&opened, &other] {
            fs::create_dir(directory).unwrap();
        }
        let trust = Trust::default();
        let Place::Empty(found) = place(&opened, &trust).unwrap() else { panic!("it is empty") };
        fs::rename(&opened, path.join("moved")).unwrap();
        fs::rename(&other, &opened).unwrap();
        assert!(closed(found.clone(), false, &trust).is_err());
        assert!(trusted(found, &trust).is_err());
        for directory in [&opened, &path.join("moved")] {
            assert_eq!(directory.read_dir().unwrap().count(), 0);
        }
    }

    #[test]
    fn a_directory_that_others_fill_before_it_is_closed_is_no_cache() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        let trust = Trust::default();
        let Place::Empty(found) = place(&path, &trust).unwrap() else { panic!("it is empty") };
        fs::write(path.join("ballast"), "mine").unwrap();
        let refused = closed(found, false, &trust);
        assert!(matches!(refused, Err(Error::NotACache { .. })), "{refused:?}");
        assert_eq!(path.read_dir().unwrap().count(), 1);
    }
}
