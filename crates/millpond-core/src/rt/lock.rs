//! The locks and atomics of a pool: the only file that names an implementation of them.
//!
//! In the exhaustive models (`proof/models.rs`) they are loom's, which tries every order in which
//! threads can meet.

#[cfg(all(test, millpond_models))]
pub(crate) use loom::sync::{
    MutexGuard,
    atomic::{AtomicBool, AtomicU64},
};
#[cfg(not(all(test, millpond_models)))]
pub(crate) use {
    parking_lot::MutexGuard,
    std::sync::atomic::{AtomicBool, AtomicU64},
};

#[cfg(all(test, millpond_models))]
use loom::sync as kind;
#[cfg(not(all(test, millpond_models)))]
use parking_lot as kind;

/// A mutex without poison: no user code runs under it, and the ledger is never left half changed.
#[derive(Debug)]
pub(crate) struct Mutex<T>(kind::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(kind::Mutex::new(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        #[cfg(not(all(test, millpond_models)))]
        return self.0.lock();
        #[cfg(all(test, millpond_models))]
        return self.0.lock().expect("a panic under the lock ends the model");
    }
}

/// What the models are made of.
#[cfg(all(test, millpond_models))]
pub(crate) mod model {
    pub(crate) use loom::future::block_on;
    pub(crate) use loom::thread;

    /// Runs `body` once for each order in which its threads can meet, with at most so many
    /// preemptions.
    pub(crate) fn explore(preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.max_branches = 10_000;
        builder.check(body);
    }
}
