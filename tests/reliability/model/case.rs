//! One cache and its model.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use eggcache::Cache;
use eggcache::CachedEgg;
use eggcache::Digest;
use eggcache::Error;
use eggcache::Trust;
use eggcache::add::{self, Outcome, Replace};
use eggcache::clock::now;
use eggcache::internals::Rebuilt;
use eggcache::materialize;
use eggcache::materialize::Outcome as Copied;
use eggcache::plan::Rules;
use eggcache::progress::Silent;
use eggcache::query::{self, Narrow};
use eggcache::{gc, list, reindex, verify};

use super::{Build, Eggs, Key, Policy, Step, VERSIONS, file_name, name, version};
use crate::support::{assert_same_tree, chmod, names_in};

/// The model's clock runs far behind the machine's, because a time in the future counts as now. Its
/// steps are long, so that the test never has to wait for the clock.
const BEHIND: i64 = 1_000_000_000;
const STEP: i64 = 1000;

pub struct Case<'e> {
    eggs: &'e Eggs,
    dir: &'e Path,
    cache: Cache,
    /// What the cache must contain.
    model: BTreeMap<Key, Kept>,
    /// Damaged blobs that no row refers to.
    strays: BTreeSet<Digest>,
    /// Which builds are in the eggs directory that is kept between steps.
    copied: BTreeMap<Key, usize>,
    clock: i64,
    /// Where the clock has started.
    started: i64,
}

/// An egg in the cache.
#[derive(Clone)]
struct Kept {
    build: usize,
    damage: Option<Damage>,
    uses: u64,
    /// By the model's clock.
    used: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Damage {
    /// The blob cannot be opened.
    Closed,
    /// The blob opens, so only reading all of it reveals the damage.
    Hidden,
    Gone,
}

impl<'e> Case<'e> {
    pub fn new(eggs: &'e Eggs, dir: &'e Path) -> Self {
        let mut cache = Cache::open(&dir.join("cache")).unwrap();
        assert!(cache.take_rebuilt().is_some(), "a new index is built from the existing blobs");
        let (model, strays, copied) = Default::default();
        let started = now() - BEHIND;
        Self { eggs, dir, cache, model, strays, copied, clock: started, started }
    }

    pub fn take(&mut self, step: &Step) {
        self.clock += STEP;
        match *step {
            Step::Add { key, build, replace } => {
                let path = self.eggs.build(key, build).path.clone();
                self.add(&path, &[key], build, replace);
            }
            Step::AddFolder { build, replace } => {
                // In order of file name.
                let mut keys: Vec<Key> = self.eggs.keys().collect();
                keys.sort_by_key(|&key| file_name(key));
                self.add(&self.eggs.folder(build), &keys, build, replace);
            }
            Step::Materialize { key, kept } => self.materialize(key, kept),
            Step::MaterializeAll => self.materialize_all(),
            Step::Gc(ref policy) => self.gc(policy),
            Step::Verify => self.verify(),
            Step::Repair => self.repair(),
            Step::Reindex => {
                let report =
                    reindex::reindex(self.cache.root(), &Trust::default(), &Silent).unwrap();
                assert_eq!(report.set_aside, None);
                self.was_rebuilt(&report.rebuilt);
            }
            Step::Reopen => {
                self.reopen();
                assert!(self.cache.take_rebuilt().is_none());
            }
            Step::LoseIndex => self.lose_index(),
            Step::FlipBit { key, place } => self.flip_bit(key, place),
            Step::LoseBlob { key } => self.lose_blob(key),
        }
        self.age_additions();
    }

    /// Makes every use later than any addition, which has the time of the machine's clock.
    fn age_additions(&self) {
        let index = rusqlite::Connection::open(self.cache.root().join("index.sqlite")).unwrap();
        let sql = "UPDATE eggs SET used_at = ?1 WHERE used_at > ?2";
        index.execute(sql, [self.started, now() - BEHIND / 2]).unwrap();
    }

    /// Asserts that the cache lists exactly what the model contains.
    pub fn check(&self) {
        let expected: BTreeMap<Digest, (String, u64)> = self
            .model
            .iter()
            .map(|(&key, kept)| (self.build(key, kept).digest, (file_name(key), kept.uses)))
            .collect();
        let listed = self.listed();
        let found: BTreeMap<Digest, (String, u64)> =
            listed.iter().map(|egg| (egg.digest, (egg.file_name.clone(), egg.uses))).collect();
        assert_eq!(found, expected);
        assert_eq!(listed.len(), expected.len());
        for kept in self.model.iter().filter_map(|(&key, kept)| Some((key, kept, kept.used?))) {
            let (key, kept, used) = kept;
            let digest = self.build(key, kept).digest;
            assert_eq!(listed.iter().find(|egg| egg.digest == digest).unwrap().used_at, used);
        }
    }

