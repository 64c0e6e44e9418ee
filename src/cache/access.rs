//! Reading the cache, and recording its use.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::cache::blobs::{Blobs, Staging};
use crate::cache::index::{Day, Index, Patience, Regrets, Usage};
use crate::cache::miss::Eviction;
use crate::cache::trust::{self, Trust};
use crate::cache::{Arrivals, Cache, Missing, Rebuilt};
use crate::disk::dir::Dir;
use crate::disk::mmap::Mapped;
use crate::egg::blob::reader::Blob;
use crate::egg::cached_egg::CachedEgg;
use crate::error::{Error, IoContext, Result};
use crate::util::clock::now;
use crate::util::hash::digest::Digest;

impl Cache {
    #[must_use]
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// The open cache directory, through which all of its files are used.
    #[must_use]
    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Whom this user trusts besides the owner of the cache.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only.is_some()
    }

    /// # Errors
    /// [`Error::ReadOnly`] if this process cannot write the cache.
    pub fn check_writable(&self) -> Result<()> {
        match self.read_only.clone() {
            Some(reason) => Err(Error::ReadOnly { path: self.root().to_owned(), reason }),
            None => Ok(()),
        }
    }

    /// What the cache does not have, if it is open to be read.
    #[must_use]
    pub fn missing(&self) -> Option<Missing> {
        self.missing
    }

    /// A warning about the file system of a new cache, for the user who made it.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        self.warning.clone()
    }

    /// The result of rebuilding the index, if opening the cache did so. The next call returns `None`.
    pub fn take_rebuilt(&mut self) -> Option<Rebuilt> {
        self.rebuilt.take()
    }

    /// Read access to the blobs; a clone serves another thread.
    #[must_use]
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// Where new blobs are written before [`Cache::commit`].
    #[must_use]
    pub fn staging(&self) -> Staging {
        Staging::new(&self.dir)
    }

    /// Opens the blob of an egg, as [`Blobs::open`].
    pub fn open_blob(&self, digest: Digest) -> Result<Option<Blob<Mapped>>> {
        self.blobs.open(digest)
    }

    /// All eggs, by name, version as text, and when they were added.
    pub fn eggs(&self) -> Result<Vec<CachedEgg>> {
        self.index.all()
    }

    /// The egg of a digest; `None` if the index has no row for it.
    pub fn egg(&self, digest: Digest) -> Result<Option<CachedEgg>> {
        self.index.of_digest(digest)
    }

    /// The eggs of one project, by its PEP 503 name, oldest first.
    pub fn eggs_of_project(&self, name: &str) -> Result<Vec<CachedEgg>> {
        self.index.of_project(name)
    }

    /// The eggs of one file name, oldest first.
    pub fn eggs_of_file_name(&self, file_name: &str) -> Result<Vec<CachedEgg>> {
        self.index.of_file_name(file_name)
    }

    /// The PEP 503 names of all eggs in the cache at `root`, for completion. Does not write, and does
    /// not make a cache.
    pub fn project_names_at(root: &Path, trust: &Trust) -> Result<Vec<String>> {
        let root = root.canonicalize().at("open the cache directory", root)?;
        trust::check(&root, trust)?;
        let dir = Dir::open(&root).at("open the cache directory", &root)?;
        Index::open_to_read(&dir)?.names()
    }

    /// How eggs came from remotes. Read the eggs first, as [`Arrivals::of`] says.
    pub fn arrivals(&self) -> Result<Arrivals> {
        Arrivals::of(&self.dir)
    }

    /// Evicted eggs whose blobs may still exist.
    pub fn evicted(&self) -> Result<HashSet<Digest>> {
        self.index.evicted()
    }

    /// Eggs that were evicted and then needed again. `now` is in seconds since the Unix epoch.
    pub fn regrets(&self, now: i64) -> Result<Regrets> {
        self.index.regrets(now)
    }

    /// The eggs of a project that were taken out in the last year, by its PEP 503 name, oldest first.
    pub fn evictions_of_project(&self, name: &str) -> Result<Vec<Eviction>> {
        self.index.evictions(name, now())
    }

    /// How many eggs have a time in the future, because a clock was wrong.
    pub fn times_in_future(&self) -> Result<u64> {
        self.index.times_after(now())
    }

    /// The usage of each day that has any, oldest first.
    pub fn days(&self) -> Result<Vec<Day>> {
        self.index.days()
    }

    /// Records hits and misses. A use is not worth waiting or failing for, so this gives up quietly
    /// after a short while.
    pub fn record_use(&mut self, usage: &Usage, now: i64) {
        self.index.record(usage, now);
    }

    /// From now on, waits for the write lock only as long as a buildout may wait.
    pub fn limit_waiting(&mut self) {
        self.index.set_patience(Patience::Run);
    }

    /// Records that an egg was needed again, if it was evicted. Gives up as [`Cache::record_use`] does.
    pub fn record_miss(&mut self, digest: Digest, now: i64) {
        self.index.record_miss_of(digest, now);
    }

    /// Sets the last use of eggs without counting a use. Gives up as [`Cache::record_use`] does.
    pub fn touch(&mut self, digests: &[Digest], now: i64) {
        self.index.touch(digests, now);
    }

    /// The choices that were learned for the eggs of one project, by its PEP 503 name.
    pub fn choices_of_project(&self, name: &str) -> Result<HashMap<Digest, Vec<String>>> {
        self.index.choices_of_project(name)
    }

    /// Records choices by which a buildout came to the archives of eggs. Gives up as
    /// [`Cache::record_use`] does.
    pub fn learn_choices(&mut self, choices: &[(Digest, String)]) {
        self.index.learn(choices);
    }

    /// Moves the write-ahead log into the index, so that closing it later has nothing to do. Gives up
    /// as [`Cache::record_use`] does.
    pub fn checkpoint(&mut self) {
        self.index.checkpoint();
    }
}
