//! `convert` dies at every point, and each of its calls fails once, those of its compilers included:
//! afterwards the eggs directory has whole eggs or none, and the next run makes them and leaves nothing else.

use super::operations::CONVERT;
use super::{crash, fault};

#[test]
fn a_crash_at_any_call_leaves_whole_eggs() {
    crash::dies_anywhere(&CONVERT);
}

#[test]
fn a_fault_of_any_call_leaves_whole_eggs() {
    fault::fails_anywhere(&CONVERT);
}
