//! The guard that a borrower holds, and the way back that every pool gives it.

use crate::event::CloseReason;
use crate::info::{ConnectionId, ConnectionInfo};
use crate::ledger::bump;
use crate::ledger::grant::Grant;
use crate::ledger::wait_queue::Seat;
use crate::rt::TaskId;
use crate::rt::time::Time;
use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What is known of a connection; travels with it wherever it goes.
#[derive(Debug, Clone, Copy)]
pub struct LeaseMeta {
    pub(crate) slot: u32,
    pub(crate) id: ConnectionId,
    pub(crate) generation: u64,
    pub(crate) uses: u64,
    /// Which task has it, or had it last, if the borrower was one. Its place knows that of the present loan too; here it is
    /// at hand where the idle ones are looked at.
    pub(crate) last_task: Option<TaskId>,
    pub(crate) created: Time,
    /// When it has to be replaced; drawn once, with its jitter.
    pub(crate) expires: Time,
    /// When its successor is to be opened.
    pub(crate) renew_at: Time,
    /// When it came back, or was opened.
    pub(crate) idle_since: Time,
    /// When it was last known to be alive: came back, was opened, or answered a ping.
    pub(crate) proved_at: Time,
    /// How many nanoseconds it had been idle when its present borrower came.
    pub(crate) idled: u64,
    pub(crate) renewal: Renewal,
}

/// Whether a connection that is soon too old has a successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// It is young.
    NotYet,
    /// A successor has been asked for.
    Wanted,
    /// The successor has come; this one may be lent until its time is up.
    Done,
}

impl LeaseMeta {
    /// Notes one loan more, and whose it is.
    #[inline]
    pub(crate) fn note_loan(&mut self, task: Option<TaskId>) {
        bump(&mut self.uses);
        self.last_task = task;
    }

    /// The number of the connection.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Whether the connection may be lent as it is, where only `lendable` may be lent and a ping is due after so many
    /// nanoseconds without a sign of life.
    #[inline]
    pub(crate) fn is_fresh(&self, lendable: u64, ping_after: u64, now: Time) -> bool {
        self.generation == lendable && now < self.expires && now.nanos_since(self.proved_at) < ping_after
    }
}

/// A connection together with what is known of it: what a lease holds, and what comes back to a [`LeaseOwner`].
pub struct PooledConnection<C> {
    /// Boxed, since it is moved a dozen times in a checkout.
    pub(crate) inner: Box<Content<C>>,
}

/// What a [`PooledConnection`] holds.
pub(crate) struct Content<C> {
    pub(crate) conn: C,
    pub(crate) tag: LeaseMeta,
    /// Where its borrower found it, if he had to wait: for the next waiter when it comes back.
    pub(crate) seat: Option<Arc<Seat<Grant<C>>>>,
}

impl<C> PooledConnection<C> {
    pub(crate) fn new(conn: C, tag: LeaseMeta) -> Self {
        Self { inner: Box::new(Content { conn, tag, seat: None }) }
    }

    /// The connection.
    pub fn connection(&mut self) -> &mut C {
        &mut self.inner.conn
    }

    /// Takes the connection out.
    pub fn into_connection(self) -> C {
        self.inner.conn
    }

    /// The number of the connection.
    pub fn id(&self) -> ConnectionId {
        self.inner.tag.id
    }
}

impl<C> fmt::Debug for PooledConnection<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledConnection").field("tag", &self.inner.tag).finish_non_exhaustive()
    }
}

/// Where a lease goes when it ends. Implement it for a pool of your own that wraps nothing; a pool that wraps another one
/// needs only [`Lease::on_return`] or [`Lease::on_end`].
///
/// All three are called from the borrower's thread, possibly while it unwinds, possibly outside any runtime: they must
/// not block and not panic.
pub trait LeaseOwner<C: Send + 'static>: Send + Sync + 'static {
    /// The lease was dropped: here is the connection.
    fn returned(&self, held: PooledConnection<C>);

    /// The borrower says that the connection must not be used again. The default drops it.
    fn discarded(&self, held: PooledConnection<C>, reason: CloseReason) {
        let _ = reason;
        drop(held);
    }

    /// The borrower keeps the connection for good. The default does nothing.
    fn detached(&self, tag: &LeaseMeta) {
        let _ = tag;
    }

    /// What is known of a connection that is out. The default knows its number.
    fn info(&self, tag: &LeaseMeta) -> ConnectionInfo {
        ConnectionInfo {
            pool: Arc::from(""),
            id: tag.id,
            generation: tag.generation,
            uses: tag.uses,
            age: Duration::ZERO,
            idle: Duration::ZERO,
        }
    }
}

/// A connection on loan. Dereferences to it, and gives it back when dropped.
///
/// Dropping never blocks, never does I/O, and works anywhere: outside a runtime, during its shutdown, after the pool.
/// It has no methods of its own, so that none can hide one of the connection's: `Lease::detach(lease)`.
#[must_use = "the connection goes back when the lease is dropped"]
pub struct Lease<C: Send + 'static> {
    /// `None` only inside `drop`, `detach` and `discard`, which consume the lease.
    held: Option<PooledConnection<C>>,
    home: Arc<dyn LeaseOwner<C>>,
}

