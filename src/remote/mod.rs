//! Remotes: shared stores of signed eggs.

pub mod build_lease;
pub mod checked_remote;
pub mod checkout;
pub mod client;
pub mod config;
pub mod contended_write;
pub mod entry;
pub mod envelope;
pub mod inventory;
pub mod keys;
pub mod line_filter;
pub mod object_names;
pub mod package_index;
pub mod parallel;
pub mod publish;
pub mod signature;
pub mod upstream;
pub mod withdrawals;
