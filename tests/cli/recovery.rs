//! Situations in which a cache could lose eggs, and must not.

use std::fs;

use assert_cmd::Command;

use crate::support::{Mount, Sandbox, as_made_under, assert_same, chmod, names_in, tree, write};

fn with_three() -> Sandbox {
    let sandbox = Sandbox::new();
    for name in ["one", "two", "three"] {
        sandbox.egg(name, "1.0");
    }
    sandbox.ok("add eggs");
    sandbox
}

fn remove_index(sandbox: &Sandbox) {
    for file in names_in(&sandbox.path("cache")) {
        if file.starts_with("index.sqlite") {
            fs::remove_file(sandbox.path("cache").join(file)).unwrap();
        }
    }
}

#[test]
fn a_missing_index_is_rebuilt_automatically() {
    let sandbox = with_three();
    remove_index(&sandbox);
    sandbox.ok("gc").says(&["Removed 0 eggs and 0 orphaned blobs", "3 eggs kept"]);
    assert_eq!(sandbox.listed().len(), 3);
}

#[test]
fn an_interrupted_rebuild_is_repeated_before_gc() {
    // 1. The index is lost. 2. A process creates a new one, and dies before it is filled.
    // 3. Another process collects garbage while every blob is without a row.
    let sandbox = with_three();
    sandbox.sql("DELETE FROM eggs; UPDATE state SET is_complete = 0");
    sandbox.ok("gc").says(&["0 orphaned blobs", "3 eggs kept"]);
    assert_eq!(sandbox.listed().len(), 3);
}

#[test]
fn gc_during_the_rebuild_of_a_lost_index_removes_nothing() {
    for _ in 0..5 {
        let sandbox = with_three();
        remove_index(&sandbox);
        let both: Vec<_> =
            ["list", "gc"].map(|line| sandbox.eggcache(line).spawn().unwrap()).into();
        for mut process in both {
            assert!(process.wait().unwrap().success());
        }
        assert_eq!((sandbox.blobs().len(), sandbox.listed().len()), (3, 3));
    }
}

#[test]
fn an_unreadable_blob_survives_reindex_and_gc() {
    let sandbox = with_three();
    let foreign = sandbox.blob("two");
    chmod(&foreign, 0o000);
    for line in ["reindex", "gc"] {
        let Some(process) = sandbox.as_user(line) else { return };
        drop(Command::from_std(process).assert());
    }
    assert!(foreign.exists());
    assert_eq!(sandbox.listed().len(), 3);
}

#[test]
fn a_blob_of_a_newer_eggcache_survives_a_lost_index_and_gc() {
    let sandbox = with_three();
    let newer = sandbox.blob("two");
    let mut content = fs::read(&newer).unwrap();
    content[8] = 4;
    let checksum = *blake3::hash(&content[..96]).as_bytes();
    content[96..128].copy_from_slice(&checksum);
    chmod(&newer, 0o644);
    write(&newer, &content);
    remove_index(&sandbox);
    assert_eq!(sandbox.listed().len(), 2);
    sandbox.ok("gc");
    assert!(newer.exists());
}

#[test]
fn an_index_with_invalid_rows_is_set_aside() {
    for damage in
        ["UPDATE eggs SET digest = replace(hex(zeroblob(32)), '0', 'z')", "DROP TABLE eggs"]
    {
        let sandbox = Sandbox::new();
        sandbox.added("foo", "1.0");
        sandbox.sql(damage);
        sandbox.fails("list", 1).says(&["index.sqlite is damaged", "eggcache reindex"]);
        sandbox.fails("reindex", 0).says(&["set-aside"]);
        assert_eq!(sandbox.listed(), ["foo==1.0"]);
    }
}

#[test]
fn a_use_that_cannot_be_recorded_is_not_a_failure() {
    let sandbox = with_three();
    let index = rusqlite::Connection::open(sandbox.path("cache/index.sqlite")).unwrap();
    index.execute_batch("BEGIN IMMEDIATE").unwrap();
    sandbox.ok("materialize --into out --all").says(&["3 eggs copied"]);
}

#[test]
fn gc_works_with_very_little_free_space() {
    for free in [0, 8, 40, 60, 100, 500] {
        let sandbox = Sandbox::new();
        for number in 0..20 {
            sandbox.egg(&format!("egg{number}"), "1.0");
        }
        let Some(mount) = Mount::new(&sandbox.path("cache"), "4m") else { return };
        sandbox.ok("add eggs");
        let ballast = mount.fill();
        let size = fs::metadata(&ballast).unwrap().len();
        fs::File::options()
            .write(true)
            .open(&ballast)
            .unwrap()
            .set_len(size.saturating_sub(free << 10))
            .unwrap();
        sandbox.ok("gc --max-size 1").says(&["Removed 20 eggs"]);
    }
}

#[test]
fn a_default_acl_decides_about_modes_as_it_does_for_a_build() {
    let sandbox = Sandbox::new();
    let egg = sandbox.egg_with("foo", "1.0", &[("pkg/mod.py", b"x")]);
    sandbox.ok("add eggs");
    fs::create_dir(sandbox.path("out")).unwrap();
    let set = "import os, struct; entries = (1, 7), (4, 0), (32, 0); \
               os.setxattr('out', 'system.posix_acl_default', struct.pack('<I', 2) + b''.join( \
               struct.pack('<HHI', tag, mode, 0xffffffff) for tag, mode in entries))";
    let done = sandbox.process("python3").args(["-c", set]).status().unwrap();
    if !done.success() {
        return crate::support::skip("this file system has no ACLs");
    }
    for outcome in ["1 egg copied", "1 already there"] {
        sandbox.ok("materialize --into out foo").says(&[outcome]);
    }
    // The list gives group and others nothing.
    let expected = as_made_under("077", &egg);
    assert_same(&expected, &tree(&sandbox.path("out/foo-1.0-py3.11.egg")));
}

#[test]
fn a_fifo_named_like_a_temporary_file_blocks_nothing() {
    let sandbox = with_three();
    fs::create_dir(sandbox.path("out")).unwrap();
    sandbox.shell("mkfifo out/.eggcache-pipe");
    sandbox.ok("materialize --into out one");
    assert!(sandbox.path("out/one-1.0-py3.11.egg").is_dir());
}

#[test]
fn leftovers_without_permissions_are_removed_for_a_user() {
    let sandbox = with_three();
    let left = sandbox.path("out/.eggcache-left");
    write(&left.join("a/b/file"), b"");
    chmod(&sandbox.path("out"), 0o777);
    let sweep = "chmod 000 out/.eggcache-left/a/b out/.eggcache-left/a out/.eggcache-left";
    if sandbox.as_user("list").is_some() {
        sandbox.shell(&format!("chown -R 65534 out; {sweep}"));
    }
    let Some(process) = sandbox.as_user("materialize --into out one") else { return };
    Command::from_std(process).assert().success();
    assert_eq!(names_in(&sandbox.path("out")), ["one-1.0-py3.11.egg"]);
}

#[test]
fn a_link_to_a_folder_of_eggs_is_followed() {
    let sandbox = Sandbox::new();
    sandbox.egg("foo", "1.0");
    std::os::unix::fs::symlink("eggs", sandbox.path("link")).unwrap();
    sandbox.ok("add link");
    assert_eq!(sandbox.listed(), ["foo==1.0"]);
}
