//! Digests of content: BLAKE3, which names eggs, and SHA-256, which names source archives.

pub mod blake3_subtree;
pub mod digest;
pub mod sha256;
