//! `spool` and `prepare` of the bridge: wheels that are fetched and converted before buildout asks for them.

use std::fs;
use std::path::{Path, PathBuf};

use eggcache::internals::sha256::Sha256;
use serde_json::{Value, json};

use crate::serve::{Server, opening_with};
use crate::serve_convert::proven;
use crate::support::{Sandbox, host, names_in, write};

const WHEEL: &str = "alpha-1.0-py3-none-any.whl";

/// A sandbox whose cache converts wheels, an eggs directory `eggs`, and a temporary directory `eggs/tmp` of
/// buildout in it, into which the request wants its egg.
fn converting() -> (Sandbox, Value) {
    let (sandbox, mut request) = proven();
    fs::create_dir_all(sandbox.path("eggs/tmp")).unwrap();
    request["into"] = json!(sandbox.path("eggs/tmp"));
    (sandbox, request)
}

/// Puts the wheel into the spool, and announces it.
fn announce(sandbox: &Sandbox, server: &mut Server, request: &Value) -> PathBuf {
    let spooling = server.ask(&json!({"op": "spool", "into": sandbox.path("eggs")}));
    let spool = PathBuf::from(spooling["directory"].as_str().unwrap());
    assert_eq!(spool.parent().unwrap(), sandbox.path("eggs").canonicalize().unwrap());
    let spooled = spool.join(WHEEL);
    fs::copy(sandbox.path(WHEEL), &spooled).unwrap();
    let sha256 = Sha256::of(&fs::read(&spooled).unwrap()).to_string();
    let mut convert = request.clone();
    convert.as_object_mut().unwrap().remove("op");
    convert["wheel"] = json!(spooled);
    convert["into"] = json!(sandbox.path("eggs"));
    let prepare = json!({"op": "prepare", "sha256": sha256, "convert": convert});
    assert_eq!(server.ask(&prepare), json!({}));
    spooled
}

/// Waits until the egg is ready under a temporary name beside the spool.
fn wait_until_ready(sandbox: &Sandbox) {
    let is_ready = |name: &String| {
        let inside = names_in(&sandbox.path("eggs").join(name));
        name.starts_with(".eggcache-") && inside.iter().any(|it| it.ends_with(".egg"))
    };
    while !names_in(&sandbox.path("eggs")).iter().any(is_ready) {
        std::thread::yield_now();
    }
}

fn inode(path: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&path.metadata().unwrap())
}

#[test]
fn an_egg_that_was_made_ahead_is_moved_to_its_place() {
    let (sandbox, request) = converting();
    let mut server = Server::open(&sandbox, &host());
    let spooled = announce(&sandbox, &mut server, &request);
    wait_until_ready(&sandbox);
    let eggs = sandbox.path("eggs");
    let temporary = names_in(&eggs).into_iter().map(|name| eggs.join(name));
    let ready = temporary.flat_map(|it| fs::read_dir(it).unwrap()).map(|it| it.unwrap().path());
    let ready: Vec<u64> = ready
        .filter(|it| it.extension().is_some_and(|it| it == "egg"))
        .map(|it| inode(&it))
        .collect();
    // Buildout has its own copy of the archive.
    fs::remove_file(spooled).unwrap();
    let answer = server.ask(&request);
    let [name] = &names_in(&sandbox.path("eggs/tmp"))[..] else { panic!("one egg") };
    let egg = sandbox.path("eggs/tmp").join(name);
    assert_eq!(answer, json!({"egg": egg}));
    assert_eq!(vec![inode(&egg)], ready);
    server.close();
    assert_eq!(names_in(&sandbox.path("eggs")), ["tmp"], "nothing else is left");
}

