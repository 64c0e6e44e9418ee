//! What a cache remembers of withdrawn builds survives changes of keys, of addresses and of the list of the
//! remote, and no list is written that loses one of them.

use std::collections::BTreeSet;
use std::fs;

use eggcache::internals::entry::Signed;
use eggcache::internals::keys::Signer;
use eggcache::internals::statement::{MAX_WITHDRAWN, Statement};

use crate::pool::{DAY, Pool};
use crate::support::{text, write};
use crate::withdrawals::{line, list, path};

const WITHDRAW_FOO: &str = "remote withdraw team foo==1.0 --reason evil";
const WITHDRAW_BAR: &str = "remote withdraw team bar==2.0 --reason broken";

/// The names of the builds in the list of the pool.
fn names(pool: &Pool) -> BTreeSet<String> {
    list(pool).withdrawn.into_iter().map(|it| it.name).collect()
}

fn put(pool: &Pool, statement: &Statement, key: &str) {
    let entry = statement.text();
    let signer = Signer::read(&pool.sandbox.path(key), None).unwrap();
    let signatures = vec![signer.sign(&entry).unwrap()];
    write(&path(pool), (Signed { entry, signatures }.line() + "\n").as_bytes());
}

/// A pool with foo, bar and baz, whose reader has all of them.
fn pool() -> Pool {
    let pool = Pool::empty();
    for (name, version) in [("foo", "1.0"), ("bar", "2.0"), ("baz", "3.0"), ("late", "1.0")] {
        pool.sandbox.egg(name, version);
    }
    pool.fill();
    for name in ["foo==1.0", "bar==2.0", "baz==3.0"] {
        pool.of("reader", &format!("pull {name} --python 3.11"));
    }
    pool
}

/// Lets a cache ask the remote for something that it does not have.
fn look(pool: &Pool, cache: &str) {
    pool.run(cache, "key", "pull gone==1.0 --python 3.11", 3);
}

/// Whether the reader refuses to copy an egg because it was withdrawn.
#[track_caller]
fn refuses(pool: &Pool, egg: &str) {
    let refused = pool.run("reader", "key", &format!("materialize --into out {egg}"), 1);
    refused.says(&["was withdrawn from remote team"]);
}

#[test]
fn a_rotation_of_keys_forgets_no_withdrawal() {
    let pool = pool();
    pool.ok(WITHDRAW_FOO);
    look(&pool, "reader");
    pool.ok("keygen new");
    pool.ok("trust team new.pub");
    pool.run("cache", "new", "sign team", 0);
    pool.of("reader", "trust team new.pub");
    // The same list comes back with one more signature.
    look(&pool, "reader");
    let removed = pool.of("reader", "trust team --remove key.pub");
    assert!(!removed.stderr.contains("without effect"), "{}", removed.stderr);
    fs::remove_file(path(&pool)).unwrap();
    refuses(&pool, "foo==1.0");
}

#[test]
fn a_signature_counts_whose_key_is_trusted_after_the_list_was_read() {
    let pool = pool();
    pool.ok(WITHDRAW_FOO);
    pool.ok("keygen new");
    pool.ok("trust team new.pub");
    pool.run("cache", "new", "sign team", 0);
    look(&pool, "reader");
    pool.of("reader", "trust team new.pub");
    pool.of("reader", "trust team --remove key.pub");
    refuses(&pool, "foo==1.0");
}

#[test]
fn a_new_key_signs_no_list_that_is_older_than_one_that_was_seen() {
    let pool = pool();
    pool.ok(WITHDRAW_BAR);
    let old = fs::read(path(&pool)).unwrap();
    pool.ok(WITHDRAW_FOO);
    write(&path(&pool), &old);
    pool.ok("keygen new");
    pool.ok("trust team new.pub");
    let report = pool.run("cache", "new", "--json sign team", 0).json();
    assert!(report["left"].to_string().contains("is an old one"), "{report}");
    assert_eq!(fs::read(path(&pool)).unwrap(), old);
}

