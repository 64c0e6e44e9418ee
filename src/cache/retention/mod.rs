//! Retention: which eggs the policy evicts, and which eggs pins and roots protect.

pub mod kept_by;
pub mod pins;
pub mod plan;
pub mod policy;
pub mod protected;
pub mod roots;
pub mod signed_by;
mod versions;
