//! `eggcache materialize`: what is copied, what is left alone, and what is in the way.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{
    Sandbox, assert_same, assert_same_tree, chmod, make_egg, names_in, text, touch, tree, write,
};

const FOO: &str = "out/foo-1.0-py3.11.egg";

/// A sandbox with foo 1.0 in its cache and in `out`.
fn with_foo() -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    let files: [(&str, &[u8]); 2] = [("pkg/__init__.py", b"y = 2\n"), ("pkg/data.txt", b"data")];
    sandbox.egg_with("foo", "1.0", &files);
    sandbox.ok("add eggs");
    sandbox.ok("materialize --into out foo==1.0").says(&["1 egg copied"]);
    let target = sandbox.path(FOO);
    (sandbox, target)
}

/// Changes the egg in `out`, and asserts that `materialize` reports it and changes nothing.
fn is_in_the_way(change: impl FnOnce(&PathBuf), difference: &str) {
    let (sandbox, target) = with_foo();
    change(&target);
    let before = tree(&sandbox.path("out"));
    let output = sandbox.fails("materialize --into out foo==1.0", 1);
    output.says(&[target.to_str().unwrap(), "foo 1.0", difference]);
    assert_eq!(output.stdout, "");
    assert_same(&before, &tree(&sandbox.path("out")));
    let report = sandbox.fails("--json materialize --into out foo==1.0", 1).json();
    assert_eq!(report["eggs"][0]["outcome"], "failed");
    assert!(text(&report["eggs"][0]["reason"]).contains(difference));
}

#[test]
fn a_present_egg_is_left_and_reported() {
    let (sandbox, _) = with_foo();
    let before = tree(&sandbox.path("out"));
    let output = sandbox.ok("-v materialize --into out foo==1.0");
    output.says(&["0 eggs copied", "1 already there"]);
    assert_eq!(output.stdout, "present  foo-1.0-py3.11.egg\n");
    assert_same(&before, &tree(&sandbox.path("out")));
}

#[test]
fn an_egg_with_bytecode_added_by_python_is_present() {
    let (sandbox, target) = with_foo();
    write(&target.join("foo.pyc"), b"");
    write(&target.join("pkg/__pycache__/__init__.cpython-311.pyc"), b"");
    write(&target.join("pkg/__pycache__/__init__.cpython-311.opt-1.pyc"), b"");
    let report = sandbox.json("materialize --into out foo==1.0");
    assert_eq!(report["eggs"][0]["outcome"], "present");
}

#[test]
fn a_file_with_a_different_size_is_in_the_way() {
    is_in_the_way(|egg| write(&egg.join("pkg/data.txt"), b"other data"), "pkg/data.txt");
}

#[test]
fn a_rewritten_file_of_the_same_size_is_in_the_way() {
    is_in_the_way(|egg| write(&egg.join("pkg/data.txt"), b"DATA"), "pkg/data.txt");
}

#[test]
fn an_empty_file_is_in_the_way() {
    is_in_the_way(|egg| write(&egg.join("pkg/__init__.py"), b""), "pkg/__init__.py");
}

#[test]
fn a_file_with_a_different_mode_is_in_the_way() {
    is_in_the_way(|egg| chmod(&egg.join("pkg/data.txt"), 0o755), "pkg/data.txt");
}

#[test]
fn a_missing_file_is_in_the_way() {
    is_in_the_way(
        |egg| fs::remove_file(egg.join("pkg/data.txt")).unwrap(),
        "pkg/data.txt is missing",
    );
}

#[test]
fn a_missing_directory_is_in_the_way() {
    is_in_the_way(|egg| fs::remove_dir_all(egg.join("pkg")).unwrap(), "is missing");
}

#[test]
fn an_extra_file_is_in_the_way() {
    is_in_the_way(|egg| write(&egg.join("pkg/more.py"), b""), "pkg/more.py is not part of it");
}

#[test]
fn an_extra_directory_is_in_the_way() {
    is_in_the_way(|egg| fs::create_dir(egg.join("more")).unwrap(), "more is not part of it");
}

#[test]
fn a_symlink_in_place_of_a_file_is_in_the_way() {
    is_in_the_way(
        |egg| {
            fs::remove_file(egg.join("pkg/data.txt")).unwrap();
            symlink("__init__.py", egg.join("pkg/data.txt")).unwrap();
        },
        "pkg/data.txt",
    );
}

