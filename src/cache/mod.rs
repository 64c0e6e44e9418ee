//! The cache: the blob store and the index together.
//!
//! # Order of writes
//! What makes a crash harmless is that there is never a row without its blob.
//!
//! - To add: write the blob under `tmp/` and sync it; take the write lock; rename it into `blobs/`;
//!   insert the row; sync the directories; commit. A crash leaves at worst a blob without a row.
//! - To remove, batch by batch: take the write lock, delete the rows and note that they are evicted,
//!   commit, durably. Take the lock again, look again that the digest has no row, rename the blob
//!   into `tmp/`, commit; then unlink it there. A crash leaves at worst a blob without a row.
//!
//! A blob without a row is an orphan: harmless, and reported by `verify`. `gc` removes it if it was
//! evicted, is not whole or is another build of an egg that has a row. Else its row was lost, and
//! `gc` gives it one.
//!
//! # Waiting
//! Whoever removes holds the lock for about `HOLD` at a time and then lets go of it for as long, so
//! that others get it in between (`benches/gc_wait.py`).

pub mod blob_store;
pub mod extract;
pub mod index;
pub mod prefetch_hints;
pub mod query;
pub mod rebuild;
pub mod repair;
pub mod retention;
pub mod torn_copies;

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cache::blob_store::{Staged, Store};
use crate::cache::index::{Index, Tally, Writer};
use crate::cache::rebuild::{Rebuilt, rebuild};
use crate::cache::retention::pins;
use crate::cache::retention::plan::Evicted;
use crate::cache::retention::roots;
use crate::disk::files;
use crate::disk::filesystem;
use crate::disk::permissions;
use crate::egg::cached_egg::CachedEgg;
use crate::error::{Error, IoContext, Result};
use crate::util::clock::now;
use crate::util::hash::digest::Digest;
use crate::util::progress::{Progress, Silent};

/// How many eggs are evicted together.
const EVICT_BATCH: usize = 64;
/// After how long the write lock is let go of by whoever has much to do with it.
const HOLD: Duration = Duration::from_millis(10);

/// A file that is there to be removed: SQLite needs some space even to give space back.
const BALLAST: &str = "ballast";
const BALLAST_BYTES: u64 = 1 << 20;

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
    warning: Option<String>,
}

/// What became of an egg that was to be added.
#[derive(Debug, Clone, PartialEq)]
pub enum Commit {
    Stored(CachedEgg),
    /// The cache has this egg already, or another build of its key, which stays.
    Kept {
        existing: CachedEgg,
        same: bool,
    },
    /// Stored in place of another build of its key.
    Replaced {
        egg: CachedEgg,
        old: Digest,
    },
}

impl Cache {
    /// Whether there is a cache at `root`, or something of one; also if that cannot be told.
    #[must_use]
    pub fn is_at(root: &Path) -> bool {
        let is_there = |name: &str| root.join(name).try_exists().unwrap_or(true);
        root.is_dir() && [index::FILE_NAME, "blobs"].into_iter().any(is_there)
    }

    /// Opens the cache at `root`, making it if needed. One that this process cannot write is opened
    /// for reading. An index that is gone is rebuilt from the blobs.
    ///
    /// # Errors
    /// [`Error::NotACache`] if `root` is something else, or what [`Index::open`] says.
    pub fn open(root: &Path) -> Result<Self> {
        Self::open_with_progress(root, &Silent)
    }

    /// As [`Cache::open`], and tells how far it is where it rebuilds the index.
    ///
    /// # Errors
    /// As [`Cache::open`].
    pub fn open_with_progress(root: &Path, progress: &dyn Progress) -> Result<Self> {
        if let Err(error) = files::make_dirs_durably(root) {
            if root.symlink_metadata().is_ok() && !root.is_dir() {
                let reason = "it is not a directory";
                return Err(Error::NotACache { path: root.to_owned(), reason });
            }
            return Err(error).at("make the cache directory", root);
        }
        let root = root.canonicalize().at("open the cache directory", root)?;
        if permissions::is_open_to_all(&root) {
            return Err(Error::OpenToAll { path: root });
        }
        let store = Store::new(&root);
        let parts = ["", index::FILE_NAME, "blobs", "tmp"].map(|part| root.join(part));
        if parts.iter().any(|part| part.exists() && !permissions::is_writable(part)) {
            return Self::open_read_only(root, store, "it is read-only for this user");
        }
        store.create()?;
        let tag = root.join("CACHEDIR.TAG");
        // A crash can have left it empty, a power cut without its bytes.
        let is_other = match files::read_short(&tag, CACHEDIR_TAG.len() as u64) {
            Ok(text) => text != CACHEDIR_TAG.as_bytes(),
            Err(error) => error.kind() != ErrorKind::InvalidInput, // no file, and not ours
        };
        if is_other {
            // Somebody else's, or no space: no backup is worth a failure.
            let _ = fs::write(&tag, CACHEDIR_TAG);
        }
        let is_new = !root.join(index::FILE_NAME).exists();
        let mut index = match Index::open(&root) {
            Err(Error::Index { source, .. }) if let Some(reason) = index::unwritable(&source) => {
                // Where there is nothing to read either, the disk is the reason.
                return Self::open_read_only(root.clone(), store, reason)
                    .map_err(|_| Error::ReadOnly { path: root, reason });
            }
            index => index?,
        };
        let warning = (is_new && filesystem::is_remote(&root)).then(|| {
            format!(
                "{} is on a network file system: its index does without a write-ahead log, and is \
                 only as safe as that file system's locks",
                root.display()
            )
        });
        if is_new && permissions::is_shared(&root) {
            index.share()?;
        }
        let rebuilt =
            if index.is_complete()? { None } else { Some(rebuild(&store, &mut index, progress)?) };
        Ok(Self { root, store, index, rebuilt, read_only: None, warning })
    }

