//! `remote verify` finds every problem of a remote, and repairs what can be repaired.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::damage::flip_last_bit;
use crate::pool::{Pool, entry_text};
use crate::support::write;

/// Changes the first line of a list, a set or an entry.
fn change(path: &Path, by: impl Fn(&str) -> String) {
    let text = fs::read_to_string(path).unwrap();
    let (first, rest) = text.split_once('\n').unwrap();
    fs::write(path, by(first) + rest).unwrap();
}

fn line_of(entry: &str) -> String {
    serde_json::json!({"entry": entry, "signatures": []}).to_string() + "\n"
}

fn entry(pool: &Pool, egg: &str) -> PathBuf {
    pool.object(&format!("entries/{egg}"), "")
}

#[test]
fn a_pushed_pool_has_no_problem() {
    let pool = Pool::with_two();
    pool.ok("remote verify team").says(&["2 entries, 2 blobs", "2 project lists", "no problem"]);
    let report = pool.json("remote verify team --full");
    assert_eq!(report["bytes"], report["blob_bytes"]);
    assert_eq!((report["entries"].as_u64(), report["sets"].as_u64()), (Some(2), Some(0)));
    let before = pool.content();
    pool.ok("remote verify team --repair");
    assert_eq!(pool.content(), before);
}

type Damage = fn(&Pool);

/// Damage to a pool with `foo` and `bar`, the problems found, and whether `--repair` repairs it.
const DAMAGES: [(&str, Damage, &[&str], bool); 15] = [
    (
        "a blob is missing",
        |pool| fs::remove_file(pool.blob("foo", "")).unwrap(),
        &["missing"],
        false,
    ),
    (
        "a blob is truncated",
        |pool| fs::write(pool.blob("foo", ""), "").unwrap(),
        &["damaged"],
        false,
    ),
    (
        "an entry is not an entry",
        |pool| fs::write(entry(pool, "foo"), "{}\n").unwrap(),
        &["damaged"],
        false,
    ),
    ("an entry is empty", |pool| fs::write(entry(pool, "foo"), "").unwrap(), &["damaged"], false),
    (
        "an entry has a second name",
        |pool| {
            let name = format!("v1/entries/foo/{}", "a".repeat(64));
            fs::copy(entry(pool, "foo"), pool.sandbox.path("pool").join(name)).unwrap();
        },
        &["misplaced"],
        false,
    ),
    (
        "an entry was changed",
        |pool| change(&entry(pool, "foo"), |line| line.replace("py3.11.egg", "py3.12.egg") + "\n"),
        &["untrusted"],
        false,
    ),
    (
        "an entry is not signed",
        |pool| {
            let path = entry(pool, "foo");
            fs::write(&path, line_of(&entry_text(&path))).unwrap();
        },
        &["untrusted"],
        false,
    ),
    (
        "an entry is from a newer eggcache",
        |pool| fs::write(entry(pool, "foo"), line_of("{\"format\":9}")).unwrap(),
        &["unreadable"],
        false,
    ),
    (
        "a list is missing",
        |pool| fs::remove_file(pool.object("projects/foo", "")).unwrap(),
        &["list"],
        true,
    ),
    (
        "a line of a list is damaged",
        |pool| change(&pool.object("projects/foo", ""), |line| line[1..].to_owned() + "\n"),
        &["list", "list"],
        true,
    ),
    (
        "a list contradicts an entry",
        |pool| {
            let path = pool.object("projects/foo", "");
            change(&path, |line| line.replace("foo-1.0", "foo-1.1") + "\n");
        },
        &["list"],
        true,
    ),
    (
        "a line is duplicated",
        |pool| change(&pool.object("projects/foo", ""), |line| format!("{line}\n{line}\n")),
        &["list"],
        true,
    ),
    (
        "a line is in the list of another project",
        |pool| {
            let line = fs::read(entry(pool, "foo")).unwrap();
            let list = pool.object("projects/bar", "");
            fs::write(&list, [fs::read(&list).unwrap(), line].concat()).unwrap();
        },
        &["list"],
        true,
    ),
    (
        "an entry named in a list and a set is missing",
        |pool| {
            pool.write_set(&[entry(pool, "foo"), entry(pool, "bar")]);
            fs::remove_file(entry(pool, "foo")).unwrap();
        },
        &["list", "set"],
        true,
    ),
    (
        "a foreign file is present",
        |pool| write(&pool.sandbox.path("pool/v1/blobs/notes.txt"), b"notes"),
        &["foreign"],
        false,
    ),
];

/// The set of a buildout stays as it was while one of its builds is withdrawn and has no successor.
#[test]
fn the_lines_of_withdrawn_builds_in_a_set_are_no_problem() {
    let pool = Pool::with_two();
    pool.write_set(&[entry(&pool, "foo"), entry(&pool, "bar")]);
    pool.ok("remote withdraw team foo==1.0 bar==2.0 --reason evil");
    pool.sandbox.other_build("foo", "1.0");
    pool.ok("add --replace other");
    pool.ok("push foo");
    pool.ok("remote verify team").says(&["2 builds withdrawn", "no problem"]);
    pool.ok("remote withdraw team bar --undo");
    let foo = pool.run("cache", "key", "remote withdrawals team --json", 0).json()["withdrawn"][0]
        ["egg"]
        .clone();
    pool.ok(&format!("remote withdraw team {} --undo", foo.as_str().unwrap()));
    assert_eq!(pool.problems("")[0].0, "set", "the line of another build that is allowed");
}

