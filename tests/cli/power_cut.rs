//! Eggs that a power cut left incomplete are found after the next start of the machine, and copied
//! again.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{
    Sandbox, assert_same_tree, chmod, files_in, names_in, noise, text, touch, tree, write,
};

/// One kind of damage: its description and the function that causes it.
type Case<'a> = (&'a str, &'a dyn Fn(&Sandbox));

const EGG: &str = "foo-1.0-py3.11.egg";

/// A sandbox with an egg in its cache and in `out`.
fn copied() -> Sandbox {
    let sandbox = Sandbox::new();
    let files: [(&str, &[u8]); 3] =
        [("large.bin", &noise(600_000)), ("foo/__init__.py", b""), ("foo/text.py", &[b'x'; 5000])];
    sandbox.egg_with("foo", "1.0", &files);
    sandbox.egg("bar", "1.0");
    sandbox.ok("add eggs");
    sandbox.ok("materialize --into out --all");
    sandbox
}

/// Changes the records as if the machine had been restarted since.
fn reboot(sandbox: &Sandbox) {
    let records = files_in(&sandbox.path("cache/copies"));
    assert!(!records.is_empty());
    for path in records {
        let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        record["boot"] = "another".into();
        fs::write(&path, record.to_string()).unwrap();
    }
}

/// Changes the bytes of a file, but not its mtime.
fn spoil(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    use std::os::unix::fs::MetadataExt;
    let metadata = path.metadata().unwrap();
    let mut content = fs::read(path).unwrap();
    change(&mut content);
    fs::write(path, content).unwrap();
    touch(path, metadata.mtime(), metadata.mtime_nsec());
}

fn file(sandbox: &Sandbox, name: &str) -> PathBuf {
    sandbox.path("out").join(EGG).join(name)
}

fn assert_whole(sandbox: &Sandbox) {
    for egg in names_in(&sandbox.path("eggs")) {
        assert_same_tree(&sandbox.path("eggs").join(&egg), &sandbox.path("out").join(&egg));
    }
    assert_eq!(names_in(&sandbox.path("out")), names_in(&sandbox.path("eggs")));
}

#[test]
fn an_egg_torn_by_a_power_cut_is_copied_again() {
    let spoils: [Case<'_>; 6] = [
        ("an empty file", &|it| spoil(&file(it, "foo/text.py"), Vec::clear)),
        ("a file that is cut off", &|it| spoil(&file(it, "large.bin"), |it| it.truncate(300_000))),
        ("a file of zeros", &|it| spoil(&file(it, "foo/text.py"), |it| it.fill(0))),
        ("a hole", &|it| spoil(&file(it, "large.bin"), |it| it[4096..8192].fill(0))),
        ("a missing file", &|it| fs::remove_file(file(it, "foo/text.py")).unwrap()),
        ("a missing folder", &|it| fs::remove_dir_all(file(it, "foo")).unwrap()),
    ];
    for (what, spoil) in spoils {
        let sandbox = copied();
        spoil(&sandbox);
        reboot(&sandbox);
        let output = sandbox.ok("materialize --into out --all");
        output.says(&["the machine went down", "removed 1 incomplete egg", EGG, "1 egg copied"]);
        assert_whole(&sandbox);
        let report = sandbox.json("materialize --into out --all");
        assert_eq!(report["torn"], Value::Array(Vec::new()), "{what}");
    }
}

#[test]
fn whole_eggs_and_bytecode_stay_after_a_restart() {
    let sandbox = copied();
    write(&file(&sandbox, "foo/__pycache__/text.cpython-311.pyc"), b"bytecode");
    let before = tree(&sandbox.path("out"));
    reboot(&sandbox);
    let report = sandbox.json("materialize --into out --all");
    assert_eq!(report["torn"], Value::Array(Vec::new()));
    crate::support::assert_same(&before, &tree(&sandbox.path("out")));
}

#[test]
fn an_edited_egg_is_never_removed_as_torn() {
    let sandbox = copied();
    fs::write(file(&sandbox, "foo/text.py"), b"edited = True\n").unwrap();
    let before = tree(&sandbox.path("out"));
    reboot(&sandbox);
    sandbox.fails("materialize --into out --all", 1).says(&["is in the way", "foo/text.py"]);
    crate::support::assert_same(&before, &tree(&sandbox.path("out")));
}

/// Asserts that nothing in `out` is removed or changed after a restart.
fn is_left(sandbox: &Sandbox) {
    let before = tree(&sandbox.path("out"));
    reboot(sandbox);
    let opening = crate::serve::opening_with(sandbox, "eggs_directory", &sandbox.path("out"));
    let opened = sandbox.shell(&format!("echo '{opening}' | $EGGCACHE serve | tail -1")).json();
    assert_eq!(opened["torn"], serde_json::json!([]), "{opened}");
    crate::support::assert_same(&before, &tree(&sandbox.path("out")));
}

