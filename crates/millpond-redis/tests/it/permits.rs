//! When all connections are lent.

use crate::support::{few, id, own, single};
use millpond_core::{Phase, PoolError};
use millpond_redis::{Limits, OnExhausted, RedisPoolOptions};
use millpond_testkit::poll_n;
use std::time::Duration;

#[tokio::test]
async fn callers_wait_in_turn_unless_the_pool_is_set_to_fail() {
    let Some(url) = single() else { return };
    let pool = few(1).connect(&url).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    let before = id(&mut lease).await;
    let waiting = tokio::spawn(pool.acquire());
    tokio::task::yield_now().await;
    drop(lease);
    assert_eq!(id(&mut waiting.await.unwrap().unwrap()).await, before);
}

#[tokio::test]
async fn with_fail_the_eleventh_of_ten_learns_at_once_who_has_them() {
    let Some(url) = single() else { return };
    let options = own().max_connections(10).on_exhausted(OnExhausted::Fail);
    let pool = options.connect(&url).await.unwrap();
    // Connections that have to be opened first are waited for.
    let leases = futures_util::future::join_all((0..10).map(|_| pool.acquire())).await;
    assert!(leases.iter().all(Result::is_ok));
    let Err(PoolError::TimedOut(error)) = pool.acquire().await else {
        panic!("it was not refused")
    };
    assert_eq!((error.phase, error.limit), (Phase::Wait, Duration::ZERO));
    assert!(error.to_string().contains("limit of size 10 overflow 0 reached"), "{error}");
    assert!(error.to_string().contains("permits.rs"), "{error}");
    drop(leases);
    drop(pool.acquire().await.unwrap());
    // A lease that was dropped while it was asked for takes no permit along.
    for _ in 0..50 {
        drop(pool.acquire());
        let _ = poll_n(pool.acquire(), 1).await;
    }
    let leases = futures_util::future::join_all((0..10).map(|_| pool.acquire())).await;
    assert!(leases.iter().all(Result::is_ok), "{leases:?}");
}

#[tokio::test]
async fn with_fail_a_resized_pool_refuses_beyond_its_new_size() {
    let Some(url) = single() else { return };
    let pool = few(2).on_exhausted(OnExhausted::Fail).connect(&url).await.unwrap();
    let is_refused = async || {
        let Err(PoolError::TimedOut(error)) = pool.acquire().await else { return false };
        error.limit.is_zero()
    };
    let two = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    assert!(is_refused().await);
    pool.as_core().resize(2, 1).unwrap();
    let third = pool.acquire().await.unwrap();
    assert!(is_refused().await);
    drop((two, third));
    pool.as_core().resize(1, 0).unwrap();
    let only = pool.acquire().await.unwrap();
    assert!(is_refused().await, "it waits for a connection that another caller has");
    drop(only);
}

#[test]
fn sizes_out_of_range_are_reported_together_with_help() {
    let options = RedisPoolOptions::new()
        .max_connections(9)
        .command_timeout(Duration::ZERO)
        .pool_timeout(Duration::ZERO);
    let error = options.connect_lazy("redis://localhost").unwrap_err().to_string();
    for wanted in [
        "max_connections = 9 is out of range 10-200",
        "command_timeout",
        "pool_timeout",
        "limits = \"off\"",
    ] {
        assert!(error.contains(wanted), "{error}");
    }
    assert!(
        RedisPoolOptions::new().max_connections(201).connect_lazy("redis://localhost").is_err()
    );
    RedisPoolOptions::new()
        .max_connections(500)
        .limits(Limits::Off)
        .connect_lazy("redis://localhost")
        .unwrap();
}
