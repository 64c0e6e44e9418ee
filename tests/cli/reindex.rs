//! `eggcache reindex`: the index is disposable, the blobs are not.

use std::fs;

use crate::damage::{flip_last_bit, overwrite, scribble};
use crate::support::{Sandbox, names_in, noise, text, write};

fn with_three() -> Sandbox {
    let sandbox = Sandbox::new();
    for name in ["foo", "bar", "baz"] {
        sandbox.egg(name, "1.0");
    }
    sandbox.ok("add eggs --environment el9");
    sandbox
}

fn remove_index(sandbox: &Sandbox) {
    for name in names_in(&sandbox.path("cache")) {
        if name.starts_with("index.sqlite") {
            fs::remove_file(sandbox.path("cache").join(name)).unwrap();
        }
    }
}

fn set_aside(sandbox: &Sandbox) -> Vec<String> {
    let mut names = names_in(&sandbox.path("cache"));
    names.retain(|name| name.contains("set-aside"));
    names
}

/// What `list` says, without the time of the last use: it is in no blob, and a new index takes
/// the time of packing, which can be a second earlier.
fn all_but_last_use(sandbox: &Sandbox) -> serde_json::Value {
    let mut report = sandbox.json("list");
    for egg in report["eggs"].as_array_mut().unwrap() {
        egg.as_object_mut().unwrap().remove("used_at").unwrap();
    }
    report
}

#[test]
fn reindex_restores_everything_but_last_use_from_the_blobs() {
    let sandbox = with_three();
    let before = all_but_last_use(&sandbox);
    sandbox.ok("materialize --into out foo");
    remove_index(&sandbox);
    let report = sandbox.json("reindex");
    assert_eq!(
        (&report["eggs"], &report["found"], &report["lost"]),
        (&3.into(), &3.into(), &0.into())
    );
    assert_eq!(all_but_last_use(&sandbox), before);
    assert_eq!(set_aside(&sandbox), [""; 0]);
    sandbox.ok("verify");
    sandbox.assert_tidy();
}

#[test]
fn a_garbage_index_is_set_aside_and_not_removed() {
    let sandbox = with_three();
    let before = all_but_last_use(&sandbox);
    remove_index(&sandbox);
    let garbage = noise(9000);
    write(&sandbox.path("cache/index.sqlite"), &garbage);
    let output = sandbox.ok("reindex");
    let aside = set_aside(&sandbox);
    assert_eq!(aside.len(), 1);
    output.says(&[&aside[0]]);
    assert_eq!(fs::read(sandbox.path("cache").join(&aside[0])).unwrap(), garbage);
    assert_eq!(all_but_last_use(&sandbox), before);
}

#[test]
fn the_database_of_another_program_is_set_aside() {
    let sandbox = with_three();
    let before = all_but_last_use(&sandbox);
    remove_index(&sandbox);
    sandbox.sql("CREATE TABLE hens (name TEXT)");
    let report = sandbox.json("reindex");
    let aside = set_aside(&sandbox);
    assert!(text(&report["set_aside"]).ends_with(&aside[0]));
    let hens = rusqlite::Connection::open(sandbox.path("cache").join(&aside[0])).unwrap();
    hens.execute("INSERT INTO hens VALUES ('Berta')", []).unwrap();
    assert_eq!(all_but_last_use(&sandbox), before);
}

#[test]
fn an_index_with_damaged_pages_is_set_aside() {
    let sandbox = with_three();
    let before = all_but_last_use(&sandbox);
    scribble(&sandbox.path("cache/index.sqlite"));
    sandbox.ok("reindex");
    assert_eq!(set_aside(&sandbox).len(), 1);
    assert_eq!(all_but_last_use(&sandbox), before);
}

#[test]
fn two_indexes_can_be_set_aside_in_one_second() {
    let sandbox = with_three();
    for text in ["first damaged index", "second damaged index"] {
        remove_index_only(&sandbox);
        write(&sandbox.path("cache/index.sqlite"), text.repeat(100).as_bytes());
        sandbox.ok("reindex");
    }
    assert_eq!(set_aside(&sandbox).len(), 2);
}

fn remove_index_only(sandbox: &Sandbox) {
    for name in ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"] {
        let _ = fs::remove_file(sandbox.path("cache").join(name));
    }
}

