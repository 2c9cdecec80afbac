//! `SharedPool`: multiplexed connections, cloned for everybody who asks and handed out in turn.

use crate::support::{ms, quiet, secs, timed};
use millpond_core::{
    Builder, CloseReason, ConnectInfo, Fault, Invalidate, Lease, Manager, Pool, PoolError, PoolExt, SharedPool,
};
use millpond_testkit::{Trace, poll_n};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::sleep;

/// A connection that can be shared; the last clone closes it.
#[derive(Debug)]
struct Link(u64);

/// Opens links, slowly, unless the server is down.
#[derive(Default)]
struct Server {
    takes: Duration,
    down: AtomicBool,
    locked: AtomicBool,
    deaf: AtomicBool,
    connects: AtomicUsize,
    links: std::sync::Mutex<Vec<Weak<Link>>>,
}

impl Server {
    fn alive(&self) -> usize {
        self.links.lock().unwrap().iter().filter(|link| link.strong_count() > 0).count()
    }
}

struct Links(Arc<Server>);

impl Manager for Links {
    type Connection = Arc<Link>;
    type Error = io::Error;

    async fn connect(&self, info: &ConnectInfo) -> io::Result<Arc<Link>> {
        self.0.connects.fetch_add(1, Ordering::Relaxed);
        sleep(self.0.takes).await;
        if self.0.locked.load(Ordering::Relaxed) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "wrong password"));
        }
        if self.0.down.load(Ordering::Relaxed) {
            return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "nobody listens"));
        }
        let link = Arc::new(Link(info.id.get()));
        self.0.links.lock().unwrap().push(Arc::downgrade(&link));
        Ok(link)
    }

    async fn ping(&self, _: &mut Arc<Link>) -> io::Result<()> {
        if self.0.deaf.load(Ordering::Relaxed) { std::future::pending().await } else { Ok(()) }
    }

    fn classify(&self, error: &io::Error) -> Fault {
        if error.kind() == io::ErrorKind::PermissionDenied { Fault::Permanent } else { Fault::Transient }
    }
}

type Tune = fn(Builder<SharedPool<Links>>) -> Builder<SharedPool<Links>>;

fn pool_of(size: u32, tune: Tune) -> (SharedPool<Links>, Arc<Server>, Trace) {
    let server = Arc::new(Server { takes: ms(10), ..Server::default() });
    let trace = Trace::new();
    let builder = SharedPool::builder(Links(Arc::clone(&server))).pool_size(size).observer(trace.clone());
    (tune(builder).build().unwrap(), server, trace)
}

/// As many clones as it takes to have every member once.
async fn warm(pool: &SharedPool<Links>, members: u32) {
    for _ in 0..members {
        drop(pool.acquire().await.unwrap());
        sleep(ms(50)).await;
    }
    assert_eq!(pool.status().open, members);
}

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
async fn a_member_as_old_as_pool_recycle_is_replaced_and_closes_with_its_last_borrower() {
    let (pool, server, trace) = pool_of(1, |builder| builder.pool_recycle(secs(300)).recycle_jitter(0));
    let old = pool.acquire().await.unwrap();
    sleep(secs(301)).await;
    let new = pool.acquire().await.unwrap();
    assert_eq!((old.0, new.0, server.alive()), (1, 2, 2));
    drop(old);
    sleep(ms(10)).await;
    assert_eq!((server.alive(), trace.count("closed recycled #1")), (1, 1));
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
async fn a_permanent_error_is_told_at_once_and_a_transient_one_at_the_deadline() {
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
        assert_eq!(totals.acquires, totals.ok + totals.timed_out + totals.cancelled + totals.failed);
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
