//! What is read and counted without the lock of the ledger.

use crate::rt::lock::{AtomicBool, AtomicU64};
use std::sync::atomic::Ordering;

/// What callers and waiters read and count without the lock of the ledger.
#[derive(Debug, Default)]
pub(crate) struct Unlocked {
    /// The generation that may be lent now; none while the pool is suspended. What may not be lent
    /// any more was made so before a waiter reads this.
    pub(crate) lendable: AtomicU64,
    /// Loans that waiters have taken without the lock; the ledger's own total has the others.
    pub(crate) fetched: AtomicU64,
    /// Whether the last caller that was not served at once had to wait: then callers join the queue
    /// without a look at the idle connections.
    pub(crate) crowded: AtomicBool,
}

impl Unlocked {
    pub(super) fn note_crowded(&self, crowded: bool) {
        if self.crowded.load(Ordering::Relaxed) != crowded {
            self.crowded.store(crowded, Ordering::Relaxed);
        }
    }
}
