//! `SharedPool`: a few multiplexed connections, handed out in turn to any number of borrowers.
//!
//! Each member is a lease of a `QueuePool` that is held for as long as the member serves; so
//! connecting, backoff, hooks, the cap and closing are that pool's. A borrower gets a clone of a
//! member's connection and keeps the member alive.

use crate::engine::{ClonesOut, Parts};
use crate::error::PoolError;
use crate::event::CloseReason;
use crate::lease::Lease;
use crate::ledger::HOLDERS_TOLD;
use crate::manager::Manager;
use crate::pools::builder::{Buildable, Builder};
use crate::pools::members::{Core, LoanLimits, Members};
use crate::pools::queue::{Invalidate, QueuePool};
use crate::pools::shared_loan::{Refusal, acquire, try_take};
use crate::pools::{AcquireFuture, CloseFuture, DEFAULT_CLOSE_TIMEOUT, Pool};
use crate::request::Request;
use crate::rt::Bell;
use crate::rt::lock::{AtomicU64, Mutex};
use crate::status::{CloseReport, Holder, Status, Totals};
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A pool of multiplexed connections: `pool_size` of them, cloned for every borrower and handed out
/// in turn.
///
/// Nobody waits once one connection is open; the others are opened behind the first borrowers'
/// backs. A member that fails its ping (sent in the background when the last answer is older than
/// `pre_ping_idle`), that is discarded by a borrower or invalidated is not lent again, and closes
/// when its last borrower is gone. A member as old as `pool_recycle` gets no new borrowers as soon
/// as a younger one serves, and closes when its last one is gone; until then it serves on, so
/// leases that are kept for long starve nobody. `max_overflow` is the room for members beside those
/// that are still lent. The `on_checkout` and `on_checkin` hooks are called for a member when it
/// begins to serve, not for every loan. [`Lease::detach`] takes only the borrower's clone; the
/// member serves on.
///
/// A loan longer than `leak_after` or `max_lease` is reported once. A connection that one borrower
/// has had for longer than `max_lease` goes out of service when that borrower gives it back.
/// `min_idle` connections are kept ready beside the members, as far as `pool_size` allows, and
/// become members when they are needed.
///
/// Events, totals and measurements of acquires and loans are those of the borrowers, as in a
/// [`QueuePool`]; those of connections are the members'.
///
/// Cheap to clone: all clones are one pool. When the last clone is dropped the pool closes the
/// members that are lent to nobody, and each of the others when its last borrower is gone.
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

/// That somebody holds the pool. Dropped with the last handle.
struct Alive<M: Manager> {
    core: Arc<Core<M>>,
}

impl<M: Manager> Drop for Alive<M> {
    fn drop(&mut self) {
        self.core.end();
        self.core.pool.shared().begin_close();
    }
}

impl<M: Manager> SharedPool<M>
where
    M::Connection: Clone + Sync,
{
    /// Starts to build a pool over this manager.
    pub fn builder(manager: M) -> Builder<Self> {
        Builder::new(manager)
    }

    /// Lends a clone of a connection. Waits only while none is open.
    ///
    /// # Errors
    ///
    /// A [`PoolError`]: no connection could be opened in time or at all, `max_waiters` are waiting,
    /// the pool is closed, or there is no runtime. If one connection after the other panics while
    /// it is cloned, [`PoolError::Connect`] says so.
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
        try_take(&self.handle.core, Request::here())
    }

    /// The name of the pool.
    pub fn name(&self) -> &str {
        self.handle.core.pool.name()
    }

    /// A handle that does not keep the pool alive.
    pub fn downgrade(&self) -> WeakSharedPool<M> {
        WeakSharedPool { handle: Arc::downgrade(&self.handle) }
    }

    /// How the pool is doing. A connection that at least one borrower has counts as in use, any
    /// other as idle; the totals of acquires are those of the borrowers.
    pub fn status(&self) -> Status {
        self.handle.core.status()
    }

    /// Who has a clone, and for how long: the oldest first.
    pub fn holders(&self) -> Vec<Holder> {
        self.handle.core.holders()
    }

    /// No connection opened so far is lent again; each closes when its last borrower is gone.
    pub fn invalidate_all(&self, how: Invalidate) {
        // The new generation first: it also outdates the member that is just being opened, and a
        // hard end needs it.
        self.handle.core.pool.invalidate_all(how);
        let old = self.handle.core.retire_unfit(
            &mut self.handle.core.members.lock(),
            self.handle.core.pool.shared().now(),
        );
        drop(old);
    }

    /// Closes the pool and waits up to [`DEFAULT_CLOSE_TIMEOUT`] (30 s) for what is lent.
    ///
    /// # Cancel safety
    ///
    /// The pool stays closed if the future is dropped; only the report is lost.
    pub async fn close(&self) -> CloseReport {
        self.handle.core.close(DEFAULT_CLOSE_TIMEOUT).await
    }
}

