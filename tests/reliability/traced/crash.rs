//! The process dies at every point of every operation.

use std::fmt;

use super::checks::all_hold;
use super::operations::{Operation, copy, of_each_operation};
use super::rehearsal::Rehearsal;
use super::tracer::{self, Call, Plan};
use crate::counts::chosen;

/// Of how many crashes the quick part tries one; odd, so that both orders of the checks are tried,
/// and no multiple of 3, so that some are followed by another.
const STRIDE: usize = 7;

/// The process dies before its call `at`, which would be `what`.
struct Crash {
    at: usize,
    what: String,
    /// Where the process dies that then does the same, if it does.
    again: Option<usize>,
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, what, again } = self;
        write!(f, "died before call {at}, {what}")?;
        again.map_or(Ok(()), |again| write!(f, ", and in the next run before call {again}"))
    }
}

/// Every third crash is followed by one of those that come after it.
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
            dies_at(again); // unless less is left to do
        }
        if operation.mends {
            operation.run(&sandbox);
        }
        let eggs = expected.assert_sound(&sandbox);
        expected.assert_whole(&sandbox.path("out"));
        // What cleans up first must not matter.
        if at % 2 == 0 {
            expected.assert_gc_tidies(&sandbox, &eggs, "out");
            expected.assert_runs_again(operation, &sandbox);
        } else {
            let eggs = expected.assert_runs_again(operation, &sandbox);
            expected.assert_gc_tidies(&sandbox, &eggs, "out");
        }
    });
}

of_each_operation!(a_crash_at_any_call_loses_nothing, crate::traced::crash::dies_anywhere);
