//! What every case runs on: a scripted manager that wraps the fixture's, a pool over it, and a
//! trace of the pool's events.

use crate::conformance::fixture::{Capability, Fixture};
use crate::conformance::pools::PoolUnderTest;
use crate::connection::ScriptedConnection;
use crate::manager::ScriptedManager;
use crate::trace::Trace;
use millpond_core::{Builder, Lease, Limits, Pool, PoolError, PoolExt, QueuePool, Status};
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A fixture and a pool type that are tested together.
pub trait Trial: 'static {
    /// The fixture that creates the manager.
    type Fixture: Fixture;
    /// The type of the pool.
    type Pool: PoolUnderTest<Manager = Manager<Self>>;

    /// Returns true if the pool lends returned connections again.
    fn reuses() -> bool {
        Self::Pool::CAN.contains(&Capability::Keeps)
    }
}

/// The trial of this fixture with this pool type.
#[derive(Debug)]
pub struct FixtureAndPool<F, P>(PhantomData<fn() -> (F, P)>);

impl<F: Fixture, P: PoolUnderTest<Manager = ScriptedManager<F::Manager>>> Trial
    for FixtureAndPool<F, P>
{
    type Fixture = F;
    type Pool = P;
}

/// The manager of a trial's pool.
pub type Manager<T> = ScriptedManager<<<T as Trial>::Fixture as Fixture>::Manager>;
/// The connection type of a trial's pool.
pub(crate) type Conn<T> =
    ScriptedConnection<crate::conformance::fixture::Connection<<T as Trial>::Fixture>>;
/// The lease type of a trial's pool.
pub(crate) type Loan<T> = Lease<Conn<T>>;
/// The builder of a trial's pool.
pub(crate) type PoolBuilder<T> = Builder<<<T as Trial>::Pool as PoolUnderTest>::Base>;

/// Returns this many milliseconds.
pub(crate) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Returns this many seconds.
pub(crate) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A time limit that passes soon, in real time too, and that a healthy server still meets.
pub(crate) const SOON: Duration = ms(80);

/// The panic payload of a case that cannot run here, with the reason.
pub(crate) struct Skipped(pub(crate) String);

/// The argument of every case.
pub struct Stage<T: Trial> {
    /// The author's own fixture.
    pub(crate) fixture: Arc<T::Fixture>,
    manager: Manager<T>,
    paused: bool,
}

impl<T: Trial> Stage<T> {
    pub(crate) async fn set(fixture: T::Fixture, claimed: &[Capability]) -> Result<Self, String> {
        let manager = ScriptedManager::over(fixture.manager().await?);
        Ok(Self {
            fixture: Arc::new(fixture),
            manager,
            paused: claimed.contains(&Capability::PausedClock),
        })
    }

    /// Builds a pool with these sizes.
    pub(crate) fn world(&self, pool_size: u32, max_overflow: u32) -> World<T> {
        self.tuned(pool_size, max_overflow, |builder, _| builder)
    }

    /// Builds a pool with these sizes and further settings. All pools of a case share one manager.
    pub(crate) fn tuned(
        &self,
        pool_size: u32,
        max_overflow: u32,
        tune: impl FnOnce(PoolBuilder<T>, &Manager<T>) -> PoolBuilder<T>,
    ) -> World<T> {
        self.needs(pool_size.saturating_add(max_overflow));
        let trace = Trace::new();
        let builder = Builder::new(self.manager.clone())
            .limits(Limits::Off)
            .pool_size(pool_size)
            .max_overflow(max_overflow)
            // A real server on a busy machine answers a ping within this time.
            .ping_timeout(secs(10))
            .observer(trace.clone());
        let pool = match tune(builder, &self.manager).build() {
            Ok(base) => T::Pool::over(base),
            Err(error) => panic!("the suite's own settings are wrong: {error}"),
        };
        World { manager: self.manager.clone(), trace, pool, paused: self.paused }
    }

    /// Ends the case as skipped if the server does not grant this many connections.
    pub(crate) fn needs(&self, sessions: u32) {
        if let Some(max) = self.fixture.sessions_max().filter(|max| *max < sessions) {
            resume_unwind(Box::new(Skipped(format!(
                "sessions_max is {max}, and it needs {sessions}"
            ))));
        }
    }

    /// Returns the manager under test.
    pub(crate) fn real(&self) -> &<T::Fixture as Fixture>::Manager {
        self.manager.real()
    }

    /// Returns the scripted manager, for scripts that must be in place before the pool is built.
    pub(crate) fn manager(&self) -> &Manager<T> {
        &self.manager
    }
}

impl<T: Trial> fmt::Debug for Stage<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").field("manager", &self.manager).finish_non_exhaustive()
    }
}

/// A pool, its manager and its trace.
pub(crate) struct World<T: Trial> {
    /// Controls the pool's scripted manager.
    pub(crate) manager: Manager<T>,
    /// The pool's events.
    pub(crate) trace: Trace,
    /// The pool.
    pub(crate) pool: T::Pool,
    paused: bool,
}

