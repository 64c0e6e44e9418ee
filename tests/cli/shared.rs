//! Several users share a cache. Run by root, these tests run the binary as other users.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use walkdir::WalkDir;

use crate::support::{Output, Sandbox, as_made_under, assert_same, chmod, files_in, tree};
use crate::users::{ANNE, BOB, GROUP, as_user, finish, with_group_folder};

/// The sandbox of these tests: ANNE has made the folder of the cache.
fn with_users() -> Option<Sandbox> {
    with_group_folder()
}

#[track_caller]
fn run(sandbox: &Sandbox, user: u32, umask: &str, line: &str, code: i32) -> Output {
    finish(as_user(sandbox, user, umask, line), code)
}

#[test]
fn a_shared_cache_works_for_the_group_with_any_umask() {
    for umask in ["077", "022", "002"] {
        let Some(sandbox) = with_users() else { return };
        let report = run(&sandbox, ANNE, umask, "--json init --shared", 0).json();
        assert_eq!((&report["made"], &report["shared"]), (&true.into(), &true.into()));
        run(&sandbox, ANNE, umask, "add anne", 0);
        run(&sandbox, BOB, umask, "add bob", 0);
        for (user, name) in [(ANNE, "anne"), (BOB, "bob")] {
            run(&sandbox, user, umask, "verify", 0);
            run(&sandbox, user, umask, &format!("materialize --into {name}/out --all"), 0);
            for egg in ["anne", "bob"] {
                let file_name = format!("{egg}-1.0-py3.11.egg");
                let copy = sandbox.path(&format!("{name}/out/{file_name}"));
                let egg = as_made_under(umask, &sandbox.path(&format!("{egg}/{file_name}")));
                assert_same(&egg, &tree(&copy));
            }
        }
        // Each user writes what the other has made: rows, the record of a directory, blobs, pins.
        run(&sandbox, ANNE, umask, "pin anne", 0);
        run(&sandbox, BOB, umask, "pin bob", 0);
        run(&sandbox, ANNE, umask, "pin bob --note mine", 0);
        run(&sandbox, BOB, umask, "unpin anne bob", 0);
        run(&sandbox, ANNE, umask, "materialize --into anne/out bob", 0);
        run(&sandbox, BOB, umask, "reindex", 0);
        run(&sandbox, BOB, umask, "gc --max-size 1B", 0);
        assert_eq!(files_in(&sandbox.path("cache/blobs")).len(), 0);
        for entry in WalkDir::new(sandbox.path("cache")) {
            let metadata = entry.unwrap().metadata().unwrap();
            assert_eq!(metadata.gid(), GROUP);
        }
    }
}

#[test]
fn leftovers_of_another_user_are_removed() {
    let Some(sandbox) = with_users() else { return };
    run(&sandbox, ANNE, "077", "init --shared", 0);
    let left = sandbox.path("cache/tmp/.eggcache-left");
    fs::write(&left, b"half").unwrap();
    chmod(&left, 0o440);
    chown(&left, Some(ANNE), Some(GROUP)).unwrap();
    run(&sandbox, BOB, "077", "gc", 0).says(&["1 temporary file"]);
    assert!(!left.exists());
}

#[test]
fn a_cache_of_one_user_can_be_shared_later() {
    let Some(sandbox) = with_users() else { return };
    run(&sandbox, ANNE, "077", "add anne", 0);
    run(&sandbox, BOB, "077", "add bob", 1);
    run(&sandbox, ANNE, "077", "init --shared", 0).says(&["already exists, shared with its group"]);
    run(&sandbox, BOB, "077", "add bob", 0);
    run(&sandbox, BOB, "077", "materialize --into bob/out --all", 0);
    run(&sandbox, ANNE, "077", "verify", 0);
    // Nothing has to be changed, so ownership is not required.
    run(&sandbox, BOB, "077", "init --shared", 0);
    run(&sandbox, ANNE, "077", "init --shared", 0);
}

#[test]
fn a_lost_shared_index_is_rebuilt_for_the_group() {
    let Some(sandbox) = with_users() else { return };
    run(&sandbox, ANNE, "077", "init --shared", 0);
    run(&sandbox, ANNE, "077", "add anne", 0);
    fs::remove_file(sandbox.path("cache/index.sqlite")).unwrap();
    run(&sandbox, BOB, "077", "list", 0);
    run(&sandbox, ANNE, "077", "gc --max-size 1B", 0);
}

#[test]
fn an_unreadable_blob_of_another_user_is_a_miss() {
    let Some(sandbox) = with_users() else { return };
    run(&sandbox, ANNE, "022", "init --shared", 0);
    run(&sandbox, ANNE, "022", "add anne", 0);
    let blob = sandbox.blobs().remove(0);
    chmod(&blob, 0o400);
    let output = run(&sandbox, BOB, "022", "materialize --into bob/out anne", 3);
    output.says(&["anne-1.0-py3.11.egg", "cannot read the blob"]);
    assert_eq!(output.stderr.matches("cannot read").count(), 1);
    assert_eq!(files_in(&sandbox.path("bob/out")).len(), 0);
    let report = run(&sandbox, BOB, "022", "--json verify", 4).json();
    assert_eq!(report["problems"][0]["kind"], "unreadable");
    run(&sandbox, ANNE, "022", "materialize --into anne/out anne", 0);
}

#[test]
fn a_world_writable_cache_is_used_by_nobody() {
    let Some(sandbox) = with_users() else { return };
    run(&sandbox, ANNE, "022", "add anne", 0);
    for mode in [0o777, 0o1777, 0o2777] {
        chmod(&sandbox.path("cache"), mode);
        for line in ["list", "add bob", "materialize --into bob/out anne", "verify", "gc"] {
            run(&sandbox, BOB, "022", line, 1).says(&["is not trusted"]);
        }
        run(&sandbox, ANNE, "022", "list", 1).says(&["everybody can write to"]);
        run(&sandbox, ANNE, "022", "--trust-cache list", 0);
    }
    chown(sandbox.path("cache"), Some(0), None).unwrap();
    run(&sandbox, BOB, "022", "list", 1).says(&["everybody can write to"]);
}

#[test]
fn a_cache_that_is_not_shared_respects_the_umask() {
    let sandbox = Sandbox::new();
    sandbox.shell("umask 077; $EGGCACHE --cache cache init");
    let mode = |name: &str| {
        let metadata = Path::new(&sandbox.path(name)).metadata().unwrap();
        metadata.permissions().mode() & 0o7777
    };
    assert_eq!(mode("cache"), 0o700);
    assert_eq!(mode("cache/blobs"), 0o700);
    assert_eq!(mode("cache/index.sqlite"), 0o600);
    sandbox.ok("init").says(&["already exists"]);
}
