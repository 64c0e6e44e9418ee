//! Who can read a cache: its owner, unless it is shared on purpose.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use walkdir::WalkDir;

use crate::support::{Sandbox, chmod};
use crate::users::{
    ANNE, BOB, GROUP, as_user, finish, give, mode, not_of, run, with_group_folder,
    with_shared_cache, with_users,
};

const FILL: &str = "--cache cache add eggs && $EGGCACHE --cache cache pin foo && \
     $EGGCACHE --cache cache materialize --into out foo && \
     $EGGCACHE --cache cache remote add team https://eggs.example/";

/// The modes that differ from those of a cache with such directories, blobs and other files.
fn others(cache: &Path, [dir, blob, file]: [u32; 3]) -> Vec<String> {
    let wrong = |path: &Path| {
        let expected = if path.is_dir() {
            dir
        } else if path.starts_with(cache.join("blobs")) {
            blob
        } else {
            file
        };
        (mode(path) != expected).then(|| format!("{} {:04o}", path.display(), mode(path)))
    };
    let entries = WalkDir::new(cache).into_iter().map(Result::unwrap);
    entries.filter_map(|entry| wrong(entry.path())).collect()
}

#[test]
fn a_new_cache_is_private_whatever_the_umask() {
    for umask in ["000", "022", "027", "077"] {
        for prepare in ["", "mkdir cache; chmod 755 cache;"] {
            let sandbox = Sandbox::new();
            sandbox.egg("foo", "1.0");
            // `out` is not part of the cache.
            sandbox.shell(&format!("mkdir out; {prepare} umask {umask}; $EGGCACHE {FILL}"));
            let wrong = others(&sandbox.path("cache"), [0o700, 0o400, 0o600]);
            assert_eq!(wrong, [""; 0], "{umask} {prepare}");
            sandbox.ok("verify");
        }
    }
}

#[test]
fn files_made_while_the_index_is_open_are_private() {
    let sandbox = Sandbox::new();
    sandbox.shell("umask 000; $EGGCACHE --cache cache init");
    let index = rusqlite::Connection::open(sandbox.path("cache/index.sqlite")).unwrap();
    index.execute_batch("BEGIN IMMEDIATE; CREATE TABLE x (y); ROLLBACK").unwrap();
    for name in ["index.sqlite-wal", "index.sqlite-shm"] {
        assert_eq!(mode(&sandbox.path("cache").join(name)), 0o600, "{name}");
    }
}

#[test]
fn folders_above_a_new_cache_are_writable_for_nobody_else() {
    let sandbox = Sandbox::new();
    sandbox.shell("umask 000; $EGGCACHE --cache a/b/cache init");
    for folder in ["a", "a/b"] {
        assert_eq!(mode(&sandbox.path(folder)), 0o755);
    }
    assert_eq!(mode(&sandbox.path("a/b/cache")), 0o700);
}

#[test]
fn a_shared_cache_is_open_to_its_group_only() {
    for umask in ["000", "022", "077"] {
        let sandbox = Sandbox::new();
        sandbox.egg("foo", "1.0");
        sandbox.shell(&format!(
            "mkdir out; umask {umask}; $EGGCACHE --cache cache init --shared && $EGGCACHE {FILL}"
        ));
        let mut wrong = others(&sandbox.path("cache"), [0o2770, 0o440, 0o660]);
        // It is written by its owner alone.
        wrong.retain(|line| !line.contains("remotes.json"));
        assert_eq!(wrong, [""; 0], "{umask}");
        sandbox.ok("verify");
    }
}

#[test]
fn a_cache_made_in_a_shared_folder_is_shared() {
    let Some(sandbox) = with_group_folder() else { return };
    chmod(&sandbox.path("cache"), 0o2770);
    finish(as_user(&sandbox, ANNE, "077", "add anne"), 0);
    finish(as_user(&sandbox, BOB, "077", "add bob"), 0);
    assert_eq!(others(&sandbox.path("cache"), [0o2770, 0o440, 0o660]), [""; 0]);
}

#[test]
fn a_cache_that_all_can_read_is_made_on_purpose() {
    let Some(sandbox) = with_users() else { return };
    give(&sandbox.path("anne"), 0, 0);
    sandbox.shell("umask 077; $EGGCACHE --cache cache init --readable");
    sandbox.shell("umask 077; $EGGCACHE --cache cache add anne");
    assert_eq!(others(&sandbox.path("cache"), [0o755, 0o444, 0o644]), [""; 0]);
    sandbox.ok("verify");
    sandbox.ok("verify --repair");
    run(&sandbox, BOB, "materialize --into bob/out --all", 0);
    assert_eq!(not_of(0, &sandbox.path("cache")), [""; 0], "a reader leaves nothing behind");
    run(&sandbox, BOB, "add bob", 1).says(&["read-only for this user"]);
    assert!(sandbox.path("bob/out/anne-1.0-py3.11.egg").is_dir());
}

