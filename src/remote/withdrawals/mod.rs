//! Withdrawals: builds that must not be used any more, although trusted keys have signed their entries.
//!
//! A remote has at most one list of them: one signed statement with a number and an expiry date
//! ([`statement`]). A cache remembers those that it has seen ([`memory`], [`record`]), so what is withdrawn
//! stays withdrawn without a network ([`contents`]: also in buildouts), and an old list, an expired one and the lack of one are noticed. A
//! run reads the list of each remote at most once ([`run`]), and [`mod@write`] replaces it by its successor.

pub mod contents;
pub mod memory;
pub mod record;
pub mod run;
pub mod statement;
pub mod write;