#[test]
fn withdrawals_by_one_key_survive_the_end_of_another_one_that_signed_later() {
    let pool = pool();
    pool.ok("keygen admin");
    for cache in ["cache", "reader"] {
        pool.of(cache, "trust team admin.pub");
    }
    pool.run("cache", "admin", WITHDRAW_FOO, 0);
    look(&pool, "reader");
    // As a builder does that pushes.
    pool.ok("remote withdraw team");
    look(&pool, "reader");
    for cache in ["cache", "reader"] {
        pool.of(cache, "trust team --remove key.pub");
    }
    refuses(&pool, "foo==1.0");
    let before = list(&pool).number;
    pool.run("cache", "admin", WITHDRAW_BAR, 0);
    assert_eq!(names(&pool), ["bar", "foo"].map(str::to_owned).into());
    assert!(list(&pool).number > before, "newer than what the key of the thief has signed");
}

#[test]
fn a_key_that_gets_limited_to_projects_later_brings_nothing_back() {
    let pool = pool();
    pool.ok(WITHDRAW_FOO);
    look(&pool, "reader");
    pool.of("reader", "trust team key.pub --projects acme.*");
    refuses(&pool, "foo==1.0");
}

#[test]
fn a_remote_that_has_moved_brings_nothing_back() {
    let pool = pool();
    pool.ok(WITHDRAW_FOO);
    look(&pool, "reader");
    let configuration = pool.sandbox.path("reader/remotes.json");
    let text = fs::read_to_string(&configuration).unwrap();
    write(&configuration, text.replace("/pool/", "/elsewhere/").as_bytes());
    refuses(&pool, "foo==1.0");
}

#[test]
fn lost_and_unreadable_remotes_bring_nothing_back() {
    let pool = pool();
    pool.ok(WITHDRAW_FOO);
    look(&pool, "reader");
    let configuration = pool.sandbox.path("reader/remotes.json");
    let newer =
        fs::read_to_string(&configuration).unwrap().replace("\"push\"", "\"newer\":1,\"push\"");
    for damaged in ["{", &newer] {
        write(&configuration, damaged.as_bytes());
        refuses(&pool, "foo==1.0");
        pool.of("reader", "materialize --into out bar==2.0");
    }
    fs::remove_file(&configuration).unwrap();
    refuses(&pool, "foo==1.0");
}

#[test]
fn what_ends_withdrawals_says_how_many() {
    let pool = pool();
    pool.ok(WITHDRAW_FOO);
    pool.ok(WITHDRAW_BAR);
    look(&pool, "reader");
    pool.of("reader", "trust team --remove key.pub")
        .says(&["2 withdrawn builds of remote team are allowed again"]);
    pool.of("reader", "trust team key.pub");
    look(&pool, "reader");
    pool.of("reader", "remote remove team")
        .says(&["2 withdrawn builds of remote team are allowed again"]);
}

/// A pool of which `first` and `second` each have one of two needed keys.
fn strict_pool() -> Pool {
    let pool = pool();
    pool.ok("keygen second");
    let url = pool.sandbox.path("pool").display().to_string();
    for cache in ["first", "other"] {
        let add = format!("remote add team {url} --key key.pub --key second.pub");
        pool.of(cache, &format!("{add} --signatures-needed 2"));
        pool.of(cache, "add eggs");
    }
    pool
}

#[test]
fn one_of_two_keys_removes_nothing_from_the_list() {
    let pool = strict_pool();
    for (cache, key) in [("first", "key"), ("other", "second")] {
        pool.run(cache, key, WITHDRAW_FOO, 0);
    }
    look(&pool, "first");
    look(&pool, "other");
    pool.run("first", "key", "remote withdraw team foo==1.0 --undo", 0);
    assert_eq!(names(&pool), BTreeSet::new());
    // Signing that list needs a decision.
    let refused = pool.run("other", "second", "remote withdraw team", 1);
    refused.says(&["lacks signatures", "foo 1.0"]);
    assert_eq!(line(&pool).signatures.len(), 1);
    pool.run("other", "second", WITHDRAW_BAR, 0);
    assert_eq!(names(&pool), ["bar", "foo"].map(str::to_owned).into());
    pool.run("first", "key", WITHDRAW_BAR, 0);
    assert_eq!((names(&pool).len(), line(&pool).signatures.len()), (2, 2));
}

