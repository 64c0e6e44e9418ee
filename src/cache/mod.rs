//! The cache: blobs, the index, and the order in which both are written.
//!
//! Only this folder can write blobs or rows of the index, and the compiler checks it: the fields of
//! [`Cache`] are private, and a blob gets or loses its name only in a function that takes an
//! `index::Writer`, which exists only while this process holds the write lock. Other code reads
//! through [`Cache`] and [`Blobs`], packs new blobs with [`Staging`], and changes the cache through the
//! methods of [`Cache`]. The `write` module describes the order of writes.

mod access;
mod arrivals;
mod blobs;
pub mod build_options;
pub mod extract;
mod index;
pub mod last_run;
mod marker;
pub mod miss;
mod modes;
mod open;
pub mod parity;
pub mod prefetch_hints;
pub mod query;
mod rebuild;
mod repair;
pub mod requirements;
pub mod retention;
pub mod signatures;
mod torn_copies;
pub mod trust;
mod verdict;
mod verified;
mod write;

use crate::disk::dir::Dir;
use crate::error::Unwritable;

pub use arrivals::Arrivals;
pub use blobs::{BlobFile, Blobs, Staged, Staging};
pub use index::{DAY, Day, FILE_NAME as INDEX_FILE_NAME, Regrets, Tally, Usage, day_of, on_wait};
pub use rebuild::Rebuilt;
pub use repair::describes_same_egg;
pub use verdict::Likeness;
pub use verified::Verified;
pub use write::Commit;

use index::Index;
use trust::Trust;

#[derive(Debug)]
pub struct Cache {
    /// The open cache directory.
    dir: Dir,
    blobs: Blobs,
    index: Index,
    trust: Trust,
    /// Set if opening the cache rebuilt its index.
    rebuilt: Option<Rebuilt>,
    /// What there is not, if the cache is open to be read.
    missing: Option<Missing>,
    /// Why this process cannot write the cache, if it cannot.
    read_only: Option<Unwritable>,
    warning: Option<String>,
}

/// What a cache does not have that is open to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Everything: there is no cache at its path.
    Cache,
    /// The index. Its eggs were read from the blobs.
    Index,
}