    /// Opens the cache at `root`. An index that is damaged, or no index, is set aside first, never
    /// removed, and rebuilt; answers where it was put.
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
        let aside = Index::set_aside(&root.canonicalize().at("open the cache directory", root)?)?;
        Ok((Self::open_with_progress(root, progress)?, Some(aside)))
    }

    /// What is wrong with the index first, if anything.
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

    fn open_read_only(root: PathBuf, store: Store, reason: &'static str) -> Result<Self> {
        let index = Index::open_read_only(&root)?;
        Ok(Self { root, store, index, rebuilt: None, read_only: Some(reason), warning: None })
    }

    /// Keeps some space, for [`Cache::drop_ballast`].
    pub fn take_ballast(&self) {
        files::reserve(&self.root.join(BALLAST), BALLAST_BYTES);
    }

    /// Frees the space that is kept so that a cache on a full disk can be opened and collected.
    pub fn drop_ballast(root: &Path) {
        if root.join(index::FILE_NAME).exists() {
            let _ = fs::remove_file(root.join(BALLAST));
        }
    }

    /// What whoever made this cache should know of its file system. Told once.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        self.warning.clone()
    }

    /// Lets the group of the cache directory use all of it: what is there, and what comes.
    ///
    /// # Errors
    /// If this process does not own all of it.
    pub fn share(&mut self) -> Result<()> {
        self.check_writable()?;
        self.index.share()?;
        self.store.share()?;
        torn_copies::share(&self.root)?;
        prefetch_hints::share(&self.root)?;
        roots::share(&self.root)?;
        pins::share(&self.root)
    }

    /// Removes what a power cut has left torn in a directory that eggs were copied to, which is
    /// canonical; answers the names.
    #[must_use]
    pub fn check_copies(&self, dir: &Path) -> Vec<String> {
        torn_copies::check(&self.root, &self.store, &self.index, dir)
    }

    /// Records that eggs are copied to a directory, which is canonical, if that can be recorded.
    ///
    /// # Errors
    /// If it can be and is not.
    pub fn begin_copies(&self, dir: &Path) -> Result<()> {
        match self.check_writable() {
            Ok(()) => torn_copies::begin(&self.root, dir),
            Err(_) => Ok(()),
        }
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
        replace: impl Fn(&CachedEgg) -> bool,
    ) -> Result<Vec<Commit>> {
        let store = &self.store;
        let commits = self.index.write(|writer| {
            let mut changed = BTreeSet::new();
            let commits = staged
                .into_iter()
                .map(|staged| commit_one(store, writer, staged, &replace, &mut changed))
                .collect::<Result<Vec<_>>>()?;
            Store::sync(&changed)?;
            writer.tally(&stored(&commits), now())?;
            Ok(commits)
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

    /// Takes eggs out, rows first, and removes their blobs, until the time is up. Answers how many of
    /// them, the first ones, are done.
    ///
    /// # Errors
    /// If the index or the store cannot be written.
    pub fn evict(
        &mut self,
        evicted: &[Evicted],
        until: Option<Instant>,
        done_with: impl Fn(Digest),
    ) -> Result<usize> {
        let mut done = 0;
        for batch in evicted.chunks(EVICT_BATCH) {
            let begin = Instant::now();
            if until.is_some_and(|until| begin >= until) {
                break;
            }
            let now = now();
            self.index.write(|writer| {
                writer.forget_regrets(now)?;
                for evicted in batch {
                    let egg = &evicted.egg;
                    // Unless somebody has used it since, or stored it again.
                    let row = writer.of_digest(egg.digest)?;
                    if row.is_some_and(|row| row.used_at == egg.used_at) {
                        writer.evict(egg.digest, now)?;
                        writer.remember(evicted, now)?;
                    }
                }
                Ok(())
            })?;
            std::thread::sleep(begin.elapsed().min(HOLD));
            let digests: Vec<Digest> = batch.iter().map(|it| it.egg.digest).collect();
            self.unlink_unreferenced(&digests, &done_with)?;
            done += batch.len();
        }
        Ok(done)
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
        let mut rest = digests;
        while !rest.is_empty() {
            let begin = Instant::now();
            let store = &self.store;
            // What is taken is removed only after the lock is let go of: unlinking takes longer.
            let taken = self.index.write(|writer| {
                let mut taken = Vec::new();
                while let Some((&digest, after)) = rest.split_first() {
                    if writer.is_complete()? && !writer.has(digest)? {
                        taken.extend(store.take(digest)?);
                        writer.forget_evicted(digest)?;
                        unlinked(digest);
                    }
                    rest = after;
                    if begin.elapsed() > HOLD {
                        break;
                    }
                }
                Ok(taken)
            })?;
            drop(taken);
            std::thread::sleep(begin.elapsed().min(HOLD));
        }
        Ok(())
    }

    /// Gives eggs whose blobs have no row their rows back, and answers which: not those whose blob is
    /// gone or evicted, nor those of a key that another egg has.
    ///
    /// # Errors
    /// If the index cannot be read or written.
    pub fn adopt(&mut self, eggs: Vec<CachedEgg>) -> Result<Vec<CachedEgg>> {
        if eggs.is_empty() {
            return Ok(eggs);
        }
        let store = &self.store;
        self.index.write(|writer| {
            let mut adopted = Vec::new();
            for egg in eggs {
                let is_free = !writer.has(egg.digest)?
                    && !writer.is_evicted(egg.digest)?
                    && writer.of_key(&egg.key)?.is_none();
                if is_free && store.stored(egg.digest)?.is_some() {
                    writer.insert(&egg)?;
                    adopted.push(egg);
                }
            }
            Ok(adopted)
        })
    }

    /// Removes temporary files whose process is gone.
    ///
    /// # Errors
    /// If `tmp/` cannot be read.
    pub fn sweep(&self) -> Result<usize> {
        self.store.sweep()
    }
}

/// What was stored.
fn stored(commits: &[Commit]) -> Tally {
    let mut tally = Tally::default();
    for commit in commits {
        if let Commit::Stored(egg) | Commit::Replaced { egg, .. } = commit {
            tally.stored += 1;
            tally.stored_bytes += egg.blob_bytes;
        }
    }
    tally
}

fn commit_one(
    store: &Store,
    writer: &Writer<'_>,
    mut staged: Staged,
    replace: impl Fn(&CachedEgg) -> bool,
    changed: &mut BTreeSet<PathBuf>,
) -> Result<Commit> {
    let digest = staged.written.digest;
    let (mut replaced, mut before) = (None, None);
    if let Some(existing) = writer.of_key(&staged.manifest.key)? {
        let opened = store.open(existing.digest);
        // A row that tells wrongly of the blob of another egg goes, and that blob stays.
        if matches!(&opened, Ok(Some(blob)) if blob.manifest.key != existing.key) {
            writer.delete(existing.digest)?;
        } else {
            // A blob of a newer format is another eggcache's, and fine.
            let broken = matches!(opened, Ok(None) | Err(Error::DamagedBlob { .. }));
            let same = existing.digest == digest;
            if !broken && !replace(&existing) {
                return Ok(Commit::Kept { existing, same });
            }
            writer.evict(existing.digest, now())?;
            replaced = Some(existing.digest).filter(|_| !same);
            before = Some(existing).filter(|_| same);
        }
    }
    // Another such row may have this blob.
    writer.delete(digest)?;
    let provenance = std::mem::take(&mut staged.provenance);
    let mut egg = CachedEgg::new(digest, &staged.manifest, staged.written.len, provenance);
    // What comes from elsewhere may have been added there long ago, or by a clock that is wrong.
    egg.used_at = now();
    if let Some(before) = before {
        (egg.used_at, egg.uses) = (before.used_at, before.uses);
    }
    writer.regret(&egg.key, now())?;
    store.persist(staged, changed)?;
    writer.insert(&egg)?;
    Ok(match replaced {
        Some(old) => Commit::Replaced { egg, old },
        None => Commit::Stored(egg),
    })
}