#[test]
fn an_empty_directory_in_place_of_the_egg_is_in_the_way() {
    is_in_the_way(
        |egg| {
            fs::remove_dir_all(egg).unwrap();
            fs::create_dir(egg).unwrap();
        },
        "missing",
    );
}

#[test]
fn a_file_in_place_of_the_egg_is_in_the_way() {
    is_in_the_way(
        |egg| {
            fs::remove_dir_all(egg).unwrap();
            write(egg, b"a file");
        },
        "in the way",
    );
}

#[test]
fn a_symlink_in_place_of_the_egg_is_in_the_way() {
    is_in_the_way(
        |egg| {
            let aside = egg.with_file_name("aside");
            fs::rename(egg, &aside).unwrap();
            symlink("aside", egg).unwrap();
        },
        "in the way",
    );
}

#[test]
fn a_dangling_symlink_in_place_of_the_egg_is_in_the_way() {
    is_in_the_way(
        |egg| {
            fs::remove_dir_all(egg).unwrap();
            symlink("no/such", egg).unwrap();
        },
        "in the way",
    );
}

#[test]
fn a_fifo_inside_the_present_egg_is_in_the_way() {
    is_in_the_way(
        |egg| {
            let fifo = egg.join("fifo");
            rustix::fs::mkfifoat(rustix::fs::CWD, fifo, 0o644.into()).unwrap();
        },
        "fifo",
    );
}

#[test]
fn a_directory_in_place_of_a_zipped_egg_is_in_the_way() {
    let sandbox = Sandbox::new();
    sandbox.zipped_egg("foo", "1.0");
    sandbox.ok("add eggs");
    fs::create_dir_all(sandbox.path(FOO)).unwrap();
    sandbox.fails("materialize --into out foo", 1).says(&["in the way of foo 1.0"]);
}

#[test]
fn another_build_in_place_of_the_egg_is_in_the_way() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    make_egg(&sandbox.path(FOO), "foo", "1.0", &[]);
    sandbox.fails("materialize --into out foo", 1).says(&["in the way of foo 1.0"]);
}

#[test]
fn one_egg_in_the_way_does_not_stop_the_others() {
    let sandbox = Sandbox::new();
    sandbox.egg("foo", "1.0");
    let bar = sandbox.egg("bar", "1.0");
    sandbox.ok("add eggs");
    write(&sandbox.path(FOO), b"");
    sandbox.fails("materialize --into out --all", 1).says(&["1 egg copied", "in the way"]);
    assert_same_tree(&bar, &sandbox.path("out/bar-1.0-py3.11.egg"));
}

#[test]
fn an_unknown_egg_is_a_miss() {
    let (sandbox, _) = with_foo();
    sandbox.fails("materialize --into new bar==1.0", 3).says(&["the cache has no egg bar==1.0"]);
    sandbox.fails("materialize --into new foo==2.0", 3).says(&["foo==2.0"]);
    sandbox.fails("materialize --into new bar-1.0-py3.11.egg", 3).says(&["bar-1.0-py3.11.egg"]);
    sandbox.fails("materialize --into new 0123456789abcdef", 3).says(&["0123456789abcdef"]);
    assert!(!sandbox.path("new").exists());
}

#[test]
fn every_miss_is_named_and_nothing_is_copied() {
    let (sandbox, _) = with_foo();
    sandbox.fails("materialize --into new bar==1 foo==1.0 baz==2", 3).says(&["bar==1", "baz==2"]);
    assert_eq!(names_in(&sandbox.path("new")), [""; 0]);
}

#[test]
fn an_empty_cache_has_no_egg() {
    let sandbox = Sandbox::new();
    sandbox.fails("materialize --into out foo==1.0", 3);
}

#[test]
fn an_egg_is_selected_by_name_version_file_name_or_digest() {
    let (sandbox, target) = with_foo();
    let digest = sandbox.digest("foo");
    let names =
        ["foo", "FOO==1.0", "foo==1.0.0", "foo===1.0", "foo-1.0-py3.11.egg", &digest[..8], &digest];
    for (number, name) in names.into_iter().enumerate() {
        let into = format!("out-{number}");
        sandbox.ok(&format!("materialize --into {into} {name}"));
        assert_same_tree(&target, &sandbox.path(&into).join("foo-1.0-py3.11.egg"));
    }
}

