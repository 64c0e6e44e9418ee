//! An egg is restored exactly: every entry, byte, executable bit and nanosecond.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use crate::support::{
    Content, EGGCACHE, Sandbox, as_made_under, assert_same, assert_same_tree, chmod, files_in,
    make_egg, noise, touch, tree, umask, write,
};

const FRAME: usize = 256 << 10;

/// An egg with everything that an egg can contain.
fn odd_egg(sandbox: &Sandbox) -> PathBuf {
    let egg = sandbox.egg("odd", "1.0");
    for (path, content) in [
        ("EGG-INFO/zip-safe", &b""[..]),
        ("pkg/empty.py", b""),
        ("pkg/secret.cfg", b"password"),
        ("pkg/readonly.txt", b"read me"),
        ("pkg/run", b"#!/bin/sh\n"),
        ("pkg/open", b"for all"),
        ("pkg/with space/a file.txt", b"space"),
        ("pkg/#test1.py", b"hash"),
        ("locale/sr@Cyrl/LC", b"one"),
        ("locale/sr@cyrl/LC", b"two"),
        ("pkg/na\u{ef}ve-\u{65e5}\u{672c}.txt", "\u{1f95a}".as_bytes()),
        ("pkg/new\nline", b"newline"),
        ("frozen/inside/file", b"cold"),
    ] {
        write(&egg.join(path), content);
    }
    for (name, size) in [
        ("one", 1),
        ("frame-1", FRAME - 1),
        ("frame", FRAME),
        ("frame+1", FRAME + 1),
        ("mebi+1", (1 << 20) + 1),
    ] {
        write(&egg.join("big").join(name), &noise(size));
        write(&egg.join("zeros").join(name), &vec![0; size]);
    }
    fs::create_dir_all(egg.join("hollow/hollower")).unwrap();
    for (link, target) in [
        ("pkg/link.py", "empty.py"),
        ("pkg/up", "../big/one"),
        ("here", "."),
        ("dangling", "no/such"),
        ("folder", "pkg/with space"),
    ] {
        symlink(target, egg.join(link)).unwrap();
    }
    for (path, mode) in [
        ("pkg/secret.cfg", 0o640),
        ("pkg/readonly.txt", 0o444),
        ("pkg/run", 0o755),
        ("pkg/open", 0o666),
        ("big/frame", 0o500),
        ("zeros/mebi+1", 0o600),
        ("hollow", 0o700),
        ("hollow/hollower", 0o777),
        ("frozen/inside", 0o555),
        ("frozen", 0o555),
        ("", 0o750),
    ] {
        chmod(&egg.join(path), mode);
    }
    for (path, seconds, nanos) in [
        ("pkg/empty.py", -2, 500_000_000),
        ("pkg/run", -1_000_000_000, 1),
        ("pkg/open", 0, 0),
        ("pkg/secret.cfg", 1, 999_999_999),
        ("pkg/link.py", 4_000_000_001, 7),
        ("dangling", -3, 3),
        ("big/mebi+1", 4_000_000_000, 123_456_789),
        ("big", 5_000_000_000, 999_999_999),
        ("frozen", -1, 999_999_999),
        ("hollow/hollower", 1_234_567_890, 987_654_321),
        ("", 1_500_000_000, 111_111_111),
    ] {
        touch(&egg.join(path), seconds, nanos);
    }
    egg
}

fn with_umask(sandbox: &Sandbox, umask: &str, line: &str) {
    sandbox.shell(&format!("umask {umask}; exec '{EGGCACHE}' --cache cache {line}"));
}

fn assert_restores_exactly(umask: &str) {
    let sandbox = Sandbox::new();
    let egg = odd_egg(&sandbox);
    with_umask(&sandbox, umask, "add eggs");
    with_umask(&sandbox, umask, "materialize --into out odd==1.0");
    let expected = as_made_under(umask, &egg);
    assert_same(&expected, &tree(&sandbox.path("out/odd-1.0-py3.11.egg")));
    sandbox.assert_tidy();
}

