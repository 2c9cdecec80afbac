//! `SharedPool`, the pool that users hold.

use crate::lending::{acquire, try_acquire};
use crate::members::{Core, Members};
use crate::multiplexer::Multiplexer;
use millpond_core::{
    AcquireFuture, Buildable, Builder, CloseFuture, CloseReport, DEFAULT_CLOSE_TIMEOUT, Health,
    Holder, Invalidate, Lease, Manager, Pool, PoolError, PoolParts, Request, Status, Verdict,
};
use parking_lot::Mutex;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch;

/// A pool of multiplexed connections: `pool_size` members, cloned for every borrower, in turn.
///
/// A caller waits only while no connection is open; after the first one the others are opened in
/// the background. Pings are sent in the background when the last answer is older than
/// `pre_ping_idle`. A member that fails its ping, is discarded by a borrower or invalidated is not
/// lent again, and closes after its last borrower. A member as old as `pool_recycle` gets no new
/// borrowers once there is a younger one, and closes after its last borrower; until then it stays
/// in use, so that long leases do not block new borrowers. `max_overflow` is the number of members
/// that may be open in addition to old ones that are still lent. The `on_checkout` and `on_checkin`
/// hooks run when a connection becomes a member, not for every loan. [`Lease::detach`] takes only
/// the borrower's clone; the member stays in the pool.
///
/// A loan longer than `leak_after` or `max_lease` is reported once. A connection that one borrower
/// held for longer than `max_lease` is removed when that borrower returns it. In addition to the
/// members, `min_idle` connections are kept ready, as far as `pool_size` allows, and become members
/// when they are needed.
///
/// Events, totals and measurements of acquires and loans count borrowers, as in a
/// [`QueuePool`](millpond_core::QueuePool); those of connections count members.
///
/// Cheap to clone: all clones are the same pool. When the last clone is dropped, the pool closes
/// each member as soon as it has no borrower.
pub struct SharedPool<M: Manager>
where
    M::Connection: Clone + Sync,
{
    handle: Arc<Alive<M>>,
}

/// A handle that does not keep a [`SharedPool`] alive.
pub struct WeakSharedPool<M: Manager> {
    handle: Weak<Alive<M>>,
}

/// Ends the pool when the last handle drops this.
struct Alive<M: Manager> {
    core: Arc<Core<M>>,
}

impl<M: Manager> Drop for Alive<M> {
    fn drop(&mut self) {
        self.core.end();
        self.core.multiplexer.begin_close();
    }
}

impl<M: Manager> SharedPool<M>
where
    M::Connection: Clone + Sync,
{
    /// Returns a builder of a pool over this manager.
    pub fn builder(manager: M) -> Builder<Self> {
        Builder::new(manager)
    }

    /// Lends a clone of a connection. Waits only while no connection is open.
    ///
    /// # Errors
    ///
    /// A [`PoolError`]: no connection could be opened in time or at all, `max_waiters` are waiting,
    /// the pool is closed, or there is no runtime. If several connections in a row panic while
    /// being cloned, the error is [`PoolError::Connect`].
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any point; a connection being opened serves the next borrower.
    #[track_caller]
    pub fn acquire(
        &self,
    ) -> impl Future<Output = Result<Lease<M::Connection>, PoolError>> + Send + 'static + use<M>
    {
        acquire(Arc::clone(&self.handle.core), Request::here())
    }

    /// Lends a clone of a connection if one is open.
    #[track_caller]
    pub fn try_acquire(&self) -> Option<Lease<M::Connection>> {
        try_acquire(&self.handle.core, Request::here())
    }

    /// Returns the manager that opens the connections.
    pub fn manager(&self) -> &M {
        self.handle.core.multiplexer.pool().manager()
    }

    /// Returns the name of the pool.
    pub fn name(&self) -> &str {
        self.handle.core.multiplexer.pool().name()
    }

    /// Returns a handle that does not keep the pool alive.
    pub fn downgrade(&self) -> WeakSharedPool<M> {
        WeakSharedPool { handle: Arc::downgrade(&self.handle) }
    }

    /// Returns the pool's counts. A connection with at least one borrower counts as in use, any
    /// other as idle; the totals of acquires are those of the borrowers.
    pub fn status(&self) -> Status {
        self.handle.core.multiplexer.pool().status()
    }

    /// Returns whether the pool serves, from its own counts: it takes no connection and does not
    /// wait. It is busy only while callers wait, because a connection that is lent can be lent
    /// again.
    pub fn health(&self) -> Health {
        let mut health = self.handle.core.multiplexer.pool().health();
        if health.verdict == Verdict::Busy && health.oldest_wait.is_none() {
            health.verdict = Verdict::Ready;
        }
        health
    }

    /// Returns the holders of clones, the oldest first.
    pub fn holders(&self) -> Vec<Holder> {
        self.handle.core.multiplexer.pool().holders()
    }

    /// Invalidates all connections opened so far: none is lent again, and each closes after its
    /// last borrower.
    pub fn invalidate_all(&self, how: Invalidate) {
        // The new generation first: it also outdates the member that is being opened, and a hard
        // invalidation needs it.
        self.handle.core.multiplexer.pool().invalidate_all(how);
        self.handle.core.retire_unfit();
    }

    /// Sets how many acquires in a row get the same connection before the next one is used. Default
    /// 1, which spreads them. A larger number suits a server that is no faster with several
    /// connections: commands sent at the same time then share fewer and larger writes. 0 counts as
    /// 1.
    pub fn set_acquires_per_turn(&self, acquires: u32) {
        self.handle.core.members.lock().acquires_per_turn = acquires;
    }

    /// Closes the pool and waits up to [`DEFAULT_CLOSE_TIMEOUT`] (30 s) for the lent connections.
    ///
    /// # Cancel safety
    ///
    /// The pool stays closed if the future is dropped; only the report is lost.
    pub async fn close(&self) -> CloseReport {
        self.handle.core.close(DEFAULT_CLOSE_TIMEOUT).await
    }
}

