//! `SharedPool`: multiplexed connections, cloned for everybody who asks and handed out in turn.

use crate::support::{Link, Links, Server, ms, pool_of, quiet, secs, timed, warm};
use millpond_core::{
    CloseReason, ConnectInfo, Event, EventContext, Invalidate, Lease, Limits, Manager, Pool,
    PoolError, PoolExt,
};
use millpond_shared::SharedPool;
use millpond_testkit::{ByHand, Trace, poll_n};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
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
async fn only_the_first_borrowers_wait_and_they_share_one_connect() {
    let (pool, server, _) = pool_of(1, |builder| builder);
    let borrowers: Vec<_> = (0..100).map(|_| tokio::spawn(pool.acquire())).collect();
    for borrower in borrowers {
        assert_eq!(borrower.await.unwrap().unwrap().0, 1);
    }
    assert_eq!(server.connects.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_does_not_answer_its_ping_is_replaced_behind_the_scenes() {
    let (pool, server, trace) = pool_of(1, |builder| builder);
    warm(&pool, 1).await;
    server.deaf.store(true, Ordering::Relaxed);
    sleep(secs(1)).await;
    let (lease, took) = timed(pool.acquire()).await;
    assert_eq!((lease.unwrap().0, took), (1, Duration::ZERO), "the ping is nobody's wait");
    sleep(secs(3)).await;
    server.deaf.store(false, Ordering::Relaxed);
    assert_eq!(pool.acquire().await.unwrap().0, 2);
    assert_eq!(trace.count("closed ping_failed #1"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_borrower_can_discard_the_connection_for_everybody() {
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
    assert!(text.starts_with("no connection could be opened: nobody listens"), "{text}");
    assert!(took >= secs(5) && took <= secs(5) + ms(2), "{took:?}");
    server.down.store(false, Ordering::Relaxed);
    assert!(pool.acquire().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_the_clones_and_names_who_still_has_one() {
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
async fn it_stands_behind_dyn_pool_like_any_other() {
    let (pool, _, _) = pool_of(1, |builder| builder);
    assert!(pool.try_acquire().is_none(), "nothing is open yet");
    let pool: Arc<dyn Pool<Connection = Arc<Link>>> = Arc::new(pool);
    assert_eq!(pool.acquire().await.unwrap().0, 1);
    assert!(pool.try_acquire().is_some());
    assert!(pool.close().await.is_clean());
}

fn home() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn rt() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn what_an_ended_runtime_had_opened_is_not_lent() {
    let (pool, _, _) = pool_of(1, |builder| builder);
    let first = rt();
    assert_eq!(first.block_on(pool.acquire()).unwrap().0, 1);
    drop(first);
    assert_eq!(rt().block_on(pool.acquire()).unwrap().0, 2);
}

#[test]
fn a_waiter_on_a_living_runtime_is_served_after_the_home_has_ended() {
    let (home, server) = (home(), Arc::new(Server { takes: ms(300), ..Server::default() }));
    let pool = SharedPool::builder(Links(Arc::clone(&server))).pool_size(1).pool_timeout(secs(60));
    let pool = pool.runtime(home.handle().clone()).build().unwrap();
    rt().block_on(async {
        let waiter = tokio::spawn(pool.acquire());
        while server.connects.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        std::thread::spawn(move || drop(home)).join().unwrap();
        assert!(waiter.await.unwrap().is_ok());
    });
}

#[test]
fn with_a_handle_given_to_the_builder_anybody_can_acquire() {
    let home = home();
    let pool =
        SharedPool::builder(Links(Arc::default())).runtime(home.handle().clone()).build().unwrap();
    assert!(ByHand::new(pool.acquire()).poll().is_pending());
    drop(rt().block_on(pool.acquire()).unwrap());
    assert!(matches!(ByHand::new(pool.acquire()).poll(), Poll::Ready(Ok(_))));
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
async fn the_text_says_that_the_cap_is_the_reason() {
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
async fn a_pool_that_is_gone_opens_nothing() {
    let (pool, server, _) = pool_of(1, |builder| builder);
    server.down.store(true, Ordering::Relaxed);
    assert!(poll_n(pool.acquire(), 1).await.is_none());
    drop(pool);
    sleep(secs(20)).await;
    assert!(server.connects.load(Ordering::Relaxed) <= 1);
}

/// Panics when it is cloned, so many times.
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
async fn connections_that_cannot_be_cloned_are_an_error_and_no_endless_row_of_connects() {
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
fn the_cost_of_a_clone_does_not_grow_with_the_clones_that_are_out() {
    let runtime = rt();
    let cost = |lent: usize| {
        let (pool, _, _) = pool_of(1, |builder| builder);
        drop(runtime.block_on(pool.acquire()).unwrap());
        let _out: Vec<_> = (0..lent).map(|_| pool.try_acquire().unwrap()).collect();
        let thousand = |_| {
            let start = std::time::Instant::now();
            (0..1_000).for_each(|_| drop(pool.try_acquire().unwrap()));
            start.elapsed()
        };
        // The shortest of ten: whatever else the machine does comes on top.
        (0..10).map(thousand).min().unwrap()
    };
    assert!(cost(20_000) < cost(100) * 10, "a clone costs the more, the more are out");
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_counted_and_max_waiters_holds() {
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

#[test]
fn a_home_that_ends_between_two_looks_leaves_the_pool_able_to_open() {
    let home = home();
    let ends = Arc::new(AtomicBool::new(false));
    let (pool, ended) =
        (SharedPool::builder(Links(Arc::default())).pool_size(1), Arc::clone(&ends));
    let pool = pool
        .limits(Limits::Off)
        .pool_recycle(ms(100))
        .recycle_jitter(0)
        .runtime(home.handle().clone());
    let home = std::sync::Mutex::new(Some(home));
    // The member that is too old goes in the middle of an acquire, and the home with it.
    let pool = pool.observer(move |event: &Event, _: &EventContext<'_>| {
        if let Event::Returned { .. } = event
            && ended.load(Ordering::SeqCst)
            && let Some(home) = home.lock().unwrap().take()
        {
            std::thread::spawn(move || drop(home)).join().unwrap();
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
