//! Every call of every operation fails once with each error that it can return.

use std::fmt;

use nix::errno::Errno;

use super::checks::all_hold;
use super::operations::{Operation, copy, listing, test_each_operation};
use super::rehearsal::Rehearsal;
use super::tracer::{self, Call, Plan};
use crate::counts::{chosen, thorough};
use crate::support::names_in;

/// The quick part lets one call in this many fail, with one of its errors.
const STRIDE: usize = 11;

/// Errors of a disk that stays in that state: full, read-only after an error, or broken.
const LASTING: [Errno; 3] = [Errno::ENOSPC, Errno::EROFS, Errno::EIO];

/// The call `at`, described by `what`, fails.
struct Fault {
    at: usize,
    what: String,
    errno: Errno,
    /// Whether all later calls fail as well.
    lasts: bool,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, what, errno, lasts } = self;
        let later = if *lasts { ", as did all later calls" } else { "" };
        write!(f, "call {at}, {what}, failed with {errno:?}{later}")
    }
}

/// Calls that fail in a normal run are left out: the kernel finds that reason first.
fn faults(calls: &[Call]) -> Vec<Fault> {
    let of_call = |at: usize| {
        let Call { effect, .. } = &calls[at];
        let fault = |errno, lasts| Fault { at, what: effect.name(), errno, lasts };
        let lasting = LASTING.iter().filter(|errno| effect.errors().contains(errno));
        let mut faults: Vec<Fault> =
            effect.errors().iter().map(|&errno| fault(errno, false)).collect();
        faults.extend(lasting.map(|&errno| fault(errno, true)));
        // The quick part takes one error per call, in turn.
        if thorough() { faults } else { vec![faults.swap_remove(at % faults.len())] }
    };
    let can_fail = (0..calls.len()).filter(|&at| !calls[at].failed);
    chosen(can_fail, STRIDE).flat_map(of_call).collect()
}

pub fn fails_anywhere(operation: &Operation) {
    let Some(rehearsal) = Rehearsal::of(operation) else { return };
    let Rehearsal { prepared, copies, after, .. } = &rehearsal;
    let expected = rehearsal.expected();

    all_hold("fault", operation.name, faults(&rehearsal.calls), |fault| {
        let &Fault { at, errno, lasts, .. } = fault;
        let sandbox = copy(prepared);
        let plan = Plan::Fail { at, errno, lasts };
        let trace = tracer::run(&operation.command(&sandbox), &sandbox.path(""), plan).unwrap();
        assert!(!trace.stderr.contains("panicked"), "{}", trace.stderr);
        let code = trace.code.expect("a signal ended it, or it did not end");
        operation.assert_answers_are_true(&sandbox, &trace.stdout);
        if !operation.is_good(Some(code)) {
            assert_is_explained(operation, code, &trace.stderr);
        } else if operation.refusals(&trace.stdout).is_empty() {
            assert_eq!(&listing(&sandbox), after, "it reported success");
            let mut names = names_in(&sandbox.path("out"));
            if lasts || fault.what.starts_with("remove out/.eggcache-") {
                // What cannot be removed now is removed by the next run, as is asserted below.
                names.retain(|name| !name.starts_with(".eggcache-"));
            }
            assert_eq!(&names, copies, "it reported success");
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

/// Asserts that the exit code is that of an error and that each error names a path.
#[track_caller]
fn assert_is_explained(operation: &Operation, code: i32, stderr: &str) {
    let is_miss = operation.line.starts_with("materialize") && code == 3;
    assert!(code == 1 || is_miss, "exit code {code}: {stderr}");
    let begins = |line: &str| line.starts_with("error: ") || line.starts_with("problem: ");
    let errors: Vec<&str> = stderr.lines().filter(|line| begins(line)).collect();
    assert!(!errors.is_empty(), "no error is printed: {stderr:?}");
    for line in errors {
        let mut words = line.split([' ', ':', ';']);
        let is_path = |word: &str| word.contains('/') || ["cache", "out"].contains(&word);
        assert!(words.any(is_path), "the error names no path: {line}");
    }
}

test_each_operation!(
    a_fault_of_any_call_is_reported_and_loses_nothing,
    crate::traced::fault::fails_anywhere
);