#[test]
fn a_private_cache_can_be_made_readable_and_private_again() {
    let sandbox = Sandbox::with_two();
    sandbox.ok("init --readable").says(&["readable"]);
    let (open, closed) = ([0o755, 0o444, 0o644], [0o700, 0o400, 0o600]);
    assert_eq!(others(&sandbox.path("cache"), open), [""; 0]);
    sandbox.ok("verify");
    fs::remove_file(sandbox.path("cache/readable")).unwrap();
    sandbox.fails("verify", 4);
    sandbox.ok("verify --repair");
    assert_eq!(others(&sandbox.path("cache"), closed), [""; 0]);
}

#[test]
fn a_private_file_that_is_linked_into_a_shared_cache_stays_private() {
    let Some(sandbox) = with_shared_cache() else { return };
    let secret = sandbox.path("anne/secret");
    fs::write(&secret, "secret").unwrap();
    chmod(&secret, 0o600);
    give(&secret, ANNE, ANNE);
    // Where the system does not protect hard links, another member can make these.
    for name in ["pins/a.json", "blobs/ab", "readable.txt"] {
        let link = sandbox.path("cache").join(name);
        let _ = fs::create_dir_all(link.parent().unwrap());
        fs::hard_link(&secret, link).unwrap();
    }
    std::os::unix::fs::symlink(&secret, sandbox.path("cache/link")).unwrap();
    give(&sandbox.path("cache/pins"), ANNE, GROUP);
    give(&secret, ANNE, ANNE);
    run(&sandbox, ANNE, "init --shared", 1).says(&["it has another name (a hard link)"]);
    chmod(&sandbox.path("cache"), 0o2775);
    run(&sandbox, ANNE, "verify --repair", 4);
    assert_eq!(mode(&secret), 0o600);
    assert_eq!(secret.metadata().unwrap().gid(), ANNE);
}

/// Gives a cache the modes that earlier versions gave it.
fn loosen(cache: &Path) {
    for entry in WalkDir::new(cache) {
        let entry = entry.unwrap();
        let is_blob = entry.path().starts_with(cache.join("blobs"));
        let file = if is_blob { 0o444 } else { 0o644 };
        chmod(entry.path(), if entry.file_type().is_dir() { 0o755 } else { file });
    }
}

#[test]
fn verify_reports_a_cache_that_others_can_read_once_and_closes_it() {
    let sandbox = Sandbox::with_two();
    sandbox.ok("pin foo");
    let cache = sandbox.path("cache");
    loosen(&cache);
    sandbox.ok("list");
    let output = sandbox.fails("--json verify", 4);
    let problems = output.json()["problems"].as_array().unwrap().clone();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0]["kind"], "exposed");
    assert_eq!(problems[0]["path"], cache.to_str().unwrap());
    sandbox.fails("verify", 4).says(&["other users can read it", "verify --repair"]);
    assert_eq!(others(&cache, [0o755, 0o444, 0o644]), [""; 0], "verify changes nothing");
    sandbox.ok("verify --repair").says(&["other users can read it", "closed"]);
    assert_eq!(others(&cache, [0o700, 0o400, 0o600]), [""; 0]);
    sandbox.ok("verify");
}

#[test]
fn a_shared_cache_of_earlier_versions_is_closed_to_others() {
    let Some(sandbox) = with_shared_cache() else { return };
    let cache = sandbox.path("cache");
    for entry in WalkDir::new(&cache) {
        let entry = entry.unwrap();
        chmod(entry.path(), if entry.file_type().is_dir() { 0o2775 } else { 0o664 });
    }
    chmod(&sandbox.blobs()[0], 0o444);
    run(&sandbox, ANNE, "verify", 4).says(&["other users can read it"]);
    run(&sandbox, ANNE, "verify --repair", 0);
    assert_eq!(others(&cache, [0o2770, 0o440, 0o660]), [""; 0]);
    run(&sandbox, BOB, "verify", 0);
}

#[test]
fn repair_closes_a_cache_that_others_could_write() {
    let sandbox = Sandbox::with_two();
    let cache = sandbox.path("cache");
    for name in ["", "blobs", "tmp"] {
        chmod(&cache.join(name), 0o777);
    }
    chmod(&sandbox.blobs()[0], 0o666);
    sandbox.fails("verify --repair", 1).says(&["everybody can write to"]);
    sandbox.fails("--trust-cache verify", 4);
    sandbox.ok("--trust-cache verify --repair");
    assert_eq!(others(&cache, [0o700, 0o400, 0o600]), [""; 0]);
    sandbox.ok("verify");
}
