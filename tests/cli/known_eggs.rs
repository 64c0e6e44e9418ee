//! One egg content is one egg: eggs that the cache has already, with their archive or without.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::damage::flip_last_bit;
use crate::pool::Pool;
use crate::serve::Server;
use crate::support::{Sandbox, assert_same_tree, host, noise, text, touch, write};

/// The SHA-256 of an archive.
fn archive() -> String {
    "ab".repeat(32)
}

fn outcome(sandbox: &Sandbox, line: &str) -> Value {
    sandbox.json(line)["eggs"][0]["outcome"].clone()
}

/// A sandbox whose cache has an egg of a known archive, and a copy of it in `out`.
fn copied() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.egg("foo", "1.0");
    sandbox.ok(&format!("add eggs --source-sha256 {}", archive()));
    sandbox.ok("materialize --into out foo");
    sandbox
}

fn assert_one_of_the_archive(sandbox: &Sandbox) {
    assert_eq!(sandbox.listed(), ["foo==1.0"]);
    assert_eq!(sandbox.json("show foo")["source_sha256"], archive());
    sandbox.ok("verify");
    sandbox.assert_tidy();
}

#[test]
fn eggs_copied_from_the_cache_are_known_to_it() {
    let sandbox = copied();
    let digest = sandbox.digest("foo");
    sandbox.ok("add out").says(&["0 eggs stored", "1 already there"]);
    let added = sandbox.json("add out")["eggs"][0].clone();
    assert_eq!((&added["outcome"], &added["digest"]), (&json!("present"), &Value::Null));
    assert_eq!(added["egg"]["digest"], digest);
    assert_one_of_the_archive(&sandbox);
}

#[test]
fn a_copy_that_got_bytecode_and_other_times_is_known() {
    let sandbox = copied();
    let copy = sandbox.path("out/foo-1.0-py3.11.egg");
    write(&copy.join("__pycache__/foo.cpython-311.pyc"), b"compiled");
    write(&copy.join("__pycache__/foo.cpython-311.opt-1.pyc"), b"compiled");
    touch(&copy.join("foo.py"), 1_000_000_000, 0);
    assert_eq!(outcome(&sandbox, "add out"), "present");
    assert_eq!(outcome(&sandbox, "add out --replace"), "present");
    assert_one_of_the_archive(&sandbox);
}

#[test]
fn an_egg_of_unknown_archive_that_got_bytecode_is_known() {
    let sandbox = Sandbox::new();
    let egg = sandbox.egg("foo", "1.0");
    sandbox.ok("add eggs");
    write(&egg.join("__pycache__/foo.cpython-311.pyc"), b"compiled");
    assert_eq!(outcome(&sandbox, "add eggs"), "present");
    sandbox.assert_tidy();
}

#[test]
fn an_egg_added_by_hand_beside_another_build_is_ambiguous() {
    let sandbox = Sandbox::new();
    sandbox.egg("foo", "1.0");
    sandbox.ok("add eggs");
    let other = sandbox.other_build("foo", "1.0");
    sandbox.ok(&format!("add {} --source-sha256 {}", other.display(), archive()));
    assert_eq!(sandbox.listed().len(), 2);
    for line in ["remove foo --force", "show foo==1.0", "diff foo foo"] {
        sandbox.fails(line, 2).says(&["foo", "is ambiguous: it matches 2 eggs"]);
    }
    assert_eq!(sandbox.listed().len(), 2);
    sandbox.ok("materialize --into out foo");
}

#[test]
fn compiled_files_without_a_source_are_content() {
    let sandbox = Sandbox::new();
    let egg = sandbox.egg_with("foo", "1.0", &[("only.pyc", b"one")]);
    sandbox.ok(&format!("add eggs --source-sha256 {}", archive()));
    write(&egg.join("only.pyc"), b"two");
    assert_eq!(outcome(&sandbox, "add eggs"), "stored");
    assert_eq!(sandbox.listed().len(), 2);
}

#[test]
fn an_egg_with_other_content_or_an_executable_more_is_another() {
    let sandbox = copied();
    let copy = sandbox.path("out/foo-1.0-py3.11.egg");
    crate::support::chmod(&copy.join("foo.py"), 0o755);
    assert_eq!(outcome(&sandbox, "add out"), "stored");
    let sandbox = copied();
    write(&sandbox.path("out/foo-1.0-py3.11.egg/foo.py"), b"x = 2\n");
    assert_eq!(outcome(&sandbox, "add out"), "stored");
}

#[test]
fn an_egg_that_gets_its_archive_later_is_completed() {
    let sandbox = Sandbox::new();
    let egg = sandbox.egg("foo", "1.0");
    sandbox.ok("add eggs");
    sandbox.ok("materialize --into out foo");
    let uses = sandbox.json("show foo")["uses"].clone();
    assert_eq!(uses, 1);
    write(&egg.join("__pycache__/foo.cpython-311.pyc"), b"compiled");
    let old = sandbox.digest("foo");
    let report = sandbox.json(&format!("add eggs --source-sha256 {}", archive()));
    assert_eq!(report["eggs"][0]["outcome"], "replaced");
    assert_eq!(report["eggs"][0]["old"], old);
    assert_one_of_the_archive(&sandbox);
    assert_eq!(sandbox.json("show foo")["uses"], uses);
    assert_eq!(outcome(&sandbox, "add eggs"), "present");
    sandbox.ok("reindex");
    assert_one_of_the_archive(&sandbox);
}