impl<M: Manager> Core<M> {
    pub(crate) fn holders(&self) -> Vec<Holder> {
        let now = self.pool.shared().now();
        self.members.lock().loans.holders(now)
    }

    fn status(&self) -> Status {
        let now = self.pool.shared().now();
        // Together, so that the numbers add up.
        let members = self.members.lock();
        let mut status = self.pool.status();
        let unlent = members.unlent().min(status.in_use);
        (status.in_use, status.idle) =
            (status.in_use.saturating_sub(unlent), status.idle.saturating_add(unlent));
        let Totals { created, closed, detached, connect_failed, peak, .. } = status.totals;
        status.totals =
            Totals { created, closed, detached, connect_failed, peak, ..members.totals };
        let at_once = self.succeeded_at_once.load(Ordering::Relaxed);
        status.totals.acquires = status.totals.acquires.saturating_add(at_once);
        status.totals.succeeded = status.totals.succeeded.saturating_add(at_once);
        status.waiting = members.waiting();
        status.oldest_waiter = members.oldest_waiter().map(|since| now.since(since));
        status
    }

    /// Why a newcomer may not even wait, if nothing has worked for long. One that has not insisted
    /// yet asks again first.
    pub(crate) fn refusal(&self, insists: bool) -> Option<Refusal> {
        self.pool.shared().change(|ledger, now| {
            let error = ledger.fails_fast().then(|| ledger.connect_error()).flatten()?;
            Some(if insists {
                Refusal::Final(error)
            } else {
                Refusal::AskAgain(now.after(ledger.pause_of_refusal(error, now)))
            })
        })
    }

    /// The pool of the members knows what it is waiting for; who waits for it and who has a clone,
    /// we do.
    pub(crate) fn timed_out(&self, limit: Duration) -> PoolError {
        let shared = self.pool.shared();
        let now = shared.now();
        let mut error =
            shared.look(|ledger| ledger.timed_out(shared.names(), None, limit, None, now));
        if let PoolError::TimedOut(told) = &mut error {
            told.status = self.status();
            told.holders = self.holders();
            told.holders.truncate(HOLDERS_TOLD);
        }
        error
    }

    /// Nothing is lent any more; members close as soon as nobody has a clone.
    fn end(&self) {
        let serving = {
            let mut members = self.members.lock();
            members.closed = true;
            members.dismiss_all(CloseReason::PoolClosed)
        };
        drop(serving);
        self.bell.ring();
    }

    /// Ends the members, and waits for the borrowers and for the farewells.
    async fn close(&self, limit: Duration) -> CloseReport {
        self.end();
        let mut report = self.pool.close_within(limit).await;
        report.holders = self.holders();
        report
    }
}

impl<M: Manager> Buildable for SharedPool<M>
where
    M::Connection: Clone + Sync,
{
    type Manager = M;
    fn assemble(mut parts: Parts<M>) -> Self {
        let config = &mut parts.config;
        let limits =
            LoanLimits { report_after: config.report_after(), max_lease: config.max_lease };
        let conflicts = config.conflicts();
        // Members are held for as long as they serve, which is no leak.
        (config.leak_after, config.max_lease) = (None, None);
        let acquires_per_turn = parts.acquires_per_turn;
        let (pool, times) = QueuePool::of_members(parts, conflicts);
        let members = Mutex::new(Members::new(acquires_per_turn, times));
        let core = Arc::new(Core {
            pool,
            members,
            limits,
            succeeded_at_once: AtomicU64::new(0),
            bell: Bell::new(),
        });
        let clones: Weak<dyn ClonesOut> = Arc::<Core<M>>::downgrade(&core);
        core.pool.shared().report_clones_of(clones);
        Self { handle: Arc::new(Alive { core }) }
    }
}

impl<M: Manager> Builder<SharedPool<M>>
where
    M::Connection: Clone + Sync,
{
    /// How many borrowers in a row get the same connection, before it is the turn of the next.
    /// Default 1, which spreads them. More of them suit a server that is no faster for having
    /// several connections: what is asked for together then travels together, in fewer and larger
    /// writes. 0 is taken for 1.
    pub fn acquires_per_turn(self, loans: u32) -> Self {
        self.with_loans_in_turn(loans)
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
    /// The pool, if somebody holds it still.
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
            .field("name", &self.handle.core.pool.name())
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
        try_take(&self.handle.core, request)
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
