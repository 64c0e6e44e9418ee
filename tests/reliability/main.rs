//! What the cache promises when processes die, disks fail and bytes rot: matrices of everything
//! that can happen. `make test` runs the quick part of each, `make reliability` all of it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod calls;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod checks;
mod counts;
mod damage;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod crash;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod fault;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod model;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod operations;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod power_cut;
#[path = "../cli/support.rs"]
#[expect(dead_code, reason = "the tests of the command need more of it")]
mod support;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod survival;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod tracer;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod tracing;
