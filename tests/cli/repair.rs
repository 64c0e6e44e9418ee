//! `verify --repair`: damaged files go to quarantine, sound ones stay, and nothing is left to
//! repair.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

use crate::damage::{change, flip_last_bit, overwrite, scribble};
use crate::forge::seal_header;
use crate::support::{Output, Sandbox, assert_same_tree, chmod, names_in, text, write};

/// Asserts that a repair solves every problem, and that a second one has nothing to do.
fn repaired(sandbox: &Sandbox) -> Value {
    sandbox.fails("verify", 4).says(&["verify --repair"]);
    let report = sandbox.json("verify --repair");
    for problem in report["problems"].as_array().unwrap() {
        assert!(problem["repair"].is_string(), "{problem}");
    }
    sandbox.ok("verify").says(&["no problem"]);
    let again = sandbox.json("verify --repair");
    assert_eq!(again["problems"].as_array().unwrap().len(), 0);
    report
}

fn kinds(report: &Value) -> Vec<&str> {
    report["problems"].as_array().unwrap().iter().map(|it| text(&it["kind"])).collect()
}

fn with_two() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.egg("bad", "1.0");
    sandbox.egg("good", "1.0");
    sandbox.ok("add eggs");
    sandbox
}

/// Asserts that the good egg is untouched, and that the bad one can be stored again.
fn repopulates(sandbox: &Sandbox) {
    assert_eq!(sandbox.listed(), ["good==1.0"]);
    sandbox.fails("materialize --into out bad", 3);
    sandbox.ok("add eggs").says(&["1 egg stored", "1 already there"]);
    sandbox.ok("materialize --into out --all");
    for egg in names_in(&sandbox.path("eggs")) {
        assert_same_tree(&sandbox.path("eggs").join(&egg), &sandbox.path("out").join(&egg));
    }
    sandbox.assert_tidy();
}

#[test]
fn a_damaged_blob_is_quarantined_and_its_egg_stored_again() {
    let sandbox = with_two();
    let (blob, good) = (sandbox.blob("bad"), fs::read(sandbox.blob("good")).unwrap());
    flip_last_bit(&blob);
    let damaged = fs::read(&blob).unwrap();
    let report = repaired(&sandbox);
    assert_eq!(kinds(&report), ["damaged"]);
    let name = text(&report["problems"][0]["digest"]);
    assert!(!blob.exists());
    assert_eq!(fs::read(sandbox.path("cache/quarantine").join(name)).unwrap(), damaged);
    assert_eq!(fs::read(sandbox.blob("good")).unwrap(), good);
    sandbox.ok("verify").says(&["1 file in quarantine"]);
    repopulates(&sandbox);
}

#[test]
fn a_second_damaged_blob_does_not_replace_one_in_quarantine() {
    let sandbox = with_two();
    for round in 1..=3 {
        flip_last_bit(&sandbox.blob("bad"));
        sandbox.ok("verify --repair");
        assert_eq!(names_in(&sandbox.path("cache/quarantine")).len(), round);
        sandbox.ok("add eggs");
    }
}

#[test]
fn a_blob_without_its_manifest_is_quarantined() {
    let sandbox = with_two();
    overwrite(&sandbox.blob("bad"), b"");
    repaired(&sandbox);
    assert_eq!(names_in(&sandbox.path("cache/quarantine")).len(), 1);
    repopulates(&sandbox);
}

#[test]
fn the_row_of_a_missing_blob_is_removed() {
    let sandbox = with_two();
    fs::remove_file(sandbox.blob("bad")).unwrap();
    assert_eq!(kinds(&repaired(&sandbox)), ["missing"]);
    repopulates(&sandbox);
}

#[test]
fn a_directory_in_place_of_a_blob_is_quarantined() {
    let sandbox = with_two();
    let blob = sandbox.blob("bad");
    fs::remove_file(&blob).unwrap();
    write(&blob.join("file"), b"");
    let report = repaired(&sandbox);
    assert!(kinds(&report).contains(&"foreign"));
    repopulates(&sandbox);
}

#[test]
fn a_wrong_row_is_corrected_and_keeps_its_last_use() {
    let sandbox = with_two();
    sandbox.sql("UPDATE eggs SET version = '6.6.6', uses = 7, used_at = 77 WHERE name = 'bad'");
    assert_eq!(kinds(&repaired(&sandbox)), ["wrong-row"]);
    let egg = sandbox.json("show bad==1.0");
    assert_eq!((&egg["uses"], &egg["used_at"]), (&7.into(), &77.into()));
    assert_eq!(sandbox.listed(), ["bad==1.0", "good==1.0"]);
}

#[test]
fn a_wrong_row_is_removed_if_another_egg_has_its_key() {
    let sandbox = with_two();
    sandbox.sql("UPDATE eggs SET version = '6.6.6' WHERE name = 'bad'");
    sandbox.ok(&format!("add {}", sandbox.other_build("bad", "1.0").display()));
    repaired(&sandbox);
    assert_eq!(sandbox.listed(), ["bad==1.0", "good==1.0"]);
    sandbox.ok("gc").says(&["1 orphaned blob"]);
    sandbox.assert_tidy();
}

#[test]
fn the_next_build_repairs_a_wrong_row() {
    let sandbox = with_two();
    // The row of one egg points to the blob of the other, which has lost its own row.
    sandbox.sql(
        "CREATE TEMP TABLE one AS SELECT digest FROM eggs WHERE name = 'good';
         DELETE FROM eggs WHERE name = 'good';
         UPDATE eggs SET digest = (SELECT digest FROM one) WHERE name = 'bad';",
    );
    let good = fs::read_dir(sandbox.path("eggs")).unwrap().count();
    sandbox.fails("materialize --into out bad", 1).says(&["verify --repair"]);
    sandbox.ok("add eggs");
    assert_eq!(sandbox.listed(), ["bad==1.0", "good==1.0"]);
    sandbox.ok("materialize --into out --all");
    assert_eq!(names_in(&sandbox.path("out")).len(), good);
    sandbox.ok("verify");
}

