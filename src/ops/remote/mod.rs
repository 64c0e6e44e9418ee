//! Operations on remotes.

pub mod configure;
pub mod countersign;
pub mod eggs;
pub mod gc;
pub mod pull;
pub mod push;
pub mod rederive;
mod signed_texts;
pub mod transfer;
pub mod verify;
pub mod withdraw;
