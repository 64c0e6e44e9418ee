//! The real program under `ptrace`: it dies at a call, a call fails, or the power fails after one.

mod calls;
mod check;
mod checks;
mod convert;
mod crash;
mod disk;
mod fault;
mod operations;
mod power_cut;
mod rehearsal;
mod survival;
mod tests;
mod tracer;
