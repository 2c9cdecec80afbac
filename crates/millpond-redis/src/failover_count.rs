//! Counts failovers, so that older connections are recognised.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the failovers that connections of one manager have noticed.
#[derive(Debug, Clone, Default)]
pub(crate) struct FailoverCounter(Arc<AtomicU64>);

/// The count at which a connection was opened.
#[derive(Debug)]
pub(crate) struct FailoverCount {
    counter: FailoverCounter,
    count: u64,
}

impl FailoverCounter {
    /// Returns the present count.
    pub(crate) fn now(&self) -> FailoverCount {
        FailoverCount { counter: self.clone(), count: self.0.load(Ordering::Acquire) }
    }
}

impl FailoverCount {
    /// Records a failover: every connection that was opened before it is outdated. Several reports
    /// of one failover count once.
    pub(crate) fn record(&self) {
        let _ = self.counter.0.compare_exchange(
            self.count,
            self.count.wrapping_add(1),
            Ordering::AcqRel,
            Ordering::Acquire,
        );
    }

    /// Returns whether a failover was recorded since.
    pub(crate) fn is_outdated(&self) -> bool {
        self.counter.0.load(Ordering::Acquire) != self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failover_that_two_connections_report_counts_once() {
        let failovers = FailoverCounter::default();
        let (one, other) = (failovers.now(), failovers.now());
        one.record();
        other.record();
        assert!(one.is_outdated() && other.is_outdated());
        let new = failovers.now();
        assert!(!new.is_outdated());
        one.record();
        assert!(!new.is_outdated(), "a late complaint is about the old ones");
    }
}
