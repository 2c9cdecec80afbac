//! A caller that acquires in a loop, successfully or not, lets the other tasks of its runtime run.

use crate::support::{Links, Server, ms, pool_of, secs, timed};
use millpond_core::PoolExt;
use millpond_shared::SharedPool;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::sleep;

/// A loop without a pause of this many attempts would have starved all other tasks.
const MOST: u32 = 300_000;

/// Asserts that another task runs while this one repeats `once`.
async fn others_run_beside(what: &str, mut once: impl AsyncFnMut()) {
    let ran = Arc::new(AtomicBool::new(false));
    let other = Arc::clone(&ran);
    tokio::spawn(async move { other.store(true, Ordering::Relaxed) });
    for _ in 0..MOST {
        once().await;
        if ran.load(Ordering::Relaxed) {
            return;
        }
    }
    panic!("{what}: {MOST} laps, and no other task has run");
}

fn failing_shared_pool() -> (SharedPool<Links>, Arc<Server>) {
    let (pool, server, _) =
        pool_of(2, |builder| builder.pool_timeout(secs(1)).fail_fast_after(ms(1)));
    server.down.store(true, Ordering::Relaxed);
    (pool, server)
}

#[tokio::test(start_paused = true)]
async fn callers_of_a_shared_pool_that_retry_without_a_pause_are_served_after_an_outage() {
    let (pool, server) = failing_shared_pool();
    let insist = |pool: SharedPool<Links>| async move {
        for _ in 1..MOST {
            if pool.acquire().await.is_ok() {
                return;
            }
        }
        panic!("it was never served");
    };
    let callers: Vec<_> = (0..8).map(|_| tokio::spawn(insist(pool.clone()))).collect();
    sleep(secs(35)).await;
    server.down.store(false, Ordering::Relaxed);
    let (_, took) = timed(async {
        for caller in callers {
            caller.await.unwrap();
        }
    })
    .await;
    assert!(took <= secs(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_a_shared_pool_takes_no_longer_than_the_caller_s_own_limit() {
    let (pool, _) = failing_shared_pool();
    assert!(pool.acquire().await.is_err());
    for _ in 0..3 {
        let (refusal, took) = timed(pool.acquire()).await;
        assert!(refusal.is_err() && took <= ms(6), "{took:?}");
    }
    let (short, took) = timed(pool.acquire_within(Duration::from_micros(100))).await;
    assert!(short.is_err() && took <= ms(2), "{took:?}");
}

#[tokio::test]
async fn a_task_that_acquires_from_a_shared_pool_in_a_loop_lets_others_run() {
    let (pool, _, _) = pool_of(1, |builder| builder);
    drop(pool.acquire().await.unwrap());
    others_run_beside("acquire and return", async || drop(pool.acquire().await.unwrap())).await;
    assert!(pool.close().await.is_clean());
    others_run_beside("the pool is closed", async || assert!(pool.acquire().await.is_err())).await;
}
