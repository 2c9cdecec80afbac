//! `SharedPool`: multiplexed connections, cloned for every borrower, in turn.

use crate::support::{Link, ms, pool_of, quiet, secs, timed, warm};
use millpond_core::{CloseReason, Invalidate, Lease, Pool, PoolError, PoolExt, Verdict};
use millpond_testkit::poll_n;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn a_thousand_borrowers_share_three_connections_in_turn_and_none_waits() {
    let (pool, server, _) = pool_of(3, |builder| builder);
    warm(&pool, 3).await;
    let mut leases = Vec::new();
    for _ in 0..999 {
        let (lease, took) = timed(pool.acquire()).await;
        assert_eq!(took, Duration::ZERO);
        leases.push(lease.unwrap());
    }
    for id in 1..=3 {
        assert_eq!(leases.iter().filter(|lease| lease.0 == id).count(), 333, "connection {id}");
    }
    assert_eq!((server.connects.load(Ordering::Relaxed), pool.holders().len()), (3, 999));
    drop(leases);
    assert_eq!(pool.holders().len(), 0);
    assert_eq!(server.alive(), 3, "they go on serving");
}

#[tokio::test(start_paused = true)]
async fn a_pool_whose_connections_are_all_lent_is_ready_because_it_lends_them_again() {
    let (pool, _server, _) = pool_of(1, |builder| builder);
    let lease = pool.acquire().await.unwrap();
    assert_eq!(pool.health().verdict, Verdict::Ready);
    drop(lease);
    assert_eq!(pool.health().verdict, Verdict::Ready);
}

