//! Regrets: evicted eggs that were requested again, and the limit that would have kept them.

use serde_json::{Value, json};

use crate::serve::Server;
use crate::support::{Sandbox, host, noise};

/// A sandbox with three versions of foo, last used 30, 20 and 10 days ago, of which all but the
/// last have been evicted.
fn with_two_evicted() -> Sandbox {
    let sandbox = Sandbox::new();
    for version in ["1.0", "1.1", "1.2"] {
        sandbox.egg_with("foo", version, &[("noise", &noise(10_000))]);
    }
    sandbox.ok("add eggs");
    age(&sandbox);
    sandbox.ok("gc --max-size 15kB");
    assert_eq!(sandbox.listed(), ["foo==1.2"]);
    assert_eq!(asked(&sandbox), 0);
    sandbox
}

fn age(sandbox: &Sandbox) {
    for (version, days) in [("1.0", 30), ("1.1", 20), ("1.2", 10)] {
        sandbox.sql(&format!(
            "UPDATE eggs SET used_at = unixepoch() - {days} * 86400 WHERE version = '{version}'"
        ));
    }
}

fn regrets(sandbox: &Sandbox) -> Value {
    sandbox.json("gc --dry-run")["regrets"].clone()
}

fn asked(sandbox: &Sandbox) -> u64 {
    regrets(sandbox)["asked"].as_u64().unwrap()
}

#[test]
fn storing_an_evicted_egg_again_is_a_regret_with_a_limit() {
    let sandbox = with_two_evicted();
    sandbox.ok("add eggs/foo-1.1-py3.11.egg");
    let regrets = regrets(&sandbox);
    assert_eq!((&regrets["evicted"], &regrets["asked"]), (&json!(2), &json!(1)));
    let newest = sandbox.blob("foo==1.2").metadata().unwrap().len();
    let limit = regrets["limit_bytes"].as_u64().unwrap();
    assert_eq!(regrets["asked_bytes"], limit - newest);
    sandbox.ok("gc").says(&["note: evicted within a year, then needed again: 1 egg; `--max-size "]);
    let silent = sandbox.ok("gc --max-size 1MiB");
    assert!(!silent.stderr.contains("needed again"), "that limit would have kept it");

    // The limit is right, apart from the few bytes by which blobs of one egg may differ.
    sandbox.ok("add eggs");
    age(&sandbox);
    sandbox.ok(&format!("gc --max-size {}B", limit + 100));
    assert_eq!(sandbox.listed(), ["foo==1.1", "foo==1.2"]);
}

#[test]
fn requesting_an_evicted_version_is_one_regret() {
    let sandbox = with_two_evicted();
    sandbox.fails("materialize --into out foo==0.9", 3);
    sandbox.fails("materialize --into out foo==1.0 --python 3.12", 3);
    assert_eq!(asked(&sandbox), 0);
    for _ in 0..2 {
        sandbox.fails("materialize --into out Foo==1.0.0", 3);
        assert_eq!(asked(&sandbox), 1);
    }
    sandbox.ok("add eggs");
    assert_eq!(asked(&sandbox), 2);
}

#[test]
fn an_egg_evicted_between_find_and_materialize_is_a_regret() {
    let sandbox = with_two_evicted();
    let digest = sandbox.digest("foo==1.2");
    let mut server = Server::open(&sandbox, &host());
    assert_eq!(server.find("foo").len(), 1);
    sandbox.ok("gc --max-size 0");
    assert_eq!(server.materialize(&sandbox, &digest)["kind"], "unusable");
    server.close();
    assert_eq!(asked(&sandbox), 1);
}

#[test]
fn replacing_or_storing_a_new_egg_is_not_a_regret() {
    let sandbox = with_two_evicted();
    sandbox.added("bar", "1.0");
    let another = sandbox.other_build("foo", "1.2");
    sandbox.ok(&format!("add --replace {}", another.display()));
    sandbox.ok("reindex");
    assert_eq!(
        regrets(&sandbox),
        json!({
            "evicted": 2,
            "asked": 0,
            "asked_bytes": 0,
            "limit_bytes": 0,
        })
    );
}

#[test]
fn evictions_more_than_a_year_ago_are_forgotten() {
    let sandbox = with_two_evicted();
    sandbox.sql("UPDATE regrets SET evicted_at = evicted_at - 366 * 86400");
    assert_eq!(regrets(&sandbox)["evicted"], 0);
    sandbox.ok("gc --max-size 0");
    assert_eq!(regrets(&sandbox)["evicted"], 1);
    sandbox.sql("UPDATE regrets SET evicted_at = evicted_at + 366 * 86400");
    assert_eq!(regrets(&sandbox)["evicted"], 1, "expired regrets are deleted");
}
