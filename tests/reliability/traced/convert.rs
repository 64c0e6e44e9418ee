//! `convert`, and `serve` that converts, die at every point, and each of their calls fails once, those of the
//! compilers included: afterwards the eggs directory has whole eggs or none, and the next run makes the same eggs
//! and leaves nothing else.

use super::operations::{CONVERT, SERVE_CONVERTING};
use super::{crash, fault};

#[test]
fn a_crash_at_any_call_leaves_whole_eggs() {
    crash::dies_anywhere(&CONVERT);
}

#[test]
fn a_fault_of_any_call_leaves_whole_eggs() {
    fault::fails_anywhere(&CONVERT);
}

#[test]
fn a_crash_of_a_converting_server_leaves_whole_eggs() {
    crash::dies_anywhere(&SERVE_CONVERTING);
}

#[test]
fn a_fault_of_a_converting_server_leaves_whole_eggs() {
    fault::fails_anywhere(&SERVE_CONVERTING);
}
