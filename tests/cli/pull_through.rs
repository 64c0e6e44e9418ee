//! `materialize` pulls eggs that the cache lacks from the remotes.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use assert_cmd::Command;

use crate::pool::Pool;
use crate::support::{Output, assert_same_tree, chmod, make_egg, names_in, write};

#[test]
fn a_missing_egg_is_pulled_and_stays_in_the_cache() {
    let pool = Pool::with_two();
    let output = pool.of("reader", "materialize --into out foo==1.0 --python 3.11");
    assert!(!output.stderr.contains("warning"), "{}", output.stderr);
    let [egg, copy] = ["eggs", "out"].map(|it| pool.sandbox.path(it).join("foo-1.0-py3.11.egg"));
    assert_same_tree(&egg, &copy);
    fs::rename(pool.sandbox.path("pool"), pool.sandbox.path("gone")).unwrap();
    pool.of("reader", "materialize --into again foo==1.0 --python 3.11");
    assert_eq!(pool.eggs("again"), ["foo-1.0-py3.11.egg"]);
}

#[test]
fn requirements_are_served_from_cache_and_remotes_together() {
    let pool = Pool::with_two();
    pool.of("reader", "pull foo==1.0 --python 3.11");
    write(&pool.sandbox.path("pins.txt"), b"foo==1.0\nbar==2.0\n");
    // The eggs in the cache determine the version of Python for the others.
    pool.of("reader", "materialize --into out --requirements pins.txt");
    assert_eq!(pool.eggs("out"), ["bar-2.0-py3.11.egg", "foo-1.0-py3.11.egg"]);
}

#[test]
fn the_python_version_follows_from_file_names_or_present_eggs() {
    let pool = Pool::with_two();
    pool.of("reader", "materialize --into out foo-1.0-py3.11.egg");
    pool.of("reader", "materialize --into out bar==2.0");
    assert_eq!(pool.eggs("out"), ["bar-2.0-py3.11.egg", "foo-1.0-py3.11.egg"]);
}

#[test]
fn an_egg_for_any_python_is_pulled_by_its_file_name() {
    let pool = Pool::empty();
    make_egg(&pool.sandbox.path("eggs/plain-1.0.egg"), "plain", "1.0", &[]);
    pool.fill();
    pool.of("reader", "materialize --into out plain-1.0.egg");
    assert_eq!(pool.eggs("out"), ["plain-1.0.egg"]);
    pool.of("reader", "pull plain-1.0.egg").says(&["1 already there"]);
}

#[test]
fn without_a_python_version_no_remote_is_asked_with_a_warning() {
    let pool = Pool::with_two();
    let output = pool.run("reader", "key", "materialize --into out foo==1.0", 3);
    output.says(&["warning: foo==1.0: not pulled", "--python 3.11", "has no egg"]);
    for name in ["old-1.0-py3.10.egg", "new-1.0-py3.11.egg"] {
        fs::create_dir_all(pool.sandbox.path("out").join(name)).unwrap();
    }
    let output = pool.run("reader", "key", "materialize --into out foo==1.0", 3);
    output.says(&["the Python version is not known"]);
}

#[test]
fn an_egg_that_no_remote_has_is_a_miss() {
    let pool = Pool::with_two();
    for line in ["foo==3.0 --python 3.11", "foo", "foo==1.0 --python 3.12"] {
        let line = format!("materialize --into out {line}");
        let output = pool.run("reader", "key", &line, 3);
        output.says(&["error: the cache has no egg foo"]);
        assert!(!output.stderr.contains("warning"), "{line}: {}", output.stderr);
    }
    assert!(!pool.sandbox.path("out").exists());
}

