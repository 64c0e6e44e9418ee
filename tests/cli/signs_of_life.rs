//! The bridge shows that it lives while a request takes long.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::serve::opening_with;
use crate::support::{EGGCACHE, Sandbox};

#[test]
fn a_request_that_waits_for_a_lock_gives_signs_of_life() {
    let sandbox = Sandbox::with_two();
    std::fs::create_dir(sandbox.path("app")).unwrap();
    std::fs::create_dir(sandbox.path("out")).unwrap();
    let mut process = sandbox.process(EGGCACHE);
    process.arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = process.spawn().unwrap();
    let mut input = process.stdin.take().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap())
        .lines()
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let busy = json!({"busy": true});
    writeln!(input, "{}", opening_with(&sandbox, "eggs_directory", &sandbox.path("out"))).unwrap();
    assert!(lines.any(|line| line["read_only"] == false));

    // Another process writes the index, and takes its time.
    let index = rusqlite::Connection::open(sandbox.path("cache/index.sqlite")).unwrap();
    index.execute_batch("BEGIN IMMEDIATE").unwrap();
    let egg = sandbox.egg("more", "1.0");
    let store = json!({"op": "store", "path": egg, "source_sha256": "", "variant": ""});
    writeln!(input, "{store}\n{}", json!({"op": "settle"})).unwrap();
    assert!(lines.any(|line| line["outcome"] == "queued"));
    assert_eq!(lines.next().unwrap(), busy);
    assert_eq!(lines.next().unwrap(), busy);
    index.execute_batch("COMMIT").unwrap();
    let settled = lines.find(|line| *line != busy).unwrap();
    assert_eq!(settled["outcomes"][0]["outcome"], "stored", "{settled}");
    drop(input);
    assert!(lines.next().is_none());
    assert!(process.wait().unwrap().success());
}
