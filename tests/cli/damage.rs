//! Every kind of damage to blobs and to the index is found, reported and never copied out.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::forge::{HEADER, seal_header};
use crate::support::{Sandbox, assert_same, chmod, make_egg, names_in, noise, text, tree, write};

/// Overwrites a blob, which is read-only.
pub fn overwrite(blob: &Path, content: &[u8]) {
    chmod(blob, 0o644);
    fs::write(blob, content).unwrap();
    chmod(blob, 0o444);
}

pub fn change(blob: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut content = fs::read(blob).unwrap();
    change(&mut content);
    overwrite(blob, &content);
}

/// Flips a bit of the last byte of a blob, which belongs to its last frame.
pub fn flip_last_bit(blob: &Path) {
    change(blob, |content| *content.last_mut().unwrap() ^= 1);
}

/// A sandbox with the eggs e0, e1 and so on in its cache, each with several frames, and the paths
/// of their blobs.
fn with_eggs(count: usize) -> (Sandbox, Vec<PathBuf>) {
    let sandbox = Sandbox::new();
    for number in 0..count {
        let name = format!("e{number}");
        sandbox.egg_with(
            &name,
            "1.0",
            &[("large.bin", &noise(300_000)), ("text.txt", &b"text ".repeat(1000))],
        );
    }
    sandbox.ok("add eggs");
    let blobs = (0..count).map(|number| sandbox.blob(&format!("e{number}"))).collect();
    (sandbox, blobs)
}

fn problems(report: &Value) -> Vec<(&str, &str)> {
    let problems = report["problems"].as_array().unwrap();
    problems.iter().map(|it| (it["file_name"].as_str().unwrap_or(""), text(&it["what"]))).collect()
}

/// Asserts that `materialize` refuses each egg and that `verify` reports each.
fn all_are_found(sandbox: &Sandbox, blobs: &[PathBuf]) {
    let output = sandbox.fails("materialize --into out --all", 1);
    assert_eq!(output.stdout, "");
    assert_eq!(names_in(&sandbox.path("out")), [""; 0]);
    for (number, blob) in blobs.iter().enumerate() {
        output.says(&[&format!("e{number}-1.0-py3.11.egg: "), blob.to_str().unwrap()]);
    }
    let output = sandbox.fails("verify", 4);
    let report = sandbox.fails("--json verify", 4).json();
    let problems = problems(&report);
    for number in 0..blobs.len() {
        let name = format!("e{number}-1.0-py3.11.egg");
        output.says(&[&format!("{name}: ")]);
        assert!(problems.iter().any(|(of, _)| *of == name), "{name}");
    }
}

#[test]
fn a_blob_truncated_anywhere_is_found() {
    let lengths = [0, 1, 8, 64, HEADER - 1, HEADER, HEADER + 10, 5000, 280_000];
    let (sandbox, blobs) = with_eggs(lengths.len() + 1);
    for (blob, length) in blobs.iter().zip(lengths) {
        change(blob, |content| content.truncate(length));
    }
    change(blobs.last().unwrap(), |content| content.truncate(content.len() - 1));
    all_are_found(&sandbox, &blobs);
}

#[test]
fn a_flipped_bit_anywhere_in_a_blob_is_found() {
    let offsets = [0, 7, 8, 12, 16, 24, 32, 40, 48, 79, 80, 95, 96, 127, 128, 140, 300, 500];
    let (sandbox, blobs) = with_eggs(offsets.len() + 6);
    for (blob, offset) in blobs.iter().zip(offsets) {
        change(blob, |content| content[offset] ^= 0x10);
    }
    for (part, blob) in blobs[offsets.len()..].iter().enumerate() {
        change(blob, |content| {
            let offset = (content.len() - 1) * (part + 1) / 6;
            content[offset] ^= 0x01;
        });
    }
    all_are_found(&sandbox, &blobs);
}

#[test]
fn a_blob_with_extra_bytes_at_its_end_is_found() {
    let (sandbox, blobs) = with_eggs(1);
    change(&blobs[0], |content| content.push(0));
    all_are_found(&sandbox, &blobs);
}