#[test]
fn an_ambiguous_egg_is_a_usage_error_that_lists_the_candidates() {
    let (sandbox, _) = with_foo();
    sandbox.egg("foo", "2.0");
    sandbox.ok("add eggs");
    sandbox.ok("add eggs/foo-1.0-py3.11.egg --environment el9");
    let output = sandbox.fails("materialize --into new foo", 2);
    output.says(&["foo is ambiguous", "foo-1.0-py3.11.egg", "foo-2.0-py3.11.egg", "el9"]);
    let digest = sandbox.digest("foo==2.0");
    output.says(&[&digest[..12]]);
    assert_eq!(names_in(&sandbox.path("new")), [""; 0]);
}

#[test]
fn an_egg_added_by_hand_has_precedence_over_a_later_build() {
    let (sandbox, egg) = with_foo();
    let other = sandbox.other_build("foo", "1.0");
    let source = "5".repeat(64);
    sandbox.ok(&format!("add other --source-sha256 {source}"));
    sandbox.sql("UPDATE eggs SET added_at = 1 WHERE source_sha256 = ''");
    assert_eq!(sandbox.json("list")["eggs"].as_array().unwrap().len(), 2);
    sandbox.ok("materialize --into by-name foo==1.0");
    sandbox.ok("materialize --into of-all --all");
    sandbox.ok("materialize --into preflight --all --preflight");
    for into in ["by-name", "of-all"] {
        assert_same_tree(&egg, &sandbox.path(into).join("foo-1.0-py3.11.egg"));
    }
    let listed = sandbox.json("list")["eggs"].as_array().unwrap().clone();
    let built = listed.iter().find(|egg| egg["source_sha256"] == source.as_str()).unwrap();
    let digest = &text(&built["digest"])[..12];
    sandbox.ok(&format!("materialize --into by-digest {digest}"));
    assert_same_tree(&other, &sandbox.path("by-digest/foo-1.0-py3.11.egg"));
    // Another archive of the same version is a different egg.
    let another = "6".repeat(64);
    sandbox.ok("gc --max-size 0");
    sandbox.ok(&format!("add eggs --source-sha256 {source}"));
    sandbox.ok(&format!("add other --source-sha256 {another}"));
    sandbox.fails("materialize --into new foo==1.0", 2).says(&["foo==1.0 is ambiguous"]);
}

#[test]
fn python_platform_and_generation_narrow_the_choice() {
    let sandbox = Sandbox::new();
    for file_name in [
        "foo-1.0-py3.11.egg",
        "foo-1.0-py3.12.egg",
        "foo-1.0-py3.12-linux-x86_64.egg",
        "any-1.0.egg",
    ] {
        let name = file_name.split('-').next().unwrap();
        make_egg(&sandbox.path("eggs").join(file_name), name, "1.0", &[]);
    }
    sandbox.ok("add eggs");
    sandbox.ok("add eggs/any-1.0.egg --generation 4");
    sandbox.fails("materialize --into out foo==1.0", 2);
    sandbox.fails("materialize --into out foo==1.0 --python 3.12", 2);
    sandbox.fails("materialize --into out foo==1.0 --python 3.10", 3);
    sandbox.ok("materialize --into out foo==1.0 --python 3.11");
    sandbox.ok("materialize --into out foo==1.0 --python cp311");
    sandbox.ok("materialize --into out any --python 3.11 --platform linux-x86_64 --generation 4");
    assert_eq!(names_in(&sandbox.path("out")), ["any-1.0.egg", "foo-1.0-py3.11.egg"]);
    sandbox.ok("materialize --into all --all --python 3.12 --generation 5");
    assert_eq!(
        names_in(&sandbox.path("all")),
        ["any-1.0.egg", "foo-1.0-py3.12-linux-x86_64.egg", "foo-1.0-py3.12.egg"]
    );
}

#[test]
fn all_copies_every_egg() {
    let sandbox = Sandbox::new();
    for name in ["foo", "bar", "baz"] {
        sandbox.egg(name, "1.0");
    }
    sandbox.zipped_egg("zipped", "1.0");
    sandbox.ok("add eggs");
    sandbox.ok("materialize --into out --all").says(&["4 eggs copied"]);
    assert_eq!(names_in(&sandbox.path("out")), names_in(&sandbox.path("eggs")));
}

