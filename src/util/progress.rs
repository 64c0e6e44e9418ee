//! How an operation tells that it moves on. The library never prints.

/// Receives the progress of one operation. Called from several threads.
pub trait Progress: Sync {
    /// A stage begins: `total` steps of `bytes` or of things.
    fn begin(&self, stage: &'static str, total: u64, unit: Unit) {
        let _ = (stage, total, unit);
    }

    fn advance(&self, steps: u64) {
        let _ = steps;
    }

    /// Whether nobody waits for it any more, so that it may end without a result.
    fn is_over(&self) -> bool {
        false
    }

    /// The stage that began last is over.
    fn end(&self) {}
}

/// What a stage counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Bytes,
    Eggs,
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}
