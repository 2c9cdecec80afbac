//! What a cache does while Redis is down.

/// What reads do while Redis is down, and what writes do while the server refuses them: it is out
/// of memory (`OOM`), cannot save (`MISCONF`), lacks replicas (`NOREPLICAS`), or is itself a
/// replica (`READONLY`). Reads still work in those cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnOutage {
    /// Reads find nothing and writes are skipped: every value comes from its loader. An earlier
    /// value that a skipped `set` was to replace is found again afterwards. Operations whose loss
    /// would leave wrong data behind (a delete, a counter, a clear) still return an error.
    #[default]
    Open,
    /// Every operation returns an error.
    Closed,
}
