//! The guard that a borrower holds, and the way back that every pool gives it.

use crate::event::CloseReason;
use crate::info::ConnectionInfo;
use crate::ledger::{LeaseMeta, PooledConnection};
use std::fmt;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Where a lease goes when it ends. Implement it for a pool of your own that wraps nothing; a pool
/// that wraps another one needs only [`Lease::on_return`] or [`Lease::on_end`].
///
/// All three are called from the borrower's thread, possibly while it unwinds, possibly outside any
/// runtime: they must not block and not panic.
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
/// Dropping never blocks, never does I/O, and works anywhere: outside a runtime, during its
/// shutdown, after the pool. It has no methods of its own, so that none can hide one of the
/// connection's: `Lease::detach(lease)`.
#[must_use = "the connection goes back when the lease is dropped"]
pub struct Lease<C: Send + 'static> {
    /// `None` only inside `drop`, `detach` and `discard`, which consume the lease.
    held: Option<PooledConnection<C>>,
    home: Arc<dyn LeaseOwner<C>>,
}

impl<C: Send + 'static> Lease<C> {
    /// Lends a connection of a custom pool; when the lease ends, `home` gets it back.
    pub fn new(conn: C, home: Arc<dyn LeaseOwner<C>>) -> Self {
        Self::lend(PooledConnection::new(conn, LeaseMeta::of_a_custom_pool()), home)
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

    /// Calls `then` when the lease ends by being dropped, before the connection goes back. For
    /// pools that wrap another pool: SQLAlchemy's `_do_return_conn`. Not called when the connection
    /// is detached or discarded; a panic in it discards the connection.
    pub fn on_return(lease: Self, then: impl FnOnce(&mut C) + Send + 'static) -> Self {
        let (held, home) = lease.dissolve();
        Self::lend(held, Arc::new(Then { home, then: Mutex::new(Some(Box::new(then))) }))
    }

    /// Calls `then` when the lease has ended, in whatever way: dropped, discarded or detached. For
    /// pools that count what they have out. A panic in it is caught.
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

/// A lease without a connection cannot be reached: taking the connection out consumes the lease.
#[expect(
    clippy::unreachable,
    reason = "Drop needs to move out of the lease, and safe code has only Option for that"
)]
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
        f.debug_struct("Lease")
            .field("connection", &self.held().inner.tag.id)
            .finish_non_exhaustive()
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
        let calm = then.is_none_or(|then| {
            catch_unwind(AssertUnwindSafe(|| then(&mut held.inner.conn))).is_ok()
        });
        if calm {
            self.home.returned(held)
        } else {
            self.home.discarded(held, CloseReason::Panicked)
        }
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
