//! The one lock of a pool: the only file that names an implementation of it.

pub(crate) use parking_lot::MutexGuard;

/// A mutex without poison: no user code runs under it, and the ledger is never left half changed.
pub(crate) struct Mutex<T>(parking_lot::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(parking_lot::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock()
    }
}
