//! Proves what the cache promises when processes die, disks fail and data is damaged: matrices of
//! everything that can happen. `make test` runs a quick part of each, `make reliability` all of it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod counts;
mod damage;
mod damaged_conversions;
mod damaged_wheels;
mod model;
mod random;
mod stress;
#[path = "../cli/support.rs"]
#[expect(dead_code, reason = "the tests of the command use more of it")]
mod support;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod traced;
mod wheels;
