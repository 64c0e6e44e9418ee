//! A key that is not trusted any more: what it has signed is neither used nor passed on, by programs that
//! were running before, too.

use std::fs;

use serde_json::json;

use crate::pool::Pool;
use crate::serve::{Server, opening_with};
use crate::support::{names_in, text, write};

fn listed(pool: &Pool, cache: &str) -> Vec<String> {
    let report = pool.of(cache, "--json list").json();
    report["eggs"].as_array().unwrap().iter().map(|egg| text(&egg["name"]).to_owned()).collect()
}

#[test]
fn a_running_session_stores_nothing_by_a_revoked_key() {
    let pool = Pool::with_two();
    let opening = opening_with(&pool.sandbox, "cache", &pool.sandbox.path("reader"));
    let mut server = Server::opened_by(&pool.sandbox, &opening);
    let mut find = |name: &str, version: &str| {
        let query = json!({"op": "find", "name": name, "variant": "", "version": version});
        let found = server.ask(&query);
        text(&found["eggs"][0]["digest"]).to_owned()
    };
    let (_bar, foo) = (find("bar", "2.0"), find("foo", "1.0"));
    pool.of("reader", "trust team --remove key.pub");
    pool.of("reader", "gc --signed-by key.pub");
    let copied = server.materialize(&pool.sandbox, &foo);
    assert_eq!(copied["kind"], "unusable", "{copied}");
    assert!(text(&copied["error"]).contains("which is not trusted"), "{copied}");
    let closed = server.ask(&json!({"op": "close"}));
    drop(server);
    assert_eq!(listed(&pool, "reader"), [""; 0]);
    assert!(!pool.sandbox.path("reader/arrivals.jsonl").exists());
    let warnings = closed["warnings"].to_string();
    assert!(warnings.contains("foo-1.0-py3.11.egg is refused"), "{closed}");
}

/// The projects that have an entry in a folder.
fn pushed(pool: &Pool, remote: &str) -> Vec<String> {
    let entries = pool.sandbox.path(remote).join("v1/entries");
    let of = |name: &String| !names_in(&entries.join(name)).is_empty();
    names_in(&entries).into_iter().filter(of).collect()
}

#[test]
fn pulled_eggs_by_a_revoked_key_are_never_signed() {
    let pool = Pool::with_two();
    pool.of("reader", "keygen own");
    let second = pool.sandbox.path("second").display().to_string();
    pool.of("reader", &format!("remote add second {second} --key own.pub --push"));
    pool.of("reader", "pull foo==1.0 --python 3.11");
    let push = "push --all --to second --include-pulled";
    for revoke in ["--remove key.pub", "key.pub --until 2020-01-01", "key.pub --projects acme.*"] {
        pool.of("reader", "trust team key.pub");
        pool.of("reader", &format!("trust team {revoke}"));
        let output = pool.run("reader", "own", push, 0);
        output.says(&["foo-1.0-py3.11.egg: not pushed", "no remote trusts", "0 eggs pushed"]);
        assert_eq!(pushed(&pool, "second"), [""; 0], "{revoke}");
    }
    let report = pool.run("reader", "own", &format!("--json {push}"), 0).json();
    assert_eq!(report["eggs"][0]["outcome"], "revoked");
    pool.of("reader", "trust team key.pub");
    pool.run("reader", "own", push, 0).says(&["1 egg pushed"]);
    assert_eq!(pushed(&pool, "second"), ["foo"]);
}

/// A pool whose entries are signed by `key` and, after a rotation, by `new`, and the entry of `baz` by `new`
/// alone. The reader never trusted `key`.
fn rotated() -> Pool {
    let pool = Pool::with_two();
    pool.ok("keygen new");
    pool.ok("trust team new.pub");
    pool.run("cache", "new", "sign team", 0);
    pool.sandbox.egg("baz", "1.0");
    pool.ok("add eggs");
    pool.run("cache", "new", "push --all", 0);
    pool.of("reader", "trust team new.pub");
    pool.of("reader", "trust team --remove key.pub");
    pool
}

#[test]
fn an_egg_that_a_revoked_key_had_signed_as_well_is_evicted() {
    let pool = rotated();
    pool.of("reader", "pull foo==1.0 baz==1.0 --python 3.11");
    let arrival = pool.of("reader", "--json show foo").json()["arrival"].clone();
    let lists = ["keys", "other_keys"].map(|field| arrival[field].as_array().unwrap().len());
    assert_eq!(lists, [1, 1], "{arrival}");
    let id = text(&arrival["other_keys"][0]);
    let shown = pool.of("reader", "show foo").stdout;
    assert!(shown.contains(&format!("; not checked: {id}")), "{shown}");
    assert!(!pool.of("reader", "show baz").stdout.contains("not checked"));
    pool.of("reader", "gc --signed-by key.pub").says(&["1 egg"]);
    assert_eq!(listed(&pool, "reader"), ["baz"]);
}

#[test]
fn entries_that_a_revoked_key_has_signed_are_removed_from_a_remote() {
    let pool = rotated();
    pool.ok("pin foo");
    let entries = ["foo", "bar", "baz"].map(|name| pool.object(&format!("entries/{name}"), ""));
    let set = pool.write_set(&entries);
    pool.age("pool", 2 * crate::pool::DAY);
    let before = pool.content();
    let id = fs::read_to_string(pool.sandbox.path("key.pub")).unwrap();
    let id = id.lines().next().unwrap().rsplit(' ').next().unwrap().to_owned();
    let dry = pool.ok("remote gc team --signed-by key.pub --dry-run");
    dry.says(&["would remove 2 eggs"]);
    let rows = dry.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(rows.contains(&format!("signed by {id} (not checked); pinned by foo")), "{rows}");
    assert_eq!(pool.content(), before);
    pool.ok("trust team --remove key.pub");
    pool.run("cache", "new", &format!("remote gc team --signed-by {id}"), 0)
        .says(&["removed 2 eggs and 2 blobs"]);
    assert_eq!(pushed(&pool, "pool"), ["baz"]);
    assert_eq!(fs::read_to_string(set).unwrap().lines().count(), 1);
    pool.of("reader", "remote verify team --full").says(&["1 entry", "no problem"]);
    pool.ok("remote gc team --signed-by key.pub").says(&["removed 0 eggs"]);
}

/// The holder of the key can write to the remote. One place that still names it is enough.
#[test]
fn a_signature_that_is_left_in_a_list_alone_counts() {
    for removed in [false, true] {
        let pool = rotated();
        let entry = pool.object("entries/foo", "");
        let mut line: serde_json::Value =
            serde_json::from_slice(&fs::read(&entry).unwrap()).unwrap();
        line["signatures"].as_array_mut().unwrap().remove(0);
        if removed {
            fs::remove_file(&entry).unwrap();
        } else {
            write(&entry, format!("{line}\n").as_bytes());
        }
        pool.run("cache", "new", "remote gc team --signed-by key.pub", 0);
        assert_eq!(pushed(&pool, "pool"), ["baz"]);
        let list = fs::read_to_string(pool.sandbox.path("pool/v1/projects/foo/cp311"));
        assert_eq!(list.unwrap(), "", "{removed}");
    }
}
