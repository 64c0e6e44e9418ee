//! `eggcache verify`: what it counts and reports as a problem. For damage see `damage.rs`.

use crate::support::{Sandbox, assert_same, noise, tree, write};

#[test]
fn a_sound_cache_has_no_problem() {
    let sandbox = Sandbox::new();
    sandbox.egg_with("foo", "1.0", &[("large", &noise(600_000))]);
    sandbox.zipped_egg("zipped", "1.0");
    sandbox.ok("add eggs");
    let report = sandbox.json("verify");
    assert_eq!(report["blobs"], 2);
    assert_eq!(report["problems"].as_array().unwrap().len(), 0);
    let eggs = sandbox.json("list");
    assert_eq!(report["bytes"], eggs["bytes"]);
    assert_eq!(report["blob_bytes"], eggs["blob_bytes"]);
    let frames = |egg: &str| sandbox.json(&format!("show {egg}"))["frames"].as_u64().unwrap();
    assert_eq!(report["frames"], frames("foo") + frames("zipped"));
    let output = sandbox.ok("verify");
    output.says(&["2 blobs", "no problem"]);
    assert_eq!(output.stdout, "");
}

#[test]
fn an_empty_cache_has_no_problem() {
    let sandbox = Sandbox::new();
    sandbox.ok("verify").says(&["0 blobs", "no problem"]);
}

#[test]
fn orphans_and_temporary_files_are_reported_but_not_problems() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    sandbox.sql("DELETE FROM eggs");
    write(&sandbox.path("cache/tmp/.eggcache-dead"), b"");
    sandbox.ok("verify").says(&["1 orphaned blob", "1 temporary file", "eggcache gc"]);
}

#[test]
fn a_damaged_orphan_is_a_problem() {
    let sandbox = Sandbox::new();
    let blob = sandbox.added("foo", "1.0");
    sandbox.sql("DELETE FROM eggs");
    crate::damage::flip_last_bit(&blob);
    let name = blob.file_name().unwrap().to_str().unwrap();
    sandbox.fails("verify", 4).says(&[&name[..12]]);
}

#[test]
fn verify_changes_nothing() {
    let sandbox = Sandbox::new();
    let blob = sandbox.added("foo", "1.0");
    crate::damage::flip_last_bit(&blob);
    write(&sandbox.path("cache/tmp/.eggcache-dead"), b"");
    let before = (tree(&sandbox.path("cache/blobs")), tree(&sandbox.path("cache/tmp")));
    sandbox.fails("verify", 4);
    assert_same(&before.0, &tree(&sandbox.path("cache/blobs")));
    assert_same(&before.1, &tree(&sandbox.path("cache/tmp")));
}

#[test]
fn foreign_files_beside_the_blobs_are_problems() {
    let sandbox = Sandbox::new();
    let blob = sandbox.added("foo", "1.0");
    write(&blob.with_file_name("notes.txt"), b"");
    write(&sandbox.path("cache/blobs/notes.txt"), b"");
    sandbox.fails("verify", 4).says(&["1 blob", "blobs/notes.txt: not a blob", "2 problems"]);
    sandbox.ok("list").says(&["1 egg"]);
}
