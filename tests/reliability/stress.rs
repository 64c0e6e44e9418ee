//! Sixteen processes use one cache at once: they add, copy, collect, verify and rebuild, and some
//! of them are killed.

mod bridge;
mod builds;
mod driver;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

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
    rounds(false);
}

#[test]
fn eviction_by_sixteen_processes_leaves_a_sound_cache() {
    rounds(true);
}

fn rounds(evicts: bool) {
    let rounds = if counts::thorough() { 100 } else { 2 };
    let (seed, sandbox) = (Seed::new(), Sandbox::new());
    let builds = Builds::make(&sandbox);
    let (mut operations, mut killed) = (0, 0);
    for number in 0..rounds {
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
            seen: Mutex::new(listed(&sandbox, &builds)),
            operations: AtomicUsize::new(0),
        };
        work(&round, &seed);
        check(&round);
        operations += round.operations.into_inner();
        killed += processes.killed();
    }
    let what = if evicts { "with eviction" } else { "without eviction" };
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
