//! `SharedPool`: the life of connections with long loans, and the counts and events of loans.

use crate::support::{Links, Server, ms, pool_of, secs, timed, warm};
use millpond_core::{
    CloseReason, Event, EventContext, Histogram, Interest, Invalidate, Lease, Limits, Observer,
    PoolError, PoolHistograms,
};
use millpond_shared::SharedPool;
use millpond_testkit::poll_n;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn a_member_as_old_as_pool_recycle_is_replaced_while_lent_and_no_caller_waits() {
    let (pool, server, trace) =
        pool_of(1, |builder| builder.pool_recycle(secs(300)).recycle_jitter(0));
    let old = pool.acquire().await.unwrap();
    sleep(secs(301)).await;
    let (meanwhile, took) = timed(pool.acquire()).await;
    assert_eq!(
        (meanwhile.unwrap().0, took),
        (1, Duration::ZERO),
        "it serves on until the next one is open"
    );
    sleep(ms(50)).await;
    assert_eq!((pool.acquire().await.unwrap().0, server.alive()), (2, 2));
    drop(old);
    sleep(ms(10)).await;
    assert_eq!((server.alive(), trace.count("closed recycled #1")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_too_old_and_not_lent_is_not_lent_again() {
    let (pool, _, _) = pool_of(1, |builder| builder.pool_recycle(secs(300)).recycle_jitter(0));
    warm(&pool, 1).await;
    sleep(secs(301)).await;
    assert_eq!(pool.acquire().await.unwrap().0, 2);
}

#[tokio::test(start_paused = true)]
async fn long_leases_do_not_block_other_borrowers() {
    let (pool, server, _) = pool_of(4, |builder| builder.max_overflow(1).recycle_jitter(0));
    warm(&pool, 4).await;
    let mut kept = Vec::new();
    for minute in 0..600 {
        if minute % 30 == 0 {
            kept.push(pool.acquire().await.unwrap());
        }
        let (lease, took) = timed(pool.acquire()).await;
        assert!(lease.is_ok() && took <= ms(10), "minute {minute}: {took:?}, {:?}", pool.status());
        assert!(server.alive() <= 5, "the limit holds");
        drop(lease);
        sleep(secs(60)).await;
    }
    kept.clear();
    for _ in 0..8 {
        drop(pool.acquire().await.unwrap());
        sleep(ms(50)).await;
    }
    let lease = pool.acquire().await.unwrap();
    assert!(
        Lease::info(&lease).age < secs(60),
        "{:?}: all of them have been replaced",
        Lease::info(&lease)
    );
}

#[tokio::test(start_paused = true)]
async fn an_ageing_member_is_closed_after_its_last_loan_and_replaced_in_its_slot() {
    let (pool, server, trace) =
        pool_of(2, |builder| builder.max_overflow(0).pool_recycle(secs(300)).recycle_jitter(0));
    warm(&pool, 2).await;
    let (one, other) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    sleep(secs(301)).await;
    for _ in 0..10 {
        assert_eq!(
            pool.acquire().await.unwrap().0,
            one.0,
            "the one that has been lent for longest stands in"
        );
    }
    let aged = other.0;
    drop(other);
    sleep(ms(50)).await;
    assert_eq!(trace.count(&format!("closed recycled #{aged}")), 1, "it had no borrower left");
    for _ in 0..10 {
        assert_eq!(pool.acquire().await.unwrap().0, 3);
    }
    assert_eq!(server.alive(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_ageing_member_is_removed_when_it_is_discarded_or_invalidated() {
    let (pool, _, trace) =
        pool_of(1, |builder| builder.max_overflow(2).pool_recycle(secs(300)).recycle_jitter(0));
    for reason in ["discarded", "invalidated"] {
        let kept = pool.acquire().await.unwrap();
        sleep(secs(301)).await;
        let again = pool.acquire().await.unwrap();
        assert_eq!(again.0, kept.0);
        if reason == "discarded" {
            Lease::discard(again, CloseReason::Discarded);
        } else {
            drop(again);
            pool.invalidate_all(Invalidate::Soft);
        }
        let id = kept.0;
        assert!(pool.acquire().await.unwrap().0 > id);
        drop(kept);
        sleep(ms(10)).await;
        assert_eq!(trace.count(&format!("closed {reason} #{id}")), 1, "{:?}", trace.lines());
    }
}

#[tokio::test(start_paused = true)]
async fn waiters_wait_until_their_deadline_and_only_new_callers_fail_fast() {
    // The pool fails fast before the first waiter times out, and before the next connect.
    let (pool, server, _) =
        pool_of(1, |builder| builder.pool_timeout(secs(30)).fail_fast_after(secs(26)));
    server.down.store(true, Ordering::Relaxed);
    let mut waiters = Vec::new();
    for _ in 0..9 {
        let waiter = pool.acquire();
        waiters.push(tokio::spawn(timed(waiter)));
        sleep(secs(3)).await;
    }
    for waiter in waiters {
        let (outcome, took) = waiter.await.unwrap();
        assert!(matches!(outcome, Err(PoolError::TimedOut(_))), "{outcome:?}");
        assert!(took >= secs(30) && took <= secs(30) + ms(60), "{took:?}");
    }
    let (outcome, took) = timed(pool.acquire()).await;
    assert!(
        matches!(outcome, Err(PoolError::Connect { .. })) && took < ms(1),
        "{outcome:?} after {took:?}"
    );
    server.down.store(false, Ordering::Relaxed);
    sleep(secs(1)).await;
    assert!(pool.acquire().await.is_ok(), "and the server's return is noticed");
}

#[tokio::test(start_paused = true)]
async fn waiters_during_an_outage_are_served_when_the_server_is_back() {
    let (pool, server, _) =
        pool_of(1, |builder| builder.pool_timeout(secs(30)).fail_fast_after(secs(5)));
    server.down.store(true, Ordering::Relaxed);
    let waiter = tokio::spawn(pool.acquire());
    sleep(secs(20)).await;
    server.down.store(false, Ordering::Relaxed);
    assert!(waiter.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_pool_keeps_only_the_members_that_are_lent() {
    let (pool, server, _) = pool_of(3, |builder| builder);
    warm(&pool, 3).await;
    let weak = pool.downgrade();
    let lease = pool.acquire().await.unwrap();
    drop(pool);
    sleep(ms(10)).await;
    assert_eq!((server.alive(), weak.upgrade().is_none()), (1, true));
    drop(lease);
    sleep(ms(10)).await;
    assert_eq!(server.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_waits_on_a_dropped_pool_gets_an_error() {
    let (pool, server, _) = pool_of(1, |builder| builder);
    server.down.store(true, Ordering::Relaxed);
    let waiter = tokio::spawn(pool.acquire());
    sleep(secs(1)).await;
    drop(pool);
    let (outcome, took) = timed(waiter).await;
    assert!(matches!(outcome.unwrap(), Err(PoolError::Closed)) && took < ms(10), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_counts_as_in_use_while_it_has_a_borrower() {
    let (pool, _, _) = pool_of(2, |builder| builder.pool_recycle(secs(300)).recycle_jitter(0));
    warm(&pool, 2).await;
    let used = || {
        let status = pool.status();
        assert_eq!(
            status.open,
            status.idle + status.in_use + status.resetting + status.closing,
            "{status:?}"
        );
        (status.idle, status.in_use)
    };
    assert_eq!(used(), (2, 0));
    let mut leases = vec![pool.acquire().await.unwrap()];
    assert_eq!(used(), (1, 1));
    for _ in 0..9 {
        leases.push(pool.acquire().await.unwrap());
    }
    assert_eq!(used(), (0, 2));
    let kept = leases.pop().unwrap();
    leases.clear();
    assert_eq!(used(), (1, 1));
    sleep(secs(301)).await;
    drop(pool.acquire().await.unwrap());
    sleep(ms(50)).await;
    assert_eq!(used().1, 1, "an old one too");
    drop(kept);
    sleep(ms(50)).await;
    assert_eq!(used().1, 0);
}

/// Keeps the histograms of a pool.
#[derive(Clone, Default)]
struct Measures(Arc<OnceLock<Arc<PoolHistograms>>>);

impl Observer for Measures {
    fn observe(&self, _: &Event, _: &EventContext<'_>) {}

    fn interest(&self) -> Interest {
        Interest::Measurements
    }

    fn attach_histograms(&self, _: &str, times: Arc<PoolHistograms>) {
        let _ = self.0.set(times);
    }
}

#[tokio::test(start_paused = true)]
async fn waits_and_loans_are_measured_per_borrower() {
    let measures = Measures::default();
    let server = Server::default();
    let builder = SharedPool::builder(Links(Arc::new(server)));
    let pool = builder.pool_size(2).limits(Limits::Off).observer(measures.clone()).build().unwrap();
    for n in 0..1_000 {
        let lease = if n % 2 == 0 { pool.acquire().await.ok() } else { pool.try_acquire() };
        sleep(ms(3)).await;
        drop(lease.unwrap());
    }
    let times = measures.0.get().unwrap();
    let count = |histogram: &Histogram| histogram.classes().map(|(_, count)| count).sum::<u64>();
    assert_eq!(
        (count(times.wait()), count(times.hold()), count(times.connect())),
        (1_000, 1_000, 2)
    );
    let held = times.hold().classes().find(|(_, count)| *count > 900).unwrap();
    assert!(held.0 > 2.5e6 && held.0 < 4.5e6, "{held:?}");
    drop(pool);
    sleep(ms(10)).await;
    assert!(times.has_ended());
}

#[tokio::test(start_paused = true)]
async fn acquires_and_loans_are_one_event_per_borrower() {
    let (pool, server, trace) = pool_of(1, |builder| builder.pool_timeout(secs(1)));
    warm(&pool, 1).await;
    server.down.store(true, Ordering::Relaxed);
    pool.invalidate_all(Invalidate::Soft);
    assert!(pool.acquire().await.is_err());
    assert!(poll_n(pool.acquire(), 1).await.is_none());
    sleep(secs(5)).await;
    let totals = pool.status().totals;
    let mut reported = (0, 0, 0, 0, 0);
    for (_, event) in trace.events() {
        match event {
            Event::Acquired { .. } => reported.0 += 1,
            Event::AcquireFailed { .. } => reported.1 += 1,
            Event::AcquireCancelled { .. } => reported.2 += 1,
            Event::Waiting { .. } => reported.3 += 1,
            Event::Returned { .. } => reported.4 += 1,
            _ => {}
        }
    }
    assert_eq!(
        (reported, totals.succeeded, totals.timed_out, totals.cancelled),
        ((1, 1, 1, 3, 1), 1, 1, 1)
    );
}
