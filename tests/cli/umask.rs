//! Modes: an egg keeps its executable bits, and the rest comes from where it is materialized.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::support::{EGGCACHE, Sandbox, chmod, touch, write};

fn with_umask(sandbox: &Sandbox, umask: &str, line: &str) {
    sandbox.shell(&format!("umask {umask}; exec '{EGGCACHE}' {line}"));
}

/// An egg as a builder with this umask makes it, in the folder of that name.
fn built_under(sandbox: &Sandbox, umask: u32) -> PathBuf {
    let egg = sandbox.path(&format!("{umask:03o}/foo-1.0-py3.11.egg"));
    crate::support::make_egg(
        &egg,
        "foo",
        "1.0",
        &[("sub/data.txt", b"data"), ("sub/run", b"#!/bin/sh\n")],
    );
    for entry in WalkDir::new(&egg).contents_first(true) {
        let entry = entry.unwrap();
        touch(entry.path(), 1_600_000_000, 0);
        let is_open = entry.file_type().is_dir() || entry.file_name() == "run";
        chmod(entry.path(), if is_open { 0o777 & !umask } else { 0o666 & !umask });
    }
    egg
}

/// The modes of everything below a folder that holds eggs.
fn modes(folder: &Path) -> BTreeMap<PathBuf, u32> {
    let entries = WalkDir::new(folder).min_depth(1).into_iter().map(Result::unwrap);
    entries
        .filter(|entry| !entry.path_is_symlink())
        .map(|entry| {
            let path = entry.path().strip_prefix(folder).unwrap().to_owned();
            (path, entry.metadata().unwrap().permissions().mode() & 0o7777)
        })
        .collect()
}

/// The modes of an egg that was built under a umask.
fn natural(sandbox: &Sandbox, umask: u32) -> BTreeMap<PathBuf, u32> {
    let egg = built_under(sandbox, umask);
    modes(egg.parent().unwrap())
}

#[test]
fn an_egg_gets_the_umask_of_where_it_is_materialized() {
    let sandbox = Sandbox::new();
    built_under(&sandbox, 0o077);
    with_umask(&sandbox, "077", "--cache cache add 077");
    for (umask, text) in [(0o022, "022"), (0o002, "002"), (0o077, "077"), (0o027, "027")] {
        let out = format!("out-{text}");
        with_umask(&sandbox, text, &format!("--cache cache materialize --into {out} foo"));
        assert_eq!(modes(&sandbox.path(&out)), natural(&sandbox, umask), "umask {text}");
        // Under another umask, the egg is there and complete.
        with_umask(&sandbox, "022", &format!("--cache cache materialize --into {out} foo"));
    }
}

#[test]
fn a_zipped_egg_gets_the_umask_of_where_it_is_materialized() {
    let sandbox = Sandbox::new();
    let egg = sandbox.zipped_egg("zipped", "1.0");
    chmod(&egg, 0o600);
    sandbox.ok("add eggs");
    for (umask, mode) in [("022", 0o644), ("002", 0o664), ("077", 0o600)] {
        with_umask(
            &sandbox,
            umask,
            &format!("--cache cache materialize --into out-{umask} zipped"),
        );
        let copy = sandbox.path(&format!("out-{umask}/zipped-1.0-py3.11.egg"));
        assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o7777, mode, "umask {umask}");
    }
}

#[test]
fn builders_with_other_umasks_make_one_egg() {
    let sandbox = Sandbox::new();
    let mut digests = Vec::new();
    for umask in [0o022, 0o077, 0o002] {
        built_under(&sandbox, umask);
        let cache = format!("--cache cache-{umask:03o}");
        with_umask(&sandbox, "022", &format!("{cache} add {umask:03o}"));
        let shown = sandbox.shell(&format!("'{EGGCACHE}' {cache} --json show foo")).json();
        digests.push(shown["digest"].clone());
    }
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
}

#[test]
fn an_egg_in_a_folder_with_setgid_has_its_group_and_bit() {
    if !rustix::process::geteuid().is_root() {
        return crate::support::skip("only root can give a folder any group");
    }
    let sandbox = Sandbox::new();
    built_under(&sandbox, 0o022);
    sandbox.ok("add 022");
    let out = sandbox.path("out");
    std::fs::create_dir(&out).unwrap();
    std::os::unix::fs::chown(&out, None, Some(12345)).unwrap();
    chmod(&out, 0o2775);
    with_umask(&sandbox, "002", "--cache cache materialize --into out foo");
    for entry in WalkDir::new(&out).min_depth(1).into_iter().map(Result::unwrap) {
        let found = entry.metadata().unwrap();
        assert_eq!(found.gid(), 12345, "{}", entry.path().display());
        if found.is_dir() {
            assert_eq!(found.mode() & 0o7777, 0o2775, "{}", entry.path().display());
        }
    }
}

#[test]
fn check_and_materialize_accept_every_umask() {
    let sandbox = Sandbox::new();
    built_under(&sandbox, 0o022);
    sandbox.ok("add 022");
    for umask in [0o022, 0o077, 0o002] {
        let app = sandbox.path(&format!("app-{umask:03o}"));
        write(&app.join("buildout.cfg"), b"[buildout]\n");
        let egg = built_under(&sandbox, umask);
        std::fs::create_dir_all(app.join("eggs")).unwrap();
        std::fs::rename(egg, app.join("eggs/foo-1.0-py3.11.egg")).unwrap();
        let report = sandbox.json(&format!("check --full app-{umask:03o}"));
        assert_eq!(report["problems"], serde_json::json!([]), "umask {umask:03o}");
        sandbox
            .ok(&format!("materialize --into app-{umask:03o}/eggs foo"))
            .says(&["1 already there"]);
    }
    // An executable bit is more than a umask.
    chmod(&sandbox.path("app-022/eggs/foo-1.0-py3.11.egg/sub/run"), 0o644);
    sandbox.fails("check app-022", 4).says(&["mode"]);
}

#[test]
fn a_blob_with_modes_of_a_builder_is_materialized_as_others() {
    // A cache that an older eggcache has filled keeps modes in its manifests.
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/format-2-schema-5");
    let sandbox = Sandbox::new();
    sandbox.shell(&format!("cp -r '{}' cache && chmod -R u+w cache", data.display()));
    with_umask(&sandbox, "077", "--cache cache materialize --into out --all");
    let open = modes(&sandbox.path("out"));
    assert!(!open.is_empty());
    for (path, mode) in open {
        assert_eq!(mode & 0o077, 0, "{}", path.display());
    }
    sandbox.ok("materialize --into out --all").says(&["0 eggs copied"]);
}