#[test]
fn every_kind_of_damage_is_found_and_lists_are_repaired() {
    for (what, damage, kinds, is_mended) in DAMAGES {
        let pool = Pool::with_two();
        damage(&pool);
        let found = pool.problems("");
        let found: Vec<&str> = found.iter().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(found, kinds, "{what}");
        let code = if kinds.is_empty() { 0 } else { 4 };
        pool.run("cache", "key", "remote verify team", code);
        pool.run("cache", "key", "remote verify team --repair", if is_mended { 0 } else { 4 });
        let left: Vec<(String, String)> = pool.problems("");
        assert_eq!(left.is_empty(), is_mended, "{what}: {left:?}");
        assert!(left.iter().all(|(kind, _)| kind != "list" && kind != "set"), "{what}: {left:?}");
    }
}

#[test]
fn a_flipped_bit_is_found_by_a_full_verification() {
    let pool = Pool::with_two();
    let blob = pool.blob("foo", "");
    let mut bytes = fs::read(&blob).unwrap();
    bytes[200] ^= 1;
    fs::write(&blob, bytes).unwrap();
    assert_eq!(pool.problems(""), []);
    let [(kind, what)] = &pool.problems("--full")[..] else { panic!("one problem") };
    assert_eq!((kind.as_str(), what.as_str()), ("damaged", "its bytes do not match its name"));
}

#[test]
fn a_damaged_blob_is_removed_and_pushed_again() {
    let pool = Pool::with_two();
    let blob = pool.blob("foo", "");
    let sound = fs::read(&blob).unwrap();
    flip_last_bit(&blob);
    pool.ok("push --all").says(&["2 already there"]);
    pool.run("cache", "key", "remote verify team --full --repair", 0).says(&["removed"]);
    assert!(!blob.exists());
    pool.ok("push --all").says(&["1 egg pushed"]);
    assert_eq!(fs::read(&blob).unwrap(), sound);
    pool.ok("remote verify team --full").says(&["no problem"]);
}

#[test]
fn a_signed_line_stays_although_its_entry_lost_its_signature() {
    let pool = Pool::with_two();
    let path = entry(&pool, "foo");
    fs::write(&path, line_of(&entry_text(&path))).unwrap();
    pool.run("cache", "key", "remote verify team --repair", 4);
    pool.of("reader", "pull foo==1.0 --python 3.11").says(&["1 egg pulled"]);
}

#[test]
fn an_entry_signed_by_an_untrusted_key_is_reported_with_the_key() {
    let pool = Pool::with_two();
    pool.ok("keygen stranger");
    pool.ok("trust team stranger.pub");
    pool.ok("trust team --remove key.pub");
    let output = pool.run("cache", "key", "remote verify team", 4);
    output.says(&["2 entries are signed by key", "which is not trusted", "trust team FILE.pub"]);
    output.says(&["2 problems"]);
    assert_eq!(output.stderr.matches("signed by").count(), 1, "{}", output.stderr);
    let verbose = pool.run("cache", "key", "-v remote verify team", 4);
    verbose.says(&["foo-1.0-py3.11.egg", "bar-2.0-py3.11.egg"]);
    pool.ok("trust team key.pub --projects foo");
    pool.ok("trust team --remove stranger.pub");
    pool.ok("trust team --remove key.pub");
    fs::remove_file(entry(&pool, "bar")).unwrap();
    fs::remove_file(pool.object("projects/bar", "")).unwrap();
    let one = pool.run("cache", "key", "remote verify team", 4);
    one.says(&["foo-1.0-py3.11.egg (v1/entries/foo/", "is signed by key", "1 problem"]);
    pool.ok("trust team key.pub --until 2020-01-01");
    pool.run("cache", "key", "remote verify team", 4).says(&["which was trusted until 2020-01-01"]);
}

#[test]
fn an_orphaned_remote_blob_is_not_a_problem() {
    let pool = Pool::with_two();
    let digest = "0b".repeat(32);
    write(&pool.sandbox.path(&format!("pool/v1/blobs/0b/{digest}")), b"half");
    pool.ok("remote verify team").says(&["no problem", "1 unreferenced blob (4 B)"]);
    assert_eq!(pool.json("remote verify team")["orphans"], serde_json::json!([digest]));
}

#[test]
fn a_rebuilt_list_equals_the_original() {
    let pool = Pool::with_two();
    let before = pool.content();
    fs::remove_dir_all(pool.sandbox.path("pool/v1/projects")).unwrap();
    pool.ok("remote verify team --repair")
        .says(&["rewritten from the entries", "2 problems repaired"]);
    assert_eq!(pool.content(), before);
    pool.of("reader", "pull foo==1.0 --python 3.11");
}

#[test]
fn verifying_a_web_server_fails_with_an_explanation() {
    let pool = Pool::empty();
    pool.ok("remote add mirror http://127.0.0.1:9/ --key key.pub");
    for line in ["remote verify mirror", "remote gc mirror", "sign mirror"] {
        let output = pool.run("cache", "key", line, 1);
        output.says(&["remote mirror: a web server"]);
    }
    let missing = pool.run("cache", "key", "remote verify tema", 3);
    missing.says(&["there is no remote tema\nhint: the nearest is team\n"]);
}

#[test]
fn an_empty_folder_is_a_remote_without_problems() {
    let pool = Pool::empty();
    fs::create_dir(pool.sandbox.path("pool")).unwrap();
    let report: Value = pool.json("remote verify team --full --repair");
    assert_eq!((&report["entries"], &report["problems"]), (&0.into(), &serde_json::json!([])));
}
