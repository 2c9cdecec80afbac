//! What a limiter decides while Redis is down.

/// What a limiter decides while Redis is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnOutage {
    /// Everything is admitted.
    Open,
    /// Nothing is admitted.
    Closed,
    /// Each process keeps the limits by itself, for at most `keys` keys; further keys of a limit
    /// share one.
    /// With `n` processes up to `n` times the limit is admitted.
    Local {
        /// The most keys kept in memory.
        keys: usize,
    },
}

impl Default for OnOutage {
    fn default() -> Self {
        Self::Local { keys: 10_000 }
    }
}
