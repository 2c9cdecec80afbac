//! What the tests of all modules share: a pool with its manager and its trace, spans of time, and
//! the books.

use millpond_core::{Builder, Lease, PoolError, QueuePool, Status};
use millpond_testkit::{ScriptedConnection, ScriptedManager, Trace};
use std::future::Future;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, sleep};

pub type Pool = QueuePool<ScriptedManager>;
pub type Loan = Lease<ScriptedConnection>;

pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A pool and what is needed to look at it from outside.
pub struct World {
    pub manager: ScriptedManager,
    pub trace: Trace,
    pub pool: Pool,
}

impl World {
    pub fn new(pool_size: u32, max_overflow: u32) -> Self {
        Self::with(pool_size, max_overflow, |builder| builder)
    }

    pub fn with(
        pool_size: u32,
        max_overflow: u32,
        tune: impl FnOnce(Builder<Pool>) -> Builder<Pool>,
    ) -> Self {
        Self::made(pool_size, max_overflow, |builder, _| tune(builder))
    }

    /// With all five hooks under the manager's script.
    pub fn hooked(
        pool_size: u32,
        max_overflow: u32,
        tune: impl FnOnce(Builder<Pool>) -> Builder<Pool>,
    ) -> Self {
        Self::made(pool_size, max_overflow, |builder, manager| tune(builder.hooks(manager.hooks())))
    }

    pub fn made(
        pool_size: u32,
        max_overflow: u32,
        tune: impl FnOnce(Builder<Pool>, &ScriptedManager) -> Builder<Pool>,
    ) -> Self {
        let manager = ScriptedManager::new();
        let trace = Trace::new();
        let builder =
            QueuePool::builder(manager.clone()).pool_size(pool_size).max_overflow(max_overflow);
        let pool = tune(builder.observer(trace.clone()), &manager).build().unwrap();
        Self { manager, trace, pool }
    }

    /// Without pings, hooks and observer: whatever can go the shortest way does. The trace stays
    /// empty.
    pub fn unwatched(
        pool_size: u32,
        max_overflow: u32,
        tune: impl FnOnce(Builder<Pool>) -> Builder<Pool>,
    ) -> Self {
        let (manager, trace) = (ScriptedManager::new(), Trace::new());
        let builder =
            QueuePool::builder(manager.clone()).pool_size(pool_size).max_overflow(max_overflow);
        let pool = tune(builder.pool_pre_ping(false)).build().unwrap();
        Self { manager, trace, pool }
    }

    pub async fn lease(&self) -> Loan {
        self.pool.acquire().await.unwrap()
    }

    /// So many leases at the same time.
    pub async fn leases(&self, count: usize) -> Vec<Loan> {
        let mut loans = Vec::new();
        for _ in 0..count {
            loans.push(self.lease().await);
        }
        loans
    }

    /// So many idle connections: borrowed together, returned together.
    pub async fn idle(&self, count: usize) {
        drop(self.leases(count).await);
        settle().await;
        assert_eq!(self.pool.status().idle as usize, count);
    }

    /// Every slot is available at once, none beyond, and the books are in order.
    pub async fn assert_sound(&self) {
        let cap = self.pool.status().limit() as usize;
        let loans = self.leases(cap).await;
        assert_eq!(self.manager.alive(), cap, "{:?}", self.pool.status());
        assert!(self.pool.acquire_within(Duration::ZERO).await.is_err());
        assert_eq!(self.manager.sockets(), cap);
        drop(loans);
        settle().await;
        assert_books_closed(&self.pool.status());
        assert_eq!(self.manager.alive(), self.pool.status().open as usize);
    }
}

/// Lets everything happen that needs no time to pass.
pub async fn quiet() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Lets everything happen that is due within a few milliseconds.
pub async fn settle() {
    sleep(ms(5)).await;
    quiet().await;
}

/// What a future came to, and how much of tokio's time it took.
pub async fn timed<F: Future>(future: F) -> (F::Output, Duration) {
    let start = Instant::now();
    let output = future.await;
    (output, start.elapsed())
}

/// It took this long: never less, and at most two ticks of tokio's timer more.
#[track_caller]
pub fn assert_took(took: Duration, limit: Duration) {
    assert!(took >= limit, "ended {:?} before its time of {limit:?}", limit - took);
    assert!(took <= limit + ms(2), "ended {:?} after its time of {limit:?}", took - limit);
}

#[track_caller]
pub fn ready<T>(poll: Poll<T>) -> T {
    match poll {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("still pending"),
    }
}

/// The error of an acquire that had to fail.
#[track_caller]
pub fn refused(result: Result<Loan, PoolError>) -> PoolError {
    match result {
        Ok(lease) => panic!("{lease:?} was lent"),
        Err(error) => error,
    }
}

/// The sums that hold at every moment.
#[track_caller]
pub fn assert_books(status: &Status) {
    let totals = &status.totals;
    assert_eq!(
        status.open,
        status.idle + status.in_use + status.resetting + status.closing,
        "{status:?}"
    );
    assert_eq!(
        totals.created,
        totals.closed + totals.detached + u64::from(status.open),
        "{status:?}"
    );
    let ended = totals.succeeded + totals.timed_out + totals.cancelled + totals.failed;
    assert!(totals.acquires >= ended + u64::from(status.waiting), "{status:?}");
    assert!(status.oldest_waiter.is_some() == (status.waiting > 0), "{status:?}");
}

/// The sums that hold when nobody is in the middle of an acquire.
#[track_caller]
pub fn assert_books_closed(status: &Status) {
    assert_books(status);
    let totals = &status.totals;
    assert_eq!(status.waiting, 0, "{status:?}");
    assert_eq!(
        totals.acquires,
        totals.succeeded + totals.timed_out + totals.cancelled + totals.failed,
        "{status:?}"
    );
}
