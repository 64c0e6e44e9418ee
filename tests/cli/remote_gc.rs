//! `remote gc`: what it removes and keeps, and that a simultaneous push ends complete.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::pool::{DAY, Pool, age};
use crate::serve::Server;
use crate::support::{host, noise, text, write};

/// A pool with three versions of foo and one of bar, all pushed 100 days ago.
fn with_three() -> Pool {
    let pool = Pool::empty();
    for version in ["1.0", "1.1", "1.2"] {
        pool.sandbox.egg("foo", version);
    }
    pool.sandbox.egg("bar", "2.0");
    pool.fill();
    pool.age("pool", 100 * DAY);
    pool
}

fn versions(report: &Value, list: &str) -> Vec<String> {
    let eggs = report[list].as_array().unwrap().iter();
    eggs.map(|egg| format!("{}=={}", text(&egg["name"]), text(&egg["version"]))).collect()
}

/// `name==version` of every entry in the pool.
fn left(pool: &Pool) -> Vec<String> {
    versions(&pool.json("remote gc team --dry-run"), "kept_eggs")
}

#[test]
fn superseded_versions_lose_their_lines_entries_and_blobs() {
    let pool = with_three();
    let set = pool
        .write_set(&[pool.object("entries/foo", "foo-1.0"), pool.object("entries/bar", "bar-2.0")]);
    pool.ok("remote gc team --keep-versions 1").says(&["removed 2 eggs and 2 blobs"]);
    assert_eq!(left(&pool), ["bar==2.0", "foo==1.2"]);
    pool.ok("remote verify team --full").says(&["2 entries, 2 blobs", "no problem"]);
    let list = fs::read_to_string(pool.object("projects/foo", "")).unwrap();
    assert_eq!((list.lines().count(), list.contains("foo-1.2")), (1, true));
    let set = fs::read_to_string(set).unwrap();
    assert_eq!((set.lines().count(), set.contains("bar-2.0")), (1, true));
    pool.of("reader", "pull foo==1.2 bar==2.0 --python 3.11");
    pool.run("reader", "key", "pull foo==1.0 --python 3.11", 3);
}

#[test]
fn a_dry_run_prints_the_same_and_removes_nothing() {
    let pool = with_three();
    let before = pool.content();
    let planned = pool.ok("remote gc team --keep-versions 1 --dry-run");
    planned.says(&["would remove 2 eggs and 2 blobs"]);
    assert!(planned.stdout.contains("superseded version"), "{}", planned.stdout);
    let verbose = pool.ok("remote gc team --keep-versions 1 --dry-run --verbose").stdout;
    assert!(verbose.contains("keep") && verbose.contains("newest version"), "{verbose}");
    assert_eq!(pool.content(), before);
    assert_eq!(pool.ok("remote gc team --keep-versions 1").stdout, planned.stdout);
}

#[test]
fn max_age_evicts_by_the_age_of_the_entry() {
    let pool = with_three();
    age(&pool.object("entries/foo", "foo-1.1"), DAY);
    pool.ok("remote gc team --max-age 30d");
    assert_eq!(left(&pool), ["foo==1.1"]);
    pool.ok("remote verify team --full");
}

#[test]
fn without_a_rule_every_egg_stays() {
    let pool = with_three();
    let before = pool.content();
    pool.ok("remote gc team").says(&["removed 0 eggs and 0 blobs", "4 eggs kept"]);
    assert_eq!(pool.content(), before);
}

#[test]
fn pinned_eggs_and_eggs_that_a_buildout_uses_stay() {
    let pool = with_three();
    pool.ok("pin foo==1.0");
    let digest = pool.sandbox.digest("foo==1.1");
    let mut server = Server::open(&pool.sandbox, &host());
    server.materialize(&pool.sandbox, &digest);
    server.register(&pool.sandbox, &["foo-1.1-py3.11.egg"]);
    server.close_with(&json!({"pushed": 0}));
    let report = pool.json("remote gc team --max-age 1d");
    assert_eq!(versions(&report, "evicted"), ["bar==2.0", "foo==1.2"]);
    let reasons: Vec<&str> =
        report["kept_eggs"].as_array().unwrap().iter().map(|it| text(&it["reason"])).collect();
    assert_eq!(reasons, ["pinned", "root"]);
}

#[test]
fn using_another_build_of_an_egg_also_keeps_the_remote_one() {
    let pool = Pool::empty();
    pool.sandbox.egg("foo", "1.0");
    pool.fill();
    pool.age("pool", 100 * DAY);
    let other = pool.sandbox.other_build("foo", "1.0");
    pool.ok(&format!("add --replace {}", other.display()));
    let digest = pool.sandbox.digest("foo==1.0");
    let mut server = Server::open(&pool.sandbox, &host());
    server.materialize(&pool.sandbox, &digest);
    server.register(&pool.sandbox, &["foo-1.0-py3.11.egg"]);
    server.close_with(&json!({"pushed": 0}));
    let report = pool.json("remote gc team --max-age 1d");
    assert_eq!(report["evicted"], json!([]));
}