#[test]
fn one_of_two_keys_does_not_block_the_list_by_filling_it() {
    let pool = strict_pool();
    for (cache, key) in [("first", "key"), ("other", "second")] {
        pool.run(cache, key, WITHDRAW_FOO, 0);
    }
    let mut full = list(&pool);
    full.number += 1;
    full.withdrawn = vec![full.withdrawn[0].clone(); MAX_WITHDRAWN];
    for (number, build) in full.withdrawn.iter_mut().enumerate() {
        build.egg = format!("{number:064x}").parse().unwrap();
    }
    put(&pool, &full, "key");
    pool.run("other", "second", WITHDRAW_BAR, 0);
    assert_eq!(names(&pool), ["bar", "foo"].map(str::to_owned).into());
}

#[test]
fn a_second_key_completes_what_it_allows_again_itself() {
    let pool = strict_pool();
    for (cache, key) in [("first", "key"), ("other", "second")] {
        pool.run(cache, key, WITHDRAW_FOO, 0);
    }
    let undo = "remote withdraw team foo==1.0 --undo";
    pool.run("first", "key", undo, 0);
    pool.run("other", "second", undo, 0);
    assert_eq!((names(&pool).len(), line(&pool).signatures.len()), (0, 2));
}

#[test]
fn a_list_of_another_remote_adds_what_it_withdraws() {
    let pool = pool();
    pool.ok(WITHDRAW_BAR);
    look(&pool, "reader");
    // Anybody who can write the store removes the list, and an administrator who never saw it begins anew.
    fs::remove_file(path(&pool)).unwrap();
    let url = pool.sandbox.path("pool").display().to_string();
    pool.of("admin", &format!("remote add team {url} --key key.pub"));
    pool.of("admin", WITHDRAW_FOO);
    pool.run("reader", "key", "pull gone==1.0 --python 3.11", 1)
        .says(&["is that of another remote"]);
    refuses(&pool, "foo==1.0");
    refuses(&pool, "bar==2.0");
    let shown = pool.run("reader", "key", "remote withdrawals team", 4).stdout;
    assert!(shown.contains("evil") && shown.contains("broken"), "{shown}");
    // The next list of somebody who knows both has all of it.
    pool.of("reader", "remote withdraw team baz==3.0 --reason old");
    assert_eq!(names(&pool), ["bar", "baz", "foo"].map(str::to_owned).into());
    pool.of("reader", "remote withdraw team foo==1.0 --undo");
    pool.of("reader", "materialize --into out foo==1.0");
}

#[test]
fn a_list_that_was_signed_in_the_future_withdraws() {
    let pool = pool();
    pool.ok(WITHDRAW_FOO);
    let mut next = list(&pool);
    next.signed_at += 2 * DAY;
    next.expires_at += 2 * DAY;
    put(&pool, &next, "key");
    let stale = pool.run("reader", "key", "pull gone==1.0 --python 3.11", 1);
    stale.says(&["is signed in the future"]);
    refuses(&pool, "foo==1.0");
    // It is built upon, and its end is a newer list without the build.
    pool.of("reader", "remote withdraw team foo==1.0 --undo");
    assert!(list(&pool).number > next.number);
    pool.of("reader", "materialize --into out foo==1.0");
}

#[test]
fn an_entry_without_a_signature_is_named_only_by_the_full_digest() {
    let pool = pool();
    let url = pool.sandbox.path("pool").display().to_string();
    pool.of("admin", &format!("remote add team {url} --key key.pub"));
    let digest = text(&pool.json("show foo")["digest"]).to_owned();
    // The store hides the real entry, and offers another one whose digest begins as that one.
    let entry = pool.object("entries/foo", "");
    let signed = Signed::parse(fs::read_to_string(&entry).unwrap().trim_end()).unwrap();
    let other = format!("{}{}", &digest[..16], "0".repeat(48));
    let forged = Signed { entry: signed.entry.replace(&digest, &other), signatures: Vec::new() };
    write(&entry, (forged.line() + "\n").as_bytes());
    let withdraw = |digest: &str| format!("remote withdraw team {digest} --reason evil");
    pool.run("admin", "key", &withdraw(&digest[..12]), 3);
    assert!(!path(&pool).exists());
    pool.run("admin", "key", &withdraw(&other), 0);
    assert_eq!(list(&pool).withdrawn[0].egg.to_string(), other);
}
