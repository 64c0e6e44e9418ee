//! The cache: the blob store and the index together.
//!
//! # Order of writes
//! What makes a crash harmless is that there is never a row without its blob.
//!
//! - To add: write the blob under `tmp/` and sync it; take the write lock; rename it into `blobs/`
//!   and sync that directory; insert the row; commit. A crash leaves at worst a blob without a row.
//! - To remove: take the write lock, delete the rows, commit, durably. Then, in batches, take the
//!   lock again, look again that the digest has no row, unlink, commit. A crash leaves at worst a
//!   blob without a row.
//!
//! A blob without a row is an orphan: harmless, reported by `verify`, removed by `gc`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::digest::Digest;
use crate::egg::Egg;
use crate::error::{Error, IoContext, Result};
use crate::fs as files;
use crate::index::{self, Index, Writer};
use crate::progress::Silent;
use crate::rebuild::{Rebuilt, rebuild};
use crate::store::{Staged, Store};

/// How many blobs are unlinked under one hold of the write lock.
const UNLINK_BATCH: usize = 64;

/// A file that is there to be removed: SQLite needs some space even to give space back.
const BALLAST: &str = "ballast";
const BALLAST_BYTES: u64 = 1 << 20;
const FULL: &str = "there is no space left on its disk";

const CACHEDIR_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
     # This directory holds a cache of built eggs. Backups may leave it out.\n\
     # See https://bford.info/cachedir/\n";

#[derive(Debug)]
pub struct Cache {
    root: PathBuf,
    pub store: Store,
    pub index: Index,
    /// What was found, if the index had to be rebuilt when the cache was opened.
    pub rebuilt: Option<Rebuilt>,
    /// Why this process cannot write the cache, if it cannot.
    read_only: Option<&'static str>,
}

/// What became of an egg that was to be added.
#[derive(Debug, Clone, PartialEq)]
pub enum Commit {
    Stored(Egg),
    /// The cache has this egg already, or another build of its key, which stays.
    Kept {
        existing: Egg,
        same: bool,
    },
    /// Stored in place of another build of its key.
    Replaced {
        egg: Egg,
        old: Digest,
    },
}

impl Cache {
    /// Opens the cache at `root`, making it if needed. One that this process cannot write is opened
    /// for reading. An index that is gone is rebuilt from the blobs.
    ///
    /// # Errors
    /// [`Error::NotACache`] if `root` is something else, or what [`Index::open`] says.
    pub fn open(root: &Path) -> Result<Self> {
        if let Err(error) = fs::create_dir_all(root) {
            if root.symlink_metadata().is_ok() && !root.is_dir() {
                let reason = "it is not a directory";
                return Err(Error::NotACache { path: root.to_owned(), reason });
            }
            return Err(error).at("make the cache directory", root);
        }
        let root = root.canonicalize().at("open the cache directory", root)?;
        let store = Store::new(&root);
        let parts = ["", "index.sqlite", "blobs", "tmp"].map(|part| root.join(part));
        if parts.iter().any(|part| part.exists() && !files::is_writable(part)) {
            return Self::open_read_only(root, store, "it is read-only for this user");
        }
        store.create()?;
        let tag = root.join("CACHEDIR.TAG");
        if !tag.exists() {
            fs::write(&tag, CACHEDIR_TAG).at("write", &tag)?;
        }
        let mut index = match Index::open(&root) {
            Err(Error::Index { source, .. }) if index::is_full(&source) => {
                return Self::open_read_only(root, store, FULL);
            }
            index => index?,
        };
        let rebuilt =
            if index.is_complete()? { None } else { Some(rebuild(&store, &mut index, &Silent)?) };
        Ok(Self { root, store, index, rebuilt, read_only: None })
    }

    fn open_read_only(root: PathBuf, store: Store, reason: &'static str) -> Result<Self> {
        let index = Index::open_read_only(&root)?;
        Ok(Self { root, store, index, rebuilt: None, read_only: Some(reason) })
    }

    /// Keeps some space, for [`Cache::drop_ballast`].
    pub fn take_ballast(&self) {
        files::reserve(&self.root.join(BALLAST), BALLAST_BYTES);
    }

    /// Frees the space that is kept so that a cache on a full disk can be opened and collected.
    pub fn drop_ballast(root: &Path) {
        let _ = fs::remove_file(root.join(BALLAST));
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// # Errors
    /// [`Error::ReadOnly`] if this process cannot write the cache.
    pub fn check_writable(&self) -> Result<()> {
        match self.read_only {
            Some(reason) => Err(Error::ReadOnly { path: self.root.clone(), reason }),
            None => Ok(()),
        }
    }

    /// Adds staged blobs under one hold of the write lock. The first build of a key wins unless
    /// `replace` says of it that it shall not, or its blob cannot be opened.
    ///
    /// # Errors
    /// If the index or the store cannot be written; then none of them has a row.
    pub fn commit(
        &mut self,
        staged: Vec<Staged>,
        replace: impl Fn(&Egg) -> bool,
    ) -> Result<Vec<Commit>> {
        let store = &self.store;
        let commits = self.index.write(|writer| {
            staged
                .into_iter()
                .map(|staged| commit_one(store, writer, staged, &replace))
                .collect::<Result<Vec<_>>>()
        })?;
        let old: Vec<Digest> = commits
            .iter()
            .filter_map(|commit| match commit {
                Commit::Replaced { old, .. } => Some(*old),
                _ => None,
            })
            .collect();
        self.unlink_unreferenced(&old, |_| ())?;
        Ok(commits)
    }

    /// Removes those blobs that no row refers to, batch by batch. None, while the index does not have
    /// a row for every egg.
    ///
    /// # Errors
    /// If the index or the store cannot be written.
    pub fn unlink_unreferenced(
        &mut self,
        digests: &[Digest],
        unlinked: impl Fn(Digest),
    ) -> Result<()> {
        for batch in digests.chunks(UNLINK_BATCH) {
            self.index.write(|writer| {
                if !writer.is_complete()? {
                    return Ok(());
                }
                for &digest in batch {
                    if !writer.has(digest)? {
                        self.store.remove(digest)?;
                        unlinked(digest);
                    }
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Removes temporary files whose process is gone.
    ///
    /// # Errors
    /// If `tmp/` cannot be read.
    pub fn sweep(&self) -> Result<usize> {
        let abandoned = self.store.abandoned()?;
        let count = abandoned.len();
        abandoned.into_iter().for_each(files::Abandoned::remove);
        Ok(count)
    }
}

fn commit_one(
    store: &Store,
    writer: &Writer<'_>,
    mut staged: Staged,
    replace: impl Fn(&Egg) -> bool,
) -> Result<Commit> {
    let digest = staged.written.digest;
    let mut replaced = None;
    if let Some(existing) = writer.of_key(&staged.manifest.key)? {
        // A blob of a newer format is another eggcache's, and fine.
        let broken =
            matches!(store.open(existing.digest), Ok(None) | Err(Error::DamagedBlob { .. }));
        let same = existing.digest == digest;
        if !broken && !replace(&existing) {
            return Ok(Commit::Kept { existing, same });
        }
        writer.delete(existing.digest)?;
        replaced = Some(existing.digest).filter(|_| !same);
    }
    let provenance = std::mem::take(&mut staged.provenance);
    let egg = Egg::new(digest, &staged.manifest, staged.written.len, provenance);
    store.persist(staged)?;
    writer.insert(&egg)?;
    Ok(match replaced {
        Some(old) => Commit::Replaced { egg, old },
        None => Commit::Stored(egg),
    })
}

/// Seconds since the Unix epoch.
#[must_use]
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
