//! Several processes use one cache and one eggs directory at once.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;

use serde_json::Value;

use crate::serve::Server;
use crate::support::{EGGCACHE, Sandbox, assert_same_tree, host, make_egg, names_in, noise, text};

/// Starts one command per line, all at once, and asserts that each succeeds.
fn at_once(sandbox: &Sandbox, lines: impl IntoIterator<Item = String>) {
    all_succeed(lines.into_iter().map(|line| sandbox.eggcache(&line)));
}

fn all_succeed(processes: impl Iterator<Item = Command>) {
    let start = |mut process: Command| {
        process.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<Child> = processes.map(start).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
    }
}

fn builds(sandbox: &Sandbox, count: usize) {
    for build in 0..count {
        let egg = sandbox.path(&format!("builds/{build}/foo-1.0-py3.11.egg"));
        make_egg(&egg, "foo", "1.0", &[("build", build.to_string().as_bytes())]);
    }
}

#[test]
fn one_of_eight_builds_added_at_once_is_kept() {
    let sandbox = Sandbox::new();
    builds(&sandbox, 8);
    at_once(&sandbox, (0..8).map(|build| format!("add builds/{build}")));
    assert_eq!(sandbox.listed(), ["foo==1.0"]);
    assert_eq!(sandbox.blobs().len(), 1);
    sandbox.ok("verify").says(&["1 blob", "no problem"]);
    sandbox.assert_tidy();
}

/// Makes two builds of a new egg.
fn two_builds(sandbox: &Sandbox, number: usize) -> [PathBuf; 2] {
    [0, 1].map(|build| {
        let egg = sandbox.path(&format!("builds/{build}/foo{number}-1.0-py3.11.egg"));
        let content = build.to_string();
        make_egg(&egg, &format!("foo{number}"), "1.0", &[("build", content.as_bytes())])
    })
}

/// Asserts that one of two processes has stored its egg, and that the other has learned which egg
/// was stored. Returns the index of the winner and the digest of its egg.
fn one_wins(outcomes: &[Value; 2]) -> (usize, String) {
    let winner = usize::from(outcomes[1]["outcome"] == "stored");
    let (won, lost) = (&outcomes[winner], &outcomes[1 - winner]);
    assert_eq!((text(&won["outcome"]), text(&lost["outcome"])), ("stored", "other"));
    assert_eq!(won["egg"]["digest"], lost["egg"]["digest"], "the build that is kept");
    (winner, text(&won["egg"]["digest"]).to_owned())
}

/// Runs two functions at the same moment.
fn both<T: Send>(one: impl FnOnce() -> T + Send, other: impl FnOnce() -> T + Send) -> [T; 2] {
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        let one = scope.spawn(|| {
            barrier.wait();
            one()
        });
        barrier.wait();
        let other = other();
        [one.join().unwrap(), other]
    })
}

#[test]
fn the_loser_of_two_builds_added_at_once_learns_of_the_winner() {
    let sandbox = Sandbox::new();
    for number in 0..40 {
        let builds = two_builds(&sandbox, number);
        let add = |build: &PathBuf| {
            let line = format!("--json add {}", build.display());
            let output = sandbox.eggcache(&line).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            let report: Value = serde_json::from_slice(&output.stdout).unwrap();
            report["eggs"][0].clone()
        };
        let (winner, digest) = one_wins(&both(|| add(&builds[0]), || add(&builds[1])));
        assert_eq!(sandbox.digest(&format!("foo{number}")), digest);
        sandbox.ok(&format!("materialize --into out foo{number}"));
        let out = sandbox.path(&format!("out/foo{number}-1.0-py3.11.egg"));
        assert_same_tree(&builds[winner], &out);
    }
    sandbox.ok("verify");
    sandbox.assert_tidy();
}

