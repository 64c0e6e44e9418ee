//! Commands that only read leave a cache exactly as it is, and make none.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::support::{EGGCACHE, Sandbox, Seen, chmod, names_in, tree, write};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");

/// Every command that only reads, with an egg that is there.
const READERS: [&str; 18] = [
    "list",
    "list fo",
    "show foo",
    "show foo --files",
    "stats",
    "stats --html stats.html",
    "verify",
    "roots",
    "pins",
    "check app",
    "check app --full",
    "bundle app -o app.tar",
    "materialize --preflight --into out foo",
    "materialize --preflight --into out --all",
    "gc --dry-run",
    "gc --dry-run --max-size 0",
    "remote list",
    "completions bash",
];

/// Everything in and about a directory that a command could change.
fn state(root: &Path) -> BTreeMap<PathBuf, (u64, Seen)> {
    let inode = |path: &Path| root.join(path).symlink_metadata().unwrap().ino();
    tree(root).into_iter().map(|(path, seen)| (path.clone(), (inode(&path), seen))).collect()
}

/// A buildout whose eggs come from the cache, and the cache as the last writer has left it.
fn prepared() -> Sandbox {
    let sandbox = Sandbox::with_two();
    sandbox.ok("pin foo");
    sandbox.ok("materialize --into app/eggs --all");
    write(&sandbox.path("app/buildout.cfg"), b"[buildout]\n");
    sandbox
}

fn completed(sandbox: &Sandbox, typed: &str) -> String {
    let mut process = sandbox.process(EGGCACHE);
    process.args(["--", "eggcache", "--cache", "cache", "show", typed]);
    process.env("EGGCACHE_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", "4");
    String::from_utf8(process.output().unwrap().stdout).unwrap()
}

/// Runs every reader and asserts that the cache is unchanged and that each exits with success.
#[track_caller]
fn assert_untouched(sandbox: &Sandbox, what: &str) {
    let cache = sandbox.path("cache");
    let before = state(&cache);
    for line in READERS {
        let output = sandbox.eggcache(line).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{what}: {line}: {text}");
        assert_eq!(before, state(&cache), "{what}: {line}");
    }
    let names = completed(sandbox, "fo");
    assert!(names == "foo" || what.contains("index"), "{what}: {names}");
    assert_eq!(before, state(&cache), "{what}: completion");
}

/// An index that a writer has open, with a committed change that is only in the log, and a change
/// that is not committed.
fn written(sandbox: &Sandbox) -> Connection {
    let index = Connection::open(sandbox.path("cache/index.sqlite")).unwrap();
    let mode: String =
        index.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    index
        .execute_batch(
            "UPDATE eggs SET uses = 5;
             BEGIN IMMEDIATE; UPDATE eggs SET uses = 99",
        )
        .unwrap();
    index
}

fn uses(sandbox: &Sandbox) -> u64 {
    sandbox.json("show foo")["uses"].as_u64().unwrap()
}

/// Copies the cache as it is, as a crash of the writer would leave it, and makes the copy the cache.
fn crash(sandbox: &Sandbox, writer: Connection) {
    sandbox.shell("cp -a cache copy");
    drop(writer);
    sandbox.shell("mv cache before && mv copy cache");
}

#[test]
fn a_cache_at_rest_is_untouched_by_readers() {
    let sandbox = prepared();
    assert!(!sandbox.path("cache/index.sqlite-wal").exists());
    assert_untouched(&sandbox, "at rest");
}

#[test]
fn readers_beside_a_writer_see_what_is_committed_and_keep_its_files() {
    let sandbox = prepared();
    let writer = written(&sandbox);
    assert_untouched(&sandbox, "beside a writer");
    assert_eq!(uses(&sandbox), 5);
    writer.execute_batch("COMMIT").unwrap();
    assert_eq!(uses(&sandbox), 99);
    writer.close().unwrap();
    assert_eq!(uses(&sandbox), 99);
    assert_untouched(&sandbox, "after the writer");
}

#[test]
fn the_log_of_a_dead_writer_is_read_and_kept() {
    let sandbox = prepared();
    let writer = written(&sandbox);
    crash(&sandbox, writer);
    assert!(sandbox.path("cache/index.sqlite-wal").metadata().unwrap().len() > 0);
    assert_eq!(uses(&sandbox), 5);
    assert_untouched(&sandbox, "with the log of a dead writer");
}

#[test]
fn a_log_without_its_shared_memory_is_read_and_kept() {
    let sandbox = prepared();
    let writer = written(&sandbox);
    crash(&sandbox, writer);
    fs::remove_file(sandbox.path("cache/index.sqlite-shm")).unwrap();
    assert_eq!(uses(&sandbox), 5);
    assert_untouched(&sandbox, "with a log alone");
}

