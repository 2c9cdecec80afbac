//! Atomics that are read and written without the lock of the ledger.

use crate::rt::lock::{AtomicBool, AtomicU64};
use std::sync::atomic::Ordering;

#[derive(Debug, Default)]
pub(crate) struct Unlocked {
    /// The generation that may be lent now; none while the pool is suspended. It changes before a
    /// waiter can read it.
    pub(crate) lendable: AtomicU64,
    /// Loans that waiters have taken without the lock; the ledger's own total has the others.
    pub(crate) taken_unlocked: AtomicU64,
    /// Whether the last caller that was not served at once had to wait: then callers join the queue
    /// without looking for an idle connection.
    pub(crate) contended: AtomicBool,
}

impl Unlocked {
    pub(super) fn note_contended(&self, contended: bool) {
        if self.contended.load(Ordering::Relaxed) != contended {
            self.contended.store(contended, Ordering::Relaxed);
        }
    }
}