#[test]
fn an_orphaned_blob_is_removed_after_the_grace_period() {
    let pool = with_three();
    let orphan = |digit: &str, days: i64| {
        let digest = digit.repeat(32);
        let path = pool.sandbox.path(&format!("pool/v1/blobs/{digit}/{digest}"));
        write(&path, b"orphan");
        age(&path, days * DAY);
        path
    };
    let (old, young, new) = (orphan("0a", 9), orphan("0b", 3), orphan("0c", 0));
    let output = pool.ok("remote gc team --grace 7d");
    output.says(&["removed 0 eggs and 1 blob", "2 unreferenced blobs kept for now"]);
    assert!(!old.exists() && young.exists() && new.exists());
    pool.ok("remote gc team");
    assert!(!young.exists() && new.exists());
}

#[test]
fn a_young_blob_of_an_evicted_egg_stays() {
    let pool = with_three();
    pool.age("pool/v1/blobs", 60);
    pool.ok("remote gc team --max-age 30d").says(&["removed 4 eggs and 0 blobs"]);
    assert_eq!(pool.sandbox.shell("find pool/v1/blobs -type f | wc -l").stdout.trim(), "4");
    pool.age("pool/v1/blobs", 2 * DAY);
    pool.ok("remote gc team --max-age 30d").says(&["removed 0 eggs and 4 blobs"]);
    assert_eq!(pool.objects().len(), 2, "two empty lists: {:?}", pool.objects());
}

#[test]
fn leases_older_than_a_day_are_removed() {
    let pool = with_three();
    let lease = |digit: &str, seconds: i64| {
        let path = pool.sandbox.path(&format!("pool/v1/leases/{}", digit.repeat(32)));
        write(&path, b"{}");
        age(&path, seconds);
        path
    };
    let (old, young) = (lease("0a", DAY + 60), lease("0b", DAY - 60));
    pool.ok("remote gc team").says(&["1 old lease"]);
    assert!(!old.exists() && young.exists());
}

#[test]
fn a_set_without_remaining_lines_is_removed() {
    let pool = with_three();
    let set = pool.write_set(&[pool.object("entries/foo", "foo-1.0")]);
    pool.ok("remote gc team --keep-versions 1");
    assert!(!set.exists());
}

#[test]
fn untrusted_entries_are_kept_until_requested_otherwise() {
    let pool = with_three();
    pool.ok("keygen new");
    pool.ok("trust team new.pub");
    pool.ok("trust team --remove key.pub");
    let before = pool.content();
    pool.ok("remote gc team --max-age 1d").says(&["which is not trusted; kept", "--untrusted"]);
    assert_eq!(pool.content(), before);
    // They block pushes of the same eggs with a trusted key.
    pool.run("cache", "new", "push --all", 1).says(&["is refused"]);
    pool.ok("remote gc team --untrusted").says(&["removed 4 eggs and 4 blobs"]);
    pool.run("cache", "new", "push --all", 0).says(&["4 eggs pushed"]);
    pool.ok("remote verify team --full").says(&["4 entries, 4 blobs", "no problem"]);
}

#[test]
fn an_entry_of_a_newer_eggcache_keeps_all_blobs() {
    let pool = with_three();
    let newer = json!({"entry": "{\"format\":9}", "signatures": []}).to_string() + "\n";
    let entry = format!("pool/v1/entries/foo/{}", "9".repeat(64));
    write(&pool.sandbox.path(&entry), newer.as_bytes());
    let blobs = pool.sandbox.shell("find pool/v1/blobs -type f | wc -l").stdout;
    let output = pool.ok("remote gc team --max-age 1d --untrusted");
    output.says(&["all blobs are kept, because a newer eggcache has written an entry"]);
    assert_eq!(pool.sandbox.shell("find pool/v1/blobs -type f | wc -l").stdout, blobs);
    assert!(pool.sandbox.path(&entry).exists());
}

#[test]
fn a_blob_named_only_by_a_line_stays() {
    let pool = with_three();
    let blob = pool.blob("bar", "");
    fs::remove_file(pool.object("entries/bar", "")).unwrap();
    pool.ok("remote gc team");
    assert!(blob.exists());
    pool.ok("remote verify team --repair");
    pool.ok("remote gc team").says(&["1 blob"]);
    assert!(!blob.exists());
}

#[test]
fn pushing_evicted_eggs_again_is_complete() {
    let pool = with_three();
    pool.ok("remote gc team --max-age 1d");
    assert_eq!(left(&pool), [""; 0]);
    pool.ok("push --all").says(&["4 eggs pushed"]);
    pool.ok("remote verify team --full").says(&["4 entries, 4 blobs", "2 project lists"]);
}

