//! Tests a custom pool over a `Multiplexer`: it lends streams, at most two on each connection.

use crate::support::{ms, secs, timed};
use millpond_core::{
    AcquireFailure, Buildable, Builder, CloseReason, Event, Lease, LeaseMeta, LeaseOwner,
    PoolError, PoolParts, PooledConnection, Request,
};
use millpond_shared::{Member, Multiplexer, Share};
use millpond_testkit::{ScriptedManager, Trace, poll_n};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::sleep;

/// A pool that lends streams, two on each of `pool_size` connections.
struct Streams {
    inner: Arc<Inner>,
}

struct Inner {
    multiplexer: Multiplexer<ScriptedManager>,
    members: Mutex<Vec<Arc<Busy>>>,
    size: usize,
    changed: Notify,
}

/// A connection, with the number of its free streams.
struct Busy {
    pool: Arc<Inner>,
    member: Member<ScriptedManager>,
    free: Mutex<u32>,
}

/// A stream, lent to a borrower instead of the connection.
#[derive(Debug)]
struct Stream(u64);

impl Buildable for Streams {
    type Manager = ScriptedManager;

    fn assemble(parts: PoolParts<ScriptedManager>) -> Self {
        let size = parts.config().pool_size as usize;
        let multiplexer = Multiplexer::new(parts, "Streams");
        let (members, changed) = (Mutex::default(), Notify::new());
        Self { inner: Arc::new(Inner { multiplexer, members, size, changed }) }
    }
}

impl Inner {
    /// Takes a stream of the connection with the most free streams.
    fn take(&self) -> Option<(Arc<Busy>, Stream)> {
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = members.iter().max_by_key(|busy| *busy.free.lock().unwrap())?;
        let mut free = busy.free.lock().unwrap();
        *free = free.checked_sub(1)?;
        Some((Arc::clone(busy), Stream(busy.member.id().get())))
    }

    fn open_one(self: &Arc<Self>) {
        if self.members.lock().unwrap().len() >= self.size {
            return;
        }
        let Some(runtime) = self.multiplexer.runtime() else { return };
        let pool = Arc::clone(self);
        runtime.spawn(async move {
            if let Ok(member) = pool.multiplexer.open().await {
                let busy = Busy { pool: Arc::clone(&pool), member, free: Mutex::new(2) };
                pool.members.lock().unwrap().push(Arc::new(busy));
                pool.changed.notify_waiters();
            }
        });
    }
}

impl Streams {
    async fn acquire(&self, request: Request) -> Result<Lease<Stream>, PoolError> {
        let mut borrower = self.inner.multiplexer.begin(request).await;
        loop {
            let changed = self.inner.changed.notified();
            if let Some((busy, stream)) = self.inner.take() {
                let Share { lease, .. } =
                    borrower.lend(&busy.member, stream, Arc::clone(&busy) as _);
                return Ok(lease);
            }
            self.inner.open_one();
            if let Err(error) = borrower.wait(changed).await {
                return Err(borrower.fail(error));
            }
        }
    }
}

impl Busy {
    fn back(&self, share: &LeaseMeta) {
        let is_overdue = self.pool.multiplexer.take_back(share);
        if is_overdue {
            self.member.dismiss(CloseReason::Overdue);
            self.pool.members.lock().unwrap().retain(|busy| busy.member.id() != share.id());
        }
        *self.free.lock().unwrap() += 1;
        self.pool.changed.notify_waiters();
    }
}

impl LeaseOwner<Stream> for Busy {
    fn returned(&self, held: PooledConnection<Stream>) {
        self.back(held.meta());
    }
}

fn streams(
    size: u32,
    tune: impl FnOnce(Builder<Streams>) -> Builder<Streams>,
) -> (Streams, ScriptedManager, Trace) {
    let (manager, trace) = (ScriptedManager::new(), Trace::new());
    let builder = Builder::new(manager.clone()).name("streams").pool_size(size).max_overflow(0);
    (tune(builder.observer(trace.clone())).build().unwrap(), manager, trace)
}