#[test]
fn the_odd_egg_has_all_its_odd_features() {
    let sandbox = Sandbox::new();
    let egg = tree(&odd_egg(&sandbox));
    let seen = |path: &str| &egg[Path::new(path)];
    assert_eq!(seen("pkg/empty.py").mtime, (-2, 500_000_000));
    assert_eq!(seen("big").mtime, (5_000_000_000, 999_999_999));
    assert_eq!(seen("dangling").mtime, (-3, 3));
    assert_eq!(seen("").mtime, (1_500_000_000, 111_111_111));
    assert_eq!(seen("frozen").mode & 0o7777, 0o555);
    assert_eq!(seen("pkg/secret.cfg").mode & 0o7777, 0o640);
    assert!(matches!(seen("big/frame").content, Content::File { size: 262_144, .. }));
    assert!(matches!(seen("here").content, Content::Symlink(_)));
}

#[test]
fn every_entry_is_restored_exactly_under_umask_022() {
    assert_restores_exactly("022");
}

#[test]
fn every_entry_is_restored_exactly_under_umask_077() {
    assert_restores_exactly("077");
}

#[test]
fn every_entry_is_restored_exactly_under_umask_000() {
    assert_restores_exactly("000");
}

#[test]
fn a_zipped_egg_is_restored_exactly() {
    for umask in ["022", "077"] {
        let sandbox = Sandbox::new();
        let egg = sandbox.zipped_egg("zipped", "1.0");
        chmod(&egg, 0o664);
        touch(&egg, 1_000_000_000, 42);
        with_umask(&sandbox, umask, "add eggs");
        with_umask(&sandbox, umask, "materialize --into out zipped");
        let expected = as_made_under(umask, &egg);
        assert_same(&expected, &tree(&sandbox.path("out/zipped-1.0-py3.11.egg")));
        sandbox.assert_tidy();
    }
}

#[test]
fn a_large_zipped_egg_is_restored_exactly() {
    let sandbox = Sandbox::new();
    let script = "import zipfile\n\
        zip = zipfile.ZipFile('eggs/large-1.0-py3.11.egg', 'w')\n\
        zip.writestr('EGG-INFO/PKG-INFO', 'Name: large\\nVersion: 1.0\\n')\n\
        zip.writestr('large.bin', bytes(range(256)) * 5000)\n\
        zip.close()\n";
    let mut python = sandbox.process("python3");
    assert!(python.args(["-c", script]).status().unwrap().success());
    sandbox.ok("add eggs");
    sandbox.ok("materialize --into out large");
    let name = "large-1.0-py3.11.egg";
    assert_same_tree(&sandbox.path("eggs").join(name), &sandbox.path("out").join(name));
}

#[test]
fn an_egg_with_only_metadata_is_restored_exactly() {
    let sandbox = Sandbox::new();
    let egg = sandbox.path("eggs/meta-1.0.egg");
    write(&egg.join("EGG-INFO/PKG-INFO"), b"Name: meta\nVersion: 1.0\n");
    sandbox.ok("add eggs");
    sandbox.ok("materialize --into out meta");
    assert_same_tree(&egg, &sandbox.path("out/meta-1.0.egg"));
}

#[test]
fn a_materialized_egg_is_the_same_egg_when_added_again() {
    let sandbox = Sandbox::new();
    odd_egg(&sandbox);
    sandbox.ok("add eggs");
    sandbox.ok("materialize --into out odd");
    let digest = sandbox.digest("odd");
    sandbox.shell("\"$EGGCACHE\" --cache second add out");
    let again = sandbox.shell("\"$EGGCACHE\" --cache second --json show odd").json();
    assert_eq!(again["digest"], digest);
}

#[test]
fn an_empty_egg_directory_in_a_deep_tree_survives() {
    let sandbox = Sandbox::new();
    let deep = "d/".repeat(200);
    let egg = sandbox.egg_with("deep", "1.0", &[(&format!("{deep}leaf"), b"leaf")]);
    fs::create_dir(egg.join(format!("{deep}empty"))).unwrap();
    sandbox.ok("add eggs");
    sandbox.ok("materialize --into out deep");
    assert_same_tree(&egg, &sandbox.path("out/deep-1.0-py3.11.egg"));
}

#[test]
fn hard_links_inside_an_egg_become_separate_files() {
    let sandbox = Sandbox::new();
    let egg = sandbox.egg("twins", "1.0");
    fs::hard_link(egg.join("twins.py"), egg.join("twin.py")).unwrap();
    sandbox.ok("add eggs");
    sandbox.ok("materialize --into out twins");
    let out = sandbox.path("out/twins-1.0-py3.11.egg");
    assert_same_tree(&egg, &out);
    assert_eq!(out.join("twin.py").metadata().unwrap().nlink(), 1);
}

