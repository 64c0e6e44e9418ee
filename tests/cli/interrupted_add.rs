//! `eggcache add` that is interrupted, or fills the disk: what is complete stays.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Mount, Sandbox, names_in, noise};

const EGGS: usize = 12;

/// Eggs of incompressible content, of this size in bytes.
fn eggs(sandbox: &Sandbox, size: usize) {
    for number in 0..EGGS {
        sandbox.egg_with(&format!("foo{number}"), "1.0", &[("noise", &noise(size))]);
    }
}

/// Waits until `is_so`, which must be before long.
#[track_caller]
fn wait_until(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_mins(1));
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn send(child: &Child, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, signal).unwrap();
}

fn is_packing(tmp: &Path) -> bool {
    names_in(tmp).len() >= 3
}

fn interrupted_by(signal: nix::sys::signal::Signal) {
    let sandbox = Sandbox::new();
    sandbox.egg("first", "1.0");
    sandbox.ok("add eggs");
    eggs(&sandbox, 24 << 20);
    let mut add = sandbox.eggcache("add eggs");
    let add = add.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until(|| is_packing(&sandbox.path("cache/tmp")));
    send(&add, signal);
    let output = add.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.signal(), Some(signal as i32), "{stderr}");
    for part in ["interrupted", "not done", "run the same command again"] {
        assert!(stderr.contains(part), "{part:?} is not in:\n{stderr}");
    }
    let stored = sandbox.listed().len();
    assert!(stored < EGGS + 1, "the signal came too late");
    sandbox.assert_tidy();
    sandbox.ok("verify");
    sandbox.ok("add eggs").says(&[&format!("{stored} already there")]);
    assert_eq!(sandbox.listed().len(), EGGS + 1);
    sandbox.assert_tidy();
}

#[test]
fn an_add_that_gets_sigint_keeps_what_is_complete() {
    interrupted_by(nix::sys::signal::Signal::SIGINT);
}

#[test]
fn an_add_that_gets_sigterm_keeps_what_is_complete() {
    interrupted_by(nix::sys::signal::Signal::SIGTERM);
}

#[test]
fn an_add_that_fills_the_disk_keeps_what_is_complete() {
    let sandbox = Sandbox::new();
    eggs(&sandbox, 300_000);
    let Some(_mount) = Mount::new(&sandbox.path("cache"), "3m") else { return };
    let output = sandbox.fails("add eggs", 1);
    output.says(&["No space left", "not done", "free some space", "run the same command again"]);
    let stored = sandbox.listed().len();
    assert!((1..EGGS).contains(&stored), "{stored}");
    output.says(&[&format!("{stored} egg"), &format!("{} eggs not done", EGGS - stored)]);
    sandbox.assert_tidy();
    sandbox.ok("verify");
}

#[test]
fn the_report_of_an_add_that_fills_the_disk_says_why_it_stopped() {
    let sandbox = Sandbox::new();
    eggs(&sandbox, 300_000);
    let Some(_mount) = Mount::new(&sandbox.path("cache"), "3m") else { return };
    let report = sandbox.fails("--json add eggs", 1).json();
    let done = report["eggs"].as_array().unwrap().len();
    assert_eq!(done, sandbox.listed().len());
    assert!(report["stopped"]["reason"].as_str().unwrap().contains("No space left"), "{report}");
    assert_eq!(report["stopped"]["left"], EGGS - done);
}
