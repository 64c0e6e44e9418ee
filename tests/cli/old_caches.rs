//! Caches written by older versions (tests/data/README.md).

use std::fs;
use std::path::Path;

use crate::support::{Sandbox, assert_same, chmod, files_in, names_in, tree};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");

/// A sandbox with a copy of an old cache. Version control does not keep modes.
fn with(old: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.shell(&format!("cp -r '{DATA}/{old}' cache"));
    for blob in sandbox.blobs() {
        chmod(&blob, 0o444);
    }
    sandbox
}

fn old_caches() -> Vec<String> {
    let names = names_in(Path::new(DATA)).into_iter();
    let names: Vec<String> = names.filter(|name| name.starts_with("format-")).collect();
    assert!(!names.is_empty());
    names
}

/// The eggs of an old cache. Since format 3, there is one whose file name has another spelling.
pub fn eggs_of(old: &str) -> Vec<&'static str> {
    let mut eggs = vec!["one==1.0", "three==3", "two==2.1.post1"];
    if old.starts_with("format-3") {
        eggs.push("zc-recipe-egg==2.0.7");
    }
    eggs
}

#[test]
fn old_caches_are_opened_and_migrated() {
    for old in old_caches() {
        let sandbox = with(&old);
        let (blobs, eggs) = (sandbox.blobs(), eggs_of(&old));
        assert_eq!(sandbox.listed(), eggs, "{old}");
        // The folders of a checkout are open to others, as those of old caches were.
        sandbox.ok("verify --repair").says(&["closed to others"]);
        sandbox.ok("verify").says(&["no problem"]);
        let copied = format!("{} eggs copied", eggs.len());
        sandbox.ok("materialize --into out --all").says(&[&copied]);
        sandbox.egg("new", "1.0");
        sandbox.ok("add eggs");
        sandbox.ok("gc").says(&[&format!("{} eggs kept", eggs.len() + 1)]);
        assert!(blobs.iter().all(|blob| blob.exists()));
        sandbox.assert_tidy();
    }
}

#[test]
fn the_index_of_an_old_cache_can_be_rebuilt() {
    for old in old_caches() {
        let sandbox = with(&old);
        fs::remove_file(sandbox.path("cache/index.sqlite")).unwrap();
        assert_eq!(sandbox.listed(), eggs_of(&old), "{old}");
    }
}

#[test]
fn eggs_of_old_caches_are_unchanged() {
    for old in old_caches() {
        let sandbox = with(&old);
        sandbox.ok("materialize --into out --all");
        // Added again, each egg has the same digest, which covers its bytes, modes and mtimes.
        let before: Vec<_> = names_of(&sandbox.blobs());
        sandbox.ok("gc --max-size 1B");
        sandbox.ok("add out");
        assert_eq!(names_of(&sandbox.blobs()), before, "{old}");
    }
}

#[test]
fn evictions_and_uses_in_old_caches_are_kept() {
    for (old, regrets, hits, uses) in [
        ("format-1-schema-1", 0, 0, 0),
        ("format-1-schema-2", 0, 0, 2),
        ("format-1-schema-3", 1, 0, 2),
        ("format-1-schema-4", 1, 5, 2),
        ("format-2-schema-5", 2, 7, 3),
        ("format-3-schema-6", 2, 9, 4),
        ("format-3-schema-7", 2, 10, 4),
    ] {
        let sandbox = with(old);
        let stats = sandbox.json("stats");
        assert_eq!(stats["regrets"]["asked"], regrets, "{old}");
        assert_eq!(stats["usage"]["all"]["hits"], hits, "{old}");
        assert_eq!(sandbox.json("show two")["uses"], uses, "{old}");
    }
}

#[test]
fn an_old_cache_exists_for_every_schema() {
    let schemas = names_in(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations"))).len();
    let format = |schema: usize| match schema {
        0..5 => 1,
        5 => 2,
        _ => 3,
    };
    let expected: Vec<String> =
        (1..=schemas).map(|schema| format!("format-{}-schema-{schema}", format(schema))).collect();
    assert_eq!(old_caches(), expected);
}

fn names_of(paths: &[std::path::PathBuf]) -> Vec<std::ffi::OsString> {
    paths.iter().map(|path| path.file_name().unwrap().to_owned()).collect()
}

#[test]
fn a_read_only_old_cache_is_read_without_being_migrated() {
    for old in old_caches() {
        let sandbox = with(&old);
        for path in files_in(&sandbox.path("cache")) {
            chmod(&path, 0o444);
        }
        chmod(&sandbox.path("cache"), 0o555);
        let before = tree(&sandbox.path("cache"));
        for line in ["list", "materialize --into out one"] {
            let Some(process) = sandbox.as_user(line) else { return };
            assert_cmd::Command::from_std(process).assert().code(0);
        }
        assert_same(&before, &tree(&sandbox.path("cache")));
    }
}
