//! The operations of one worker, and the assertions about them.
//!
//! # Permitted failures
//! A command exits with 0, except for two outcomes of `materialize`:
//!
//! - 1: another build of the egg is already in an eggs directory that several workers share. It was
//!   copied there first, or it was in the cache before it was evicted or replaced. The report says
//!   so, and that other build is whole.
//! - 3: the egg is not in the cache. It has not been added yet, or it was evicted or replaced,
//!   perhaps after the command started.
//!
//! The bridge answers `in-the-way` and `unusable` instead, and never `failure`. An egg that is
//! known to be in the cache, and that no worker evicts or replaces, must be found.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::bridge::Bridge;
use super::builds::{BUILDS, Builds, Key};
use super::driver::{Ended, Processes};
use crate::random::Random;
use crate::support::{Sandbox, text};

/// State that all workers of a round share.
pub struct Round<'a> {
    pub sandbox: &'a Sandbox,
    pub builds: &'a Builds,
    pub processes: &'a Processes,
    pub number: usize,
    /// Whether workers evict eggs that others have added.
    pub evicts: bool,
    /// Whether there is the remote `team`.
    pub has_remote: bool,
    /// Eggs that were reported to be in the cache, with the digest first reported for each key.
    pub seen: Mutex<BTreeMap<Key, String>>,
    /// Eggs of which a push was killed.
    pub cut_off: Mutex<BTreeSet<Key>>,
    pub operations: AtomicUsize,
}

impl Round<'_> {
    /// Whether a build of this key stays once it has been added.
    fn stays(&self, key: &Key) -> bool {
        !self.evicts && !key.moves
    }

    /// Records that the cache reported this build.
    #[track_caller]
    pub fn saw(&self, digest: &Value) {
        let digest = text(digest);
        let key = self.builds.key_of(digest);
        let first = self.seen.lock().unwrap().entry(key.clone()).or_insert(digest.into()).clone();
        assert!(!self.stays(key) || first == digest, "{key:?} was {first} and is now {digest}");
    }

    /// Keys that were reported to be in the cache and that no worker removes.
    pub fn certain(&self) -> BTreeSet<Key> {
        let seen = self.seen.lock().unwrap();
        seen.keys().filter(|key| self.stays(key)).cloned().collect()
    }

    /// Eggs directories that several workers share.
    pub fn shared(&self) -> [PathBuf; 2] {
        [0, 1].map(|which| self.sandbox.path(&format!("shared-{}-{which}", self.number)))
    }

    fn count(&self) {
        self.operations.fetch_add(1, Ordering::Relaxed);
    }
}

pub struct Worker<'a> {
    pub round: &'a Round<'a>,
    pub number: usize,
    pub random: Random,
}

