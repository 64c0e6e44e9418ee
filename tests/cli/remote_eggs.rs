//! `remote eggs`: what a remote has.

use serde_json::{Value, json};

use crate::pool::Pool;
use crate::support::text;

/// The file names of the eggs that a command lists.
fn listed(pool: &Pool, cache: &str, options: &str) -> Vec<String> {
    let report = pool.of(cache, &format!("--json remote eggs team {options}")).json();
    let name = |egg: &Value| text(&egg["file_name"]).to_owned();
    report["eggs"].as_array().unwrap().iter().map(name).collect()
}

#[test]
fn the_eggs_of_a_remote_are_listed_without_a_copy_of_them() {
    let pool = Pool::empty();
    for (name, version) in [("foo", "1.10"), ("foo", "1.9"), ("Zope.Interface", "5.0")] {
        pool.sandbox.egg(name, version);
    }
    pool.fill();
    pool.ok("add --environment el9 eggs/foo-1.9-py3.11.egg");
    pool.ok("push foo==1.9 --environment el9");
    pool.ok("remote withdraw team foo==1.10 --reason evil");
    let old = "foo-1.9-py3.11.egg";
    let all = [old, old, "foo-1.10-py3.11.egg", "Zope.Interface-5.0-py3.11.egg"];
    assert_eq!(listed(&pool, "reader", ""), all, "by version");
    assert_eq!(listed(&pool, "reader", "zope.*"), all[3..]);
    assert_eq!(listed(&pool, "reader", "foo==1.9 --environment el9"), [old]);
    assert_eq!(listed(&pool, "reader", "foo --python 3.12"), Vec::<String>::new());
    let digest = pool.json("show Zope.Interface")["digest"].clone();
    assert_eq!(listed(&pool, "reader", &text(&digest)[..8]), all[3..]);
    pool.of("reader", "remote withdrawals team");
    let shown = pool.of("reader", "remote eggs team foo nothing");
    shown.says(&["no egg of it matches \"nothing\"", "Remote team: 3 eggs, "]);
    for part in ["1.10 (withdrawn)", "DIFFERS IN", "environment label el9"] {
        assert!(shown.stdout.contains(part), "{}", shown.stdout);
    }
    assert!(pool.of("reader", "list").says(&["No eggs in the cache"]).stdout.is_empty());
}

#[test]
fn entries_of_an_untrusted_key_are_counted_only() {
    let pool = Pool::with_two();
    pool.of("reader", "trust team key.pub --remove");
    let shown = pool.of("reader", "remote eggs team");
    shown.says(&["2 entries are not used: `eggcache remote verify team` says why", "0 eggs"]);
    let report = pool.of("reader", "--json remote eggs team").json();
    assert_eq!((&report["eggs"], &report["refused"]), (&json!([]), &json!(2)));
}
