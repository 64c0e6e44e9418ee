//! Which eggs stay: the policy, and the pins and roots that protect eggs from it.

pub mod pins;
pub mod plan;
pub mod policy;
pub mod protected;
pub mod roots;
