//! The state of a pool in three numbers.

use millpond_core::Status;

/// The state of a pool in three numbers.
///
/// If `pool_in_use` is always at `pool_size`, raise `pool_size`; if it is rarely above half of it,
/// lower it. [`status`](crate::DatabaseConnection::status) has more counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PerformanceMetrics {
    /// Connections that the pool keeps.
    pub pool_size: u32,
    /// Connections that are lent now; more than `pool_size` while the pool overflows.
    pub pool_in_use: u32,
    /// How many of `pool_size` are not lent: idle, or opened on demand.
    pub pool_available: u32,
}

impl PerformanceMetrics {
    pub(crate) fn of(status: &Status) -> Self {
        Self {
            pool_size: status.pool_size,
            pool_in_use: status.in_use,
            pool_available: status.pool_size.saturating_sub(status.in_use),
        }
    }

    /// Returns the numbers with their names, for metrics collectors.
    pub fn named(&self) -> [(&'static str, u32); 3] {
        [
            ("pool_size", self.pool_size),
            ("pool_in_use", self.pool_in_use),
            ("pool_available", self.pool_available),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overflowing_pool_has_nothing_available() {
        let mut status = Status::default();
        (status.pool_size, status.in_use) = (10, 12);
        let names_and_numbers = [("pool_size", 10), ("pool_in_use", 12), ("pool_available", 0)];
        assert_eq!(PerformanceMetrics::of(&status).named(), names_and_numbers);
        status.in_use = 3;
        assert_eq!(PerformanceMetrics::of(&status).pool_available, 7);
    }
}
