//! One complete run of an operation: its calls, and the cached eggs before and after.

use super::checks::Expected;
use super::operations::{Listing, Operation, Sources, copy, listing, sources};
use super::tracer::{self, Call, Plan};
use crate::support::{Sandbox, names_in, skip};

pub struct Rehearsal {
    pub prepared: Sandbox,
    pub calls: Vec<Call>,
    /// Names in the eggs directory at the end.
    pub copies: Vec<String>,
    sources: Sources,
    before: Listing,
    pub after: Listing,
}

impl Rehearsal {
    /// `None`, with a message, if processes cannot be traced here.
    pub fn of(operation: &Operation) -> Option<Self> {
        if !tracer::is_permitted() {
            skip("processes cannot be traced here");
            return None;
        }
        let prepared = operation.prepared();
        let sources = sources(&prepared);
        let before = if operation.mends { Listing::new() } else { listing(&copy(&prepared)) };
        let whole = copy(&prepared);
        let trace = tracer::run(&operation.command(&whole), &whole.path(""), Plan::Record).unwrap();
        assert!(operation.is_good(trace.code), "{}", trace.stderr);
        assert_eq!(operation.refusals(&trace.stdout), [""; 0]);
        let copies = names_in(&whole.path("out"));
        let after = listing(&whole);
        Some(Self { prepared, calls: trace.calls, copies, sources, before, after })
    }

    pub fn expected(&self) -> Expected<'_> {
        Expected { sources: &self.sources, before: &self.before, after: &self.after }
    }
}
