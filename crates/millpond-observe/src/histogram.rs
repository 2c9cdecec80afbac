//! How long waits, loans and connects took, as the pool counts them for its observers.

use millpond_runtime::Histogram;
use millpond_runtime::lock::AtomicBool;
use std::sync::atomic::Ordering;

/// How long waits for a pool's connections, loans of them and their opening took, since the pool
/// was built. The pool counts, and observers may read it at any time: see
/// [`Observer::attach_histograms`](crate::Observer::attach_histograms).
#[derive(Debug, Default)]
pub struct PoolHistograms {
    wait: Histogram,
    hold: Histogram,
    connect: Histogram,
    ended: AtomicBool,
}

impl PoolHistograms {
    /// From an acquire to its lease. Acquires that ended without one are not counted.
    #[inline]
    pub fn wait(&self) -> &Histogram {
        &self.wait
    }

    /// From the lease to its end. What was detached is not counted.
    #[inline]
    pub fn hold(&self) -> &Histogram {
        &self.hold
    }

    /// How long it took to open connections, hooks included. Failed attempts are not counted.
    #[inline]
    pub fn connect(&self) -> &Histogram {
        &self.connect
    }

    /// Whether the pool and all its leases are gone, so that nothing more will be counted.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Notes that nothing more will be counted, for pools.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }
}
