//! Counts failovers, so that older connections are recognised.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the failovers that connections of one manager have noticed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Epochs(Arc<AtomicU64>);

/// The count at which a connection was opened.
#[derive(Debug)]
pub(crate) struct Epoch {
    of: Epochs,
    born: u64,
}

impl Epochs {
    /// Returns the present epoch.
    pub(crate) fn now(&self) -> Epoch {
        Epoch { of: self.clone(), born: self.0.load(Ordering::Acquire) }
    }
}

impl Epoch {
    /// Reports a failover: every connection of this epoch or an earlier one is outdated. Several
    /// reports of one failover count once.
    pub(crate) fn end(&self) {
        let _ = self.of.0.compare_exchange(
            self.born,
            self.born.wrapping_add(1),
            Ordering::AcqRel,
            Ordering::Acquire,
        );
    }

    /// Returns whether a failover was reported since.
    pub(crate) fn is_over(&self) -> bool {
        self.of.0.load(Ordering::Acquire) != self.born
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_who_notice_the_same_failover_end_one_epoch() {
        let epochs = Epochs::default();
        let (one, other) = (epochs.now(), epochs.now());
        one.end();
        other.end();
        assert!(one.is_over() && other.is_over());
        let new = epochs.now();
        assert!(!new.is_over());
        one.end();
        assert!(!new.is_over(), "a late complaint is about the old ones");
    }
}