#[test]
fn last_use_is_kept_if_the_index_can_be_read() {
    let sandbox = with_three();
    sandbox.sql("UPDATE eggs SET uses = 7, used_at = 1234567890 WHERE name = 'foo'");
    let before = sandbox.json("list");
    let report = sandbox.json("reindex");
    assert_eq!((&report["found"], &report["lost"]), (&0.into(), &0.into()));
    assert_eq!(sandbox.json("list"), before);
    let foo = sandbox.json("show foo");
    assert_eq!((&foo["uses"], &foo["used_at"]), (&7.into(), &1_234_567_890.into()));
}

#[test]
fn a_row_without_a_blob_is_dropped() {
    let sandbox = with_three();
    fs::remove_file(sandbox.blob("bar")).unwrap();
    let report = sandbox.json("reindex");
    assert_eq!((&report["eggs"], &report["lost"]), (&2.into(), &1.into()));
    assert_eq!(sandbox.listed(), ["baz==1.0", "foo==1.0"]);
    sandbox.ok("verify");
}

#[test]
fn a_blob_without_a_row_is_found() {
    let sandbox = with_three();
    sandbox.sql("DELETE FROM eggs WHERE name = 'bar'");
    assert_eq!(sandbox.json("reindex")["found"], 1);
    assert_eq!(sandbox.listed().len(), 3);
}

#[test]
fn a_blob_that_does_not_open_is_named_and_left() {
    let sandbox = with_three();
    let blob = sandbox.blob("bar");
    overwrite(&blob, b"rubbish");
    sandbox.fails("reindex", 4).says(&[blob.to_str().unwrap()]);
    let report = sandbox.fails("--json reindex", 4).json();
    assert!(blob.ends_with(text(&report["unreadable"][0]["digest"])));
    assert!(blob.exists());
    assert_eq!(sandbox.listed(), ["baz==1.0", "foo==1.0"]);
}

#[test]
fn a_blob_with_a_damaged_frame_keeps_its_row() {
    let sandbox = with_three();
    flip_last_bit(&sandbox.blob("bar"));
    sandbox.ok("reindex");
    assert_eq!(sandbox.listed().len(), 3);
    sandbox.fails("verify", 4);
}

#[test]
fn one_of_two_blobs_with_the_same_key_is_shadowed() {
    let sandbox = Sandbox::new();
    let first = sandbox.added("foo", "1.0");
    let content = fs::read(&first).unwrap();
    sandbox.other_build("foo", "1.0");
    sandbox.ok("add --replace other");
    let second = sandbox.blob("foo");
    write(&first, &content);
    remove_index(&sandbox);
    let report = sandbox.json("reindex");
    assert!(first.ends_with(text(&report["shadowed"][0])));
    assert_eq!(sandbox.blob("foo"), second);
    sandbox.ok("gc");
    assert!(!first.exists() && second.exists());
}

#[test]
fn reindex_creates_an_empty_cache() {
    let sandbox = Sandbox::new();
    sandbox.ok("reindex").says(&["Index rebuilt: 0 eggs"]);
    assert!(sandbox.listed().is_empty());
}

#[test]
fn reindex_twice_changes_nothing() {
    let sandbox = with_three();
    sandbox.ok("reindex");
    let before = sandbox.json("list");
    sandbox.ok("reindex").says(&["none added or dropped"]);
    assert_eq!(sandbox.json("list"), before);
}

#[test]
fn a_moved_cache_still_works() {
    let sandbox = with_three();
    fs::rename(sandbox.path("cache"), sandbox.path("moved")).unwrap();
    fs::create_dir(sandbox.path("cache")).unwrap();
    fs::rename(sandbox.path("moved/blobs"), sandbox.path("cache/blobs")).unwrap();
    sandbox.ok("reindex");
    sandbox.ok("materialize --into out --all").says(&["3 eggs copied"]);
}

#[test]
fn a_blob_left_by_a_killed_add_does_not_replace_the_present_egg() {
    for orphan_is_other in [false, true] {
        let sandbox = Sandbox::new();
        let mut builds = [sandbox.egg("foo", "1.0"), sandbox.other_build("foo", "1.0")];
        builds.rotate_left(orphan_is_other.into());
        let [orphan, egg] = builds;
        // Killed after renaming its blob into place and before writing the row.
        sandbox.ok(&format!("add {}", orphan.display()));
        sandbox.sql("DELETE FROM eggs");
        sandbox.ok(&format!("add {}", egg.display()));
        let digest = sandbox.digest("foo");
        sandbox.ok("reindex");
        assert_eq!(sandbox.digest("foo"), digest);
        sandbox.ok("gc");
        sandbox.assert_tidy();
    }
}
