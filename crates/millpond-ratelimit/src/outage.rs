//! What is decided while Redis is down.

/// What is decided while Redis is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnOutage {
    /// Everything is admitted.
    Open,
    /// Nothing is admitted.
    Closed,
    /// Each process keeps the limits by itself, for at most so many keys; those beyond share one. With `n` processes up
    /// to `n` times the limit is admitted.
    Local {
        /// How many keys are kept in memory.
        keys: usize,
    },
}

impl Default for OnOutage {
    fn default() -> Self {
        Self::Local { keys: 10_000 }
    }
}
