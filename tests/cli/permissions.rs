//! What a user who is not root may do. Run by root, these tests run the binary as nobody.

use std::fs;
use std::os::unix::process::CommandExt;

use assert_cmd::Command;

use crate::support::{
    Output, Sandbox, as_made_under, assert_same, assert_same_tree, chmod, names_in, tree, umask,
    write,
};

/// Runs a command as a user and asserts its exit code; `None` if that is impossible here.
fn as_user(sandbox: &Sandbox, line: &str, code: i32) -> Option<Output> {
    let process = sandbox.as_user(line)?;
    Some(Output::of(&Command::from_std(process).assert().code(code)))
}

#[test]
fn an_egg_with_an_unreadable_file_is_refused_alone() {
    let sandbox = Sandbox::new();
    sandbox.egg("sound", "1.0");
    let egg = sandbox.egg_with("locked", "1.0", &[("secret", b"secret")]);
    chmod(&egg.join("secret"), 0o000);
    let Some(output) = as_user(&sandbox, "add eggs", 1) else { return };
    output.says(&["locked-1.0-py3.11.egg/secret", "Permission denied", "1 egg stored"]);
    assert_eq!(sandbox.listed(), ["sound==1.0"]);
    sandbox.assert_tidy();
}

#[test]
fn an_egg_with_an_unreadable_folder_is_refused_alone() {
    let sandbox = Sandbox::new();
    sandbox.egg("sound", "1.0");
    let egg = sandbox.egg_with("locked", "1.0", &[("secret/file", b"")]);
    chmod(&egg.join("secret"), 0o000);
    let Some(output) = as_user(&sandbox, "add eggs", 1) else { return };
    output.says(&["locked-1.0-py3.11.egg/secret", "Permission denied", "1 egg stored"]);
    assert_eq!(sandbox.listed(), ["sound==1.0"]);
}

#[test]
fn a_cache_without_write_permission_can_be_read() {
    let sandbox = Sandbox::new();
    let egg = sandbox.egg("foo", "1.0");
    sandbox.ok("add eggs");
    for entry in walkdir::WalkDir::new(sandbox.path("cache")) {
        let entry = entry.unwrap();
        chmod(entry.path(), if entry.file_type().is_dir() { 0o500 } else { 0o400 });
    }
    let files = names_in(&sandbox.path("cache"));
    let Some(output) = as_user(&sandbox, "list", 0) else { return };
    assert!(output.stdout.contains("foo"));
    for line in ["show foo --files", "verify", "gc --dry-run", "materialize --into out foo"] {
        as_user(&sandbox, line, 0);
    }
    assert_same_tree(&egg, &sandbox.path("out/foo-1.0-py3.11.egg"));
    for line in ["add eggs", "gc", "reindex"] {
        as_user(&sandbox, line, 1).unwrap().says(&["cache", "read-only for this user"]);
    }
    assert_eq!(names_in(&sandbox.path("cache")), files);
}

#[test]
fn a_directory_without_write_permission_is_named() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    fs::create_dir(sandbox.path("out")).unwrap();
    chmod(&sandbox.path("out"), 0o555);
    let Some(output) = as_user(&sandbox, "materialize --into out foo", 1) else { return };
    output.says(&["out", "Permission denied", "check who owns it"]);
    let preflight = as_user(&sandbox, "materialize --preflight --into out/eggs foo", 1).unwrap();
    preflight.says(&["no permission to write to out/eggs", "1 problem"]);
}

#[test]
fn an_egg_with_read_only_directories_is_copied_for_a_user() {
    let sandbox = Sandbox::new();
    let egg = sandbox.egg_with("frozen", "1.0", &[("ice/berg/tip", b"cold")]);
    sandbox.ok("add eggs");
    for folder in ["ice/berg", "ice", ""] {
        chmod(&egg.join(folder), 0o555);
    }
    if as_user(&sandbox, "add --replace eggs", 0).is_none() {
        return;
    }
    as_user(&sandbox, "materialize --into out frozen", 0);
    let expected = as_made_under(&umask(), &egg);
    assert_same(&expected, &tree(&sandbox.path("out/frozen-1.0-py3.11.egg")));
    as_user(&sandbox, "materialize --into out frozen", 0).unwrap().says(&["1 already there"]);
}

#[test]
fn read_only_leftovers_are_removed_for_a_user() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    let dead = sandbox.path("out/.eggcache-dead");
    write(&dead.join("ice/berg/tip"), b"cold");
    for folder in ["ice/berg", "ice", ""] {
        chmod(&dead.join(folder), 0o555);
    }
    if as_user(&sandbox, "materialize --into out foo", 0).is_none() {
        return;
    }
    assert_eq!(names_in(&sandbox.path("out")), ["foo-1.0-py3.11.egg"]);
}

#[test]
fn an_unreadable_index_is_reported_with_its_owner_and_mode() {
    let sandbox = Sandbox::with_two();
    chmod(&sandbox.path("cache/index.sqlite"), 0o200);
    chmod(&sandbox.path("cache"), 0o555);
    let Some(output) = as_user(&sandbox, "list", 1) else { return };
    output
        .says(&["error: cannot read the index ", "index.sqlite: permission denied (owned by user"]);
    output.says(&["mode 0200)\nhint: `chmod u+r /", "index.sqlite` makes it readable\n"]);
}

#[test]
fn an_unreadable_blob_of_the_user_gets_a_chmod_hint() {
    let sandbox = Sandbox::with_two();
    chmod(&sandbox.blob("foo"), 0);
    for line in ["verify", "verify --repair"] {
        let Some(output) = as_user(&sandbox, line, 4) else { return };
        output.says(&["cannot read the blob /", "mode 0000)", "hint: `chmod u+r /"]);
        assert!(!output.stderr.contains("eggcache"), "{}", output.stderr);
    }
}

#[test]
fn a_process_limit_is_an_error_not_a_panic() {
    let sandbox = Sandbox::with_two();
    for line in ["materialize --into out foo", "verify", "add eggs"] {
        let Some(process) = sandbox.as_user(line) else { return };
        let mut limited = sandbox.process("prlimit");
        limited.arg("--nproc=1").arg(crate::support::EGGCACHE).args(process.get_args());
        if rustix::process::geteuid().is_root() {
            limited.uid(65534).gid(65534);
        }
        let output = Output::of(&Command::from_std(limited).assert().code(1));
        output.says(&[
            "error: cannot start the thread `work`: ",
            "\nhint: allow this user more processes",
        ]);
    }
}
