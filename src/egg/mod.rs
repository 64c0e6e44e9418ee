//! Eggs: in memory, as a directory or zip file, and as a blob.

pub mod arrival;
pub mod blob;
pub mod bytecode;
pub mod cached_egg;
pub mod canonical_bytecode;
pub mod completeness;
pub mod dependency;
pub mod diff;
pub mod elf;
pub mod files;
pub mod key;
pub mod layout;
pub mod license;
pub mod loader;
pub mod manifest;
pub mod metadata;
pub mod name;
pub mod native;
pub mod path;
pub mod provenance;
pub mod purl;
pub mod relocatable;
pub mod sameness;
pub mod scan;
pub mod variant;
pub mod wheel;