    fn build(&self, key: Key, kept: &Kept) -> &'e Build {
        self.eggs.build(key, kept.build)
    }

    fn listed(&self) -> Vec<CachedEgg> {
        list::list(&self.cache, None, &Narrow::default()).unwrap().eggs
    }

    fn key_of(&self, egg: &CachedEgg) -> Key {
        self.eggs.keys().find(|&key| file_name(key) == egg.file_name).unwrap()
    }

    fn add(&mut self, path: &Path, keys: &[Key], build: usize, replace: bool) {
        let covers = if replace { Replace::All } else { Replace::None };
        let options = add::Options { replace: covers, ..add::Options::default() };
        let report = add::add(&mut self.cache, &[path.to_owned()], &options, &Silent).unwrap();
        assert_eq!(report.eggs.len(), keys.len());
        for (&key, added) in keys.iter().zip(&report.eggs) {
            let offered = self.eggs.build(key, build);
            assert_eq!(added.path, offered.path);
            let before = self.model.get(&key);
            let stays = before.filter(|kept| {
                !replace && !matches!(kept.damage, Some(Damage::Closed | Damage::Gone))
            });
            let digest = |kept: &Kept| self.build(key, kept).digest;
            match (&added.outcome, stays, before) {
                (Outcome::Present { egg }, Some(kept), _) => {
                    assert_eq!((kept.build, egg.digest), (build, offered.digest));
                    continue;
                }
                (Outcome::Other { egg }, Some(kept), _) => {
                    assert_ne!(kept.build, build);
                    assert_eq!(egg.digest, digest(kept));
                    continue;
                }
                (Outcome::Stored { egg }, None, before) => {
                    assert!(before.is_none_or(|before| before.build == build));
                    assert_eq!(egg.digest, offered.digest);
                }
                (Outcome::Replaced { egg, old }, None, Some(before)) => {
                    assert_ne!(before.build, build);
                    assert_eq!((egg.digest, *old), (offered.digest, digest(before)));
                }
                (other, ..) => panic!("{other:?}"),
            }
            self.strays.remove(&offered.digest);
            // The same egg in a new blob keeps its use count.
            let same = before.filter(|before| before.build == build);
            let uses = same.map_or(0, |same| same.uses);
            let kept = Kept { build, damage: None, uses, used: same.and_then(|same| same.used) };
            self.model.insert(key, kept);
        }
    }

    fn materialize(&mut self, key: Key, kept: bool) {
        let query = format!("{}=={}", name(key), version(key));
        let egg = query::one(&self.cache, &query, &Narrow::default());
        let Some(expected) = self.model.get(&key).cloned() else {
            assert!(egg.is_err(), "{egg:?}");
            return;
        };
        let (egg, build) = (egg.unwrap(), self.build(key, &expected));
        assert_eq!(egg.digest, build.digest);
        let into = self.dir.join(if kept { "kept" } else { "new" });
        let mut report = self.copy(&[egg], &into);
        let outcome = report.eggs.pop().unwrap().outcome;
        let there = self.copied.get(&key).filter(|_| kept).copied();
        let path = into.join(file_name(key));
        let is_in_place = match (outcome, expected.damage) {
            (Copied::Copied(_), None | Some(Damage::Hidden)) => {
                assert_eq!(there, None);
                true
            }
            (Copied::Present, None | Some(Damage::Hidden)) => {
                assert_eq!(there, Some(expected.build));
                true
            }
            (Copied::Missing { .. }, Some(Damage::Gone))
            | (Copied::Failed { .. }, Some(Damage::Hidden | Damage::Closed)) => false,
            (Copied::Failed { reason }, None) => {
                assert!(there.is_some_and(|there| there != expected.build), "{reason}");
                assert!(matches!(reason, Error::InTheWay { .. }), "{reason}");
                false
            }
            (outcome, damage) => panic!("{outcome:?} of a blob with {damage:?}"),
        };
        if is_in_place {
            // Even where damage was not noticed: it is in bytes that hold no content.
            assert_same_tree(&build.path, &path);
            if kept {
                self.copied.insert(key, self.model[&key].build);
            }
        } else if there.is_none() {
            assert!(!path.exists());
        }
        self.clear("new");
        self.check_kept();
    }