#[test]
fn the_rollback_journal_of_a_dead_writer_is_read_and_kept() {
    let sandbox = prepared();
    let index = Connection::open(sandbox.path("cache/index.sqlite")).unwrap();
    index.pragma_update(None, "journal_mode", "delete").unwrap();
    // So few pages in memory that changed ones are written before the commit.
    index
        .execute_batch("PRAGMA cache_size = 1; PRAGMA synchronous = OFF; BEGIN IMMEDIATE")
        .unwrap();
    for _ in 0..200 {
        let change = "INSERT INTO regrets SELECT NULL, digest, file_name, name, version, python, \
                      abi, platform, libc, generation, source_sha256, variant, environment, \
                      spelling, 1, 1, 1, 'max-age', 1, NULL FROM eggs; UPDATE eggs SET uses = 99";
        index.execute_batch(change).unwrap();
    }
    crash(&sandbox, index);
    assert!(sandbox.path("cache/index.sqlite-journal").metadata().unwrap().len() > 0);
    assert_eq!(uses(&sandbox), 1);
    assert_untouched(&sandbox, "with a rollback journal");
}

#[test]
fn an_index_with_a_rollback_journal_mode_is_untouched() {
    let sandbox = prepared();
    let index = Connection::open(sandbox.path("cache/index.sqlite")).unwrap();
    index.pragma_update(None, "journal_mode", "delete").unwrap();
    assert_untouched(&sandbox, "in another journal mode");
    index.execute_batch("BEGIN IMMEDIATE; UPDATE eggs SET uses = 99").unwrap();
    assert_eq!(uses(&sandbox), 1);
    assert_untouched(&sandbox, "in another journal mode, beside a writer");
}

#[test]
fn a_lost_index_is_rebuilt_in_memory_only() {
    let sandbox = prepared();
    sandbox.lose_index();
    sandbox.ok("list").says(&["the index is missing", "eggcache reindex"]);
    assert_untouched(&sandbox, "without an index");
    let sandbox = prepared();
    sandbox.sql("DELETE FROM eggs; UPDATE state SET is_complete = 0");
    assert_untouched(&sandbox, "with half an index");
}

#[test]
fn a_damaged_index_is_reported_and_left() {
    let sandbox = prepared();
    crate::damage::scribble(&sandbox.path("cache/index.sqlite"));
    let before = state(&sandbox.path("cache"));
    for (line, code) in [("list", 1), ("show foo", 1), ("verify", 4), ("gc --dry-run", 1)] {
        sandbox.fails(line, code).says(&["index.sqlite", "eggcache reindex"]);
        assert_eq!(before, state(&sandbox.path("cache")), "{line}");
    }
}

#[test]
fn an_older_schema_is_read_without_being_migrated() {
    for old in names_in(Path::new(DATA)).iter().filter(|name| name.starts_with("format-")) {
        let sandbox = Sandbox::new();
        sandbox.shell(&format!("cp -r '{DATA}/{old}' cache && chmod 444 cache/blobs/*/*"));
        // Otherwise `verify` reports that others can read it.
        chmod(&sandbox.path("cache"), 0o700);
        let before = state(&sandbox.path("cache"));
        assert_eq!(sandbox.listed(), crate::old_caches::eggs_of(old), "{old}");
        for line in ["stats", "verify", "roots", "pins", "gc --dry-run", "show two"] {
            sandbox.ok(line);
        }
        assert_eq!(before, state(&sandbox.path("cache")), "{old}");
    }
}

#[test]
fn readers_make_no_cache_and_say_that_there_is_none() {
    let sandbox = Sandbox::new();
    write(&sandbox.path("app/buildout.cfg"), b"[buildout]\n");
    fs::create_dir(sandbox.path("app/eggs")).unwrap();
    for line in READERS.iter().filter(|line| !line.contains("foo")) {
        sandbox.ok(line);
        assert!(!sandbox.path("cache").exists(), "{line}");
    }
    for line in ["list", "stats", "verify", "roots", "pins", "gc --dry-run", "remote list"] {
        sandbox.ok(line).says(&["there is no cache at cache yet"]);
    }
    sandbox.fails("show foo", 3);
    sandbox.fails("materialize --preflight --into out foo", 3);
    assert_eq!(completed(&sandbox, "fo"), "");
    assert_eq!(sandbox.json("list")["eggs"], serde_json::json!([]));
    assert_eq!(sandbox.ok("--quiet list").stderr, "");
    assert!(!sandbox.path("cache").exists());

    fs::create_dir(sandbox.path("cache")).unwrap();
    let before = state(&sandbox.path("cache"));
    for line in ["list", "stats", "verify", "roots", "pins", "gc --dry-run"] {
        sandbox.ok(line);
    }
    assert_eq!(before, state(&sandbox.path("cache")));
}

#[test]
fn what_changes_a_cache_needs_one() {
    let sandbox = Sandbox::new();
    for line in ["verify --repair", "unpin foo", "roots --forget app", "remote remove team"] {
        sandbox.fails(line, 1).says(&["there is no cache at", "--cache"]);
        assert!(!sandbox.path("cache").exists(), "{line}");
    }
}
