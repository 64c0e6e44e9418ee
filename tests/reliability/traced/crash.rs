//! The process dies at every point of every operation.

use std::fmt;

use super::checks::all_hold;
use super::operations::{Operation, copy, test_each_operation};
use super::rehearsal::Rehearsal;
use super::tracer::{self, Call, Plan};
use crate::counts::chosen;

/// The quick part tries one crash in this many. It is odd, so that both orders of the checks are
/// tried, and not a multiple of 3, so that some crashes are followed by another.
const STRIDE: usize = 13;

/// The process dies before its call `at`, described by `what`.
struct Crash {
    at: usize,
    what: String,
    /// The call before which the next run of the same command dies, if it does.
    again: Option<usize>,
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, what, again } = self;
        write!(f, "died before call {at}, {what}")?;
        again.map_or(Ok(()), |again| write!(f, ", and in the next run before call {again}"))
    }
}

/// After every third crash, the next run crashes as well.
fn crashes(calls: &[Call]) -> impl Iterator<Item = Crash> {
    calls.iter().enumerate().map(|(at, call)| Crash {
        at,
        what: call.effect.name(),
        again: (at % 3 == 0).then_some(at * 5 % calls.len()),
    })
}

pub fn dies_anywhere(operation: &Operation) {
    let Some(rehearsal) = Rehearsal::of(operation) else { return };
    let (prepared, expected) = (&rehearsal.prepared, rehearsal.expected());
    let cases = chosen(crashes(&rehearsal.calls), STRIDE);
    all_hold("crash", operation.name, cases, |&Crash { at, again, .. }| {
        let sandbox = copy(prepared);
        let dies_at = |at| {
            let command = operation.command(&sandbox);
            let trace = tracer::run(&command, &sandbox.path(""), Plan::Kill { at }).unwrap();
            operation.assert_answers_are_true(&sandbox, &trace.stdout);
            trace.code
        };
        assert_eq!(dies_at(at), None, "it did not die");
        if let Some(again) = again {
            dies_at(again); // it may end first, as less is left to do
        }
        if operation.mends {
            operation.run(&sandbox);
        }
        let eggs = expected.assert_sound(&sandbox);
        expected.assert_whole(&sandbox.path("out"));
        // The order of cleaning up and running again must not matter.
        if at % 2 == 0 {
            expected.assert_gc_tidies(&sandbox, &eggs, "out");
            expected.assert_runs_again(operation, &sandbox);
        } else {
            let eggs = expected.assert_runs_again(operation, &sandbox);
            expected.assert_gc_tidies(&sandbox, &eggs, "out");
        }
    });
}

test_each_operation!(a_crash_at_any_call_loses_nothing, crate::traced::crash::dies_anywhere);
