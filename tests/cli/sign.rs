//! `eggcache sign`: a new key replaces an old one, and signing makes nothing trusted that was not.

use std::fs;

use serde_json::json;

use crate::pool::Pool;
use crate::support::Sandbox;

#[test]
fn the_old_key_can_be_distrusted_after_the_new_one_has_signed() {
    let pool = Pool::with_two();
    let set = pool.write_set(&[pool.object("entries/foo", ""), pool.object("entries/bar", "")]);
    pool.ok("keygen new");
    pool.ok("trust team new.pub");
    let output = pool.run("cache", "new", "sign team", 0);
    output.says(&["2 eggs signed", "0 already signed", "0 skipped"]);
    for cache in ["cache", "reader"] {
        pool.of(cache, "trust team new.pub");
        pool.of(cache, "trust team --remove key.pub");
    }
    pool.ok("remote verify team --full").says(&["no problem"]);
    pool.of("reader", "pull foo==1.0 bar==2.0 --python 3.11");
    let lines = fs::read_to_string(set).unwrap();
    let counts: Vec<usize> =
        lines.lines().map(|it| it.matches("trusted comment").count() / 2).collect();
    assert_eq!(counts, [2, 2], "each line of a set has both signatures");
    let again = pool.run("cache", "new", "--json sign team", 0).json();
    assert_eq!((&again["signed"], &again["present"]), (&json!(0), &json!(2)));
    assert_eq!(again["lists"], json!(0));
}

#[test]
fn entries_without_a_trusted_signature_are_left_and_reported() {
    let pool = Pool::with_two();
    pool.ok("keygen stranger");
    pool.of(
        "other",
        &format!("remote add team {}/pool --key stranger.pub", pool.sandbox.path("").display()),
    );
    pool.sandbox.egg("baz", "1.0");
    pool.of("other", "add eggs/baz-1.0-py3.11.egg");
    pool.run("other", "stranger", "push --all --to team", 0);
    let before = fs::read(pool.object("entries/baz", "")).unwrap();
    pool.ok("keygen new");
    pool.ok("trust team new.pub");
    let output = pool.run("cache", "new", "sign team", 0);
    output.says(&[
        "baz-1.0-py3.11.egg: skipped",
        "which is not trusted",
        "2 eggs signed",
        "1 skipped",
    ]);
    assert_eq!(fs::read(pool.object("entries/baz", "")).unwrap(), before);
}

#[test]
fn entries_of_an_expired_key_are_not_signed_again() {
    let pool = Pool::with_two();
    pool.ok("keygen new");
    pool.ok("trust team new.pub");
    pool.ok("trust team key.pub --until 2020-01-01");
    let before = pool.content();
    let report = pool.run("cache", "new", "--json sign team", 0).json();
    assert_eq!((&report["signed"], report["left"].as_array().map(Vec::len)), (&json!(0), Some(2)));
    assert_eq!(pool.content(), before);
}

#[test]
fn a_key_that_the_remote_does_not_trust_cannot_sign() {
    let pool = Pool::with_two();
    pool.ok("keygen new");
    let before = pool.content();
    pool.run("cache", "new", "sign team", 1).says(&[
        "does not trust the signing key",
        "eggcache trust team",
        "each reader has to",
    ]);
    pool.run("cache", "", "sign team", 1).says(&["EGGCACHE_SIGNING_KEY", "eggcache keygen"]);
    assert_eq!(pool.content(), before);
}

#[test]
fn an_entry_survives_any_number_of_key_rotations() {
    let pool = Pool::empty();
    pool.sandbox.egg("foo", "1.0");
    pool.fill();
    for number in 0..18 {
        let key = format!("key-{number}");
        pool.ok(&format!("keygen {key}"));
        pool.ok(&format!("trust team {key}.pub"));
        pool.run("cache", &key, "sign team", 0).says(&["1 egg signed"]);
        let old = if number == 0 { "key".into() } else { format!("key-{}", number - 1) };
        pool.ok(&format!("trust team --remove {old}.pub"));
    }
    pool.ok("remote verify team").says(&["no problem"]);
}

#[test]
fn an_expired_key_pushes_nothing() {
    let pool = Pool::empty();
    pool.sandbox.egg("foo", "1.0");
    pool.ok("add eggs");
    pool.ok("trust team key.pub --until 2020-01-01");
    let output = pool.run("cache", "key", "push --all", 1);
    output.says(&["until 2020-01-01\nhint: set EGGCACHE_SIGNING_KEY to another key\n"]);
    assert_eq!(pool.objects(), [""; 0]);
}

#[test]
fn a_cache_without_a_remote_gets_a_hint_to_add_one() {
    let sandbox = Sandbox::with_two();
    for line in ["push --all", "pull foo==1.0 --python 3.11"] {
        let says = ["the cache has no remote\nhint: `eggcache remote add NAME URL --key KEY"];
        sandbox.fails(line, 1).says(&says);
    }
    sandbox.ok("remote add team /srv/eggs");
    sandbox.fails("push --all", 1).says(&["no remote receives pushed eggs; there is team\n"]);
    let pull = sandbox.fails("pull foo==1.0 --python 3.11", 1);
    pull.says(&["no key is trusted for team\nhint: `eggcache trust NAME FILE.pub"]);
}
