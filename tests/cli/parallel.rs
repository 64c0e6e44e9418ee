//! Several processes at once on one cache and one eggs directory.

use std::process::{Child, Command, Stdio};

use crate::support::{EGGCACHE, Sandbox, assert_same_tree, make_egg, names_in, noise};

/// Starts a command for each line, all at once, and asserts that each succeeds.
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
fn of_eight_builds_that_are_added_at_once_one_is_kept() {
    let sandbox = Sandbox::new();
    builds(&sandbox, 8);
    at_once(&sandbox, (0..8).map(|build| format!("add builds/{build}")));
    assert_eq!(sandbox.listed(), ["foo==1.0"]);
    assert_eq!(sandbox.blobs().len(), 1);
    sandbox.ok("verify").says(&["1 blob", "no problem"]);
    sandbox.assert_tidy();
}

#[test]
fn of_eight_builds_that_replace_each_other_at_once_one_is_kept() {
    let sandbox = Sandbox::new();
    builds(&sandbox, 8);
    at_once(&sandbox, (0..8).map(|build| format!("add --replace builds/{build}")));
    sandbox.ok("verify");
    sandbox.assert_tidy();
}

#[test]
fn eight_different_eggs_that_are_added_at_once_are_all_kept() {
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
fn eight_that_materialize_one_egg_into_one_directory_all_succeed() {
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
fn eight_that_materialize_one_zipped_egg_into_one_directory_all_succeed() {
    let sandbox = Sandbox::new();
    let egg = sandbox.zipped_egg("foo", "1.0");
    sandbox.ok("add eggs");
    at_once(&sandbox, (0..8).map(|_| "materialize --into out foo".to_owned()));
    assert_same_tree(&egg, &sandbox.path("out/foo-1.0-py3.11.egg"));
    sandbox.assert_tidy();
}

#[test]
fn gc_verify_and_reindex_beside_add_lose_nothing() {
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
fn many_may_make_one_cache_at_once() {
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
fn many_may_make_one_eggs_directory_at_once() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    for round in 0..12 {
        at_once(&sandbox, (0..8).map(|_| format!("materialize --into out-{round} foo")));
        let out = sandbox.path(&format!("out-{round}"));
        assert_eq!(names_in(&out), ["foo-1.0-py3.11.egg"]);
    }
}
