//! `Multiplexer`: what a pool is built on that lends each connection to several borrowers at once.

use crate::rt::{Handle, catch_panic};
use crate::{
    Borrower, CloseReason, ConnectionId, ConnectionInfo, LeaseMeta, LeaseOwner, Manager, Member,
    PoolError, PoolParts, QueuePool, Request, Share,
};
use std::sync::Arc;

/// Opens connections and keeps the books of a pool that lends each of them to several borrowers at
/// once: clones of a connection, or streams on it. The crate `millpond-shared` is built on it, and
/// a pool of your own can be.
///
/// Your pool [`open`](Self::open)s *members*, in a task on the [`runtime`](Self::runtime), and
/// keeps them for as long as they serve. Its borrowers get *shares* of the members:
///
/// 1. [`begin`](Self::begin) an acquire;
/// 2. if no member can be shared, [`Borrower::wait`] until one can, or until the deadline;
/// 3. [`Borrower::lend`] a share, or [`Borrower::fail`];
/// 4. when the share ends, its [`LeaseOwner`] calls [`take_back`](Self::take_back).
///
/// So `status`, `holders`, totals, histograms and the events of acquires and loans are those of the
/// borrowers, as in a `QueuePool`, and `pool_timeout`, `max_waiters`, `fail_fast_after`,
/// `leak_after` and `max_lease` concern them. A member counts as in use while a share of it is
/// lent, else as idle. Members are neither counted nor measured, and never reported as leaks.
///
/// When your pool is dropped, call [`begin_close`](Self::begin_close).
pub struct Multiplexer<M: Manager> {
    pool: QueuePool<M>,
}

impl<M: Manager> Multiplexer<M> {
    /// Makes one of what a [`Builder`](crate::Builder) has put together. `kind` is what your pool
    /// is called in errors, such as `SharedPool`.
    pub fn new(parts: PoolParts<M>, kind: &'static str) -> Self {
        Self { pool: QueuePool::multiplexed(parts, kind) }
    }

    /// Returns the pool of the connections, for all that concerns it as a whole: its `name`,
    /// `status`, `holders`, `invalidate_all`, `close_within`. What is acquired from it directly is
    /// neither counted nor reported.
    pub fn pool(&self) -> &QueuePool<M> {
        &self.pool
    }

    /// Opens one more member, or takes one that is idle, within `pool_timeout`. It waits even where
    /// a borrower would fail at once. The future does not keep the pool alive.
    ///
    /// # Errors
    ///
    /// As [`QueuePool::acquire`].
    ///
    /// # Cancel safety
    ///
    /// As [`QueuePool::acquire`].
    #[track_caller]
    pub fn open(
        &self,
    ) -> impl Future<Output = Result<Member<M>, PoolError>> + Send + 'static + use<M> {
        let (shared, acquire) = (Arc::clone(self.pool.shared()), self.pool.acquire());
        async move { Ok(Member::new(shared, acquire.await?)) }
    }

    /// Returns the runtime on which the pool connects, for tasks of your own. `None` before the
    /// first acquire, and from the end of that runtime to the next acquire.
    pub fn runtime(&self) -> Option<Handle> {
        self.pool.shared().runtime()
    }

    /// Begins an acquire: counts it, and now and then lets other tasks run first.
    ///
    /// # Cancel safety
    ///
    /// Nothing is counted if the future is dropped.
    pub fn begin(&self, request: Request) -> impl Future<Output = Borrower<'_, M>> + Send {
        Borrower::begin(self.pool.shared(), request)
    }

    /// Lends a share without a wait, as [`Borrower::lend`] does, and counts it as an acquire that
    /// succeeded: for `try_acquire`.
    pub fn lend<S: Send + 'static>(
        &self,
        request: Request,
        member: &Member<M>,
        share: S,
        owner: Arc<dyn LeaseOwner<S>>,
    ) -> Share<S> {
        self.pool.shared().lend_share(request, None, member, share, owner)
    }

    /// Takes back a share, by the [`meta`](crate::PooledConnection::meta) that its owner was given.
    /// To be called once for each. Returns true if its borrower had it for longer than `max_lease`:
    /// then its connection should go out of service with the reason [`CloseReason::Overdue`].
    #[must_use = "it says whether the connection should go out of service"]
    pub fn take_back(&self, share: &LeaseMeta) -> bool {
        self.pool.shared().end_share(share)
    }

    /// Returns what is known of the connection of a share, for
    /// [`LeaseOwner::info`](LeaseOwner::info).
    pub fn info(&self, share: &LeaseMeta) -> ConnectionInfo {
        self.pool.shared().describe(share)
    }

    /// Pings the member of this number over `share`, within `ping_timeout`. A failure is reported;
    /// a failover invalidates all members. The future does not keep the pool alive.
    ///
    /// # Errors
    ///
    /// [`CloseReason::PingFailed`]: the member should go out of service with this reason.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, `share` is dropped in the middle of a ping.
    pub fn ping(
        &self,
        member: ConnectionId,
        share: M::Connection,
    ) -> impl Future<Output = Result<(), CloseReason>> + Send + 'static + use<M> {
        Arc::clone(self.pool.shared()).ping_lent(member, share)
    }

    /// Calls code that is not the pool's, such as a `clone`. A panic in it is caught, logged,
    /// reported as [`Event::Panicked`](crate::Event::Panicked) with this `callback`, and is no more
    /// than an error.
    ///
    /// # Errors
    ///
    /// What the panic said.
    pub fn call<T>(&self, callback: &'static str, call: impl FnOnce() -> T) -> Result<T, String> {
        catch_panic(call).inspect_err(|message| {
            self.pool.shared().report_panic(callback, message.clone());
        })
    }

    /// Begins to close the pool, as [`QueuePool::close_within`] does, and does not wait. The
    /// members are yours to drop.
    pub fn begin_close(&self) {
        self.pool.shared().begin_close();
    }
}

opaque_debug!([M: Manager] Multiplexer<M>, "Multiplexer", |it| { pool: it.pool });
