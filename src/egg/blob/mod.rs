//! Blobs: one file that stores one egg, in frames.

pub mod frame_layout;
pub mod header;
pub mod one_file;
pub mod reader;
#[cfg(test)]
mod tests;
pub mod writer;

use crate::egg::manifest::BadManifest;

/// Why bytes are not a usable blob.
#[derive(Debug, thiserror::Error)]
pub enum BadBlob {
    #[error("it is not a blob of eggcache")]
    Foreign,
    #[error("its format is {0}")]
    NewerFormat(u32),
    #[error("{0}")]
    Damaged(String),
    #[error(transparent)]
    Manifest(#[from] BadManifest),
}

fn damaged(reason: impl Into<String>) -> BadBlob {
    BadBlob::Damaged(reason.into())
}