#[test]
fn a_foreign_file_in_place_of_a_blob_is_found() {
    let (sandbox, blobs) = with_eggs(4);
    overwrite(&blobs[0], b"not a blob at all");
    overwrite(&blobs[1], &noise(10_000));
    overwrite(&blobs[2], &vec![0; 10_000]);
    overwrite(&blobs[3], b"\x89egg\r\n\x1a\n");
    all_are_found(&sandbox, &blobs);
}

#[test]
fn the_blob_of_another_egg_under_a_wrong_name_is_found() {
    let (sandbox, blobs) = with_eggs(2);
    let (first, second) = (fs::read(&blobs[0]).unwrap(), fs::read(&blobs[1]).unwrap());
    overwrite(&blobs[0], &second);
    overwrite(&blobs[1], &first);
    all_are_found(&sandbox, &blobs);
    sandbox.fails("verify", 4).says(&["it contains the blob"]);
}

#[test]
fn a_blob_of_a_newer_format_asks_for_a_newer_eggcache() {
    let (sandbox, blobs) = with_eggs(1);
    change(&blobs[0], |content| {
        content[8] = 4;
        seal_header(content);
    });
    all_are_found(&sandbox, &blobs);
    sandbox.fails("materialize --into out e0", 1).says(&["format 4", "newer eggcache"]);
    sandbox.fails("verify", 4).says(&["format 4", "newer eggcache"]);
}

#[test]
fn lengths_in_a_blob_header_are_not_trusted() {
    let claims = [(16, u64::MAX), (16, 1 << 60), (24, u64::MAX), (24, 1 << 40), (32, u64::MAX)];
    let (sandbox, blobs) = with_eggs(claims.len());
    for (blob, (at, claim)) in blobs.iter().zip(claims) {
        change(blob, |content| {
            content[at..at + 8].copy_from_slice(&claim.to_le_bytes());
            seal_header(content);
        });
    }
    all_are_found(&sandbox, &blobs);
}

#[test]
fn every_damaged_frame_of_a_blob_is_named() {
    let (sandbox, blobs) = with_eggs(1);
    change(&blobs[0], |content| {
        let length = content.len();
        content[length - 1] ^= 1;
        content[length - 100_000] ^= 1;
    });
    let report = sandbox.fails("--json verify", 4).json();
    let problems = problems(&report);
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems.iter().all(|(_, what)| what.contains("frame")), "{problems:?}");
}

#[test]
fn a_damaged_blob_does_not_prevent_copying_sound_ones() {
    let (sandbox, blobs) = with_eggs(3);
    flip_last_bit(&blobs[1]);
    sandbox.fails("materialize --into out --all", 1).says(&["2 eggs copied", "e1-1.0-py3.11.egg"]);
    assert_eq!(names_in(&sandbox.path("out")), ["e0-1.0-py3.11.egg", "e2-1.0-py3.11.egg"]);
}

#[test]
fn a_missing_blob_is_found() {
    let (sandbox, blobs) = with_eggs(2);
    fs::remove_file(&blobs[0]).unwrap();
    fs::remove_dir_all(blobs[1].parent().unwrap()).unwrap();
    let report = sandbox.fails("--json verify", 4).json();
    assert_eq!(
        problems(&report),
        [
            ("e0-1.0-py3.11.egg", "its blob is missing"),
            ("e1-1.0-py3.11.egg", "its blob is missing")
        ]
    );
    sandbox.fails("materialize --into out --all", 3);
    sandbox.fails("show e0", 1).says(&["missing"]);
    assert_eq!(names_in(&sandbox.path("out")), [""; 0]);
}

#[test]
fn a_directory_in_place_of_a_blob_is_found() {
    let (sandbox, blobs) = with_eggs(1);
    fs::remove_file(&blobs[0]).unwrap();
    fs::create_dir(&blobs[0]).unwrap();
    all_are_found(&sandbox, &blobs);
}

