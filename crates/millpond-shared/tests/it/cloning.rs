//! The cost of cloning a connection, and clones that panic.

use crate::support::{ms, pool_of, quiet, timed};
use millpond_core::{ConnectInfo, Manager};
use millpond_shared::SharedPool;
use millpond_testkit::Trace;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Panics this many times when it is cloned.
#[derive(Debug)]
struct Brittle(Arc<AtomicUsize>);

impl Clone for Brittle {
    fn clone(&self) -> Self {
        let left =
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        assert!(left.is_err(), "brittle");
        Self(Arc::clone(&self.0))
    }
}

struct Glass(Arc<AtomicUsize>);

impl Manager for Glass {
    type Connection = Brittle;
    type Error = io::Error;
    async fn connect(&self, _: &ConnectInfo) -> io::Result<Brittle> {
        Ok(Brittle(Arc::clone(&self.0)))
    }
    async fn ping(&self, _: &mut Brittle) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_clone_that_panics_costs_one_connection_at_most() {
    let (brittle, trace) = (Arc::new(AtomicUsize::new(0)), Trace::new());
    let pool = SharedPool::builder(Glass(Arc::clone(&brittle)))
        .pool_size(1)
        .observer(trace.clone())
        .build()
        .unwrap();
    drop(pool.acquire().await.unwrap());
    brittle.store(1, Ordering::Relaxed);
    let (result, took) = timed(pool.acquire()).await;
    assert!(result.is_ok() && took < ms(10), "{:?} after {took:?}", result.map(drop));
    quiet().await;
    assert_eq!(
        (trace.count("panicked clone"), trace.count("closed panicked #1")),
        (1, 1),
        "{:?}",
        trace.lines()
    );
}

#[tokio::test(start_paused = true)]
async fn connections_that_cannot_be_cloned_are_an_error_after_three_connects() {
    let pool = SharedPool::builder(Glass(Arc::new(AtomicUsize::new(usize::MAX))))
        .pool_size(1)
        .build()
        .unwrap();
    let text = pool.acquire().await.map(drop).unwrap_err().to_string();
    assert!(text.contains("cloning a connection panicked: brittle (3 failed in a row)"), "{text}");
    quiet().await;
    assert_eq!((pool.status().totals.created, pool.holders().len()), (3, 0));
}

#[test]
fn the_cost_of_a_clone_does_not_grow_with_the_number_of_clones() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cost = |lent: usize| {
        let (pool, _, _) = pool_of(1, |builder| builder);
        drop(runtime.block_on(pool.acquire()).unwrap());
        let _out: Vec<_> = (0..lent).map(|_| pool.try_acquire().unwrap()).collect();
        let thousand = |_| {
            let start = std::time::Instant::now();
            (0..1_000).for_each(|_| drop(pool.try_acquire().unwrap()));
            start.elapsed()
        };
        // The shortest of ten, since other work of the machine only adds to it.
        (0..10).map(thousand).min().unwrap()
    };
    assert!(cost(20_000) < cost(100) * 10, "the cost of a clone grows with the number of clones");
}
