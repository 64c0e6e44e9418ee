//! Full and read-only disks. Only root can mount a small file system to test them.

use std::fs;

use crate::support::{Mount, Sandbox, assert_same_tree, names_in, noise, write};

#[test]
fn add_to_a_full_cache_fails_and_leaves_nothing() {
    let sandbox = Sandbox::new();
    sandbox.egg_with("big", "1.0", &[("big.bin", &noise(3 << 20))]);
    let Some(_mount) = Mount::new(&sandbox.path("cache"), "1m") else { return };
    let output = sandbox.fails("add eggs", 1);
    output.says(&["cache", "No space left", "free some space"]);
    assert!(sandbox.listed().is_empty());
    assert!(sandbox.blobs().is_empty());
    sandbox.assert_tidy();
    fs::remove_dir_all(sandbox.path("eggs")).unwrap();
    sandbox.egg("small", "1.0");
    sandbox.ok("add eggs");
    sandbox.ok("verify");
}

#[test]
fn adding_many_small_files_to_a_full_cache_leaves_nothing() {
    let sandbox = Sandbox::new();
    let egg = sandbox.egg("many", "1.0");
    for (number, content) in noise(2 << 20).chunks(8192).enumerate() {
        write(&egg.join(format!("file-{number}")), content);
    }
    let Some(_mount) = Mount::new(&sandbox.path("cache"), "1m") else { return };
    sandbox.fails("add eggs", 1).says(&["No space left"]);
    assert!(sandbox.listed().is_empty());
    sandbox.assert_tidy();
}

#[test]
fn materialize_into_a_full_directory_fails_and_leaves_nothing() {
    let sandbox = Sandbox::new();
    sandbox.egg_with("big", "1.0", &[("big.bin", &noise(300_000))]);
    let many = sandbox.egg("many", "1.0");
    for number in 0..100 {
        write(&many.join(format!("file-{number}")), b"small");
    }
    sandbox.ok("add eggs");
    let Some(_mount) = Mount::new(&sandbox.path("out"), "64k") else { return };
    for (name, reason) in [("big", "are free"), ("many", "No space left")] {
        let output = sandbox.fails(&format!("materialize --into out {name}"), 1);
        output.says(&[reason, &format!("{name}-1.0-py3.11.egg")]);
        assert_eq!(names_in(&sandbox.path("out")), [""; 0]);
    }
    sandbox.egg("small", "1.0");
    sandbox.ok("add eggs");
    // There may or may not be space for the small egg beside the others.
    sandbox.fails("materialize --into out --all", 1).says(&["No space left"]);
    sandbox.ok("materialize --into out small");
    assert_eq!(names_in(&sandbox.path("out")), ["small-1.0-py3.11.egg"]);
}

#[test]
fn a_full_cache_can_be_read() {
    let sandbox = Sandbox::new();
    let egg = sandbox.egg("foo", "1.0");
    let Some(mount) = Mount::new(&sandbox.path("cache"), "2m") else { return };
    sandbox.ok("add eggs");
    mount.fill();
    sandbox.ok("list");
    sandbox.ok("verify");
    sandbox.ok("materialize --into out foo");
    assert_same_tree(&egg, &sandbox.path("out/foo-1.0-py3.11.egg"));
}

#[test]
fn gc_frees_the_space_of_a_cache_that_add_has_filled() {
    let sandbox = Sandbox::new();
    let eggs: Vec<String> = (0..10).map(|number| format!("foo{number}")).collect();
    for name in &eggs {
        sandbox.egg_with(name, "1.0", &[("noise", &noise(300_000))]);
    }
    let Some(_mount) = Mount::new(&sandbox.path("cache"), "2m") else { return };
    sandbox.fails("add eggs", 1).says(&["No space left"]);
    let add = |name: &String| format!("add eggs/{name}-1.0-py3.11.egg");
    let is_added = |name: &&String| {
        sandbox.eggcache(&add(name)).output().is_ok_and(|output| output.status.success())
    };
    let left = eggs.iter().find(|name| !is_added(name)).unwrap();
    let added = sandbox.listed().len();
    assert!((1..10).contains(&added));
    sandbox.fails(&add(left), 1).says(&["No space left", "eggcache gc"]);
    sandbox.ok("gc --max-size 0").says(&[&format!("Removed {added} egg")]);
    sandbox.ok(&add(left));
    sandbox.ok("verify");
    sandbox.assert_tidy();
}

