//! Another process holds the write lock of the index and does not release it.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::json;

use crate::serve::Server;
use crate::support::{Sandbox, host, names_in, text};

fn lock(sandbox: &Sandbox) -> rusqlite::Connection {
    let index = rusqlite::Connection::open(sandbox.path("cache/index.sqlite")).unwrap();
    index.execute_batch("BEGIN IMMEDIATE").unwrap();
    index
}

#[test]
fn a_bridge_reports_a_locked_index_once_and_stores_nothing_more() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    let lock = lock(&sandbox);
    let mut server = Server::open(&sandbox, &host());
    let digest = text(&server.find("foo")[0]["digest"]).to_owned();
    assert_eq!(server.materialize(&sandbox, &digest)["outcome"], "copied", "it is read");
    assert_eq!(server.offer(&sandbox.egg("bar", "1.0")), json!({"outcome": "queued"}));
    let settled = server.settle();
    let failure = text(&settled["failure"]).to_owned();
    assert!(failure.contains("index.sqlite is locked by another process"), "{settled}");
    assert!(failure.contains("fuser"), "{settled}");
    // Nobody waits for the lock again.
    let refused = json!({"error": failure, "kind": "failure"});
    assert_eq!(server.offer(&sandbox.egg("baz", "1.0")), refused);
    assert_eq!(server.settle()["outcomes"], json!([]));
    server.register(&sandbox, &[]);
    server.close();
    drop(lock);
    assert_eq!(sandbox.listed(), ["foo==1.0"]);
    assert_eq!(names_in(&sandbox.path("cache/tmp")), [""; 0]);
}

#[test]
fn a_lock_that_is_released_in_time_delays_a_bridge_and_nothing_else() {
    let sandbox = Sandbox::new();
    sandbox.added("foo", "1.0");
    let lock = lock(&sandbox);
    let mut server = Server::open(&sandbox, &host());
    server.offer(&sandbox.egg("bar", "1.0"));
    drop(lock);
    assert_eq!(server.settle()["outcomes"][0]["outcome"], "stored");
    server.close();
}

#[test]
fn a_command_says_that_it_waits_for_the_lock() {
    let sandbox = Sandbox::new();
    sandbox.egg("foo", "1.0");
    sandbox.ok("init");
    let lock = lock(&sandbox);
    let mut add = sandbox.eggcache("add eggs").stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(add.stderr.take().unwrap()).lines();
    let note = "note: waiting for another process that writes to the index of the cache";
    assert_eq!(said.next().unwrap().unwrap(), note);
    drop(lock);
    assert!(add.wait().unwrap().success());
    let rest: Vec<String> = said.map(Result::unwrap).collect();
    assert!(rest.iter().all(|line| line != note), "once: {rest:?}");
    assert_eq!(sandbox.listed(), ["foo==1.0"]);
}
