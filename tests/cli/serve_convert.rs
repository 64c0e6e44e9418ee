//! `convert` of the bridge: eggs of wheels for a buildout that would run pip.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::convert::{PACKAGE, wheel};
use crate::serve::Server;
use crate::support::{Sandbox, host, names_in, write};

/// A request to convert the wheel of a sandbox.
fn request(sandbox: &Sandbox, python: &Path) -> Value {
    // What the program inherits.
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap().trim();
    let machine = std::env::consts::ARCH;
    json!({
        "op": "convert",
        "wheel": sandbox.path("alpha-1.0-py3-none-any.whl"),
        "into": sandbox.path("into"),
        "python": {
            "executable": python,
            "implementation": "cpython",
            "version": [3, 11, 7],
            "cache_tag": "fake",
            "platform": format!("linux-{machine}"),
            "is_virtual": true,
            "pip": "26.0",
            "buildout": "6.0.1",
        },
        "setuptools": "81.0.0",
        "code": "00",
        "environment": {},
        "umask": u32::from_str_radix(umask, 8).unwrap(),
    })
}

/// A sandbox with a wheel, and a request to convert it by a program that says that everything compiles.
pub fn prepared() -> (Sandbox, Value) {
    let sandbox = Sandbox::new();
    wheel(&sandbox, ".", &PACKAGE, "alpha\n");
    fs::create_dir(sandbox.path("into")).unwrap();
    let python = sandbox.path("python");
    write(&python, b"#!/bin/sh\necho ready fake\nwhile read line; do echo ok; done\n");
    crate::support::chmod(&python, 0o755);
    let request = request(&sandbox, &python);
    (sandbox, request)
}

/// Records that eggs of pip and of eggcache are equal, or not.
pub fn prove(sandbox: &Sandbox, server: &mut Server, request: &Value, is_equal: bool) {
    let stock = sandbox.path("stock/alpha-1.0.egg");
    fs::create_dir_all(&stock).unwrap();
    let mut compared = request.clone();
    compared["stock"] = json!(stock);
    let warning = server.ask(&compared)["warning"].as_str().unwrap().to_owned();
    assert!(
        warning.contains("alpha-1.0-py3-none-any.whl differs from the one of pip"),
        "{warning}"
    );
    if is_equal {
        let [record] = &names_in(&sandbox.path("cache/parity"))[..] else { panic!("one record") };
        let record = sandbox.path("cache/parity").join(record);
        let mut parity: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
        parity["difference"] = Value::Null;
        write(&record, parity.to_string().as_bytes());
    }
}

/// As [`prepared`], with a cache that converts: its eggs were compared with those of pip.
pub fn proven() -> (Sandbox, Value) {
    let (sandbox, request) = prepared();
    let mut server = Server::open(&sandbox, &host());
    prove(&sandbox, &mut server, &request, true);
    server.close();
    (sandbox, request)
}

/// Stores a converted egg; `show` says what it was made of.
fn store_and_show(sandbox: &Sandbox, server: &mut Server, egg: &Path) {
    let wheel = fs::read(sandbox.path("alpha-1.0-py3-none-any.whl")).unwrap();
    let sha256 = eggcache::internals::sha256::Sha256::of(&wheel).to_string();
    let request = json!({
        "op": "store", "path": egg, "source": "alpha-1.0-py3-none-any.whl",
        "source_sha256": sha256, "variant": "",
    });
    assert_eq!(server.stored(&request)["outcome"], "stored");
    let shown = sandbox.ok("show alpha").stdout;
    let line = format!("converted     from alpha-1.0-py3-none-any.whl sha256 {sha256}\n");
    assert!(shown.contains(&line), "{shown}");
}

#[test]
fn the_first_wheel_is_compared_and_a_difference_is_remembered() {
    let (sandbox, request) = prepared();
    let mut server = Server::open(&sandbox, &host());
    assert_eq!(server.ask(&request), json!({"compare": true}));
    prove(&sandbox, &mut server, &request, false);
    assert!(names_in(&sandbox.path("into")).is_empty());
    server.close();
    let mut server = Server::open(&sandbox, &host());
    let left = server.ask(&request)["left"].to_string();
    assert!(left.contains("converted eggs differ from those of pip: "), "{left}");
    let shown = sandbox.ok("stats").stdout;
    assert!(
        shown.contains("the egg of alpha-1.0-py3-none-any.whl differs from that of pip: "),
        "{shown}"
    );
    let mut newer = request.clone();
    newer["python"]["pip"] = json!("26.1");
    assert_eq!(server.ask(&newer), json!({"compare": true}), "another pip is another combination");
    server.close();
}

