//! The totals of a shared pool are counters: they never decrease.

use millpond_core::{ConnectInfo, Manager};
use millpond_shared::SharedPool;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// A connection that calls a function when it is cloned, once the function is set.
struct Calling(Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>);

impl Clone for Calling {
    fn clone(&self) -> Self {
        if let Some(call) = self.0.get() {
            call();
        }
        Self(Arc::clone(&self.0))
    }
}

impl Manager for Calling {
    type Connection = Self;
    type Error = io::Error;
    async fn connect(&self, _: &ConnectInfo) -> io::Result<Self> {
        Ok(Self(Arc::clone(&self.0)))
    }
    async fn ping(&self, _: &mut Self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_loan_never_counts_as_a_success() {
    let call = Arc::new(OnceLock::new());
    let pool = SharedPool::builder(Calling(Arc::clone(&call))).pool_size(1).build().unwrap();
    drop(pool.acquire().await.unwrap());
    drop(pool.try_acquire().unwrap());
    let (weak, seen) = (pool.downgrade(), Arc::new(AtomicUsize::new(0)));
    let sees = Arc::clone(&seen);
    let looks_and_panics = move || {
        let totals = weak.upgrade().unwrap().status().totals;
        sees.store(usize::try_from(totals.acquires + totals.succeeded).unwrap(), Ordering::Relaxed);
        panic!("brittle");
    };
    assert!(call.set(Box::new(looks_and_panics)).is_ok());
    assert!(pool.try_acquire().is_none());
    let after = pool.status().totals;
    assert_eq!((seen.load(Ordering::Relaxed), after.acquires, after.succeeded), (4, 2, 2));
}
