//! The locks and atomics of a pool; the only file that names their implementations.
//!
//! In the exhaustive models (`cargo xtask models`) they are loom's, which tries every order in
//! which threads can interleave.
//!
//! Gain of this lock over parking_lot's, measured with the programs of `benches` with `--quick` on
//! one core, three runs in turn: `hold64_core1` 4.31 M/s against 3.86, `hold256_core1` 4.29 M/s
//! against 3.84 (12 %). With std's lock, `threads2` falls from 1.90 to 1.22 times deadpool.

pub use kind::{AtomicBool, AtomicU64, Mutex, MutexGuard};

#[cfg(not(millpond_models))]
mod kind {
    use std::hint;
    use std::marker::PhantomData;
    use std::ops::{Deref, DerefMut};
    use std::sync::PoisonError;
    use std::thread;
    use std::time::Duration;

    pub use std::sync::atomic::{AtomicBool, AtomicU64};

    /// How many times the first waiting thread retries with its core kept busy, each time for twice
    /// as long.
    const SPINS: u32 = 3;

    /// How many times it yields before it sleeps: the thread that holds the lock has lost its core.
    const YIELDS: u32 = 100;

    const SLEEP: Duration = Duration::from_micros(50);

    /// A mutex without poisoning: no user code runs under it, and the ledger is never left half
    /// changed.
    ///
    /// Unlocking is a plain store, without the atomic operation that finds sleeping threads. So one
    /// waiting thread polls the lock, and the others sleep on an ordinary lock.
    #[derive(Debug)]
    pub struct Mutex<T> {
        spin: spin::mutex::SpinMutex<T>,
        queue: std::sync::Mutex<()>,
    }

    /// Access to the value under the lock; dropping the guard unlocks it.
    #[derive(Debug)]
    pub struct MutexGuard<'a, T> {
        guard: spin::mutex::SpinMutexGuard<'a, T>,
        /// Not `Send`, so that nothing can be awaited under the lock.
        not_send: PhantomData<*const ()>,
    }

    impl<T> Mutex<T> {
        /// Creates a lock around this value.
        pub fn new(value: T) -> Self {
            Self { spin: spin::mutex::SpinMutex::new(value), queue: std::sync::Mutex::new(()) }
        }

        /// Waits for the lock.
        #[inline]
        pub fn lock(&self) -> MutexGuard<'_, T> {
            let guard = self.spin.try_lock().unwrap_or_else(|| self.wait());
            MutexGuard { guard, not_send: PhantomData }
        }

        #[cold]
        #[expect(
            clippy::disallowed_methods,
            reason = "the last resort of a thread that finds the lock taken for long"
        )]
        fn wait(&self) -> spin::mutex::SpinMutexGuard<'_, T> {
            let _first = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            let mut attempts = 0_u32;
            loop {
                if !self.spin.is_locked()
                    && let Some(guard) = self.spin.try_lock()
                {
                    return guard;
                }
                match attempts {
                    0..SPINS => (0..2 << attempts).for_each(|_| hint::spin_loop()),
                    SPINS..YIELDS => thread::yield_now(),
                    _ => thread::sleep(SLEEP),
                }
                attempts = attempts.saturating_add(1);
            }
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;
        #[inline]
        fn deref(&self) -> &T {
            &self.guard
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        #[inline]
        fn deref_mut(&mut self) -> &mut T {
            &mut self.guard
        }
    }
}

#[cfg(millpond_models)]
mod kind {
    pub use loom::sync::MutexGuard;
    pub use loom::sync::atomic::{AtomicBool, AtomicU64};

    /// The mutex for models.
    #[derive(Debug)]
    pub struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        /// Creates a lock around this value.
        pub fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        /// Waits for the lock.
        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("a panic under the lock ends the model")
        }
    }
}

/// Runs models.
#[cfg(millpond_models)]
pub mod model {
    pub use loom::future::block_on;
    pub use loom::thread;

    /// Runs `body` once for each order in which its threads can interleave, with at most this many
    /// preemptions.
    pub fn explore(preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.max_branches = 10_000;
        builder.check(body);
    }
}

#[cfg(all(test, not(millpond_models)))]
#[path = "../tests/unit/lock.rs"]
mod tests;
