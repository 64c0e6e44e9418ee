//! The process dies at every point of every operation.

use std::fmt;

use crate::checks::{Expected, all_hold};
use crate::counts::chosen;
use crate::operations::{Listing, Operation, copy, listing, of_each_operation, sources};
use crate::support::skip;
use crate::tracer::{self, Plan};

/// Of how many crashes the quick part tries one; odd, so that both orders of the checks are tried.
const STRIDE: usize = 7;

/// The process dies before its call `at`, which would be `what`.
struct Crash {
    at: usize,
    what: String,
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "died before call {}, {}", self.at, self.what)
    }
}

pub fn dies_anywhere(operation: &Operation) {
    if !tracer::is_permitted() {
        return skip("processes cannot be traced here");
    }
    let prepared = operation.prepared();
    let sources = sources(&prepared);
    let before = if operation.mends { Listing::new() } else { listing(&copy(&prepared)) };
    let whole = copy(&prepared);
    let trace = tracer::run(&operation.command(&whole), &whole.path(""), Plan::Record).unwrap();
    assert_eq!(trace.code, Some(0), "{}", trace.stderr);
    assert_eq!(operation.refusals(&trace.stdout), [""; 0]);
    let after = listing(&whole);
    let expected = Expected { sources: &sources, before: &before, after: &after };

    let crashes = trace.calls.iter().enumerate();
    let crashes = crashes.map(|(at, call)| Crash { at, what: call.effect.name() });
    all_hold("crash", operation.name, chosen(crashes, STRIDE), |&Crash { at, .. }| {
        let sandbox = copy(&prepared);
        let trace = tracer::run(&operation.command(&sandbox), &sandbox.path(""), Plan::Kill { at });
        assert_eq!(trace.unwrap().code, None, "it did not die");
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

of_each_operation!(a_crash_at_any_call_loses_nothing, crate::crash::dies_anywhere);
