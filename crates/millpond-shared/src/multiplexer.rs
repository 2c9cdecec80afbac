//! `Multiplexer`: the base of pools that lend each connection to several borrowers at once.

use crate::borrower::{Borrower, Share};
use crate::member::Member;
use millpond_core::{
    CloseReason, ConnectionId, ConnectionInfo, Handle, LeaseMeta, LeaseOwner, Manager, PoolError,
    PoolParts, QueuePool, Request, Shares,
};
use millpond_runtime::catch_panic;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// Opens and counts the connections of a pool that lends each of them to several borrowers at once,
/// as clones of a connection or streams on it. [`SharedPool`](crate::SharedPool) is built on a
/// multiplexer, and a custom pool can be.
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
/// `leak_after` and `max_lease` apply to the borrowers. A member counts as in use while a share of
/// it is lent, and otherwise as idle. The loans of the members themselves are neither counted nor
/// measured, and never reported as leaks.
///
/// When your pool is dropped, call [`begin_close`](Self::begin_close).
pub struct Multiplexer<M: Manager> {
    pool: QueuePool<M>,
    shares: Shares<M>,
    /// The limit of an acquire whose request has none.
    pool_timeout: Duration,
}

impl<M: Manager> Multiplexer<M> {
    /// Creates a multiplexer from the parts of a [`Builder`](millpond_core::Builder). `kind` is the
    /// name of your pool's type in errors, such as `SharedPool`.
    pub fn new(parts: PoolParts<M>, kind: &'static str) -> Self {
        let pool_timeout = parts.config().pool_timeout;
        let (pool, shares) = Shares::of_new_pool(parts, kind);
        Self { pool, shares, pool_timeout }
    }

    /// Returns the pool of the connections, for operations on the pool as a whole: `name`,
    /// `status`, `holders`, `invalidate_all`, `close_within`. What is acquired from it directly is
    /// neither counted nor reported.
    pub fn pool(&self) -> &QueuePool<M> {
        &self.pool
    }

    /// Opens another member, or takes an idle connection as a member, within `pool_timeout`. Waits
    /// even where a borrower would fail at once. The future does not keep the pool alive.
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
        let (shares, acquire) = (self.shares.clone(), self.pool.acquire());
        async move { Ok(Member::new(shares, acquire.await?)) }
    }

    /// Returns the runtime on which the pool connects, for tasks of your own. Returns `None` before
    /// the first acquire, and from the end of that runtime to the next acquire.
    pub fn runtime(&self) -> Option<Handle> {
        self.shares.runtime()
    }

    /// Begins an acquire: counts it, and sometimes lets other tasks run first.
    ///
    /// # Cancel safety
    ///
    /// Nothing is counted if the future is dropped.
    pub fn begin(&self, request: Request) -> impl Future<Output = Borrower<'_, M>> + Send {
        Borrower::begin(&self.shares, self.pool_timeout, request)
    }

    /// Lends a share without waiting, as [`Borrower::lend`] does, and counts it as a successful
    /// acquire; meant for `try_acquire`.
    pub fn lend<S: Send + 'static>(
        &self,
        request: Request,
        member: &Member<M>,
        share: S,
        owner: Arc<dyn LeaseOwner<S>>,
    ) -> Share<S> {
        Share::lend(&self.shares, request, None, member, share, owner)
    }

    /// Takes back a share, identified by the [`meta`](millpond_core::PooledConnection::meta) that
    /// its owner got. Must be called once for each share. Returns true if the borrower had the
    /// share for longer than `max_lease`: then the connection should get no new borrowers, with the
    /// reason [`CloseReason::Overdue`].
    #[must_use = "it says whether the connection should go out of service"]
    pub fn take_back(&self, share: &LeaseMeta) -> bool {
        self.shares.take_back(share)
    }

    /// Returns the information on the connection of a share, for
    /// [`LeaseOwner::info`](LeaseOwner::info).
    pub fn info(&self, share: &LeaseMeta) -> ConnectionInfo {
        self.shares.info(share)
    }

    /// Pings this member over `share`, within `ping_timeout`. A failure is reported; a failover
    /// invalidates all members. The future does not keep the pool alive.
    ///
    /// # Errors
    ///
    /// [`CloseReason::PingFailed`]: the member should get no new borrowers, with this reason.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, `share` is dropped in the middle of a ping.
    pub fn ping(
        &self,
        member: ConnectionId,
        share: M::Connection,
    ) -> impl Future<Output = Result<(), CloseReason>> + Send + 'static + use<M> {
        self.shares.ping(member, share)
    }

    /// Calls code outside the pool, such as a `clone`. A panic in it is caught, logged, reported as
    /// [`Event::Panicked`](millpond_core::Event::Panicked) with this `callback`, and returned as an
    /// error.
    ///
    /// # Errors
    ///
    /// The message of the panic.
    pub fn call<T>(&self, callback: &'static str, call: impl FnOnce() -> T) -> Result<T, String> {
        catch_panic(call).inspect_err(|message| self.shares.report_panic(callback, message.clone()))
    }

    /// Starts closing the pool, as [`QueuePool::close_within`] does, without waiting. The members
    /// remain open until you drop them.
    pub fn begin_close(&self) {
        self.shares.begin_close();
    }
}

impl<M: Manager> fmt::Debug for Multiplexer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Multiplexer").field("pool", &self.pool).finish_non_exhaustive()
    }
}
