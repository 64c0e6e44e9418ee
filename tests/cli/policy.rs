//! The policy in `eggcache.toml`, and automatic collection after a buildout.

use std::fs::{self, File};

use serde_json::{Value, json};

use crate::serve::Server;
use crate::support::{Output, Sandbox, host, names_in, write};

const AUTO: &str = "[gc]\nmax-age = \"90d\"\nauto = true\n";

/// A sandbox with a policy and two versions of foo, the first of which was last used long ago.
fn with(policy: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    for version in ["1.0", "1.1"] {
        sandbox.egg("foo", version);
    }
    sandbox.ok("add eggs");
    age(&sandbox);
    write(&sandbox.path("cache/eggcache.toml"), policy.as_bytes());
    sandbox
}

fn age(sandbox: &Sandbox) {
    sandbox.sql("UPDATE eggs SET used_at = 1 WHERE version = '1.0'");
}

/// Runs a buildout that succeeds, until the process that serves it ends.
fn build(sandbox: &Sandbox) -> Value {
    let mut server = Server::open(sandbox, &host());
    fs::create_dir_all(sandbox.path("out")).unwrap();
    let answer = server.register(sandbox, &[]);
    server.close();
    answer
}

fn last(sandbox: &Sandbox) -> Value {
    serde_json::from_slice(&fs::read(sandbox.path("cache/gc/last.json")).unwrap()).unwrap()
}

#[test]
fn a_fifo_in_place_of_the_policy_does_not_block_gc() {
    let sandbox = Sandbox::with_two();
    sandbox.shell("rm cache/CACHEDIR.TAG; mkfifo cache/eggcache.toml cache/CACHEDIR.TAG");
    let mut gc = assert_cmd::Command::from_std(sandbox.eggcache("gc --dry-run"));
    let assert = gc.timeout(std::time::Duration::from_secs(10)).assert().code(1);
    Output::of(&assert).says(&["eggcache.toml", "it is not a file"]);
}

#[test]
fn gc_follows_the_policy_of_the_cache() {
    for policy in ["max-age = \"90d\"", "keep-versions = 1", "max-size = \"700 B\""] {
        let sandbox = with(&format!("[gc]\n{policy}\n"));
        sandbox.ok("gc");
        assert_eq!(sandbox.listed(), ["foo==1.1"], "{policy}");
    }
    let sandbox = with("");
    sandbox.ok("gc");
    assert_eq!(sandbox.listed().len(), 2);
}

#[test]
fn options_of_gc_override_the_policy() {
    let sandbox = with("[gc]\nmax-age = \"1d\"\nkeep-versions = 1\n");
    sandbox.ok("gc --keep-versions 2 --max-age 99y");
    assert_eq!(sandbox.listed().len(), 2);
    sandbox.ok("gc --keep-versions 2");
    assert_eq!(sandbox.listed(), ["foo==1.1"]);
}

#[test]
fn the_grace_period_of_the_policy_is_used() {
    let sandbox = with("[gc]\ngrace = \"0d\"\n");
    build(&sandbox);
    fs::remove_dir(sandbox.path("app")).unwrap();
    sandbox.ok("gc --grace 1d");
    assert_eq!(sandbox.json("roots")["roots"].as_array().unwrap().len(), 1);
    sandbox.ok("gc").says(&["forgot the buildout"]);
    assert_eq!(sandbox.json("roots")["roots"], json!([]));
}

#[test]
fn an_invalid_policy_is_refused_with_a_message() {
    let sandbox = with("[gc]\nmax-aeg = \"90d\"\n");
    sandbox.fails("gc", 1).says(&["cache/eggcache.toml: ", "`max-aeg`", "`max-age`"]);
    sandbox.fails("gc --max-age 1d", 1);
    assert_eq!(sandbox.listed().len(), 2);
    let answer = build(&sandbox);
    assert_eq!(answer["registered"], true);
    assert!(answer["warning"].as_str().unwrap().contains("`max-aeg`"), "{answer}");
    assert_eq!(sandbox.listed().len(), 2);
}

#[test]
fn automatic_gc_runs_after_a_buildout_once_a_day() {
    let sandbox = with(AUTO);
    build(&sandbox);
    assert_eq!(sandbox.listed(), ["foo==1.1"]);
    assert_eq!((&last(&sandbox)["evicted"], &last(&sandbox)["error"]), (&json!(1), &json!(null)));
    sandbox.ok("add eggs");
    age(&sandbox);
    build(&sandbox);
    assert_eq!(sandbox.listed().len(), 2, "at most once a day");
    for days in [-1, 1] {
        let mut stamp = last(&sandbox);
        stamp["at"] = json!(stamp["at"].as_i64().unwrap() - days * 86_400);
        write(&sandbox.path("cache/gc/last.json"), stamp.to_string().as_bytes());
        build(&sandbox);
        assert_eq!(sandbox.listed(), ["foo==1.1"], "the last run was {days} days ago");
        sandbox.ok("add eggs");
        age(&sandbox);
    }
    write(&sandbox.path("cache/gc/last.json"), b"");
    build(&sandbox);
    assert_eq!(sandbox.listed(), ["foo==1.1"], "a damaged record of the last run");
    sandbox.assert_tidy();
}

#[test]
fn automatic_gc_runs_only_if_the_policy_enables_it() {
    let sandbox = with("[gc]\nmax-age = \"90d\"\n");
    build(&sandbox);
    assert_eq!(sandbox.listed().len(), 2);
    assert_eq!(names_in(&sandbox.path("cache/gc")), [""; 0]);
}

#[test]
fn automatic_gc_does_not_run_after_a_failed_buildout() {
    let sandbox = with(AUTO);
    drop(Server::open(&sandbox, &host()));
    Server::open(&sandbox, &host()).close();
    assert_eq!(sandbox.listed().len(), 2);
}

#[test]
fn automatic_gc_never_runs_twice_at_once() {
    let sandbox = with(AUTO);
    fs::create_dir(sandbox.path("cache/gc")).unwrap();
    let another = File::create(sandbox.path("cache/gc/lock")).unwrap();
    another.lock().unwrap();
    build(&sandbox);
    assert_eq!(sandbox.listed().len(), 2);
    drop(another);
    build(&sandbox);
    assert_eq!(sandbox.listed(), ["foo==1.1"]);
}

#[test]
fn an_error_of_automatic_gc_is_recorded() {
    let sandbox = with(AUTO);
    write(&sandbox.path("cache/pins/half.json"), b"{");
    build(&sandbox);
    assert_eq!(sandbox.listed().len(), 2);
    let error = last(&sandbox)["error"].clone();
    assert!(error.as_str().unwrap().contains("half.json"), "{error}");
}
