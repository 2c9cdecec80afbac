//! `SharedPool` on runtimes that come and go.

use crate::support::{Links, Server, ms, pool_of, secs};
use millpond_core::{Event, EventContext, Lease, Limits};
use millpond_shared::SharedPool;
use millpond_testkit::ByHand;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

fn other_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn rt() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn a_connection_of_an_ended_runtime_is_not_lent() {
    let (pool, _, _) = pool_of(1, |builder| builder);
    let first = rt();
    assert_eq!(first.block_on(pool.acquire()).unwrap().0, 1);
    drop(first);
    assert_eq!(rt().block_on(pool.acquire()).unwrap().0, 2);
}

#[test]
fn a_waiter_is_served_after_another_runtime_shuts_down() {
    let (runtime, server) =
        (other_runtime(), Arc::new(Server { takes: ms(300), ..Server::default() }));
    let pool = SharedPool::builder(Links(Arc::clone(&server))).pool_size(1).pool_timeout(secs(60));
    let pool = pool.runtime(runtime.handle().clone()).build().unwrap();
    rt().block_on(async {
        let waiter = tokio::spawn(pool.acquire());
        while server.connects.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        std::thread::spawn(move || drop(runtime)).join().unwrap();
        assert!(waiter.await.unwrap().is_ok());
    });
}

#[test]
fn with_a_handle_given_to_the_builder_any_thread_can_acquire() {
    let runtime = other_runtime();
    let pool = SharedPool::builder(Links(Arc::default()))
        .runtime(runtime.handle().clone())
        .build()
        .unwrap();
    assert!(ByHand::new(pool.acquire()).poll().is_pending());
    drop(rt().block_on(pool.acquire()).unwrap());
    assert!(matches!(ByHand::new(pool.acquire()).poll(), Poll::Ready(Ok(_))));
}

#[test]
fn a_runtime_that_shuts_down_during_an_acquire_does_not_stop_reconnects() {
    let runtime = other_runtime();
    let ends = Arc::new(AtomicBool::new(false));
    let (pool, ended) =
        (SharedPool::builder(Links(Arc::default())).pool_size(1), Arc::clone(&ends));
    let pool = pool
        .limits(Limits::Off)
        .pool_recycle(ms(100))
        .recycle_jitter(0)
        .runtime(runtime.handle().clone());
    let runtime = std::sync::Mutex::new(Some(runtime));
    // The member that is too old is removed during an acquire, and its runtime shuts down.
    let pool = pool.observer(move |event: &Event, _: &EventContext<'_>| {
        if let Event::Returned { .. } = event
            && ended.load(Ordering::SeqCst)
            && let Some(runtime) = runtime.lock().unwrap().take()
        {
            std::thread::spawn(move || drop(runtime)).join().unwrap();
        }
    });
    let pool = pool.pool_timeout(secs(60)).build().unwrap();
    rt().block_on(async {
        let old = pool.acquire().await.unwrap();
        while Lease::info(&old).age < ms(100) {
            tokio::task::yield_now().await;
        }
        drop(old);
        ends.store(true, Ordering::SeqCst);
        assert_eq!(pool.acquire().await.unwrap().0, 2);
        assert_eq!(pool.status().waiting, 0);
    });
}