#[test]
fn an_egg_that_a_buildout_builds_completes_the_one_that_was_there_before() {
    let sandbox = Sandbox::new();
    let egg = sandbox.egg("foo", "1.0");
    sandbox.ok("add eggs");
    let mut server = Server::open(&sandbox, &host());
    touch(&egg.join("foo.py"), 1_500_000_000, 0);
    let built = built(&mut server, &egg);
    assert_eq!(built["outcome"], "replaced");
    assert_eq!(server.find("foo").len(), 1);
    server.close();
    assert_one_of_the_archive(&sandbox);
}

/// Offers an egg that was built from an archive, and returns its outcome.
fn built(server: &mut Server, path: &Path) -> Value {
    server.stored(&json!({
        "op": "store", "path": path, "source_sha256": archive(), "variant": "",
        "build_seconds": 1.0,
    }))
}

#[test]
fn the_build_of_an_archive_replaces_a_damaged_egg_that_was_added_by_hand() {
    let sandbox = Sandbox::new();
    sandbox.egg_with("foo", "1.0", &[("large", &noise(600_000))]);
    sandbox.ok("add eggs");
    let digest = sandbox.digest("foo");
    flip_last_bit(&sandbox.blob("foo"));
    let other = sandbox.other_build("foo", "1.0");
    {
        let mut server = Server::open(&sandbox, &host());
        assert_eq!(server.materialize(&sandbox, &digest)["kind"], "unusable");
        assert_eq!(built(&mut server, &other)["outcome"], "replaced");
        server.close();
    }
    // The next buildout is offered the new build only.
    let mut server = Server::open(&sandbox, &host());
    let found = server.find("foo");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(server.materialize(&sandbox, text(&found[0]["digest"]))["outcome"], "copied");
    assert_same_tree(&other, &sandbox.path("out/foo-1.0-py3.11.egg"));
    server.close();
    assert_one_of_the_archive(&sandbox);
}

#[test]
fn the_build_of_an_archive_replaces_an_egg_whose_blob_is_gone() {
    let sandbox = Sandbox::new();
    let blob = sandbox.added("foo", "1.0");
    fs::remove_file(blob).unwrap();
    let other = sandbox.other_build("foo", "1.0");
    let mut server = Server::open(&sandbox, &host());
    assert_eq!(built(&mut server, &other)["outcome"], "replaced");
    server.close();
    assert_one_of_the_archive(&sandbox);
}

/// A pool with two eggs of one name, one of them of a known archive.
fn doubled() -> Pool {
    let pool = Pool::empty();
    let egg = pool.sandbox.egg("foo", "1.0");
    pool.fill();
    // From a cache that does not know the first one.
    write(&egg.join("more.py"), b"y = 1\n");
    pool.of(
        "third",
        &format!("remote add team {} --key key.pub --push", pool.sandbox.path("pool").display()),
    );
    pool.of("third", &format!("add eggs --source-sha256 {}", archive()));
    pool.of("third", "push --all");
    pool
}

#[test]
fn two_remote_eggs_of_which_one_has_no_archive_are_not_ambiguous() {
    let pool = doubled();
    pool.of("reader", "materialize --into out foo==1.0 --python 3.11");
    assert_eq!(pool.eggs("out"), ["foo-1.0-py3.11.egg"]);
    pool.of(
        "fourth",
        &format!("remote add team {} --key key.pub", pool.sandbox.path("pool").display()),
    );
    pool.of("fourth", "pull foo==1.0 --python 3.11").says(&["1 egg pulled"]);
}

#[test]
fn an_egg_on_a_remote_can_be_named_by_its_digest() {
    let pool = doubled();
    for cache in ["cache", "third"] {
        let digest = pool.of(cache, "--json show foo").json()["digest"].clone();
        let digest = text(&digest);
        let reader = format!("reader-of-{cache}");
        pool.of(
            &reader,
            &format!("remote add team {} --key key.pub", pool.sandbox.path("pool").display()),
        );
        pool.of(&reader, &format!("pull {}", &digest[..12])).says(&["1 egg pulled"]);
        pool.of(&reader, &format!("pull {}", &digest[..6])).says(&["1 already there"]);
        assert_eq!(pool.of(&reader, "--json show foo").json()["digest"], digest);
        let reader = format!("second-{cache}");
        pool.of(
            &reader,
            &format!("remote add team {} --key key.pub", pool.sandbox.path("pool").display()),
        );
        pool.of(&reader, &format!("materialize --into {reader}-out {}", &digest[..8]));
    }
    pool.run("reader", "key", "pull 0123456789ab", 3).says(&["no remote has 0123456789ab"]);
}

#[test]
fn a_pulled_egg_completes_the_one_that_was_added_by_hand() {
    let pool = Pool::empty();
    pool.sandbox.egg("foo", "1.0");
    pool.ok(&format!("add eggs --source-sha256 {}", archive()));
    pool.ok("push --all");
    pool.of("reader", "add eggs");
    pool.of("reader", "pull foo==1.0 --python 3.11");
    let eggs = pool.of("reader", "--json list").json()["eggs"].clone();
    assert_eq!(eggs.as_array().unwrap().len(), 1);
    assert_eq!(eggs[0]["source_sha256"], archive());
    // The other way round: what is known stays.
    pool.of("third", "add eggs");
    pool.of(
        "third",
        &format!("remote add team {} --key key.pub --push", pool.sandbox.path("pool").display()),
    );
    pool.of("third", "push --all");
    pool.of("cache", "pull foo-1.0-py3.11.egg --generation 5");
    assert_eq!(pool.of("cache", "--json list").json()["eggs"].as_array().unwrap().len(), 1);
}