    fn materialize_all(&mut self) {
        let into = self.dir.join("new");
        let eggs = self.listed();
        let report = self.copy(&eggs, &into);
        assert_eq!(report.eggs.len(), self.model.len());
        let mut used = Vec::new();
        for egg in &eggs {
            let (key, path) = (self.key_of(egg), into.join(&egg.file_name));
            let kept = &self.model[&key];
            let outcome = report.eggs.iter().find(|it| it.digest == egg.digest).unwrap();
            match (&outcome.outcome, kept.damage) {
                (Copied::Copied(_), None | Some(Damage::Hidden)) => {
                    assert_same_tree(&self.build(key, kept).path, &path);
                    used.push(key);
                }
                (Copied::Missing { .. }, Some(Damage::Gone))
                | (Copied::Failed { .. }, Some(Damage::Hidden | Damage::Closed)) => {
                    assert!(!path.exists());
                }
                (outcome, damage) => panic!("{outcome:?} of a blob with {damage:?}"),
            }
        }
        assert_eq!(names_in(&into).len(), used.len());
        self.clear("new");
    }

    /// Copies eggs, which counts as a use even if the copy fails.
    fn copy(&mut self, eggs: &[CachedEgg], into: &Path) -> materialize::Report {
        let options = materialize::Options { asked_at: Some(self.clock) };
        let report =
            materialize::materialize(&mut self.cache, eggs, into, options, &Silent).unwrap();
        for egg in eggs {
            let kept = self.model.get_mut(&self.key_of(egg)).unwrap();
            (kept.uses, kept.used) = (kept.uses + 1, Some(self.clock));
        }
        report
    }

    /// Asserts that the kept folder has exactly the eggs copied to it, unchanged.
    fn check_kept(&self) {
        let into = self.dir.join("kept");
        assert_eq!(names_in(&into).len(), self.copied.len());
        for (&key, &build) in &self.copied {
            assert_same_tree(&self.eggs.build(key, build).path, &into.join(file_name(key)));
        }
    }

    fn clear(&self, folder: &str) {
        let _ = fs::remove_dir_all(self.dir.join(folder));
    }

    fn gc(&mut self, policy: &Policy) {
        let listed = self.listed();
        let total: u64 = listed.iter().map(|egg| egg.blob_bytes).sum();
        // Half a step back, so that it falls between two ticks of the clock.
        let youngest = policy.max_age.map(|steps| self.clock - STEP / 2 - STEP * signed(steps));
        let rules = Rules {
            max_age: youngest.map(|youngest| now() - youngest),
            max_size: policy.max_size.map(|percent| total * percent / 100),
            keep_versions: policy.keep_versions,
            ..Rules::default()
        };
        let options = gc::Options { rules, ..gc::Options::default() };
        let goes = self.goes(listed, youngest, &rules);
        let plan =
            gc::gc(&mut self.cache, &gc::Options { dry_run: true, ..options.clone() }, &Silent);
        assert_eq!(evicted(&plan.unwrap()), goes);
        self.check();
        let report = gc::gc(&mut self.cache, &options, &Silent).unwrap();
        assert_eq!(evicted(&report), goes);
        assert_eq!(report.orphans, self.strays.iter().copied().collect::<Vec<_>>());
        self.strays.clear();
        let eggs = self.eggs;
        self.model.retain(|&key, kept| !goes.contains(&eggs.build(key, kept.build).digest));
        let stored = self.cache.blobs().list().unwrap().into_iter().map(|stored| stored.digest);
        let expected = self.model.iter().filter(|(_, kept)| kept.damage != Some(Damage::Gone));
        let expected = expected.map(|(&key, kept)| self.build(key, kept).digest);
        assert_eq!(stored.collect::<BTreeSet<_>>(), expected.collect());
        assert!(names_in(&self.dir.join("cache/tmp")).is_empty());
    }

    /// The eggs that a policy must evict, applying one rule after another, egg by egg.
    fn goes(&self, mut left: Vec<CachedEgg>, young: Option<i64>, rules: &Rules) -> Vec<Digest> {
        let all: Vec<Digest> = left.iter().map(|egg| egg.digest).collect();
        left.retain(|egg| young.is_none_or(|young| egg.used_at >= young));
        if let Some(keep) = rules.keep_versions {
            let keys: BTreeSet<Key> = left.iter().map(|egg| self.key_of(egg)).collect();
            let newer = |key: Key| (key + 1..).take_while(|other| other % VERSIONS.len() != 0);
            let is_final = |key| !version(key).contains("rc");
            let counts =
                |key, other: &Key| keys.contains(other) && is_final(*other) == is_final(key);
            let is_kept = |key| newer(key).filter(|other| counts(key, other)).count() < keep;
            left.retain(|egg| is_kept(self.key_of(egg)));
        }
        while let Some(max) = rules.max_size
            && left.iter().map(|egg| egg.blob_bytes).sum::<u64>() > max
        {
            let first =
                |egg: &&CachedEgg| (egg.used_at, std::cmp::Reverse(egg.blob_bytes), egg.digest);
            let first = left.iter().min_by_key(first).unwrap().digest;
            left.retain(|egg| egg.digest != first);
        }
        let mut gone = all;
        gone.retain(|digest| left.iter().all(|egg| egg.digest != *digest));
        gone.sort_unstable();
        gone
    }

