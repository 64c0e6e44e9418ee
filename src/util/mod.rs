//! Helpers that know nothing of eggs or caches: time, units, text matching, progress and hashes.

pub mod clock;
pub mod glob;
pub mod hash;
pub mod machine;
pub mod progress;
pub mod suggest;
pub mod threads;
pub mod units;
