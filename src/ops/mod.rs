//! Operations: one file or folder each. They do not call each other.

pub mod add;
pub mod bundle;
pub mod check;
pub mod convert;
pub mod diff;
pub mod doctor;
pub mod gc;
pub mod init;
pub mod list;
pub mod lock;
pub mod materialize;
pub mod pins;
pub mod preflight;
pub mod register;
pub mod reindex;
pub mod remote;
pub mod remove;
pub mod roots;
pub mod sbom;
pub mod show;
pub mod stats;
pub mod used_by;
pub mod verify;
pub mod why;