#[test]
fn the_loser_of_two_storing_bridges_learns_of_the_winner() {
    let sandbox = Sandbox::new();
    let mut bridges = [0, 1].map(|_| Server::open(&sandbox, &host()));
    for number in 0..100 {
        let builds = two_builds(&sandbox, number);
        let [one, other] = &mut bridges;
        let (_, digest) = one_wins(&both(|| one.store(&builds[0]), || other.store(&builds[1])));
        for bridge in &mut bridges {
            let found = bridge.find(&format!("foo{number}"));
            assert_eq!(found.len(), 1);
            assert_eq!(found[0]["digest"], digest.as_str());
        }
    }
    for bridge in &mut bridges {
        bridge.close();
    }
    sandbox.ok("verify");
    sandbox.assert_tidy();
}

#[test]
fn one_of_eight_builds_replacing_each_other_is_kept() {
    let sandbox = Sandbox::new();
    builds(&sandbox, 8);
    at_once(&sandbox, (0..8).map(|build| format!("add --replace builds/{build}")));
    sandbox.ok("verify");
    sandbox.assert_tidy();
}

#[test]
fn eight_different_eggs_added_at_once_are_all_kept() {
    let sandbox = Sandbox::new();
    for number in 0..8 {
        sandbox.egg(&format!("foo{number}"), "1.0");
    }
    at_once(&sandbox, (0..8).map(|number| format!("add eggs/foo{number}-1.0-py3.11.egg")));
    assert_eq!(sandbox.listed().len(), 8);
    sandbox.ok("verify");
    sandbox.assert_tidy();
}

#[test]
fn eight_processes_can_copy_one_egg_into_one_directory() {
    let sandbox = Sandbox::new();
    let egg = sandbox.egg_with("foo", "1.0", &[("large", &noise(600_000)), ("a/b/c", b"c")]);
    sandbox.ok("add eggs");
    at_once(&sandbox, (0..8).map(|_| "materialize --into out foo".to_owned()));
    assert_eq!(names_in(&sandbox.path("out")), ["foo-1.0-py3.11.egg"]);
    assert_same_tree(&egg, &sandbox.path("out/foo-1.0-py3.11.egg"));
    assert_eq!(sandbox.json("show foo")["uses"], 8);
    sandbox.assert_tidy();
}

#[test]
fn eight_processes_can_copy_one_zipped_egg_into_one_directory() {
    let sandbox = Sandbox::new();
    let egg = sandbox.zipped_egg("foo", "1.0");
    sandbox.ok("add eggs");
    at_once(&sandbox, (0..8).map(|_| "materialize --into out foo".to_owned()));
    assert_same_tree(&egg, &sandbox.path("out/foo-1.0-py3.11.egg"));
    sandbox.assert_tidy();
}

#[test]
fn gc_verify_and_reindex_during_add_lose_nothing() {
    let sandbox = Sandbox::new();
    for number in 0..6 {
        sandbox.egg(&format!("foo{number}"), "1.0");
    }
    let add = |number| format!("add eggs/foo{number}-1.0-py3.11.egg");
    let others = ["gc", "reindex", "verify", "gc", "list", "reindex"].map(String::from);
    at_once(&sandbox, (0..6).map(add).zip(others).flat_map(|(add, other)| [add, other]));
    assert_eq!(sandbox.listed().len(), 6);
    sandbox.ok("verify");
    sandbox.ok("gc");
    sandbox.assert_tidy();
}

#[test]
fn many_processes_can_create_one_cache_at_once() {
    let sandbox = Sandbox::new();
    for cache in 0..12 {
        let list = || {
            let mut process = sandbox.process(EGGCACHE);
            process.args(["--cache", &format!("caches/{cache}"), "list"]);
            process
        };
        all_succeed((0..8).map(|_| list()));
    }
}

#[test]
fn many_processes_can_create_one_eggs_directory_at_once() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    for round in 0..12 {
        at_once(&sandbox, (0..8).map(|_| format!("materialize --into out-{round} foo")));
        let out = sandbox.path(&format!("out-{round}"));
        assert_eq!(names_in(&out), ["foo-1.0-py3.11.egg"]);
    }
}
