//! What operating systems do differently: the only place of the library with conditional compilation.
//! `conditional_compilation_has_one_place` in `src/lib.rs` keeps it so.
//!
//! eggcache is developed and tested on Linux. `make check-macos` compiles it for macOS, with the lints.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod macos;

#[cfg(target_os = "linux")]
pub use linux::*;
#[cfg(not(target_os = "linux"))]
pub use macos::*;
