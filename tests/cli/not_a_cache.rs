//! A cache is made in a new or an empty directory only. What belongs to somebody else stays as it is.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rusqlite::Connection;
use serde_json::json;

use crate::serve::{Server, opening};
use crate::support::{Sandbox, assert_same, chmod, host, names_in, noise, text, tree, write};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");

/// Every command that would make or change a cache.
const WRITERS: [&str; 14] = [
    "add eggs",
    "gc",
    "gc --max-size 0",
    "verify --repair",
    "reindex",
    "init",
    "init --shared",
    "pin foo",
    "unpin foo",
    "roots --forget app",
    "remote add team /srv/pool",
    "remote remove team",
    "materialize --into out --all",
    "pull foo==1.0 --python 3.11",
];

const READERS: [&str; 7] = ["list", "show foo", "stats", "verify", "roots", "pins", "gc --dry-run"];

/// Asserts that every command refuses the directory `cache`, names what is in it, and changes nothing.
#[track_caller]
fn assert_refused(sandbox: &Sandbox, found: &str) {
    let cache = sandbox.path("cache");
    let before = tree(&cache);
    for line in WRITERS.iter().chain(&READERS) {
        let output = sandbox.fails(line, 1);
        output.says(&["cache is not a cache directory", found, "--cache"]);
        assert_same(&before, &tree(&cache));
    }
}

/// A sandbox with an egg, and a directory of somebody else in place of the cache.
fn with(files: &[(&str, &[u8])]) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.egg("foo", "1.0");
    fs::create_dir(sandbox.path("cache")).unwrap();
    for (name, content) in files {
        write(&sandbox.path("cache").join(name), content);
    }
    sandbox
}

#[test]
fn a_directory_with_files_of_a_user_is_refused() {
    assert_refused(&with(&[("ballast", b"mine"), ("thesis.tex", b"mine")]), "ballast");
    assert_refused(&with(&[("ballast", b"")]), "ballast");
    assert_refused(&with(&[(".profile", b"mine"), ("tmp/.eggcache-mine", b"")]), ".profile");
    assert_refused(&with(&[("blobs/ab/file", b"mine")]), "blobs");
    assert_refused(&with(&[("tmp/file", b"mine")]), "tmp");
    assert_refused(&with(&[("lost+found", b"mine")]), "lost+found");
    assert_refused(&with(&[("eggcache.toml", b""), ("mail", b"mine")]), "mail");
}

#[test]
fn a_directory_with_the_database_of_another_program_is_refused() {
    let sandbox = with(&[]);
    let index = Connection::open(sandbox.path("cache/index.sqlite")).unwrap();
    index
        .execute_batch("CREATE TABLE hens (name TEXT); INSERT INTO hens VALUES ('Berta')")
        .unwrap();
    index.close().unwrap();
    assert_refused(&sandbox, "index.sqlite");
    fs::write(sandbox.path("cache/index.sqlite"), noise(5000)).unwrap();
    assert_refused(&sandbox, "index.sqlite");
    assert_refused(&with(&[("index.sqlite", b""), ("index.sqlite-wal", b"mine")]), "-wal");
}

#[test]
fn the_cache_of_another_program_is_refused() {
    let tag = b"Signature: 8a477f597d28d172789f06886806bc55\n# by another program\n";
    assert_refused(&with(&[("CACHEDIR.TAG", tag)]), "CACHEDIR.TAG");
    // A blob has a name and a beginning of its own.
    let name = format!("blobs/{0}/{0}{1}", "ab", "0".repeat(62));
    assert_refused(&with(&[(&name, b"a git object, perhaps")]), "blobs");
}

#[test]
fn a_link_in_place_of_a_marker_marks_nothing() {
    let sandbox = with(&[("file", b"mine")]);
    let other = Sandbox::with_two();
    for name in ["index.sqlite", "CACHEDIR.TAG", "blobs"] {
        symlink(other.path("cache").join(name), sandbox.path("cache").join(name)).unwrap();
        let before = tree(&sandbox.path("cache"));
        sandbox.fails("list", 1).says(&["is not a cache directory"]);
        sandbox.fails("gc", 1).says(&["is not a cache directory"]);
        assert_same(&before, &tree(&sandbox.path("cache")));
        fs::remove_file(sandbox.path("cache").join(name)).unwrap();
    }
}