    fn verify(&self) {
        let report = verify::verify(self.cache.root(), false, &Trust::default(), &Silent).unwrap();
        assert_eq!(found_by(&report), self.damaged());
        assert_eq!(report.orphans, []);
        assert_eq!(report.temporary_files, 0);
    }

    fn repair(&mut self) {
        let report = verify::verify(self.cache.root(), true, &Trust::default(), &Silent).unwrap();
        assert_eq!(found_by(&report), self.damaged());
        assert_eq!(report.unsolved().count(), 0);
        self.model.retain(|_, kept| kept.damage.is_none());
        self.strays.clear();
        self.verify();
    }

    /// Eggs whose blob is damaged, with or without a row.
    fn damaged(&self) -> BTreeSet<Digest> {
        let damaged = self.model.iter().filter(|(_, kept)| kept.damage.is_some());
        let damaged = damaged.map(|(&key, kept)| self.build(key, kept).digest);
        damaged.chain(self.strays.iter().copied()).collect()
    }

    /// Updates the model after a rebuild: blobs that cannot be opened lose their rows.
    fn was_rebuilt(&mut self, rebuilt: &Rebuilt) {
        let mut unreadable = self.strays.clone();
        let (eggs, before) = (self.eggs, self.model.len());
        self.model.retain(|&key, kept| {
            if kept.damage == Some(Damage::Closed) {
                unreadable.insert(eggs.build(key, kept.build).digest);
            }
            matches!(kept.damage, None | Some(Damage::Hidden))
        });
        let found = rebuilt.unreadable.iter().map(|it| it.digest).collect::<BTreeSet<_>>();
        assert_eq!(found, unreadable);
        assert_eq!(rebuilt.eggs, self.model.len());
        assert!(rebuilt.shadowed.is_empty());
        // A new index does not know which rows the lost one had.
        assert!([0, before - self.model.len()].contains(&rebuilt.lost));
        self.strays = unreadable;
    }

    fn reopen(&mut self) {
        self.cache = Cache::open(&self.dir.join("cache")).unwrap();
    }

    fn lose_index(&mut self) {
        // Close the old cache first: it has the index open and part of it in memory.
        let elsewhere = Cache::open(&self.dir.join("elsewhere")).unwrap();
        drop(std::mem::replace(&mut self.cache, elsewhere));
        for name in ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"] {
            let _ = fs::remove_file(self.dir.join("cache").join(name));
        }
        self.reopen();
        for kept in self.model.values_mut() {
            (kept.uses, kept.used) = (0, None);
        }
        let rebuilt = self.cache.take_rebuilt().unwrap();
        self.was_rebuilt(&rebuilt);
    }

    /// The path of the blob, if it is sound.
    fn sound_blob(&self, key: Key) -> Option<PathBuf> {
        let kept = self.model.get(&key).filter(|kept| kept.damage.is_none())?;
        Some(self.cache.blobs().path(self.build(key, kept).digest))
    }

    fn flip_bit(&mut self, key: Key, place: u32) {
        let Some(blob) = self.sound_blob(key) else { return };
        let mut content = fs::read(&blob).unwrap();
        let bit = place as usize % (content.len() * 8);
        content[bit / 8] ^= 1 << (bit % 8);
        chmod(&blob, 0o644);
        fs::write(&blob, content).unwrap();
        let digest = self.build(key, &self.model[&key]).digest;
        let opens = self.cache.open_blob(digest).is_ok();
        let damage = if opens { Damage::Hidden } else { Damage::Closed };
        self.model.get_mut(&key).unwrap().damage = Some(damage);
        self.verify();
    }

    fn lose_blob(&mut self, key: Key) {
        let Some(blob) = self.sound_blob(key) else { return };
        fs::remove_file(blob).unwrap();
        self.model.get_mut(&key).unwrap().damage = Some(Damage::Gone);
    }
}

fn found_by(report: &verify::Report) -> BTreeSet<Digest> {
    report.problems.iter().filter_map(|problem| problem.digest).collect()
}

fn evicted(report: &gc::Report) -> Vec<Digest> {
    let mut digests: Vec<Digest> = report.evicted.iter().map(|it| it.egg.digest).collect();
    digests.sort_unstable();
    digests
}

fn signed(steps: usize) -> i64 {
    i64::try_from(steps).unwrap()
}