impl<T: Trial> World<T> {
    /// Acquires a lease; panics on an error.
    pub(crate) async fn lease(&self) -> Loan<T> {
        match self.pool.acquire().await {
            Ok(lease) => lease,
            Err(error) => panic!("nothing was lent: {error}"),
        }
    }

    /// Acquires this many leases at the same time.
    pub(crate) async fn leases(&self, count: usize) -> Vec<Loan<T>> {
        let mut loans = Vec::new();
        for _ in 0..count {
            loans.push(self.lease().await);
        }
        loans
    }

    /// Makes this many connections idle.
    pub(crate) async fn idle(&self, count: usize) {
        drop(self.leases(count).await);
        self.until_status("what came back is idle", |status| status.idle as usize == count).await;
    }

    /// Starts a task that acquires a lease and returns the result.
    pub(crate) fn acquiring(&self) -> tokio::task::JoinHandle<Result<Loan<T>, PoolError>> {
        let pool = self.pool.clone();
        tokio::spawn(async move { pool.acquire().await })
    }

    /// Starts a task that acquires a lease, and waits until it is queued.
    pub(crate) async fn waiter(&self) -> tokio::task::JoinHandle<Result<Loan<T>, PoolError>> {
        let before = self.pool.status().waiting;
        let task = self.acquiring();
        self.until_status("a caller waits", |status| status.waiting == before + 1).await;
        task
    }

    /// Returns the pool of exclusive connections; panics if there is none.
    pub(crate) fn queue(&self) -> &QueuePool<Manager<T>> {
        match self.pool.queue() {
            Some(queue) => queue,
            None => panic!("a pool that claims Exclusive has a `queue`"),
        }
    }

    /// Waits until the condition is true; panics after 60 seconds, or 20 on a paused clock.
    pub(crate) async fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let (start, limit) = (Instant::now(), if self.paused { secs(20) } else { secs(60) });
        while !is_so() {
            assert!(
                start.elapsed() < limit,
                "not: {what}: {:?}, {:?}",
                self.pool.status(),
                self.trace.lines()
            );
            sleep(ms(1)).await;
        }
    }

    /// Waits until the condition on the pool's status is true.
    pub(crate) async fn until_status(&self, what: &str, mut is_so: impl FnMut(&Status) -> bool) {
        self.until(what, || is_so(&self.pool.status())).await;
    }

    /// Waits until no call of the pool is under way.
    pub(crate) async fn until_calm(&self) {
        let calm = |status: &Status| {
            status.waiting + status.connecting + status.resetting + status.closing == 0
        };
        self.until_status("everything under way has ended", calm).await;
    }

    /// Asserts that a call took this long, never less and only a little more.
    #[track_caller]
    pub(crate) fn assert_took(&self, took: Duration, limit: Duration) {
        let slack = if self.paused { ms(2) } else { secs(10) };
        assert!(
            took >= limit,
            "ended {:?} before its time of {limit:?}",
            limit.saturating_sub(took)
        );
        assert!(
            took <= limit + slack,
            "ended {:?} after its time of {limit:?}",
            took.saturating_sub(limit)
        );
    }

    /// Asserts that the pool lends all its slots and no more, and that its counters balance.
    pub(crate) async fn assert_sound(&self) {
        let cap = self.pool.status().limit() as usize;
        if T::Pool::CAN.contains(&Capability::Exclusive) {
            let loans = self.leases(cap).await;
            self.until("one socket a place", || self.manager.sockets() == cap).await;
            assert!(self.pool.acquire_within(Duration::ZERO).await.is_err(), "beyond the cap");
            drop(loans);
        } else {
            drop(self.leases(2 * cap).await);
        }
        self.until_calm().await;
        assert_balance(&self.pool.status());
        assert!(self.manager.peak() <= cap, "{} sockets, and a cap of {cap}", self.manager.peak());
    }
}

/// Returns a future's output, and how long it took on tokio's clock.
pub(crate) async fn timed<F: Future>(future: F) -> (F::Output, Duration) {
    let start = Instant::now();
    let output = future.await;
    (output, start.elapsed())
}

/// Returns the error of an acquire that must fail.
#[track_caller]
pub(crate) fn refused<C: Send + 'static>(result: Result<Lease<C>, PoolError>) -> PoolError {
    match result {
        Ok(lease) => panic!("{lease:?} was lent"),
        Err(error) => error,
    }
}

/// Returns the output of a task that must not panic.
pub(crate) async fn join<O>(task: tokio::task::JoinHandle<O>) -> O {
    match task.await {
        Ok(output) => output,
        Err(error) => panic!("a user failed: {error}"),
    }
}

/// Asserts the sums that hold at every moment.
#[track_caller]
pub(crate) fn assert_books(status: &Status) {
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
}

/// Asserts the sums that hold while no acquire is under way.
#[track_caller]
pub(crate) fn assert_balance(status: &Status) {
    assert_books(status);
    let totals = &status.totals;
    assert_eq!(
        totals.acquires,
        totals.succeeded + totals.timed_out + totals.cancelled + totals.failed,
        "{status:?}"
    );
}

/// Lets other tasks run until they have nothing left to do without the clock advancing.
pub(crate) async fn quiet() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}