impl<C: Send + 'static> Lease<C> {
    /// Lends a connection of a custom pool; when the lease ends, `home` is told.
    pub fn new(conn: C, home: Arc<dyn LeaseOwner<C>>) -> Self {
        let tag = LeaseMeta {
            slot: 0,
            id: ConnectionId(0),
            generation: 0,
            uses: 1,
            last_task: None,
            created: Time::ZERO,
            expires: Time::NEVER,
            renew_at: Time::NEVER,
            idle_since: Time::ZERO,
            proved_at: Time::ZERO,
            idled: 0,
            renewal: Renewal::NotYet,
        };
        Self::lend(PooledConnection::new(conn, tag), home)
    }

    pub(crate) fn lend(held: PooledConnection<C>, home: Arc<dyn LeaseOwner<C>>) -> Self {
        Self { held: Some(held), home }
    }

    /// Takes the connection out of the pool for good. Its place is free at once.
    pub fn detach(lease: Self) -> C {
        let (held, home) = lease.dissolve();
        home.detached(&held.inner.tag);
        held.into_connection()
    }

    /// Gives the connection back and says that it must not be lent again; the pool closes it.
    pub fn discard(lease: Self, reason: CloseReason) {
        let (held, home) = lease.dissolve();
        home.discarded(held, reason);
    }

    /// What is known of the connection.
    pub fn info(lease: &Self) -> ConnectionInfo {
        lease.home.info(&lease.held().inner.tag)
    }

    /// Calls `then` when the lease ends by being dropped, before the connection goes back. For pools that wrap another
    /// pool: SQLAlchemy's `_do_return_conn`. Not called when the connection is detached or discarded; a panic in it
    /// discards the connection.
    pub fn on_return(lease: Self, then: impl FnOnce(&mut C) + Send + 'static) -> Self {
        let (held, home) = lease.dissolve();
        Self::lend(held, Arc::new(Then { home, then: Mutex::new(Some(Box::new(then))) }))
    }

    /// Calls `then` when the lease has ended, in whatever way: dropped, discarded or detached. For pools that count what
    /// they have out. A panic in it is caught.
    pub fn on_end(lease: Self, then: impl FnOnce() + Send + 'static) -> Self {
        let (held, home) = lease.dissolve();
        Self::lend(held, Arc::new(Finally { home, then: Mutex::new(Some(Box::new(then))) }))
    }

    pub(crate) fn tag(&self) -> LeaseMeta {
        self.held().inner.tag
    }

    /// Ends the lease without telling its home.
    fn dissolve(mut self) -> (PooledConnection<C>, Arc<dyn LeaseOwner<C>>) {
        let home = Arc::clone(&self.home);
        match self.held.take() {
            Some(held) => (held, home),
            None => absent(),
        }
    }

    fn held(&self) -> &PooledConnection<C> {
        match &self.held {
            Some(held) => held,
            None => absent(),
        }
    }
}

/// A lease without a connection cannot be reached: whoever takes it out consumes the lease.
#[expect(clippy::unreachable, reason = "Drop needs to move out of the lease, and safe code has only Option for that")]
fn absent() -> ! {
    unreachable!("a lease holds its connection until it is consumed")
}

impl<C: Send + 'static> Deref for Lease<C> {
    type Target = C;
    fn deref(&self) -> &C {
        &self.held().inner.conn
    }
}

impl<C: Send + 'static> DerefMut for Lease<C> {
    fn deref_mut(&mut self) -> &mut C {
        match &mut self.held {
            Some(held) => &mut held.inner.conn,
            None => absent(),
        }
    }
}

impl<C: Send + 'static> Drop for Lease<C> {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.home.returned(held);
        }
    }
}

impl<C: Send + 'static> fmt::Debug for Lease<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("connection", &self.held().inner.tag.id).finish_non_exhaustive()
    }
}

/// A home that calls a closure first.
struct Then<C> {
    home: Arc<dyn LeaseOwner<C>>,
    then: Mutex<Option<ThenFn<C>>>,
}

type ThenFn<C> = Box<dyn FnOnce(&mut C) + Send>;

impl<C: Send + 'static> LeaseOwner<C> for Then<C> {
    fn returned(&self, mut held: PooledConnection<C>) {
        let then = mem::take(&mut *self.then.lock().unwrap_or_else(PoisonError::into_inner));
        let calm = then.is_none_or(|then| catch_unwind(AssertUnwindSafe(|| then(&mut held.inner.conn))).is_ok());
        if calm { self.home.returned(held) } else { self.home.discarded(held, CloseReason::Panicked) }
    }

    fn discarded(&self, held: PooledConnection<C>, reason: CloseReason) {
        self.home.discarded(held, reason);
    }

    fn detached(&self, tag: &LeaseMeta) {
        self.home.detached(tag);
    }

    fn info(&self, tag: &LeaseMeta) -> ConnectionInfo {
        self.home.info(tag)
    }
}

/// A home that calls a closure last, however the lease ends.
struct Finally<C> {
    home: Arc<dyn LeaseOwner<C>>,
    then: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl<C> Finally<C> {
    fn end(&self) {
        let then = mem::take(&mut *self.then.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(then) = then {
            // The lease has ended already: a panic in counting must not reach the borrower.
            let _ = catch_unwind(AssertUnwindSafe(then));
        }
    }
}

impl<C: Send + 'static> LeaseOwner<C> for Finally<C> {
    fn returned(&self, held: PooledConnection<C>) {
        self.home.returned(held);
        self.end();
    }

    fn discarded(&self, held: PooledConnection<C>, reason: CloseReason) {
        self.home.discarded(held, reason);
        self.end();
    }

    fn detached(&self, tag: &LeaseMeta) {
        self.home.detached(tag);
        self.end();
    }

    fn info(&self, tag: &LeaseMeta) -> ConnectionInfo {
        self.home.info(tag)
    }
}