#[test]
fn changed_modes_and_mtimes_are_not_taken_for_damage() {
    let sandbox = copied();
    chmod(&file(&sandbox, "foo/text.py"), 0o664);
    is_left(&sandbox);
    // As if buildout had built them.
    for path in files_in(&sandbox.path("out")) {
        touch(&path, 1_700_000_000, 7);
    }
    is_left(&sandbox);
}

#[test]
fn an_incomplete_egg_from_elsewhere_is_left_alone() {
    let sandbox = copied();
    fs::remove_file(file(&sandbox, "foo/text.py")).unwrap();
    for entry in walkdir::WalkDir::new(sandbox.path("out")).contents_first(true) {
        touch(entry.unwrap().path(), 1_700_000_000, 7);
    }
    is_left(&sandbox);
}

#[test]
fn a_damaged_blob_never_proves_that_a_copy_is_torn() {
    let sandbox = copied();
    crate::damage::flip_last_bit(&sandbox.blob("foo"));
    is_left(&sandbox);
}

#[test]
fn a_record_from_the_future_hides_no_torn_copy() {
    let sandbox = copied();
    for path in files_in(&sandbox.path("cache/copies")) {
        let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        record["since"] = (record["since"].as_i64().unwrap() + 100_000).into();
        fs::write(&path, record.to_string()).unwrap();
    }
    spoil(&file(&sandbox, "foo/text.py"), Vec::clear);
    reboot(&sandbox);
    sandbox.ok("-q materialize --into out --all");
    assert_whole(&sandbox);
}

#[test]
fn processes_that_return_at_once_keep_the_copies_of_others() {
    for _ in 0..10 {
        let sandbox = copied();
        spoil(&file(&sandbox, "foo/text.py"), Vec::clear);
        reboot(&sandbox);
        let mut processes: Vec<_> = (0..6)
            .map(|_| sandbox.eggcache("-q materialize --into out --all").spawn().unwrap())
            .collect();
        for process in &mut processes {
            assert!(process.wait().unwrap().success());
        }
        assert_whole(&sandbox);
    }
}

#[test]
fn a_read_only_cache_removes_no_torn_copies() {
    let sandbox = copied();
    spoil(&file(&sandbox, "foo/text.py"), Vec::clear);
    reboot(&sandbox);
    for entry in walkdir::WalkDir::new(sandbox.path("cache")) {
        let entry = entry.unwrap();
        chmod(entry.path(), if entry.file_type().is_dir() { 0o555 } else { 0o444 });
    }
    let before = tree(&sandbox.path("out"));
    let Some(copy) = sandbox.as_user("materialize --into out bar") else { return };
    assert_cmd::Command::from_std(copy).assert().success();
    crate::support::assert_same(&before, &tree(&sandbox.path("out")));
}

#[test]
fn without_a_restart_nothing_is_removed() {
    let sandbox = copied();
    spoil(&file(&sandbox, "foo/text.py"), Vec::clear);
    sandbox.fails("materialize --into out --all", 1).says(&["is in the way", "another size"]);
}

#[test]
fn an_empty_record_counts_as_one_of_an_earlier_start() {
    let sandbox = copied();
    spoil(&file(&sandbox, "foo/text.py"), Vec::clear);
    for record in files_in(&sandbox.path("cache/copies")) {
        fs::write(record, b"").unwrap();
    }
    sandbox.ok("materialize --into out --all");
    assert_whole(&sandbox);
}

#[test]
fn gc_forgets_directories_that_have_been_gone_for_long() {
    let sandbox = copied();
    sandbox.ok("materialize --into other/out --all");
    assert_eq!(files_in(&sandbox.path("cache/copies")).len(), 2);
    fs::remove_dir_all(sandbox.path("out")).unwrap();
    // The directory may only be temporarily out of reach.
    sandbox.ok("gc");
    assert_eq!(files_in(&sandbox.path("cache/copies")).len(), 2);
    for record in files_in(&sandbox.path("cache/copies")) {
        touch(&record, 1_000_000_000, 0);
    }
    sandbox.ok("gc");
    let records = files_in(&sandbox.path("cache/copies"));
    assert_eq!(records.len(), 1);
    let record: Value = serde_json::from_slice(&fs::read(&records[0]).unwrap()).unwrap();
    assert!(text(&record["dir"]).ends_with("other/out"));
}

#[test]
fn opening_the_cache_removes_torn_copies_of_the_eggs_directory() {
    let sandbox = copied();
    spoil(&file(&sandbox, "foo/text.py"), Vec::clear);
    reboot(&sandbox);
    let opening = crate::serve::opening_with(&sandbox, "eggs_directory", &sandbox.path("out"));
    let torn = sandbox.shell(&format!("echo '{opening}' | $EGGCACHE serve | tail -1")).json();
    assert_eq!(torn["torn"], serde_json::json!([EGG]));
    assert_eq!(names_in(&sandbox.path("out")), ["bar-1.0-py3.11.egg"]);
}