#[test]
fn a_wheel_becomes_an_egg_once_another_one_was_compared() {
    let (sandbox, request) = proven();
    let mut server = Server::open(&sandbox, &host());
    let answer = server.ask(&request);
    let [name] = &names_in(&sandbox.path("into"))[..] else { panic!("one egg") };
    assert_eq!(answer, json!({"egg": sandbox.path("into").join(name)}));
    assert!(server.ask(&request)["left"].is_string(), "it is there");
    store_and_show(&sandbox, &mut server, Path::new(answer["egg"].as_str().unwrap()));
    let shown = sandbox.ok("stats").stdout;
    assert!(shown.contains("equals that of pip (zc.buildout "), "{shown}");
    server.close();
}

#[test]
fn what_is_not_certain_is_left_and_writes_nothing() {
    let (sandbox, request) = proven();
    let mut server = Server::open(&sandbox, &host());
    let mut other = request.clone();
    other["umask"] = json!(0o7);
    assert!(server.ask(&other)["left"].as_str().unwrap().contains("umask"));
    let mut other = request.clone();
    other["wheel"] = json!(sandbox.path("python"));
    assert!(server.ask(&other)["left"].is_string());
    assert!(names_in(&sandbox.path("into")).is_empty());
    assert!(server.ask(&request)["egg"].is_string(), "the others are converted");
    server.close();
}

#[test]
fn a_wheel_that_no_compiler_survives_is_left_and_the_next_one_is_converted() {
    let (sandbox, request) = proven();
    let good = fs::read(sandbox.path("python")).unwrap();
    write(&sandbox.path("python"), b"#!/bin/sh\necho ready fake\nread line\n");
    let mut server = Server::open(&sandbox, &host());
    let left = server.ask(&request)["left"].to_string();
    assert!(left.contains("does not survive to compile alpha/"), "{left}");
    assert!(names_in(&sandbox.path("into")).is_empty());
    write(&sandbox.path("python"), &good);
    assert!(server.ask(&request)["egg"].is_string());
    server.close();
}

#[test]
fn after_three_errors_in_a_row_nothing_more_is_converted() {
    let (sandbox, request) = proven();
    write(&sandbox.path("python"), b"#!/bin/sh\necho ready fake\nread line\n");
    let mut server = Server::open(&sandbox, &host());
    for _ in 0..3 {
        assert!(server.ask(&request)["left"].as_str().unwrap().contains("does not survive"));
    }
    let left = server.ask(&request)["left"].to_string();
    assert!(left.contains("too many wheels has failed"), "{left}");
    assert!(names_in(&sandbox.path("into")).is_empty());
    server.close();
}

#[test]
fn what_is_odd_about_a_wheel_is_part_of_the_answer() {
    let (sandbox, request) = proven();
    let metadata = ["METADATA", "WHEEL", "entry_points.txt", "top_level.txt", "RECORD"];
    let rows = metadata.map(|name| format!("alpha-1.0.dist-info/{name},,\n")).concat();
    let size = PACKAGE[0].1.len();
    let record = format!("alpha/__init__.py,sha256=of-another,{size}\nalpha/run.py,,\n{rows}");
    let files = [PACKAGE[0], PACKAGE[1], ("alpha-1.0.dist-info/RECORD", &record)];
    wheel(&sandbox, ".", &files, "alpha\n");
    let mut server = Server::open(&sandbox, &host());
    let answer = server.ask(&request);
    let warnings = answer["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{answer}");
    assert!(warnings[0].as_str().unwrap().contains("does not match its digest in RECORD"));
    server.close();
}

#[test]
fn a_variant_that_nobody_knows_is_left() {
    let (sandbox, request) = proven();
    let mut server = Server::open(&sandbox, &host());
    let mut other = request.clone();
    other["variant"] = json!("compile-some");
    let left = server.ask(&other)["left"].to_string();
    assert!(left.contains("for the variant compile-some"), "{left}");
    other["variant"] = json!("compile-all-unchecked-hash");
    assert!(server.ask(&other)["egg"].is_string());
    server.close();
}
