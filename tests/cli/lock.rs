//! `eggcache lock`: the SHA-256 of the archives that buildouts use, in one file for all platforms.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::serve::Server;
use crate::support::{Sandbox, host, write};

const FIRST_LINE: &str =
    "# SHA-256 of archives, for the option egg-cache-hashes. `eggcache lock` writes this file.\n";

/// A SHA-256 of one digit.
fn sha(digit: &str) -> String {
    digit.repeat(64)
}

/// Stores an egg of an archive with this SHA-256, and returns its file name.
fn stored(sandbox: &Sandbox, name: &str, version: &str, digit: &str, archive: &str) -> String {
    let egg = sandbox.egg_with(name, version, &[("digit", digit.as_bytes())]);
    let mut server = Server::open(sandbox, &host());
    let sha256 = if digit.is_empty() { String::new() } else { sha(digit) };
    let outcome = server.stored(&json!({
        "op": "store", "path": egg, "source_sha256": sha256, "variant": "", "source": archive,
    }));
    assert_eq!(outcome["outcome"], "stored", "{outcome}");
    server.close();
    egg.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Runs the buildout `app`, which copies the eggs of these archives and succeeds.
fn run(sandbox: &Sandbox, digits: &[&str]) {
    let _ = fs::remove_dir_all(sandbox.path("out"));
    let eggs = sandbox.json("list")["eggs"].as_array().unwrap().clone();
    let mut server = Server::open(sandbox, &host());
    let mut names = Vec::new();
    for digit in digits {
        let is_it = |egg: &&serde_json::Value| egg["source_sha256"] == sha(digit);
        let egg = eggs.iter().find(is_it).unwrap();
        server.materialize(sandbox, egg["digest"].as_str().unwrap());
        names.push(egg["file_name"].as_str().unwrap());
    }
    server.register(sandbox, &names);
    server.close();
}

fn read(sandbox: &Sandbox, name: &str) -> String {
    fs::read_to_string(sandbox.path(name)).unwrap()
}

/// A sandbox whose buildout `app` uses two eggs.
fn locked() -> Sandbox {
    let sandbox = Sandbox::new();
    stored(&sandbox, "zope.two", "1.10", "2", "zope.two-1.10.tar.gz");
    stored(&sandbox, "one", "1.0", "1", "one-1.0-py3-none-any.whl");
    run(&sandbox, &["1", "2"]);
    sandbox.ok("lock app -o hashes.cfg");
    sandbox
}

fn expected() -> String {
    format!(
        "{FIRST_LINE}[hashes]\none =\n    1.0 sha256:{} # one-1.0-py3-none-any.whl\nzope-two =\n    \
         1.10 sha256:{} # zope.two-1.10.tar.gz\n",
        sha("1"),
        sha("2")
    )
}

#[test]
fn lock_lists_the_archives_that_a_buildout_uses() {
    let sandbox = locked();
    stored(&sandbox, "unused", "1.0", "3", "unused-1.0.zip");
    assert_eq!(read(&sandbox, "hashes.cfg"), expected());
    let printed = sandbox.ok("lock app");
    assert_eq!(printed.stdout, expected());
    printed.says(&["2 archives"]);
    let report = sandbox.json("lock app");
    assert_eq!(report["output"], json!(null));
    assert_eq!(report["unknown"], json!([]));
    assert_eq!(
        report["hashes"],
        json!([
            {"project": "one", "version": "1.0", "sha256": sha("1"),
             "archive": "one-1.0-py3-none-any.whl"},
            {"project": "zope-two", "version": "1.10", "sha256": sha("2"),
             "archive": "zope.two-1.10.tar.gz"},
        ])
    );
    assert_eq!(report["buildouts"], json!([sandbox.path("app").canonicalize().unwrap()]));
}

#[test]
fn lock_keeps_the_hashes_of_other_platforms() {
    let sandbox = locked();
    // This platform builds the version from another archive, and uses a newer version of the other one.
    stored(&sandbox, "one", "1.0", "a", "one-1.0.tar.gz");
    stored(&sandbox, "zope.two", "1.9", "9", "zope.two-1.9.tar.gz");
    run(&sandbox, &["a", "9"]);
    let report = sandbox.json("lock app -o hashes.cfg");
    assert_eq!(report["added"].as_array().unwrap().len(), 2);
    let merged = format!(
        "{FIRST_LINE}[hashes]\none =\n    1.0 sha256:{} # one-1.0-py3-none-any.whl\n    \
         1.0 sha256:{} # one-1.0.tar.gz\nzope-two =\n    1.9 sha256:{} # zope.two-1.9.tar.gz\n    \
         1.10 sha256:{} # zope.two-1.10.tar.gz\n",
        sha("1"),
        sha("a"),
        sha("9"),
        sha("2")
    );
    assert_eq!(read(&sandbox, "hashes.cfg"), merged);
    let modified = || fs::metadata(sandbox.path("hashes.cfg")).unwrap().modified().unwrap();
    let before = modified();
    sandbox.ok("lock app -o hashes.cfg").says(&["4 archives; 0 added, 0 removed, 4 unchanged"]);
    assert_eq!(modified(), before, "an unchanged file is not written");
}

#[test]
fn prune_removes_only_versions_that_are_not_used() {
    let sandbox = locked();
    stored(&sandbox, "one", "1.0", "a", "one-1.0.tar.gz");
    run(&sandbox, &["a"]);
    let report = sandbox.json("lock app -o hashes.cfg --prune");
    assert_eq!(report["removed"][0]["project"], "zope-two");
    let pruned = format!(
        "{FIRST_LINE}[hashes]\none =\n    1.0 sha256:{} # one-1.0-py3-none-any.whl\n    \
         1.0 sha256:{} # one-1.0.tar.gz\n",
        sha("1"),
        sha("a")
    );
    assert_eq!(read(&sandbox, "hashes.cfg"), pruned);
    sandbox.fails("lock app --prune", 2);
}

#[test]
fn an_egg_of_an_unknown_archive_is_a_problem_and_the_others_are_listed() {
    let sandbox = locked();
    let unknown = stored(&sandbox, "unknown", "1.0", "", "");
    let gone = stored(&sandbox, "gone", "1.0", "3", "gone-1.0.zip");
    let digests: Vec<String> =
        ["one==1.0", "unknown", "gone"].iter().map(|egg| sandbox.digest(egg)).collect();
    let mut server = Server::open(&sandbox, &host());
    for digest in &digests {
        server.materialize(&sandbox, digest);
    }
    server.register(&sandbox, &["one-1.0-py3.11.egg", &unknown, &gone]);
    server.close();
    sandbox.ok("remove gone --force");
    let found = sandbox.fails("lock app -o hashes.cfg", 4);
    found.says(&[
        "problem: gone-1.0-py3.11.egg: the cache does not have it",
        "problem: unknown-1.0-py3.11.egg: the cache has no record of its archive",
        "hint: remove these 2 eggs from the eggs directory, run `buildout \
         buildout:egg-cache-unknown-archives=check`, then run this again",
    ]);
    assert_eq!(read(&sandbox, "hashes.cfg"), expected());
    let report = sandbox.fails("--json lock app -o hashes.cfg", 4).json();
    assert_eq!(
        report["unknown"],
        json!([{"file_name": gone, "reason": "not-cached"},
               {"file_name": unknown, "reason": "not-recorded"}])
    );
    // What is not known is not pruned.
    sandbox.ok("add eggs");
    let line = format!("unknown =\n    1.0 sha256:{}\n", sha("f"));
    write(&sandbox.path("hashes.cfg"), (expected() + &line).as_bytes());
    sandbox.fails("lock app -o hashes.cfg --prune", 4);
    assert!(read(&sandbox, "hashes.cfg").contains(&line));
}

#[test]
fn check_compares_a_buildout_with_the_file() {
    let sandbox = locked();
    sandbox.ok("lock app --check -o hashes.cfg").says(&["2 of 2 archives listed in hashes.cfg"]);
    stored(&sandbox, "one", "1.0", "a", "one-1.0.tar.gz");
    stored(&sandbox, "new", "2.0", "b", "new-2.0.tar.gz");
    run(&sandbox, &["a", "b", "2"]);
    let found = sandbox.fails("lock app --check -o hashes.cfg", 4);
    let (listed, wrong, missing) = (sha("1"), sha("a"), sha("b"));
    found.says(&[
        &format!("problem: new 2.0: no SHA-256 is listed; found sha256:{missing} (new-2.0.tar.gz)"),
        "problem: one 1.0: the SHA-256 of its archive is not listed",
        &format!("    expected sha256:{listed}"),
        &format!("    found    sha256:{wrong} (one-1.0.tar.gz)"),
        "1 of 3 archives listed in hashes.cfg",
    ]);
    let report = sandbox.fails("--json lock app --check -o hashes.cfg", 4).json();
    assert_eq!(report["listed"], 1);
    assert_eq!(report["unlisted"][1]["expected"], json!([listed]));
    assert_eq!(report["unlisted"][1]["sha256"], json!(wrong));
    assert_eq!(read(&sandbox, "hashes.cfg"), expected(), "a check changes nothing");
    sandbox.fails("lock app --check -o missing.cfg", 1);
    sandbox.fails("lock app --check", 2);
}

#[test]
fn lock_does_not_overwrite_a_file_of_another_kind() {
    let sandbox = locked();
    for text in ["[buildout]\nparts = app\n", "some notes\n", "", "[hashes]\n[versions]\n"] {
        write(&sandbox.path("other.cfg"), text.as_bytes());
        sandbox
            .fails("lock app -o other.cfg", 1)
            .says(&["other.cfg, line ", "hint: name a file that `eggcache lock` has written"]);
        assert_eq!(read(&sandbox, "other.cfg"), text);
    }
}

#[test]
fn a_link_to_the_file_stays_a_link() {
    let sandbox = locked();
    fs::rename(sandbox.path("hashes.cfg"), sandbox.path("real.cfg")).unwrap();
    symlink("real.cfg", sandbox.path("hashes.cfg")).unwrap();
    stored(&sandbox, "one", "1.0", "a", "one-1.0.tar.gz");
    run(&sandbox, &["a"]);
    sandbox.ok("lock app -o hashes.cfg");
    assert!(sandbox.path("hashes.cfg").is_symlink());
    assert!(read(&sandbox, "real.cfg").contains(&sha("a")));
}

#[test]
fn a_buildout_without_a_recorded_run_cannot_be_locked() {
    let sandbox = locked();
    fs::create_dir(sandbox.path("elsewhere")).unwrap();
    sandbox.fails("lock elsewhere -o hashes.cfg", 3).says(&[
        "elsewhere is not a buildout that uses this cache",
        "hint: a buildout is one of them after a run that has succeeded",
    ]);
    assert_eq!(read(&sandbox, "hashes.cfg"), expected());
}

#[test]
fn the_name_of_an_archive_cannot_add_a_line() {
    let sandbox = Sandbox::new();
    stored(&sandbox, "one", "1.0", "1", "x\n    9 sha256:\u{1b}[2J");
    run(&sandbox, &["1"]);
    let printed = sandbox.ok("lock app").stdout;
    assert_eq!(printed.lines().count(), 4, "{printed}");
    assert!(printed.contains("# x\\n    9 sha256:\\u{1b}[2J"), "{printed}");
    sandbox.ok("lock app -o hashes.cfg");
    sandbox.ok("lock app -o hashes.cfg").says(&["0 added"]);
}