#[test]
fn another_archive_of_the_same_name_gets_an_egg_of_its_own() {
    let (sandbox, request) = converting();
    let mut server = Server::open(&sandbox, &host());
    announce(&sandbox, &mut server, &request);
    wait_until_ready(&sandbox);
    crate::convert::wheel(&sandbox, ".", &[("alpha/__init__.py", "other = 1\n")], "alpha\n");
    let answer = server.ask(&request);
    let egg = PathBuf::from(answer["egg"].as_str().unwrap());
    assert_eq!(fs::read_to_string(egg.join("alpha/__init__.py")).unwrap(), "other = 1\n");
    server.close();
    assert_eq!(names_in(&sandbox.path("eggs")), ["tmp"]);
}

#[test]
fn an_egg_for_another_environment_is_not_used() {
    let (sandbox, request) = converting();
    let mut server = Server::open(&sandbox, &host());
    announce(&sandbox, &mut server, &request);
    wait_until_ready(&sandbox);
    let mut other = request.clone();
    other["environment"] = json!({"SOURCE_DATE_EPOCH": "1000000000"});
    let answer = server.ask(&other);
    let source = Path::new(answer["egg"].as_str().unwrap()).join("alpha/__init__.py");
    let mtime = std::os::unix::fs::MetadataExt::mtime(&source.metadata().unwrap());
    assert_eq!(mtime, 1_000_000_000);
    server.close();
}

#[test]
fn what_a_killed_run_has_left_is_removed_by_one_that_copies_nothing() {
    let (sandbox, request) = converting();
    let mut server = Server::open(&sandbox, &host());
    announce(&sandbox, &mut server, &request);
    wait_until_ready(&sandbox);
    server.kill();
    assert_eq!(names_in(&sandbox.path("eggs")).len(), 3, "the spool and an egg");
    let opening = opening_with(&sandbox, "eggs_directory", &sandbox.path("eggs"));
    let mut server = Server::opened_by(&sandbox, &opening);
    assert_eq!(names_in(&sandbox.path("eggs")), ["tmp"]);
    server.close();
}

#[test]
fn what_was_not_asked_for_is_removed_at_the_end() {
    let (sandbox, request) = converting();
    let mut server = Server::open(&sandbox, &host());
    announce(&sandbox, &mut server, &request);
    wait_until_ready(&sandbox);
    server.close();
    assert_eq!(names_in(&sandbox.path("eggs")), ["tmp"]);
}

#[test]
fn a_wheel_that_cannot_be_converted_ahead_is_left_until_buildout_asks() {
    let (sandbox, request) = converting();
    let mut server = Server::open(&sandbox, &host());
    let mut missing = request.clone();
    missing.as_object_mut().unwrap().remove("op");
    missing["wheel"] = json!(sandbox.path("missing").join(WHEEL));
    let sha256 = Sha256::of(&fs::read(sandbox.path(WHEEL)).unwrap()).to_string();
    let prepare = json!({"op": "prepare", "sha256": sha256, "convert": missing});
    assert_eq!(server.ask(&prepare), json!({}));
    assert!(server.ask(&request)["egg"].is_string());
    server.close();
}

#[test]
fn a_wheel_that_was_left_ahead_is_not_tried_again() {
    let (sandbox, request) = converting();
    let tries = sandbox.path("tries");
    let script =
        format!("#!/bin/sh\necho ready fake\nread line\necho try >> {}\n", tries.display());
    write(&sandbox.path("python"), script.as_bytes());
    let mut server = Server::open(&sandbox, &host());
    announce(&sandbox, &mut server, &request);
    let left = || fs::read_to_string(&tries).is_ok_and(|text| text.lines().count() >= 2);
    while !left() {
        std::thread::yield_now();
    }
    let left = server.ask(&request)["left"].to_string();
    assert!(left.contains("does not survive to compile"), "{left}");
    // Two sources on one or more compilers, each with a second try for the first that fails.
    let after_ahead = fs::read_to_string(&tries).unwrap().lines().count();
    server.ask(&request);
    let after_another = fs::read_to_string(&tries).unwrap().lines().count();
    assert!(after_another >= after_ahead + 2, "asked again, it is tried again");
    assert!(after_ahead < 2 * (after_another - after_ahead), "{after_ahead} {after_another}");
    server.close();
}