#[tokio::test(start_paused = true)]
async fn only_the_first_borrowers_wait_and_they_share_one_connect() {
    let (pool, server, _) = pool_of(1, |builder| builder);
    let borrowers: Vec<_> = (0..100).map(|_| tokio::spawn(pool.acquire())).collect();
    for borrower in borrowers {
        assert_eq!(borrower.await.unwrap().unwrap().0, 1);
    }
    assert_eq!(server.connects.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_does_not_answer_its_ping_is_replaced_in_the_background() {
    let (pool, server, trace) = pool_of(1, |builder| builder);
    warm(&pool, 1).await;
    server.deaf.store(true, Ordering::Relaxed);
    sleep(secs(1)).await;
    let (lease, took) = timed(pool.acquire()).await;
    assert_eq!((lease.unwrap().0, took), (1, Duration::ZERO), "no caller waits for the ping");
    sleep(secs(3)).await;
    server.deaf.store(false, Ordering::Relaxed);
    assert_eq!(pool.acquire().await.unwrap().0, 2);
    assert_eq!(trace.count("closed ping_failed #1"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_borrower_can_discard_the_connection_for_all_borrowers() {
    let (pool, _, trace) = pool_of(1, |builder| builder);
    let first = pool.acquire().await.unwrap();
    Lease::discard(pool.acquire().await.unwrap(), CloseReason::Discarded);
    assert_eq!(pool.acquire().await.unwrap().0, 2);
    assert_eq!(trace.count("closed"), 0, "the first borrower still uses it");
    drop(first);
    sleep(ms(10)).await;
    assert_eq!(trace.count("closed discarded #1"), 1);
}

#[tokio::test(start_paused = true)]
async fn after_an_invalidation_nothing_older_is_lent() {
    let (pool, _, _) = pool_of(2, |builder| builder);
    warm(&pool, 2).await;
    pool.invalidate_all(Invalidate::Soft);
    for _ in 0..10 {
        assert!(pool.acquire().await.unwrap().0 > 2);
        sleep(ms(20)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_is_reported_at_once_and_a_transient_one_at_the_deadline() {
    let (pool, server, _) = pool_of(1, |builder| builder.pool_timeout(secs(5)));
    server.locked.store(true, Ordering::Relaxed);
    let (result, took) = timed(pool.acquire()).await;
    assert!(matches!(result, Err(PoolError::Connect { .. })), "{result:?}");
    assert!(took <= ms(20), "{took:?}");
    server.locked.store(false, Ordering::Relaxed);
    server.down.store(true, Ordering::Relaxed);
    let (result, took) = timed(pool.acquire()).await;
    let text = result.unwrap_err().to_string();
    assert!(text.starts_with("no connection could be opened: the server is down"), "{text}");
    assert!(took >= secs(5) && took <= secs(5) + ms(2), "{took:?}");
    server.down.store(false, Ordering::Relaxed);
    assert!(pool.acquire().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_close_waits_for_the_clones_and_names_the_remaining_holders() {
    let (pool, server, _) = pool_of(1, |builder| builder);
    let lease = pool.acquire().await.unwrap();
    let line = line!() - 1;
    let report = pool.close_within(secs(1)).await;
    assert_eq!((report.holders.len(), report.holders[0].location.line()), (1, line));
    assert!(matches!(pool.acquire().await, Err(PoolError::Closed)));
    drop(lease);
    assert!(pool.close().await.is_clean());
    assert_eq!(server.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_acquire_can_be_dropped_anywhere_and_the_books_balance() {
    for polls in 1..6 {
        let (pool, server, _) = pool_of(1, |builder| builder);
        drop(poll_n(pool.acquire(), polls).await);
        quiet().await;
        assert_eq!(pool.acquire().await.unwrap().0, 1, "after {polls} polls");
        let totals = pool.status().totals;
        assert_eq!(
            totals.acquires,
            totals.succeeded + totals.timed_out + totals.cancelled + totals.failed
        );
        assert!(pool.close().await.is_clean());
        assert_eq!((server.alive(), server.connects.load(Ordering::Relaxed)), (0, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_pool_closes_its_members() {
    let (pool, server, trace) = pool_of(2, |builder| builder);
    warm(&pool, 2).await;
    drop(pool);
    sleep(ms(10)).await;
    assert_eq!((server.alive(), trace.count("closed pool_closed")), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_shared_pool_can_be_used_as_dyn_pool() {
    let (pool, _, _) = pool_of(1, |builder| builder);
    assert!(pool.try_acquire().is_none(), "nothing is open yet");
    let pool: Arc<dyn Pool<Connection = Arc<Link>>> = Arc::new(pool);
    assert_eq!(pool.acquire().await.unwrap().0, 1);
    assert!(pool.try_acquire().is_some());
    assert!(pool.close().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_failover_retires_every_member() {
    let (pool, server, _) = pool_of(2, |builder| builder);
    warm(&pool, 2).await;
    sleep(secs(1)).await;
    server.switched.store(true, Ordering::Relaxed);
    for _ in 0..4 {
        drop(pool.acquire().await.unwrap());
    }
    sleep(secs(1)).await;
    assert_eq!(pool.status().generation, 1);
    for _ in 0..4 {
        let lease = pool.acquire().await.unwrap();
        assert!(lease.0 > 2, "{:?}", Lease::info(&lease));
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_is_no_leak() {
    let (pool, _, trace) = pool_of(1, |builder| builder.leak_after(secs(1)));
    drop(pool.acquire().await.unwrap());
    sleep(secs(10)).await;
    assert_eq!(trace.count("leaked"), 0, "{:?}", pool.holders());
}

#[tokio::test(start_paused = true)]
async fn the_error_names_the_limit_as_the_reason() {
    let (pool, _, _) = pool_of(1, |builder| builder.max_overflow(0).pool_timeout(secs(1)));
    warm(&pool, 1).await;
    let _held = pool.acquire().await.unwrap();
    pool.invalidate_all(Invalidate::Soft);
    let text = pool.acquire().await.unwrap_err().to_string();
    assert!(
        text.starts_with("SharedPool limit of size 1 overflow 0 reached")
            && text.contains("held longest"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_dropped_pool_opens_no_connection() {
    let (pool, server, _) = pool_of(1, |builder| builder);
    server.down.store(true, Ordering::Relaxed);
    assert!(poll_n(pool.acquire(), 1).await.is_none());
    drop(pool);
    sleep(secs(20)).await;
    assert!(server.connects.load(Ordering::Relaxed) <= 1);
}

#[tokio::test(start_paused = true)]
async fn waiters_are_counted_and_limited_by_max_waiters() {
    let (pool, server, _) = pool_of(1, |builder| builder.max_waiters(2).pool_timeout(secs(2)));
    server.down.store(true, Ordering::Relaxed);
    let waiters: Vec<_> = (0..10).map(|_| tokio::spawn(pool.acquire())).collect();
    sleep(ms(500)).await;
    assert_eq!((pool.status().waiting, pool.status().oldest_waiter.is_some()), (2, true));
    let mut refused = 0;
    for waiter in waiters {
        refused +=
            usize::from(matches!(waiter.await.unwrap(), Err(PoolError::TooManyWaiters { .. })));
    }
    assert_eq!((refused, pool.status().waiting), (8, 0));
}