#[test]
fn an_evicted_egg_is_not_restored() {
    let sandbox = with_two();
    sandbox.sql(
        "INSERT INTO evicted SELECT digest, 0 FROM eggs WHERE name = 'bad';
         DELETE FROM eggs WHERE name = 'bad'",
    );
    sandbox.ok("verify --repair");
    sandbox.ok("reindex");
    assert_eq!(sandbox.listed(), ["good==1.0"]);
    sandbox.ok("gc").says(&["1 orphaned blob"]);
    sandbox.assert_tidy();
}

#[test]
fn a_symlink_in_place_of_a_blob_leaves_nothing_to_repair() {
    let sandbox = with_two();
    let blob = sandbox.blob("bad");
    fs::rename(&blob, sandbox.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(sandbox.path("elsewhere"), &blob).unwrap();
    repaired(&sandbox);
    repopulates(&sandbox);
}

#[test]
fn foreign_files_are_moved_out_of_the_blob_store() {
    let sandbox = with_two();
    let blob = sandbox.blob("good");
    let misplaced = sandbox.path("cache/blobs/zz").join(blob.file_name().unwrap());
    write(&misplaced, &fs::read(&blob).unwrap());
    write(&sandbox.path("cache/blobs/notes.txt"), b"notes");
    write(&sandbox.path("cache/blobs/folder/deep/file"), b"");
    assert_eq!(kinds(&repaired(&sandbox)), ["foreign"; 3]);
    assert_eq!(names_in(&sandbox.path("cache/quarantine")).len(), 3);
    assert_eq!(sandbox.blobs().len(), 2);
}

#[test]
fn a_blob_that_can_be_written_is_made_read_only() {
    let sandbox = with_two();
    chmod(&sandbox.blob("bad"), 0o666);
    assert_eq!(kinds(&repaired(&sandbox)), ["writable"]);
    assert!(sandbox.blob("bad").metadata().unwrap().permissions().readonly());
    assert_eq!(sandbox.listed(), ["bad==1.0", "good==1.0"]);
}

#[test]
fn lost_rows_are_restored() {
    let sandbox = with_two();
    sandbox.sql("DELETE FROM eggs");
    sandbox.ok("verify").says(&["2 orphaned blobs"]);
    assert_eq!(sandbox.json("verify --repair")["adopted"], 2);
    assert_eq!(sandbox.listed(), ["bad==1.0", "good==1.0"]);
}

#[test]
fn an_index_with_damaged_pages_is_set_aside_and_rebuilt() {
    let sandbox = with_two();
    scribble(&sandbox.path("cache/index.sqlite"));
    assert_eq!(kinds(&repaired(&sandbox)), ["index"]);
    assert_eq!(sandbox.listed(), ["bad==1.0", "good==1.0"]);
    let aside = names_in(&sandbox.path("cache"));
    assert!(aside.iter().any(|name| name.starts_with("index.set-aside-")), "{aside:?}");
}

#[test]
fn a_file_that_is_not_an_index_is_set_aside_and_rebuilt() {
    let sandbox = with_two();
    write(&sandbox.path("cache/index.sqlite"), b"not an index");
    flip_last_bit(&sandbox.path("cache/blobs").join(relative_blob(&sandbox, "bad-1.0")));
    repaired(&sandbox);
    repopulates(&sandbox);
}

/// The path of an egg's blob, determined without the index.
fn relative_blob(sandbox: &Sandbox, egg: &str) -> std::path::PathBuf {
    let other = Sandbox::new();
    crate::support::make_egg(
        &other.path(&format!("eggs/{egg}-py3.11.egg")),
        egg.split_once('-').unwrap().0,
        "1.0",
        &[],
    );
    // The digest covers mtimes too, so the egg is copied together with them.
    let egg = sandbox.path(&format!("eggs/{egg}-py3.11.egg"));
    other.shell(&format!("rm -rf eggs/* && cp -a '{}' eggs/", egg.display()));
    other.ok("add eggs");
    let blob = &other.blobs()[0];
    let shard = Path::new(blob.parent().unwrap().file_name().unwrap());
    shard.join(blob.file_name().unwrap())
}

#[test]
fn a_blob_of_a_newer_format_is_left_and_stays_a_problem() {
    let sandbox = with_two();
    let blob = sandbox.blob("bad");
    change(&blob, |content| {
        content[8] = 4;
        seal_header(content);
    });
    let report = sandbox.fails("--json verify --repair", 4).json();
    assert_eq!(kinds(&report), ["unreadable"]);
    assert!(blob.exists());
    assert_eq!(sandbox.listed(), ["bad==1.0", "good==1.0"]);
}

#[test]
fn a_cache_that_cannot_be_written_is_not_repaired() {
    let sandbox = with_two();
    flip_last_bit(&sandbox.blob("bad"));
    for entry in walkdir::WalkDir::new(sandbox.path("cache")) {
        let entry = entry.unwrap();
        chmod(entry.path(), if entry.file_type().is_dir() { 0o555 } else { 0o444 });
    }
    let Some(repair) = sandbox.as_user("verify --repair") else { return };
    let output = Output::of(&Command::from_std(repair).assert().code(1));
    output.says(&["read-only for this user"]);
}
