//! Helpers that know nothing about eggs or caches: time, units, text matching, search for paths, progress,
//! threads, hashes, and what other programs print.

pub mod clock;
pub mod environment;
pub mod glob;
pub mod hash;
pub mod machine;
pub mod path_search;
pub mod printable;
pub mod process;
pub mod progress;
pub mod stop;
pub mod suggest;
pub mod threads;
pub mod units;
