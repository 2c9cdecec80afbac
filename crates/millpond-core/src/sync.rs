//! The locks and atomics of a pool: the only file that names an implementation of them.
//!
//! In the exhaustive models (`proof/models.rs`) they are loom's, which tries every order in which threads can meet.

pub(crate) use kind::{AtomicBool, AtomicU64, KEPT_FOR_LATER, Mutex, MutexGuard};

#[cfg(not(all(test, millpond_models)))]
mod kind {
    pub(crate) use parking_lot::MutexGuard;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64};

    /// Whether a thread may keep what has a lock in it for another time.
    pub(crate) const KEPT_FOR_LATER: bool = true;

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
}

#[cfg(all(test, millpond_models))]
mod kind {
    pub(crate) use loom::sync::MutexGuard;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64};

    /// A thread goes on when a run of the model is over, and its locks are gone.
    pub(crate) const KEPT_FOR_LATER: bool = false;

    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("a panic under the lock ends the model")
        }
    }
}

/// What the models are made of.
#[cfg(all(test, millpond_models))]
pub(crate) mod model {
    pub(crate) use loom::future::block_on;
    pub(crate) use loom::thread;

    /// Runs `body` once for each order in which its threads can meet, with at most so many preemptions.
    pub(crate) fn explore(preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.max_branches = 10_000;
        builder.check(body);
    }
}
