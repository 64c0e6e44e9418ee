//! A cache on a network file system; FUSE represents all of them.

use crate::support::{Mount, Sandbox, assert_same_tree, names_in, touch};

#[test]
fn a_cache_on_a_network_disk_has_no_wal_and_warns_once() {
    let sandbox = Sandbox::new();
    let Some(_mount) = Mount::of_fuse(&sandbox.path("cache"), &sandbox.path("served")) else {
        return;
    };
    let egg = sandbox.egg("foo", "1.0");
    sandbox.ok("add eggs").says(&["warning", "network file system"]);
    for line in ["list", "materialize --into out foo", "verify", "reindex", "gc"] {
        let output = sandbox.ok(line);
        assert!(!output.stderr.contains("warning"), "{line}: {}", output.stderr);
    }
    assert_same_tree(&egg, &sandbox.path("out/foo-1.0-py3.11.egg"));
    let index = rusqlite::Connection::open(sandbox.path("cache/index.sqlite")).unwrap();
    let mode: String = index.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "delete");
    assert!(!names_in(&sandbox.path("cache")).iter().any(|name| name.ends_with("-wal")));
}

#[test]
fn a_young_temporary_file_on_a_network_disk_is_kept() {
    let sandbox = Sandbox::new();
    sandbox.egg("foo", "1.0");
    let Some(_mount) = Mount::of_fuse(&sandbox.path("cache"), &sandbox.path("served")) else {
        return;
    };
    sandbox.ok("add eggs");
    let [young, old] = ["young", "old"].map(|name| {
        let path = sandbox.path(&format!("cache/tmp/.eggcache-{name}"));
        std::fs::write(&path, b"half").unwrap();
        path
    });
    touch(&old, 1_000_000_000, 0);
    sandbox.ok("gc").says(&["1 temporary file"]);
    assert!(young.exists() && !old.exists());
}

#[test]
fn an_index_moved_to_a_network_disk_loses_its_wal() {
    let sandbox = Sandbox::new();
    sandbox.egg("foo", "1.0");
    sandbox.ok("add eggs");
    sandbox.shell("mv cache served");
    let Some(_mount) = Mount::of_fuse(&sandbox.path("cache"), &sandbox.path("served")) else {
        return;
    };
    // A command that only reads leaves it as it is.
    assert_eq!(sandbox.listed(), ["foo==1.0"]);
    sandbox.ok("gc");
    let index = rusqlite::Connection::open(sandbox.path("cache/index.sqlite")).unwrap();
    let mode: String = index.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "delete");
}
