//! Helpers that know nothing about eggs or caches: time, units, text matching, search for paths, progress,
//! threads and hashes.

pub mod clock;
pub mod environment;
pub mod glob;
pub mod hash;
pub mod machine;
pub mod path_search;
pub mod printable;
pub mod progress;
pub mod stop;
pub mod suggest;
pub mod threads;
pub mod units;