#[test]
fn materialized_files_share_nothing_with_the_cache() {
    let sandbox = Sandbox::new();
    odd_egg(&sandbox);
    sandbox.zipped_egg("zipped", "1.0");
    sandbox.ok("add eggs");
    sandbox.ok("materialize --into out --all");
    sandbox.ok("materialize --into second --all");
    let identity = |path: &PathBuf| {
        let metadata = path.symlink_metadata().unwrap();
        assert_eq!(metadata.nlink(), 1, "{}", path.display());
        (metadata.dev(), metadata.ino())
    };
    let mut seen = HashSet::new();
    for folder in ["cache/blobs", "out", "second"] {
        for file in files_in(&sandbox.path(folder)) {
            assert!(seen.insert(identity(&file)), "{}", file.display());
        }
    }
    let root = fs::canonicalize(sandbox.path("cache")).unwrap();
    for file in files_in(&sandbox.path("out")) {
        if let Ok(target) = fs::read_link(&file) {
            assert!(!file.parent().unwrap().join(target).starts_with(&root));
        }
    }
}

#[test]
fn materialized_eggs_outlive_the_cache() {
    let sandbox = Sandbox::new();
    let egg = odd_egg(&sandbox);
    sandbox.ok("add eggs");
    sandbox.ok("materialize --into out odd");
    fs::remove_dir_all(sandbox.path("cache")).unwrap();
    let expected = as_made_under(&umask(), &egg);
    assert_same(&expected, &tree(&sandbox.path("out/odd-1.0-py3.11.egg")));
}

#[test]
fn a_change_to_a_materialized_egg_does_not_reach_the_cache() {
    let sandbox = Sandbox::new();
    let egg = sandbox.egg("foo", "1.0");
    sandbox.ok("add eggs");
    sandbox.ok("materialize --into out foo");
    write(&sandbox.path("out/foo-1.0-py3.11.egg/foo.py"), b"changed = True\n");
    sandbox.ok("verify");
    sandbox.ok("materialize --into second foo");
    assert_same_tree(&egg, &sandbox.path("second/foo-1.0-py3.11.egg"));
}

#[test]
fn blobs_are_read_only_whatever_the_umask() {
    for umask in ["022", "027", "077"] {
        let sandbox = Sandbox::new();
        sandbox.egg("foo", "1.0");
        with_umask(&sandbox, umask, "add eggs");
        let blobs = sandbox.blobs();
        let metadata = blobs[0].metadata().unwrap();
        assert_eq!((metadata.mode() & 0o7777, metadata.nlink()), (0o400, 1), "umask {umask}");
    }
}

#[test]
fn set_id_and_sticky_bits_are_dropped() {
    let sandbox = Sandbox::new();
    let egg = sandbox.egg("sticky", "1.0");
    chmod(&egg.join("sticky.py"), 0o4755);
    sandbox.ok("add eggs");
    sandbox.ok("materialize --into out sticky");
    let copy = sandbox.path("out/sticky-1.0-py3.11.egg/sticky.py");
    assert_eq!(copy.metadata().unwrap().mode() & 0o7777, 0o755);
    sandbox.ok("materialize --into out sticky");
}

#[test]
fn eggs_with_one_file_name_can_go_into_different_folders() {
    let sandbox = Sandbox::new();
    sandbox.egg("foo", "1.0");
    let other = sandbox.path("other/foo-1.0-py3.11.egg");
    make_egg(&other, "foo", "1.0", &[("for-el9", b"")]);
    sandbox.ok("add eggs");
    sandbox.ok("add other --environment el9");
    let report = sandbox.json("list foo");
    let eggs = report["eggs"].as_array().unwrap();
    assert_eq!(eggs.len(), 2);
    for egg in eggs {
        let digest = egg["digest"].as_str().unwrap();
        let into = egg["environment"].as_str().unwrap();
        sandbox.ok(&format!("materialize --into out-{into} {digest}"));
    }
    assert_same_tree(&other, &sandbox.path("out-el9/foo-1.0-py3.11.egg"));
}
