//! Places where no cache can be made, and a cache on a disk that is full: an error or one line says so.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::serve::{Server, opening};
use crate::support::{Mount, Sandbox, host, text};

#[test]
fn a_place_that_takes_no_cache_is_an_error_with_a_hint() {
    let sandbox = Sandbox::new();
    sandbox.egg("foo", "1.0");
    fs::write(sandbox.path("file"), "").unwrap();
    symlink("/no/such", sandbox.path("broken")).unwrap();
    for (cache, says) in [
        ("/proc/eggs", &["/proc takes no new directories", "hint: choose"][..]),
        ("/proc/self/eggs/cache", &["/proc/self takes no new directories", "hint: choose"]),
        ("/dev/null/cache", &["Not a directory", "hint: /dev/null is not a directory"]),
        ("file/a/cache", &["Not a directory", "hint: file is not a directory"]),
        ("broken/a/cache", &["broken is a symbolic link to /no/such", "hint: create /no/such"]),
        ("broken", &["broken is a symbolic link to /no/such", "hint: create /no/such"]),
    ] {
        for line in ["init", "add eggs"] {
            let mut process = sandbox.process(crate::support::EGGCACHE);
            process.args(["--cache", cache]).args(line.split_whitespace());
            let assert = assert_cmd::Command::from_std(process)
                .timeout(std::time::Duration::from_mins(1))
                .assert()
                .code(1);
            crate::support::Output::of(&assert).says(says);
        }
        let mut opening = opening(&sandbox, &host());
        opening["cache"] = json!(sandbox.path(cache));
        let answer = Server::start(&sandbox).0.ask(&opening);
        let error = text(&answer["error"]);
        assert!(error.starts_with("cannot ") || error.contains(" symbolic link "), "{error}");
        assert!(error.ends_with(')'), "{error}");
    }
    assert!(!sandbox.path("broken").exists());
}

#[test]
fn a_disk_that_is_full_before_the_run_is_one_line() {
    let sandbox = Sandbox::new();
    sandbox.egg("foo", "1.0");
    let bar = sandbox.other_build("bar", "1.0");
    let Some(mount) = Mount::new(&sandbox.path("cache"), "2m") else { return };
    sandbox.ok("add eggs");
    mount.fill();
    let (mut server, _) = Server::start(&sandbox);
    let opened = server.ask(&opening(&sandbox, &host()));
    let full = text(&opened["full"]);
    assert!(full.contains("it is full") && full.contains("`eggcache gc"), "{full}");
    // The eggs that it has are served, and the line is not repeated.
    let [found] = &server.find("foo")[..] else { panic!("foo is in the cache") };
    let copied = server.materialize(&sandbox, text(&found["digest"]));
    assert!(copied.get("path").is_some(), "{copied}");
    assert!(server.offer(&bar).get("error").is_some());
    server.close_with(&json!({}));
}

#[test]
fn a_cache_that_only_buildout_knows_is_named_by_check_and_bundle() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("app/parts")).unwrap();
    for value in ["$HOME/eggs", "/srv/$USER/eggs", "${paths:cache}"] {
        let configuration = format!("[buildout]\negg-cache = {value}\n");
        fs::write(sandbox.path("app/buildout.cfg"), configuration).unwrap();
        for words in [&["check", "app"][..], &["bundle", "app", "--output", "app.tar.zst"]] {
            let mut process = sandbox.process(crate::support::EGGCACHE);
            process.args(words);
            let assert = assert_cmd::Command::from_std(process).assert().success();
            let note = format!("note: egg-cache = {value} is unknown here: using ");
            crate::support::Output::of(&assert).says(&[&note, "hint: --cache"]);
        }
        fs::remove_file(sandbox.path("app.tar.zst")).unwrap();
    }
    assert!(!sandbox.path("app/$HOME").exists());
}

#[test]
fn a_signing_key_that_cannot_be_read_names_its_variable() {
    let sandbox = Sandbox::new();
    let line = format!("remote add team {} --push", sandbox.path("pool").display());
    sandbox.ok(&line);
    let mut process = sandbox.eggcache("push --all");
    process.env("EGGCACHE_SIGNING_KEY", sandbox.path("nowhere"));
    let assert = assert_cmd::Command::from_std(process).assert().code(1);
    crate::support::Output::of(&assert).says(&[
        "cannot read the signing key",
        "nowhere: No such file",
        "hint: EGGCACHE_SIGNING_KEY names it",
    ]);
    sandbox.fails("keygen keys/team", 1).says(&["there is no folder keys"]);
}