#[test]
fn all_of_an_empty_cache_copies_nothing() {
    let sandbox = Sandbox::new();
    sandbox.ok("materialize --into out --all").says(&["0 eggs copied"]);
}

#[test]
fn two_eggs_with_one_file_name_cannot_share_a_directory() {
    let (sandbox, _) = with_foo();
    sandbox.ok("add eggs --environment el9");
    sandbox.fails("materialize --into new --all", 2).says(&["foo-1.0-py3.11.egg"]);
    assert_eq!(names_in(&sandbox.path("new")), [""; 0]);
}

#[test]
fn an_egg_named_twice_is_copied_and_reported_once() {
    let sandbox = Sandbox::new();
    sandbox.egg("foo", "1.0");
    sandbox.egg("bar", "1.0");
    sandbox.ok("add eggs");
    let report = sandbox.json("materialize --into out foo bar foo==1.0");
    let eggs = report["eggs"].as_array().unwrap();
    assert_eq!(eggs.len(), 2, "{eggs:?}");
    assert!(eggs.iter().all(|egg| egg["outcome"] == "copied"));
}

#[test]
fn requirements_pin_eggs() {
    let sandbox = Sandbox::new();
    for name in ["foo", "bar", "baz"] {
        sandbox.egg(name, "1.0");
    }
    sandbox.ok("add eggs");
    write(
        &sandbox.path("requirements.txt"),
        b"# pins\nFoo==1.0 \\\n    --hash=sha256:00\n\nbar[extra] == 1.0 ; python_version > '3'\n",
    );
    write(&sandbox.path("more.txt"), b"baz===1.0  # exactly\r\n");
    sandbox.ok("materialize --into out --requirements requirements.txt --requirements more.txt");
    assert_eq!(names_in(&sandbox.path("out")), names_in(&sandbox.path("eggs")));
}

#[test]
fn requirements_are_added_to_the_named_eggs() {
    let sandbox = Sandbox::new();
    sandbox.egg("foo", "1.0");
    sandbox.egg("bar", "1.0");
    sandbox.ok("add eggs");
    write(&sandbox.path("pins"), b"foo==1.0\n");
    sandbox.ok("materialize --into out --requirements pins bar");
    assert_eq!(names_in(&sandbox.path("out")).len(), 2);
}

#[test]
fn a_requirement_without_a_pin_is_reported_with_file_and_line() {
    let (sandbox, _) = with_foo();
    for line in ["foo", "foo>=1.0", "foo==1.*", "foo==1.0,<2", "-r other.txt", "foo == "] {
        write(&sandbox.path("pins.txt"), format!("foo==1.0\n\n{line}\n").as_bytes());
        let output = sandbox.fails("materialize --into new --requirements pins.txt", 2);
        output.says(&["pins.txt", "line 3", line.trim()]);
        assert!(!sandbox.path("new").exists());
    }
}

#[test]
fn a_requirement_without_a_name_is_a_usage_error() {
    let (sandbox, _) = with_foo();
    write(&sandbox.path("pins.txt"), b"==1.0\n");
    sandbox.fails("materialize --into new --requirements pins.txt", 2).says(&["line 1", "==1.0"]);
}

#[test]
fn continued_lines_count_for_the_line_of_a_bad_requirement() {
    let (sandbox, _) = with_foo();
    let pins = "foo==1.0 \\\n  --hash=sha256:00 \\\n  --hash=sha256:01\nfoo>=1\n";
    write(&sandbox.path("pins.txt"), pins.as_bytes());
    sandbox
        .fails("materialize --into new --requirements pins.txt", 2)
        .says(&["pins.txt", "line 4", "foo>=1"]);
}

#[test]
fn requirements_with_windows_line_ends_are_read() {
    let (sandbox, _) = with_foo();
    write(&sandbox.path("pins.txt"), b"foo==1.0 \\\r\n  --hash=sha256:00\r\n");
    sandbox.ok("materialize --into new --requirements pins.txt");
}

