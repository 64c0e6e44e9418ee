//! Progress reports of an operation. The library never prints.

/// Receives the progress of one operation, from several threads.
pub trait Progress: Sync {
    /// A stage of `total` bytes or eggs begins.
    fn begin(&self, stage: &'static str, total: u64, unit: Unit) {
        let _ = (stage, total, unit);
    }

    fn advance(&self, steps: u64) {
        let _ = steps;
    }

    /// Whether nobody waits for the operation any more, so that it may end without a result.
    fn is_over(&self) -> bool {
        false
    }

    /// The current stage ends.
    fn end(&self) {}
}

/// The unit that a stage counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Bytes,
    Eggs,
    Scripts,
}

/// Ignores all progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}
