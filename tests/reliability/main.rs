//! What the cache promises when processes die, disks fail and bytes rot: matrices of everything
//! that can happen. `make test` runs the quick part of each, `make reliability` all of it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod counts;
mod damage;
mod model;
mod random;
mod stress;
#[path = "../cli/support.rs"]
#[expect(dead_code, reason = "the tests of the command need more of it")]
mod support;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod traced;