#[test]
fn an_unreadable_requirements_file_is_named() {
    let (sandbox, _) = with_foo();
    sandbox.fails("materialize --into new --requirements no-such.txt", 1).says(&["no-such.txt"]);
    write(&sandbox.path("latin.txt"), b"f\xf6o==1.0\n");
    sandbox.fails("materialize --into new --requirements latin.txt", 1).says(&["latin.txt"]);
}

#[test]
fn materialize_without_an_egg_is_a_usage_error() {
    let (sandbox, _) = with_foo();
    sandbox.fails("materialize --into out", 2);
    sandbox.fails("materialize foo", 2).says(&["--into"]);
    sandbox.fails("materialize --into out --all foo", 2);
}

#[test]
fn the_directory_is_created_with_its_parents() {
    let (sandbox, target) = with_foo();
    sandbox.ok("materialize --into a/b/c foo");
    assert_same_tree(&target, &sandbox.path("a/b/c/foo-1.0-py3.11.egg"));
}

#[test]
fn a_file_in_place_of_the_directory_is_named() {
    let (sandbox, _) = with_foo();
    write(&sandbox.path("file"), b"");
    sandbox.fails("materialize --into file foo", 1).says(&["file"]);
}

#[test]
fn a_directory_whose_name_is_not_utf8_is_in_the_json_report() {
    let (sandbox, target) = with_foo();
    let into = sandbox.path("").join(OsStr::from_bytes(b"\xff"));
    let mut process = sandbox.eggcache("--json materialize foo --into");
    let output = process.arg(&into).output().unwrap();
    assert_same_tree(&target, &into.join("foo-1.0-py3.11.egg"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["eggs"][0]["outcome"], "copied");
}

#[test]
fn a_symlink_to_the_directory_is_followed() {
    let (sandbox, target) = with_foo();
    fs::create_dir(sandbox.path("real")).unwrap();
    symlink("real", sandbox.path("link")).unwrap();
    sandbox.ok("materialize --into link foo");
    assert_same_tree(&target, &sandbox.path("real/foo-1.0-py3.11.egg"));
}

#[test]
fn leftovers_of_a_dead_process_are_removed_by_the_next_run() {
    let (sandbox, _) = with_foo();
    let dead = sandbox.path("out/.eggcache-dead");
    write(&dead.join("frozen/file"), b"");
    chmod(&dead.join("frozen"), 0o555);
    write(&sandbox.path("out/.eggcache-file"), b"");
    sandbox.ok("materialize --into out foo");
    assert_eq!(names_in(&sandbox.path("out")), ["foo-1.0-py3.11.egg"]);
}

#[test]
fn files_that_a_live_process_is_copying_are_kept() {
    let (sandbox, _) = with_foo();
    let path = sandbox.path("out/.eggcache-alive");
    fs::create_dir(&path).unwrap();
    let alive = fs::File::open(&path).unwrap();
    alive.lock().unwrap();
    sandbox.ok("materialize --into out foo");
    assert!(path.exists());
}

#[test]
fn other_files_in_the_directory_are_left() {
    let (sandbox, _) = with_foo();
    sandbox.egg("bar", "1.0");
    sandbox.ok("add eggs");
    write(&sandbox.path("out/.hidden"), b"mine");
    touch(&sandbox.path("out/.hidden"), 1, 1);
    let before = tree(&sandbox.path("out/.hidden"));
    sandbox.ok("materialize --into out --all");
    assert_same(&before, &tree(&sandbox.path("out/.hidden")));
}

#[test]
fn a_missing_blob_is_a_miss_that_names_its_egg() {
    let (sandbox, _) = with_foo();
    fs::remove_file(sandbox.blob("foo")).unwrap();
    sandbox.fails("materialize --into new foo", 3).says(&["foo-1.0-py3.11.egg"]);
    assert_eq!(names_in(&sandbox.path("new")), [""; 0]);
}

#[test]
fn a_request_counts_as_a_use_even_if_the_copy_fails() {
    let (sandbox, _) = with_foo();
    sandbox.ok("materialize --into out foo");
    sandbox.ok("materialize --into new foo");
    assert_eq!(sandbox.json("show foo")["uses"], 3);
    write(&sandbox.path("bad/foo-1.0-py3.11.egg"), b"");
    sandbox.fails("materialize --into bad foo", 1);
    assert_eq!(sandbox.json("show foo")["uses"], 4);
}