#[test]
fn a_cache_is_made_in_an_empty_directory_as_an_admin_has_made_it() {
    for prepare in [
        "mkdir cache",
        "mkdir -m 2775 cache",
        "mkdir -p cache/lost+found && chmod 700 cache/lost+found",
        "mkdir -p cache && echo '[gc]' >cache/eggcache.toml",
        "mkdir real && ln -s real cache",
        // What a process leaves that dies while it makes a cache.
        "mkdir -p cache/blobs cache/tmp",
        "mkdir -p cache/blobs/ab cache/tmp && touch cache/tmp/.eggcache-dead",
        "mkdir -p cache/blobs cache/tmp && touch cache/CACHEDIR.TAG",
        "mkdir -p cache/blobs cache/tmp && touch cache/index.sqlite cache/index.sqlite-journal",
    ] {
        let sandbox = Sandbox::new();
        sandbox.egg("foo", "1.0");
        sandbox.shell(prepare);
        sandbox.ok("add eggs");
        assert_eq!(sandbox.listed(), ["foo==1.0"], "{prepare}");
        assert!(sandbox.path("cache/CACHEDIR.TAG").metadata().unwrap().len() > 0, "{prepare}");
    }
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("cache")).unwrap();
    chmod(&sandbox.path("cache"), 0o2770);
    sandbox.ok("init");
    let mode = sandbox.path("cache").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o2770);
}

#[test]
fn a_cache_is_known_by_each_of_its_marks() {
    let lose = |names: &str| format!("cd cache && rm -rf {names}");
    for lost in [
        "CACHEDIR.TAG",
        "index.sqlite*",
        "blobs",
        "CACHEDIR.TAG index.sqlite*",
        "CACHEDIR.TAG blobs",
        "index.sqlite* blobs",
    ] {
        let sandbox = Sandbox::with_two();
        sandbox.ok("pin foo");
        sandbox.ok("init");
        write(&sandbox.path("cache/notes"), b"mine");
        sandbox.shell(&lose(lost));
        for line in ["verify --repair", "reindex", "gc", "list"] {
            sandbox.ok(line);
        }
        assert_eq!(sandbox.listed().len(), if lost.contains("blobs") { 0 } else { 2 }, "{lost}");
        assert_eq!(fs::read(sandbox.path("cache/notes")).unwrap(), b"mine");
    }
}

#[test]
fn a_cache_with_a_damaged_index_is_known_by_its_blobs() {
    let sandbox = Sandbox::with_two();
    sandbox.shell("cd cache && rm CACHEDIR.TAG && echo damaged >index.sqlite");
    sandbox.fails("list", 1).says(&["not an index of eggcache", "eggcache reindex"]);
    sandbox.ok("verify --repair");
    assert_eq!(sandbox.listed().len(), 2);
}

#[test]
fn caches_of_earlier_versions_are_known() {
    for old in names_in(Path::new(DATA)).iter().filter(|name| name.starts_with("format-")) {
        // Those of format 3 have an egg more, of an odd spelling.
        let eggs = if old.starts_with("format-3") { 4 } else { 3 };
        for lost in ["nothing", "CACHEDIR.TAG", "index.sqlite*", "CACHEDIR.TAG index.sqlite*"] {
            let sandbox = Sandbox::new();
            sandbox.shell(&format!("cp -r '{DATA}/{old}' cache && cd cache && rm -rf {lost}"));
            write(&sandbox.path("cache/notes"), b"mine");
            sandbox.ok("gc");
            assert_eq!(sandbox.listed().len(), eggs, "{old} without {lost}");
        }
    }
}

#[test]
fn check_and_bundle_compare_with_no_foreign_directory() {
    let sandbox = with(&[("ballast", b"mine")]);
    write(&sandbox.path("app/buildout.cfg"), b"[buildout]\n");
    fs::create_dir(sandbox.path("app/eggs")).unwrap();
    let before = tree(&sandbox.path("cache"));
    for line in ["check app", "check app --repair", "bundle app -o app.tar"] {
        sandbox.ok(line).says(&["cache is not a cache: eggs are not compared"]);
        assert_same(&before, &tree(&sandbox.path("cache")));
    }
}

#[test]
fn a_buildout_gets_a_failure_that_names_the_reason() {
    let sandbox = with(&[("ballast", b"mine")]);
    let before = tree(&sandbox.path("cache"));
    let (mut server, _) = Server::start(&sandbox);
    let answer = server.ask(&opening(&sandbox, &host()));
    assert_eq!(answer["kind"], "failure");
    let error = text(&answer["error"]);
    assert!(error.contains("is not a cache directory: it contains ballast"), "{error}");
    server.ask(&json!({"op": "close"}));
    drop(server);
    assert_same(&before, &tree(&sandbox.path("cache")));
}