#[test]
fn several_remote_eggs_for_one_name_are_listed() {
    let pool = Pool::empty();
    for platform in ["linux-x86_64", "linux-aarch64"] {
        let egg = pool.sandbox.path(&format!("eggs/foo-1.0-py3.11-{platform}.egg"));
        make_egg(&egg, "foo", "1.0", &[]);
    }
    pool.fill();
    let line = "materialize --into out foo==1.0 --python 3.11";
    let output = pool.run("reader", "key", line, 2);
    output.says(&["foo==1.0 is ambiguous", "linux-x86_64", "linux-aarch64"]);
    pool.of("reader", &format!("{line} --platform linux-aarch64"));
    assert_eq!(pool.eggs("out"), ["foo-1.0-py3.11-linux-aarch64.egg"]);
}

#[test]
fn a_blob_that_does_not_match_its_signature_is_not_copied() {
    let pool = Pool::with_two();
    let blob = pool.blob("foo", "");
    let mut bytes = fs::read(&blob).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&blob, bytes).unwrap();
    let line = "materialize --into out foo==1.0 --python 3.11";
    let output = pool.run("reader", "key", line, 3);
    output.says(&[
        "warning",
        "its blob does not match the digest in its entry",
        "error: the cache has no egg foo==1.0",
    ]);
    assert!(!pool.sandbox.path("out").exists());
    assert_eq!(names_in(&pool.sandbox.path("reader/tmp")), [""; 0]);
}

#[test]
fn a_silent_remote_causes_one_bounded_delay_and_one_warning() {
    let pool = Pool::with_two();
    // It accepts connections, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    pool.of("reader", &format!("remote add silent {url} --key key.pub --first"));
    let names = "foo==1.0 foo-1.0-py3.11.egg bar==2.0 baz==1.0";
    let line = format!("materialize --into out {names} --python 3.11");
    let begin = Instant::now();
    let output = pool.run("reader", "key", &line, 3);
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    let warnings = output.stderr.matches("warning").count();
    assert_eq!(warnings, 1, "{}", output.stderr);
    output.says(&["warning: remote silent: it does not answer in time", "has no egg baz==1.0"]);
    pool.of("reader", "remote remove silent");
    pool.of("reader", "materialize --into out foo==1.0 bar==2.0");
}

#[test]
fn a_preflight_pulls_nothing() {
    let pool = Pool::with_two();
    let line = "materialize --preflight --into out foo==1.0 --python 3.11";
    pool.run("reader", "key", line, 3);
    assert_eq!(pool.json("list")["eggs"].as_array().map(Vec::len), Some(2));
    let report = pool.of("reader", "--json list").json();
    assert_eq!(report["eggs"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_cache_without_remotes_makes_no_requests() {
    let pool = Pool::with_two();
    pool.of("reader", "remote remove team");
    let output = pool.run("reader", "key", "materialize --into out foo==1.0", 3);
    assert!(!output.stderr.contains("warning"), "{}", output.stderr);
}

#[test]
fn nothing_is_pulled_into_a_read_only_cache() {
    let pool = Pool::with_two();
    pool.sandbox.shell("mv cache full && mv reader cache");
    for entry in walkdir::WalkDir::new(pool.sandbox.path("cache")) {
        let entry = entry.unwrap();
        chmod(entry.path(), if entry.file_type().is_dir() { 0o555 } else { 0o444 });
    }
    let line = "materialize --into out foo==1.0 --python 3.11";
    let Some(process) = pool.sandbox.as_user(line) else { return };
    let output = Output::of(&Command::from_std(process).assert().code(3));
    output.says(&["error: the cache has no egg foo==1.0"]);
}

#[test]
fn a_remote_that_cannot_be_opened_does_not_stop_the_others() {
    let pool = Pool::with_two();
    // The account is not configured.
    pool.of("reader", "remote add broken az://eggs --key key.pub --first");
    let output = pool.of("reader", "materialize --into out foo==1.0 --python 3.11");
    output.says(&["warning: remote broken: "]);
    assert_eq!(output.stderr.matches("warning").count(), 1, "{}", output.stderr);
    pool.of("reader", "pull bar==2.0 --python 3.11").says(&["remote broken: ", "1 egg pulled"]);
    pool.of("reader", "remote remove team");
    let output = pool.run("reader", "key", "pull baz==2.0 --python 3.11", 1);
    output.says(&["error: remote broken: "]);
}