#[tokio::test(start_paused = true)]
async fn borrowers_wait_and_are_listed_and_counted_as_in_a_queue_pool() {
    let (pool, manager, trace) = streams(2, |builder| builder.pool_timeout(secs(2)));
    let line = line!() + 3;
    let mut leases = Vec::new();
    for _ in 0..4 {
        leases.push(pool.acquire(Request::here()).await.unwrap());
    }
    assert_eq!(manager.alive(), 2);
    let books = pool.inner.multiplexer.pool();
    let held = books.holders();
    assert_eq!((held.len(), held[0].location.line()), (4, line));
    let (result, took) = timed(pool.acquire(Request::here())).await;
    let text = result.unwrap_err().to_string();
    assert!(text.starts_with("Streams limit of size 2 overflow 0 reached"), "{text}");
    assert!(text.contains("pool `streams`") && text.contains("2 in use, 0 idle"), "{text}");
    assert!(took >= secs(2) && took <= secs(2) + ms(2), "{took:?}");
    let waiter = pool.acquire(Request::here());
    let (served, _) = tokio::join!(waiter, async {
        sleep(secs(1)).await;
        assert_eq!((books.status().waiting, books.status().oldest_waiter), (1, Some(secs(1))));
        drop(leases.pop());
    });
    drop((served.unwrap(), leases));
    let (status, totals) = (books.status(), books.status().totals);
    assert_eq!((status.idle, status.in_use, status.waiting), (2, 0, 0), "{status:?}");
    assert_eq!((totals.acquires, totals.succeeded, totals.timed_out), (6, 5, 1));
    let count = |is: fn(&Event) -> bool| trace.events().iter().filter(|(_, it)| is(it)).count();
    assert_eq!(count(|event| matches!(event, Event::Acquired { .. })), 5);
    assert_eq!(count(|event| matches!(event, Event::Returned { .. })), 5);
}

#[tokio::test(start_paused = true)]
async fn cancelled_and_refused_borrowers_are_counted_as_such() {
    let (pool, _, trace) = streams(1, |builder| builder.max_waiters(1));
    let leases = [
        pool.acquire(Request::here()).await.unwrap(),
        pool.acquire(Request::here()).await.unwrap(),
    ];
    let one_too_many = async {
        let result = pool.acquire(Request::here()).await;
        assert_eq!(result.unwrap_err().kind(), AcquireFailure::TooManyWaiters);
    };
    let waits = pool.acquire(Request::here().within(ms(100)));
    let (waited, ()) = tokio::join!(waits, one_too_many);
    assert!(waited.unwrap_err().is_timeout());
    assert!(poll_n(Box::pin(pool.acquire(Request::here())), 1).await.is_none());
    let totals = pool.inner.multiplexer.pool().status().totals;
    assert_eq!((totals.failed, totals.timed_out, totals.cancelled), (1, 1, 1));
    assert_eq!(trace.count("acquire cancelled"), 1, "{:?}", trace.lines());
    assert_eq!(pool.inner.multiplexer.pool().status().waiting, 0);
    drop(leases);
}

#[tokio::test(start_paused = true)]
async fn a_long_loan_is_reported_and_a_member_is_not() {
    let (pool, manager, trace) =
        streams(1, |builder| builder.leak_after(secs(5)).max_lease(secs(9)));
    drop(pool.acquire(Request::here()).await.unwrap());
    sleep(secs(20)).await;
    assert_eq!(trace.count("leaked"), 0, "the member is kept by the pool");
    let stream = pool.acquire(Request::here()).await.unwrap();
    sleep(secs(20)).await;
    assert_eq!(trace.count("leaked"), 1);
    drop(stream);
    sleep(ms(10)).await;
    assert_eq!((trace.count("closed overdue #1"), manager.alive()), (1, 0), "{:?}", trace.lines());
}

#[tokio::test(start_paused = true)]
async fn a_close_waits_for_borrowers_and_keeps_the_close_reason_of_each_member() {
    let (pool, manager, trace) = streams(1, |builder| builder);
    let stream = pool.acquire(Request::here()).await.unwrap();
    assert_eq!(stream.0, 1);
    let multiplexer = &pool.inner.multiplexer;
    let member = pool.inner.members.lock().unwrap().pop().unwrap();
    assert_eq!(member.member.unfit(), None);
    member.member.dismiss(CloseReason::PoolClosed);
    drop(member);
    let report = multiplexer.pool().close_within(Duration::from_secs(1)).await;
    assert_eq!((report.holders.len(), report.pending), (1, 0), "{report}");
    let closed = pool.acquire(Request::here()).await.unwrap_err();
    assert!(closed.is_closed());
    drop(stream);
    assert!(multiplexer.pool().close().await.is_clean());
    assert_eq!((manager.alive(), trace.count("closed pool_closed #1")), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_close_reports_an_unused_member_as_pending() {
    let (pool, manager, _) = streams(1, |builder| builder);
    drop(pool.acquire(Request::here()).await.unwrap());
    let multiplexer = &pool.inner.multiplexer;
    let report = multiplexer.pool().close_within(secs(1)).await;
    assert_eq!((report.holders.len(), report.pending, manager.alive()), (0, 1, 1), "{report}");
    pool.inner.members.lock().unwrap().clear();
    assert!(multiplexer.pool().close().await.is_clean());
    assert_eq!(manager.alive(), 0);
}