impl Worker<'_> {
    pub fn operate(&mut self) {
        let choices = match (self.round.evicts, self.round.has_remote) {
            (false, _) => 26,
            (true, false) => 32,
            (true, true) => 40,
        };
        match self.random.below(choices) {
            0..4 => self.add(false),
            4..6 => self.add(true),
            6 => self.add_folder(),
            7..11 => self.materialize(false),
            11..14 => self.materialize(true),
            14 => self.materialize_all(false),
            15 => self.materialize_all(true),
            16..18 => drop(self.command("gc", &[0])),
            18 => self.verify(),
            19 => self.repair(),
            20 | 21 => self.reindex(),
            22 => self.list(),
            23..26 => self.bridge(),
            26..31 => self.evict(),
            31 => self.evict_at_once(),
            32..36 => self.push(),
            _ => self.pull(),
        }
    }

    /// How long the next process lives if it is to be killed: a very short, short or long time.
    fn death(&mut self) -> Option<Duration> {
        if !self.random.once_in(7) {
            return None;
        }
        let scale = *self.random.of(&[10, 60, 250]);
        Some(Duration::from_micros(self.random.below(scale * 1000) as u64))
    }

    fn process(&self, line: &str) -> (Command, String) {
        let command = self.round.sandbox.eggcache(&format!("--json {line}"));
        (command, format!("worker {}: {line}", self.number))
    }

    /// Runs a command until it exits with one of `codes` or is killed.
    #[track_caller]
    fn command(&mut self, line: &str, codes: &[i32]) -> Ended {
        let dies = self.death();
        let (command, what) = self.process(line);
        let ended = self.round.processes.run(command, what, dies);
        self.round.count();
        assert!(ended.code.is_none_or(|code| codes.contains(&code)), "{ended}");
        ended
    }

    /// Runs a command that must succeed and returns its report, unless it is killed.
    #[track_caller]
    fn report(&mut self, line: &str) -> Option<Value> {
        let ended = self.command(line, &[0]);
        ended.code.map(|_| ended.json())
    }

    fn key(&mut self) -> Key {
        self.random.of(&self.round.builds.keys).clone()
    }

    fn add(&mut self, replace: bool) {
        let (mut key, build) = (self.key(), self.random.below(BUILDS));
        while replace && !self.round.evicts && !key.moves {
            key = self.key();
        }
        let option = if replace { "--replace " } else { "" };
        self.added(&format!("add {option}{}", key.path(build)), replace);
    }

    fn add_folder(&mut self) {
        let build = self.random.below(BUILDS);
        self.added(&format!("add builds/{build}"), false);
    }

    fn added(&mut self, line: &str, replace: bool) {
        let Some(report) = self.report(line) else { return };
        for added in report["eggs"].as_array().unwrap() {
            self.check_added(added, replace);
        }
    }

    fn check_added(&self, added: &Value, replace: bool) {
        let possible: &[&str] =
            if replace { &["stored", "replaced"] } else { &["stored", "present", "other"] };
        assert!(possible.contains(&text(&added["outcome"])), "{added}");
        self.round.saw(&added["egg"]["digest"]);
    }

    fn target(&mut self, shared: bool) -> PathBuf {
        let private = self.round.sandbox.path(&format!("private-{}", self.number));
        if shared { self.random.of(&self.round.shared()).clone() } else { private }
    }

    fn materialize(&mut self, shared: bool) {
        let (key, into) = (self.key(), self.target(shared));
        let must_come = self.round.certain().contains(&key);
        let line = format!("materialize --into {} {}", into.display(), key.query());
        let ended = self.command(&line, codes(must_come, shared));
        self.check_materialized(&ended, &into, shared);
    }

    fn materialize_all(&mut self, shared: bool) {
        let into = self.target(shared);
        let certain = self.round.certain();
        let line = format!("materialize --into {} --all", into.display());
        let ended = self.command(&line, codes(false, shared));
        let in_place = self.check_materialized(&ended, &into, shared);
        if ended.code.is_some() {
            assert!(in_place.is_superset(&certain), "{certain:?} must be copied. {ended}");
        }
    }

    /// Checks an eggs directory after a `materialize`, and returns the keys that were reported as
    /// copied or present.
    fn check_materialized(&self, ended: &Ended, into: &Path, shared: bool) -> BTreeSet<Key> {
        let builds = self.round.builds;
        let mut in_place = BTreeSet::new();
        // A query without a match is reported as text, not as JSON.
        if ended.code.is_some() && !ended.stdout.is_empty() {
            for egg in ended.json()["eggs"].as_array().unwrap() {
                let (digest, path) = (text(&egg["digest"]), into.join(text(&egg["file_name"])));
                match text(&egg["outcome"]) {
                    "copied" | "present" => {
                        self.round.saw(&egg["digest"]);
                        builds.assert_is(&path, digest);
                        in_place.insert(builds.key_of(digest).clone());
                    }
                    "missing" => assert!(!self.round.stays(builds.key_of(digest)), "{ended}"),
                    _ => self.check_in_the_way(text(&egg["reason"]), digest, &path, shared),
                }
            }
            let expected = BTreeSet::from(["copied", "present"]);
            let is_whole = |egg: &Value| expected.contains(text(&egg["outcome"]));
            let eggs = ended.json();
            assert_eq!(
                ended.code == Some(0),
                eggs["eggs"].as_array().unwrap().iter().all(is_whole)
            );
        }
        if !shared {
            builds.assert_no_part(into);
            let _ = fs::remove_dir_all(into);
        }
        in_place
    }

    /// Asserts that an egg failed only because a shared folder has another build of it.
    fn check_in_the_way(&self, reason: &str, digest: &str, path: &Path, shared: bool) {
        let key = self.round.builds.key_of(digest);
        assert!(shared && !self.round.stays(key), "{reason}");
        assert!(reason.contains("is in the way of"), "{reason}");
        assert!(self.round.builds.is_some_build(path), "{reason}");
    }

    fn verify(&mut self) {
        let Some(report) = self.report("verify") else { return };
        assert_eq!(report["problems"], Value::Array(Vec::new()));
    }

    /// No blob is damaged, so there is nothing to repair. Until the first egg is stored there may be
    /// no cache, which is an error.
    fn repair(&mut self) {
        let is_made = self.round.sandbox.path("cache/index.sqlite").exists();
        self.command("verify --repair", if is_made { &[0] } else { &[0, 1] });
    }

    fn reindex(&mut self) {
        let Some(report) = self.report("reindex") else { return };
        assert_eq!(report["unreadable"], Value::Array(Vec::new()));
        assert_eq!(report["set_aside"], Value::Null);
    }

    fn list(&mut self) {
        let certain = self.round.certain();
        let Some(report) = self.report("list") else { return };
        let eggs = report["eggs"].as_array().unwrap();
        for egg in eggs {
            self.round.saw(&egg["digest"]);
        }
        let key = |egg: &Value| self.round.builds.key_of(text(&egg["digest"])).clone();
        let listed: BTreeSet<Key> = eggs.iter().map(key).collect();
        assert_eq!(listed.len(), eggs.len(), "a key is listed twice");
        assert!(listed.is_superset(&certain), "of {certain:?} only {listed:?} are listed");
    }

    /// Pushes an egg. It may not be in the cache, or be evicted meanwhile.
    fn push(&mut self) {
        let key = self.key();
        let line = format!("push --to team {}", key.query());
        let ended = self.command(&line, &[0, 1, 3]);
        if ended.code.is_none() {
            self.round.cut_off.lock().unwrap().insert(key);
        }
    }

    /// Pulls an egg, which perhaps nobody has pushed. An evicted blob can be missing at once.
    fn pull(&mut self) {
        let line = format!("pull --from team --python 3.11 {}", self.key().query());
        self.command(&line, &[0, 3]);
    }

    fn policy(&mut self) -> String {
        let policies = [
            "--max-age 0s",
            "--max-size 1B",
            "--max-size 600KiB",
            "--max-size 1MiB --keep-versions 1",
            "--keep-versions 1",
        ];
        format!("gc {}", self.random.of(&policies))
    }

    fn evict(&mut self) {
        let line = self.policy();
        self.report(&line);
    }

    /// Runs four collections with different policies at once, as cron and a user may.
    fn evict_at_once(&mut self) {
        let started: Vec<_> = (0..4)
            .map(|_| {
                let (line, dies) = (self.policy(), self.death());
                let (command, what) = self.process(&line);
                self.round.processes.start(command, what, std::process::Stdio::null(), dies)
            })
            .collect();
        for ended in started.into_iter().map(super::driver::Process::end) {
            self.round.count();
            assert!(ended.code.is_none_or(|code| code == 0), "{ended}");
        }
    }

    /// Acts as one buildout: finds some eggs, copies those that exist and stores the others.
    fn bridge(&mut self) {
        let what = format!("worker {}: serve", self.number);
        let (dies, close) = (self.death(), self.random.once_in(2));
        let Round { processes, sandbox, .. } = *self.round;
        let ended = match Bridge::open(processes, sandbox, what, dies) {
            Err(ended) => ended,
            Ok(mut bridge) => {
                let requests = 3 + self.random.below(6);
                for _ in 0..requests {
                    if self.request(&mut bridge).is_none() {
                        break;
                    }
                }
                bridge.end(close)
            }
        };
        self.round.count();
        assert!(ended.code.is_none_or(|code| code == 0), "{ended}");
    }

    fn request(&mut self, bridge: &mut Bridge<'_>) -> Option<()> {
        let key = self.key();
        let must_come = self.round.certain().contains(&key);
        let found = bridge.find(&key.name)?;
        self.round.count();
        for egg in &found {
            self.round.saw(&egg["digest"]);
        }
        let found = found.iter().find(|egg| egg["file_name"] == key.file_name.as_str());
        assert!(found.is_some() || !must_come, "{key:?} is not found");
        let shared = self.random.once_in(2);
        let into = self.target(shared);
        let Some(digest) = found.map(|egg| text(&egg["digest"])) else {
            let egg = self.round.sandbox.path(&key.path(self.random.below(BUILDS)));
            bridge.store(&egg)?;
            self.round.count();
            if self.random.once_in(2) {
                for stored in bridge.settle()? {
                    self.check_added(&stored, false);
                }
            }
            return Some(());
        };
        let answer = bridge.materialize(digest, &into);
        if let Some(answer) = &answer {
            self.round.count();
            let path = into.join(&key.file_name);
            match answer["kind"].as_str() {
                None => self.round.builds.assert_is(&path, digest),
                Some("in-the-way") => {
                    self.check_in_the_way(text(&answer["error"]), digest, &path, shared);
                }
                // Since it was found, it was removed, or another build came before that of the remote.
                Some(_) => {
                    assert!(!self.round.stays(&key), "{answer}");
                    let error = text(&answer["error"]);
                    let came_before =
                        self.round.has_remote && error.contains("the cache has its own build");
                    assert!(came_before || error.contains("the cache has no egg"), "{answer}");
                }
            }
        }
        if !shared {
            self.round.builds.assert_no_part(&into);
            let _ = fs::remove_dir_all(&into);
        }
        answer.map(drop)
    }
}

/// The permitted exit codes of a `materialize`.
fn codes(must_come: bool, shared: bool) -> &'static [i32] {
    match (must_come, shared) {
        (true, _) => &[0],
        (false, true) => &[0, 1, 3],
        (false, false) => &[0, 3],
    }
}
