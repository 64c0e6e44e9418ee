//! What `check --repair` moves out of eggs: it loses no file of a developer, and leaves no problem.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Output, Sandbox, assert_same_tree, chmod, names_in, text, write};

const ALPHA: &str = "alpha-1.0-py3.11.egg";
const ZIPPED: &str = "zipped-1.0-py3.11.egg";

/// A buildout `app` with copies of two eggs of the cache.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.egg_with("alpha", "1.0", &[("pkg/a.py", b"a = 1\n"), ("pkg/b.py", b"b = 1\n")]);
    sandbox.zipped_egg("zipped", "1.0");
    sandbox.ok("add eggs");
    sandbox.ok("materialize --into app/eggs --all");
    write(&sandbox.path("app/buildout.cfg"), b"[buildout]\nparts =\n");
    sandbox
}

fn egg(sandbox: &Sandbox, name: &str) -> PathBuf {
    sandbox.path("app/eggs").join(name)
}

fn aside(sandbox: &Sandbox) -> PathBuf {
    sandbox.path("app/eggs/set-aside")
}

/// Repairs the buildout, and asserts that both eggs are as the cache has them and that a check finds nothing.
fn repaired(sandbox: &Sandbox) -> Output {
    let said = sandbox.ok("check app --full --repair");
    for name in [ALPHA, ZIPPED] {
        assert_same_tree(&sandbox.path("eggs").join(name), &egg(sandbox, name));
    }
    for options in ["", "--full", "--repair"] {
        let report: Value = sandbox.json(&format!("check app {options}"));
        assert_eq!(report["problems"], Value::Array(vec![]), "{options}");
    }
    assert_eq!(names_in(&sandbox.path("app/eggs")), [ALPHA, "set-aside", ZIPPED]);
    said
}

fn content(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn the_edit_of_a_developer_is_kept() {
    for (edit, name) in [("a = 1 + 1\n", "another size"), ("a = 2\n", "the same size")] {
        let sandbox = sandbox();
        let file = egg(&sandbox, ALPHA).join("pkg/a.py");
        write(&file, edit.as_bytes());
        repaired(&sandbox).says(&[&format!("set-aside/{ALPHA}.added/pkg/a.py")]);
        let kept = aside(&sandbox).join(format!("{ALPHA}.added/pkg"));
        assert_eq!(content(&kept.join("a.py")), edit, "{name}");
        assert_eq!(names_in(&kept), ["a.py"], "unchanged files are not kept");
    }
}

#[test]
fn a_second_edit_does_not_replace_the_first_one() {
    let sandbox = sandbox();
    for edit in ["first\n", "second\n"] {
        write(&egg(&sandbox, ALPHA).join("pkg/a.py"), edit.as_bytes());
        repaired(&sandbox);
    }
    for (folder, edit) in [(".added", "first\n"), ("-1.added", "second\n")] {
        let kept = aside(&sandbox).join(format!("{ALPHA}{folder}/pkg/a.py"));
        assert_eq!(content(&kept), edit);
    }
}

#[test]
fn a_file_with_another_mode_is_restored_without_a_copy() {
    let sandbox = sandbox();
    chmod(&egg(&sandbox, ALPHA).join("pkg/a.py"), 0o700);
    sandbox.ok("check app --repair");
    assert_same_tree(&sandbox.path("eggs").join(ALPHA), &egg(&sandbox, ALPHA));
    assert!(!aside(&sandbox).exists());
}

#[test]
fn a_symlink_that_was_moved_out_of_an_egg_is_not_a_problem() {
    let sandbox = sandbox();
    write(&sandbox.path("outside/more.py"), b"");
    symlink(sandbox.path("outside/more.py"), egg(&sandbox, ALPHA).join("pkg/more.py")).unwrap();
    fs::remove_file(egg(&sandbox, ALPHA).join("pkg/a.py")).unwrap();
    symlink(sandbox.path("outside/more.py"), egg(&sandbox, ALPHA).join("pkg/a.py")).unwrap();
    repaired(&sandbox);
    let kept = aside(&sandbox).join(format!("{ALPHA}.added/pkg"));
    assert_eq!(names_in(&kept), ["a.py", "more.py"]);
    assert!(kept.join("a.py").is_symlink());
}

#[test]
fn a_hard_link_that_was_moved_out_of_an_egg_is_not_a_problem() {
    let sandbox = sandbox();
    write(&sandbox.path("outside/more.py"), b"");
    let more = egg(&sandbox, ALPHA).join("pkg/more.py");
    fs::hard_link(sandbox.path("outside/more.py"), more).unwrap();
    repaired(&sandbox);
}

#[test]
fn a_symlink_in_place_of_an_egg_is_kept() {
    let sandbox = sandbox();
    let checkout = sandbox.path("checkout");
    fs::rename(egg(&sandbox, ALPHA), &checkout).unwrap();
    write(&checkout.join("pkg/a.py"), b"a = 'mine'\n");
    symlink(&checkout, egg(&sandbox, ALPHA)).unwrap();
    repaired(&sandbox);
    let kept = aside(&sandbox).join(format!("{ALPHA}.added"));
    assert_eq!(fs::read_link(kept).unwrap(), checkout);
    assert_eq!(content(&checkout.join("pkg/a.py")), "a = 'mine'\n");
}

#[test]
fn a_changed_zipped_egg_is_kept() {
    let sandbox = sandbox();
    write(&egg(&sandbox, ZIPPED), b"mine\n");
    repaired(&sandbox);
    assert_eq!(content(&aside(&sandbox).join(format!("{ZIPPED}.added"))), "mine\n");
}

#[test]
fn a_file_in_place_of_an_egg_directory_is_kept() {
    let sandbox = sandbox();
    fs::remove_dir_all(egg(&sandbox, ALPHA)).unwrap();
    write(&egg(&sandbox, ALPHA), b"mine\n");
    repaired(&sandbox);
    assert_eq!(content(&aside(&sandbox).join(format!("{ALPHA}.added"))), "mine\n");
}

#[test]
fn an_edit_is_kept_when_the_name_of_the_folder_is_taken() {
    let sandbox = sandbox();
    write(&aside(&sandbox).join(format!("{ALPHA}.added/pkg/a.py")), b"older\n");
    write(&egg(&sandbox, ALPHA).join("pkg/a.py"), b"newer\n");
    let report = sandbox.json("check app --repair");
    let notes = report["notes"].as_array().unwrap();
    let moved = notes.iter().find(|note| note["kind"] == "added").unwrap();
    assert!(text(&moved["what"]).contains("-1.added/pkg/a.py"), "{moved}");
    assert_eq!(content(&aside(&sandbox).join(format!("{ALPHA}.added/pkg/a.py"))), "older\n");
}
