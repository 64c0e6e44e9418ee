//! Wheels: reading one, and planning the egg that buildout and pip would make of it.
//!
//! Everything here is pure: bytes in, a [`plan::Plan`] out. A wheel is untrusted: sizes, names and
//! counts are bounded before they are used. What is unusual is not guessed at: the wheel is left to
//! buildout itself, with a [`Reason`].

pub mod archive;
pub mod clashes;
pub mod coding;
pub mod converted;
pub mod entry_points;
pub mod file_name;
pub mod headers;
pub mod layout;
pub mod namespaces;
pub mod pip;
pub mod plan;
pub mod reason;
pub mod record;
pub mod requirement;
pub mod scripts;
pub mod source;
pub mod target;

pub use reason::Reason;

#[cfg(test)]
mod tests;
