//! Every call of every operation fails, once, with each error that it can have.

use std::fmt;

use nix::errno::Errno;
use serde_json::Value;

use crate::checks::{Expected, all_hold};
use crate::counts::{chosen, thorough};
use crate::operations::{Listing, Operation, copy, listing, of_each_operation, sources};
use crate::support::{Sandbox, names_in, skip, text};
use crate::tracer::{self, Call, Plan, Trace};

/// Of how many calls the quick part lets one fail, with one of its errors.
const STRIDE: usize = 11;

/// The call `at`, which is `what`, fails.
struct Fault {
    at: usize,
    what: String,
    errno: Errno,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {}, {}, failed with {:?}", self.at, self.what, self.errno)
    }
}

/// Calls that fail by themselves are left out: the kernel looks for the reason first.
fn faults(calls: &[Call]) -> Vec<Fault> {
    let what = |at: usize| calls[at].effect.name();
    let fault = move |at: usize, errno: &Errno| Fault { at, what: what(at), errno: *errno };
    let of_call = |at: usize| {
        let errors = calls[at].effect.errors();
        // In the quick part each call has one error, and the errors take turns.
        let tried = if thorough() { errors } else { &errors[at % errors.len()..][..1] };
        tried.iter().map(move |errno| fault(at, errno))
    };
    let can_fail = (0..calls.len()).filter(|&at| !calls[at].failed);
    chosen(can_fail, STRIDE).flat_map(of_call).collect()
}

pub fn fails_anywhere(operation: &Operation) {
    if !tracer::is_permitted() {
        return skip("processes cannot be traced here");
    }
    let prepared = operation.prepared();
    let sources = sources(&prepared);
    let before = if operation.mends { Listing::new() } else { listing(&copy(&prepared)) };
    let whole = copy(&prepared);
    let trace = tracer::run(&operation.command(&whole), &whole.path(""), Plan::Record).unwrap();
    assert_eq!(trace.code, Some(0), "{}", trace.stderr);
    let copies = names_in(&whole.path("out"));
    let after = listing(&whole);
    let expected = Expected { sources: &sources, before: &before, after: &after };

    all_hold("fault", operation.name, faults(&trace.calls), |&Fault { at, errno, .. }| {
        let sandbox = copy(&prepared);
        let plan = Plan::Fail { at, errno };
        let trace = tracer::run(&operation.command(&sandbox), &sandbox.path(""), plan).unwrap();
        assert!(!trace.stderr.contains("panicked"), "{}", trace.stderr);
        match trace.code.expect("a signal ended it, or it did not end") {
            0 => {
                let refusals = operation.refusals(&trace.stdout);
                assert_answers_are_true(&sandbox, operation, &trace);
                if refusals.is_empty() {
                    assert_eq!(listing(&sandbox), after, "it has ended well");
                    assert_eq!(names_in(&sandbox.path("out")), copies, "it has ended well");
                }
            }
            code => assert_is_explained(operation, code, &trace.stderr),
        }
        if operation.mends {
            operation.run(&sandbox);
        }
        let eggs = expected.assert_sound(&sandbox);
        expected.assert_whole(&sandbox.path("out"));
        expected.assert_gc_tidies(&sandbox, &eggs, "out");
        expected.assert_runs_again(operation, &sandbox);
    });
}

/// An error that scripts and people can tell from others.
#[track_caller]
fn assert_is_explained(operation: &Operation, code: i32, stderr: &str) {
    let is_miss = operation.line.starts_with("materialize") && code == 3;
    assert!(code == 1 || is_miss, "exit code {code}: {stderr}");
    let begins = |line: &str| line.starts_with("error: ") || line.starts_with("problem: ");
    let told: Vec<&str> = stderr.lines().filter(|line| begins(line)).collect();
    assert!(!told.is_empty(), "no error is told: {stderr:?}");
    for line in told {
        let mut words = line.split([' ', ':', ';']);
        let is_path = |word: &str| word.contains('/') || ["cache", "out"].contains(&word);
        assert!(words.any(is_path), "no path is named: {line}");
    }
}

/// What a server has answered is so.
#[track_caller]
fn assert_answers_are_true(sandbox: &Sandbox, operation: &Operation, trace: &Trace) {
    if operation.line != "serve" {
        return;
    }
    let listed = listing(sandbox);
    for line in trace.stdout.lines() {
        let answer: Value = serde_json::from_str(line).unwrap();
        match answer["outcome"].as_str() {
            Some("stored") => {
                let egg = &answer["egg"];
                let digest = listed.get(text(&egg["file_name"])).map(String::as_str);
                assert_eq!(digest, egg["digest"].as_str());
            }
            Some("copied") => assert!(sandbox.path(text(&answer["path"])).exists()),
            _ => {}
        }
    }
}

of_each_operation!(a_fault_of_any_call_is_told_and_loses_nothing, crate::fault::fails_anywhere);