impl<M: Manager> Buildable for SharedPool<M>
where
    M::Connection: Clone + Sync,
{
    type Manager = M;
    fn assemble(parts: PoolParts<M>) -> Self {
        let size = parts.config().pool_size.max(1) as usize;
        let core = Arc::new(Core {
            multiplexer: Multiplexer::new(parts, "SharedPool"),
            members: Mutex::new(Members::new()),
            size,
            opened: watch::Sender::new(None),
        });
        Self { handle: Arc::new(Alive { core }) }
    }
}

impl<M: Manager> Clone for SharedPool<M>
where
    M::Connection: Clone + Sync,
{
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle) }
    }
}

impl<M: Manager> WeakSharedPool<M>
where
    M::Connection: Clone + Sync,
{
    /// Returns the pool, unless its last handle was dropped.
    pub fn upgrade(&self) -> Option<SharedPool<M>> {
        self.handle.upgrade().map(|handle| SharedPool { handle })
    }
}

impl<M: Manager> Clone for WeakSharedPool<M> {
    fn clone(&self) -> Self {
        Self { handle: Weak::clone(&self.handle) }
    }
}

impl<M: Manager> fmt::Debug for WeakSharedPool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakSharedPool").finish_non_exhaustive()
    }
}

impl<M: Manager> fmt::Debug for SharedPool<M>
where
    M::Connection: Clone + Sync,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedPool")
            .field("name", &self.handle.core.multiplexer.pool().name())
            .field("status", &self.status())
            .finish()
    }
}

impl<M: Manager> Pool for SharedPool<M>
where
    M::Connection: Clone + Sync,
{
    type Connection = M::Connection;

    fn acquire_with<'life0, 'async_trait>(
        &'life0 self,
        request: Request,
    ) -> AcquireFuture<'async_trait, M::Connection>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(acquire(Arc::clone(&self.handle.core), request))
    }

    fn try_acquire_with(&self, request: Request) -> Option<Lease<M::Connection>> {
        try_acquire(&self.handle.core, request)
    }

    fn name(&self) -> &str {
        Self::name(self)
    }

    fn holders(&self) -> Vec<Holder> {
        Self::holders(self)
    }

    fn status(&self) -> Status {
        Self::status(self)
    }

    fn health(&self) -> Health {
        Self::health(self)
    }

    fn close_within<'life0, 'async_trait>(
        &'life0 self,
        limit: Duration,
    ) -> CloseFuture<'async_trait>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(self.handle.core.close(limit))
    }
}