#[test]
fn a_push_repairs_an_entry_without_a_blob() {
    let pool = with_three();
    fs::remove_file(pool.blob("foo", "foo-1.0")).unwrap();
    fs::remove_file(pool.blob("foo", "foo-1.1")).unwrap();
    let other = pool.sandbox.other_build("foo", "1.1");
    pool.ok(&format!("add --replace {}", other.display()));
    let digest = pool.sandbox.digest("foo==1.1");
    pool.ok("push --all").says(&["2 eggs pushed", "2 already there"]);
    pool.ok("remote verify team --full").says(&["no problem"]);
    pool.of("reader", "pull foo==1.1 --python 3.11");
    let shown = pool.of("reader", "--json show foo==1.1").json();
    assert_eq!(text(&shown["digest"]), digest, "the build without a blob is not pulled");
}

/// Runs both at once, again and again: at no time does an entry dangle, and the next push completes
/// everything.
#[test]
fn a_push_during_gc_ends_complete() {
    let pool = Pool::empty();
    // So large that a blob in the remote is not sent again.
    pool.sandbox.egg_with("large", "1.0", &[("noise", &noise(3 << 20))]);
    for version in ["1.0", "1.1", "1.2"] {
        pool.sandbox.egg("foo", version);
    }
    pool.fill();
    for round in 0..16 {
        pool.age("pool", 100 * DAY);
        let lines = ["push --all", "remote gc team --max-age 1d"];
        let both = lines.map(|line| {
            let mut process = pool.sandbox.eggcache(line);
            process.env("EGGCACHE_SIGNING_KEY", "key").stdout(Stdio::null()).stderr(Stdio::null());
            process
        });
        let [mut one, mut other] = both;
        if round % 2 == 1 {
            std::mem::swap(&mut one, &mut other);
        }
        let mut one = one.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(4 * round));
        assert!(other.status().unwrap().success());
        assert!(one.wait().unwrap().success());
        let problems = pool.problems("--full");
        let is_of_lists = |(kind, _): &(String, String)| kind == "list";
        assert!(problems.iter().all(is_of_lists), "round {round}: {problems:?}");
        pool.ok("push --all");
        let output = pool.ok("remote verify team --full");
        output.says(&["4 entries, 4 blobs", "no problem"]);
    }
}

/// An interrupted push or `gc` may only leave an entry that is missing from its list.
fn assert_no_dangling_names(pool: &Pool, when: &str) {
    let problems = pool.problems("--full");
    let is_harmless = |(kind, what): &(String, String)| {
        kind == "list" && what.starts_with("it is not in the list of its project")
    };
    assert!(problems.iter().all(is_harmless), "{when}: {problems:?}");
}

/// Starts a command, kills it after this time, and returns whether it was still running.
fn cut_off(pool: &Pool, line: &str, after: u64) -> bool {
    let mut process = pool.sandbox.eggcache(line);
    process.env("EGGCACHE_SIGNING_KEY", "key").stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = process.spawn().unwrap();
    std::thread::sleep(Duration::from_millis(after));
    process.kill().unwrap();
    !process.wait().unwrap().success()
}

/// A pool of twenty eggs, one of them large, that are not pushed yet.
fn with_twenty() -> Pool {
    let pool = Pool::empty();
    pool.sandbox.egg_with("large", "1.0", &[("noise", &noise(3 << 20))]);
    for number in 0..19 {
        pool.sandbox.egg(&format!("egg{number}"), "1.0");
    }
    pool.ok("add eggs");
    pool
}

#[test]
fn an_interrupted_push_leaves_no_dangling_names() {
    let pool = with_twenty();
    let mut cuts = 0;
    for after in (2..60).step_by(4) {
        let folder = pool.sandbox.path("pool");
        fs::create_dir(&folder).unwrap();
        cuts += usize::from(cut_off(&pool, "push --all", after));
        assert_no_dangling_names(&pool, &format!("after {after} ms"));
        fs::remove_dir_all(folder).unwrap();
    }
    assert!(cuts > 1, "only {cuts} were cut off");
    pool.ok("push --all");
    pool.ok("remote verify team --full").says(&["20 entries, 20 blobs", "no problem"]);
}

#[test]
fn an_interrupted_gc_leaves_no_dangling_names() {
    let pool = with_twenty();
    let mut cuts = 0;
    for after in (2..60).step_by(4) {
        pool.ok("push --all");
        pool.age("pool", 100 * DAY);
        cuts += usize::from(cut_off(&pool, "remote gc team --max-age 1d", after));
        assert_no_dangling_names(&pool, &format!("after {after} ms"));
    }
    assert!(cuts > 1, "only {cuts} were cut off");
    pool.age("pool", 100 * DAY);
    pool.ok("remote gc team --max-age 1d");
    pool.ok("remote verify team").says(&["0 entries, 0 blobs", "no problem"]);
}
