//! The log file that `EGGCACHE_LOG` names.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Child;

use assert_cmd::Command;
use serde_json::json;

use crate::serve::{Server, opening};
use crate::support::{Output, Sandbox, host, text};

/// Runs a command that logs to the file `log` of the sandbox.
fn logged(sandbox: &Sandbox, level: &str, line: &str) -> Output {
    let mut process = sandbox.eggcache(line);
    process.env("EGGCACHE_LOG", sandbox.path("log")).env("EGGCACHE_LOG_LEVEL", level);
    Output::of(&Command::from_std(process).assert())
}

fn log(sandbox: &Sandbox) -> String {
    fs::read_to_string(sandbox.path("log")).unwrap()
}

/// Asserts that a line of the log has all of these parts, in this order.
#[track_caller]
fn assert_line(log: &str, parts: &[&str]) {
    let has_all = |line: &str| {
        let rest = |rest: Option<&str>, part: &&str| {
            let rest = rest?;
            rest.find(part).map(|at| rest.split_at(at + part.len()).1.to_owned())
        };
        parts.iter().try_fold(line.to_owned(), |line, part| rest(Some(&line), part)).is_some()
    };
    assert!(log.lines().any(has_all), "{parts:?} is not a line of:\n{log}");
}

#[test]
fn a_log_is_for_its_owner_and_is_appended_to() {
    let sandbox = Sandbox::with_two();
    logged(&sandbox, "info", "list");
    let first = log(&sandbox);
    let mode = sandbox.path("log").metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert_line(&first, &["INFO  eggcache::cli: started command=\"list\""]);
    assert_line(&first, &["INFO  eggcache::cli: done code=0"]);
    assert!(!first.contains("DEBUG"), "{first}");
    logged(&sandbox, "debug", "show nothing");
    let both = log(&sandbox);
    let second = both.strip_prefix(&first).unwrap();
    assert_line(second, &["DEBUG eggcache::cache::open: opened the cache"]);
    assert_line(second, &["ERROR", "failed code=3 error=\"the cache has no egg nothing\""]);
}

#[test]
fn an_unwritable_log_is_a_warning_not_a_failure() {
    let sandbox = Sandbox::with_two();
    fs::create_dir(sandbox.path("log")).unwrap();
    let output = logged(&sandbox, "debug", "list");
    output.says(&["warning: cannot write the log ", "/log: Is a directory"]);
    assert!(output.stdout.contains("foo"));
    let mut server = Server::opened_by(&sandbox, &opening(&sandbox, &host()));
    let opened = server.ask(&opening(&sandbox, &host()));
    assert!(text(&opened["warning"]).starts_with("cannot write the log "), "{opened}");
    server.close();
}

#[test]
fn processes_that_share_a_log_write_whole_lines() {
    let sandbox = Sandbox::with_two();
    let start = |line: &str| -> Child {
        let mut process = sandbox.eggcache(line);
        process.env("EGGCACHE_LOG", sandbox.path("log")).env("EGGCACHE_LOG_LEVEL", "trace");
        process.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        process.spawn().unwrap()
    };
    let names = (0..8).map(|number| format!("materialize --into out{number} foo bar"));
    let mut children: Vec<Child> = names.map(|line| start(&line)).collect();
    assert!(children.iter_mut().all(|child| child.wait().unwrap().success()));
    let log = log(&sandbox);
    let mut processes: Vec<&str> = Vec::new();
    for line in log.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert!(words[0].len() == 27 && words[0].ends_with('Z'), "{line}");
        assert!(["INFO", "DEBUG", "TRACE"].contains(&words[2]), "{line}");
        assert!(words[3].starts_with("eggcache::"), "{line}");
        assert_eq!(line.matches(" eggcache::").count(), 1, "{line}");
        processes.push(words[1]);
    }
    assert_eq!(log.matches("started command=\"materialize\"").count(), 8);
    assert_eq!(log.matches("done code=0").count(), 8);
    processes.sort_unstable();
    processes.dedup();
    assert_eq!(processes.len(), 8);
}

#[test]
fn a_buildout_logs_why_an_egg_of_the_cache_is_not_offered() {
    let sandbox = Sandbox::with_two();
    fs::write(sandbox.path("log"), "").unwrap();
    let mut other = host();
    other["python"] = json!("3.12");
    let mut server = Server::open(&sandbox, &other);
    assert!(server.find("foo").is_empty());
    server.ask(&json!({"op": "find", "name": "foo", "variant": "abc"}));
    server.close();
    let log = log(&sandbox);
    assert_line(&log, &["request{op=\"open\"}: opened a session", "python: \"3.12\""]);
    assert_line(
        &log,
        &[
            "request{op=\"find\"}: not offered: it is not for this host",
            "file_name=\"foo-1.0-py3.11.egg\"",
            "part=\"python\" egg=\"cp311\" host=\"cp312\"",
        ],
    );
    assert_line(&log, &["not offered: it has other build options", "variant=\"abc\""]);
    assert_line(&log, &["request{op=\"find\"}: looked in the cache name=\"foo\"", "usable=0"]);
    assert_line(&log, &["used in the session hits=0 present=0 misses=0"]);
}

#[test]
fn a_copied_a_damaged_and_a_quarantined_egg_are_logged() {
    let sandbox = Sandbox::with_two();
    fs::write(sandbox.path("log"), "").unwrap();
    let [good, bad] = ["foo", "bar"].map(|name| sandbox.digest(name));
    crate::damage::flip_last_bit(&sandbox.blob("bar"));
    let mut server = Server::open(&sandbox, &host());
    server.materialize(&sandbox, &good);
    server.materialize(&sandbox, &bad);
    server.close();
    sandbox.ok("verify --repair");
    let log = log(&sandbox);
    assert_line(&log, &["request{op=\"materialize\"}: copied digest=", &good]);
    assert_line(&log, &["not copied digest=", &bad, "is damaged"]);
    assert_line(&log, &["WARN", "request{op=\"materialize\"}: failed ms="]);
    assert_line(&log, &["WARN  eggcache::cache::blobs::write: quarantined from=", &bad]);
}
