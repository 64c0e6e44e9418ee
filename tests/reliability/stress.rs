//! Sixteen processes use one cache at once: they add, copy, collect, verify, rebuild, push and pull,
//! and some of them are killed.

mod bridge;
mod builds;
mod driver;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use serde_json::Value;

use self::builds::{Builds, Key, is_temporary};
use self::driver::Processes;
use self::worker::{Round, Worker};
use crate::counts;
use crate::random::{Random, Seed};
use crate::support::{Sandbox, text};

const WORKERS: usize = 16;

/// Operations per worker and round. Few, because an egg that is already cached is not added again.
const OPERATIONS: usize = 8;

#[test]
fn eggs_added_by_sixteen_processes_survive_kills() {
    rounds(Storm { evicts: false, has_remote: false });
}

#[test]
fn eviction_by_sixteen_processes_leaves_a_sound_cache() {
    rounds(Storm { evicts: true, has_remote: false });
}

#[test]
fn a_remote_of_sixteen_processes_stays_sound() {
    rounds(Storm { evicts: true, has_remote: true });
}

/// What the processes do.
#[derive(Clone, Copy)]
pub struct Storm {
    /// Whether workers evict eggs that others have added.
    evicts: bool,
    /// Whether workers push to a remote and pull from it.
    has_remote: bool,
}

/// Whether another round begins. A thorough run lasts `EGGCACHE_STRESS_SECONDS`, or 100 rounds.
fn goes_on(number: usize, began: Instant) -> bool {
    let seconds = std::env::var("EGGCACHE_STRESS_SECONDS");
    match seconds.map(|text| Duration::from_secs(text.parse().unwrap())) {
        Ok(time) => number < 2 || began.elapsed() < time,
        Err(_) => number < if counts::thorough() { 100 } else { 2 },
    }
}

fn rounds(storm: Storm) {
    let Storm { evicts, has_remote } = storm;
    let (seed, sandbox, began) = (Seed::new(), Sandbox::new(), Instant::now());
    let builds = Builds::make(&sandbox);
    if has_remote {
        sandbox.ok("keygen key");
        let url = sandbox.path("remote");
        sandbox.ok(&format!("remote add team {} --key key.pub --push", url.display()));
    }
    let (mut operations, mut killed) = (0, 0);
    for number in (0..).take_while(|&number| goes_on(number, began)) {
        // Every second round starts with the eggs of the previous one.
        if number % 2 == 0 && number > 0 {
            sandbox.ok("gc --max-size 1B");
        }
        let processes = Processes::default();
        let round = Round {
            sandbox: &sandbox,
            builds: &builds,
            processes: &processes,
            number,
            evicts,
            has_remote,
            seen: Mutex::new(listed(&sandbox, &builds)),
            cut_off: Mutex::default(),
            operations: AtomicUsize::new(0),
        };
        work(&round, &seed);
        check(&round);
        operations += round.operations.into_inner();
        killed += processes.killed();
    }
    let what = match storm {
        Storm { has_remote: true, .. } => "with a remote",
        Storm { evicts: true, .. } => "with eviction",
        Storm { evicts: false, .. } => "without eviction",
    };
    counts::record("stress", &format!("operations {what}"), operations);
    counts::record("stress", &format!("processes killed {what}"), killed);
}

/// Runs all workers.
fn work(round: &Round<'_>, seed: &Seed) {
    let processes = round.processes;
    std::thread::scope(|scope| {
        scope.spawn(|| processes.watch());
        let workers: Vec<_> = (0..WORKERS)
            .map(|number| {
                let random = Random::new(seed, round.number * WORKERS + number);
                let mut worker = Worker { round, number, random };
                scope.spawn(move || {
                    let _stop = StopOnPanic(processes);
                    for _ in 0..OPERATIONS {
                        if processes.stopped() {
                            break;
                        }
                        worker.operate();
                    }
                })
            })
            .collect();
        let failed = workers.into_iter().filter_map(|worker| worker.join().err()).count();
        processes.stop();
        assert_eq!(failed, 0, "workers failed");
    });
}

/// Stops the other workers, so that their output does not bury the failure.
struct StopOnPanic<'p>(&'p Processes);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}

/// Asserts that the cache, now idle, is sound and has lost nothing.
fn check(round: &Round<'_>) {
    let Round { sandbox, builds, .. } = round;
    let report = sandbox.json("verify");
    assert_eq!(report["problems"].as_array().unwrap().len(), 0, "{report}");
    sandbox.ok("gc");
    sandbox.assert_tidy();

    if round.has_remote {
        check_remote(round);
    }
    let (seen, listed) = (round.seen.lock().unwrap().clone(), listed(sandbox, builds));
    if !round.evicts {
        let keys = |of: &BTreeMap<Key, String>| of.keys().cloned().collect::<BTreeSet<_>>();
        assert!(keys(&listed).is_superset(&keys(&seen)), "of {seen:#?} only {listed:#?} remain");
        for (key, digest) in seen.iter().filter(|(key, _)| !key.moves) {
            assert_eq!(listed.get(key), Some(digest), "the build of {key:?}");
        }
    }
    let all = sandbox.path("all");
    sandbox.ok("materialize --into all --all");
    for (key, digest) in &listed {
        builds.assert_is(&all.join(&key.file_name), digest);
    }
    assert_eq!(std::fs::read_dir(&all).map_or(0, Iterator::count), listed.len());
    let _ = std::fs::remove_dir_all(all);
    for shared in round.shared() {
        // The next process that copies removes the leftovers of killed ones.
        sandbox
            .eggcache(&format!("materialize --all --into {}", shared.display()))
            .output()
            .unwrap();
        builds.assert_no_part(&shared);
        let left = walkdir::WalkDir::new(&shared).max_depth(1).into_iter().flatten();
        assert!(left.map(walkdir::DirEntry::into_path).all(|path| !is_temporary(&path)));
    }
}

/// Asserts that the remote, now idle, is sound. A push that was killed may have written an entry and not
/// the list of its project; the next push of that egg completes the list.
fn check_remote(round: &Round<'_>) {
    let Round { sandbox, builds, .. } = round;
    let verify = || sandbox.eggcache("--json remote verify team --full").output().unwrap().stdout;
    let report: Value = serde_json::from_slice(&verify()).unwrap();
    let cut_off = round.cut_off.lock().unwrap();
    for problem in report["problems"].as_array().unwrap() {
        let key = builds.keys.iter().find(|key| problem["file_name"] == key.file_name.as_str());
        let is_unlisted = text(&problem["what"]).contains("not in the list of its project");
        let is_cut_off = key.is_some_and(|key| cut_off.contains(key));
        assert!(is_unlisted && is_cut_off, "cut off: {cut_off:?}, {report}");
        let key = key.unwrap();
        sandbox.ok(&format!("add {}", key.path(0)));
        sandbox.ok(&format!("push --to team {}", key.query()));
    }
    let report = sandbox.json("remote verify team --full");
    assert_eq!(report["problems"].as_array().unwrap().len(), 0, "{report}");
}

/// The digest of the cached build of each egg.
fn listed(sandbox: &Sandbox, builds: &Builds) -> BTreeMap<Key, String> {
    if !sandbox.path("cache").exists() {
        return BTreeMap::new(); // the workers create it
    }
    let report = sandbox.json("list");
    let eggs = report["eggs"].as_array().unwrap();
    let digests = eggs.iter().map(|egg| text(&egg["digest"]));
    digests.map(|digest| (builds.key_of(digest).clone(), digest.to_owned())).collect()
}