#[test]
fn gc_frees_the_space_of_a_full_disk() {
    let sandbox = Sandbox::new();
    sandbox.egg_with("foo", "1.0", &[("foo.bin", &noise(500_000))]);
    let Some(mount) = Mount::new(&sandbox.path("cache"), "2m") else { return };
    sandbox.ok("add eggs");
    mount.fill();
    sandbox.ok("gc --max-size 0");
    assert!(sandbox.blobs().is_empty());
}

#[test]
fn a_cache_on_a_read_only_disk_can_be_read_and_not_written() {
    let sandbox = Sandbox::new();
    let egg = sandbox.egg("foo", "1.0");
    let Some(mount) = Mount::new(&sandbox.path("cache"), "4m") else { return };
    sandbox.ok("add eggs");
    mount.make_read_only();
    let files = names_in(&sandbox.path("cache"));

    assert_eq!(sandbox.listed(), ["foo==1.0"]);
    sandbox.ok("show foo --files");
    sandbox.ok("verify");
    sandbox.ok("gc --max-size 0 --dry-run").says(&["Would remove 1 egg"]);
    sandbox.ok("materialize --into out foo");
    assert_same_tree(&egg, &sandbox.path("out/foo-1.0-py3.11.egg"));
    sandbox.ok("materialize --into out foo").says(&["1 already there"]);
    sandbox.fails("materialize --into out bar", 3);

    sandbox.other_build("bar", "1.0");
    for line in ["add other", "add eggs", "gc", "reindex"] {
        sandbox.fails(line, 1).says(&["cache", "mounted read-only", "hint: mount it so that"]);
    }
    let doctor = sandbox.run("doctor");
    let found = String::from_utf8_lossy(&doctor.get_output().stdout).into_owned();
    assert!(found.contains("gives eggs and takes none: its file system is mounted"), "{found}");
    assert_eq!(names_in(&sandbox.path("cache")), files);
}

#[test]
fn an_empty_read_only_cache_is_named() {
    let sandbox = Sandbox::new();
    let Some(mount) = Mount::new(&sandbox.path("cache"), "1m") else { return };
    mount.make_read_only();
    sandbox.ok("list").says(&["there is no cache at cache yet"]);
    sandbox.fails("materialize --into out --all", 1).says(&["cache"]);
}

#[test]
fn materialize_into_a_read_only_directory_fails_and_says_why() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    let Some(mount) = Mount::new(&sandbox.path("out"), "1m") else { return };
    sandbox.ok("materialize --into out foo");
    sandbox.added("bar", "1.0");
    mount.make_read_only();
    sandbox.fails("materialize --into out bar", 1).says(&["out", "Read-only", "mounted"]);
    sandbox.ok("materialize --into out foo").says(&["1 already there"]);
}

#[test]
fn cache_and_target_may_be_on_different_disks() {
    let sandbox = Sandbox::new();
    let egg = sandbox.egg_with("foo", "1.0", &[("foo.bin", &noise(500_000))]);
    let Some(_cache) = Mount::new(&sandbox.path("cache"), "4m") else { return };
    let Some(_out) = Mount::new(&sandbox.path("out"), "4m") else { return };
    sandbox.ok("add eggs");
    sandbox.ok("materialize --into out foo");
    assert_same_tree(&egg, &sandbox.path("out/foo-1.0-py3.11.egg"));
    sandbox.assert_tidy();
}