#[test]
fn an_index_that_disagrees_with_a_blob_is_found() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    sandbox.sql("UPDATE eggs SET version = '6.6.6', files = 99");
    sandbox
        .fails("verify", 4)
        .says(&["foo-1.0-py3.11.egg", "its index entry does not match its blob"]);
    for egg in ["foo", "--all"] {
        let output = sandbox.fails(&format!("materialize --into out {egg}"), 1);
        output.says(&["eggcache verify --repair"]);
    }
    assert_eq!(names_in(&sandbox.path("out")), [""; 0]);
    sandbox.ok("reindex");
    sandbox.ok("verify");
    assert_eq!(sandbox.listed(), ["foo==1.0"]);
}

const COMMANDS: [&str; 7] = [
    "add eggs",
    "list",
    "show foo",
    "gc",
    "gc --dry-run",
    "verify",
    "materialize --into out --all",
];

/// Asserts that no command accepts this index, that each message contains all of `parts`, that
/// `verify` exits with the code `verify`, and that no command changes the file.
fn assert_index_is_refused(sandbox: &Sandbox, parts: &[&str], verify: i32) {
    let blobs = sandbox.path("cache/blobs");
    let before = (fs::read(sandbox.path("cache/index.sqlite")).unwrap(), tree(&blobs));
    for line in COMMANDS {
        let output = sandbox.fails(line, if line == "verify" { verify } else { 1 });
        output.says(&["index.sqlite"]).says(parts);
        assert_eq!(output.stdout, "", "{line}");
    }
    assert!(!sandbox.path("out").exists());
    assert_eq!(names_in(&sandbox.path("cache/tmp")), [""; 0]);
    assert_same(&before.1, &tree(&blobs));
    let after = fs::read(sandbox.path("cache/index.sqlite")).unwrap();
    assert!(before.0 == after, "the file was changed");
}

#[test]
fn an_index_that_is_not_a_database_is_refused_and_left() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    write(&sandbox.path("cache/index.sqlite"), &noise(9000));
    assert_index_is_refused(&sandbox, &["not an index of eggcache", "eggcache reindex"], 4);
}

#[test]
fn the_database_of_another_program_is_refused_and_left() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    fs::remove_file(sandbox.path("cache/index.sqlite")).unwrap();
    sandbox.sql("CREATE TABLE eggs (laid_on TEXT); INSERT INTO eggs VALUES ('Monday')");
    assert_index_is_refused(&sandbox, &["not an index of eggcache", "eggcache reindex"], 4);
}

#[test]
fn an_index_of_a_newer_schema_is_refused_and_left() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    sandbox.sql("PRAGMA user_version = 99");
    assert_index_is_refused(&sandbox, &["schema 99", "newer eggcache"], 1);
    sandbox.fails("reindex", 1).says(&["schema 99", "newer eggcache"]);
}

#[test]
fn an_index_that_is_a_directory_is_named() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    fs::remove_file(sandbox.path("cache/index.sqlite")).unwrap();
    fs::create_dir(sandbox.path("cache/index.sqlite")).unwrap();
    for line in COMMANDS {
        let code = if line == "verify" { 4 } else { 1 };
        sandbox.fails(line, code).says(&["index.sqlite", "is not an index of eggcache"]);
    }
    sandbox.ok("verify --repair");
    sandbox.ok("verify");
}

/// Overwrites all pages of the index but the first with noise.
pub fn scribble(index: &Path) {
    let mut content = fs::read(index).unwrap();
    assert!(content.len() > 8192);
    let noise = noise(content.len() - 4096);
    content[4096..].copy_from_slice(&noise);
    fs::write(index, content).unwrap();
}

#[test]
fn damaged_index_pages_are_reported_with_a_hint() {
    let sandbox = Sandbox::new();
    make_egg(&sandbox.path("eggs/foo-1.0.egg"), "foo", "1.0", &[]);
    sandbox.ok("add eggs");
    scribble(&sandbox.path("cache/index.sqlite"));
    for line in ["list", "show foo", "verify", "materialize --into out --all"] {
        let output = sandbox.fails(line, if line == "verify" { 4 } else { 1 });
        output.says(&["index.sqlite", "eggcache reindex"]);
    }
    sandbox.ok("reindex");
    assert_eq!(sandbox.listed(), ["foo==1.0"]);
}
