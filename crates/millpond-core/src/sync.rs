//! The one lock of a pool: the only file that would name another implementation of it.

use std::sync::PoisonError;

pub(crate) use std::sync::MutexGuard;

/// A mutex whose poison is ignored: no user code runs under it, and the ledger is never left half changed.
pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
