//! The guard that a borrower holds, and the owner to which it returns its connection.

use crate::rt::catch_panic;
use crate::{CloseReason, ConnectionInfo, LeaseMeta, PooledConnection};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// Receives the connection of a lease that ends. Implement it for a pool of your own that wraps
/// nothing; a pool that wraps another one needs only [`Lease::on_return`] or [`Lease::on_end`].
///
/// All three are called from the borrower's thread, possibly while it unwinds, possibly outside any
/// runtime: they must not block and not panic.
pub trait LeaseOwner<C: Send + 'static>: Send + Sync + 'static {
    /// The lease was dropped; `held` is its connection.
    fn returned(&self, held: PooledConnection<C>);

    /// The borrower discarded the connection. The default drops it.
    fn discarded(&self, held: PooledConnection<C>, reason: CloseReason) {
        let _ = reason;
        drop(held);
    }

    /// The borrower detached the connection. The default does nothing.
    fn detached(&self, meta: &LeaseMeta) {
        let _ = meta;
    }

    /// Information about a lent connection. The default knows its number.
    fn info(&self, meta: &LeaseMeta) -> ConnectionInfo {
        let mut info = ConnectionInfo::new(Arc::from(""), meta.id, meta.generation);
        info.uses = meta.uses;
        info
    }
}

/// A lent connection. Dereferences to it, and returns it to the pool when dropped.
///
/// Dropping never blocks, never does I/O, and works anywhere: outside a runtime, during its
/// shutdown, after the pool. It has no methods of its own, so that none can hide one of the
/// connection's: `Lease::detach(lease)`.
#[must_use = "the connection goes back when the lease is dropped"]
pub struct Lease<C: Send + 'static> {
    /// `None` only inside `drop`, `detach` and `discard`, which consume the lease.
    held: Option<PooledConnection<C>>,
    owner: Arc<dyn LeaseOwner<C>>,
}

impl<C: Send + 'static> Lease<C> {
    /// Lends a connection of a custom pool; when the lease ends, `owner` gets it back.
    pub fn new(conn: C, owner: Arc<dyn LeaseOwner<C>>) -> Self {
        Self::lend(PooledConnection::new(conn, LeaseMeta::of_a_custom_pool()), owner)
    }

    pub(crate) fn lend(held: PooledConnection<C>, owner: Arc<dyn LeaseOwner<C>>) -> Self {
        Self { held: Some(held), owner }
    }

    /// Takes the connection out of the pool. Its slot is free at once.
    pub fn detach(lease: Self) -> C {
        let (held, owner) = lease.into_parts();
        owner.detached(&held.inner.meta);
        held.into_connection()
    }

    /// Returns the connection to be closed instead of lent again.
    pub fn discard(lease: Self, reason: CloseReason) {
        let (held, owner) = lease.into_parts();
        owner.discarded(held, reason);
    }

    /// Information about the connection.
    pub fn info(lease: &Self) -> ConnectionInfo {
        lease.owner.info(&lease.held().inner.meta)
    }

    /// Calls `then` when the lease ends by being dropped, before the connection goes back. For
    /// pools that wrap another pool: SQLAlchemy's `_do_return_conn`. Not called when the connection
    /// is detached or discarded; a panic in it discards the connection.
    pub fn on_return(lease: Self, then: impl FnOnce(&mut C) + Send + 'static) -> Self {
        let (held, owner) = lease.into_parts();
        let on_return = Mutex::new(Some(Box::new(then) as _));
        Self::lend(held, Arc::new(Wrapped { owner, on_return, on_end: Mutex::new(None) }))
    }

    /// Calls `then` when the lease has ended: dropped, discarded or detached. For pools that count
    /// their leases. A panic in it is caught.
    pub fn on_end(lease: Self, then: impl FnOnce() + Send + 'static) -> Self {
        let (held, owner) = lease.into_parts();
        let on_end = Mutex::new(Some(Box::new(then) as _));
        Self::lend(held, Arc::new(Wrapped { owner, on_return: Mutex::new(None), on_end }))
    }

    pub(crate) fn meta(&self) -> &LeaseMeta {
        &self.held().inner.meta
    }

    /// Gives the connection back to be closed. The lease is empty afterwards: for the drop of what
    /// has it.
    pub(crate) fn end(&mut self, reason: CloseReason) {
        if let Some(held) = self.held.take() {
            self.owner.discarded(held, reason);
        }
    }

    /// Takes the lease apart without calling its owner.
    fn into_parts(mut self) -> (PooledConnection<C>, Arc<dyn LeaseOwner<C>>) {
        let owner = Arc::clone(&self.owner);
        match self.held.take() {
            Some(held) => (held, owner),
            None => empty_lease(),
        }
    }

    fn held(&self) -> &PooledConnection<C> {
        match &self.held {
            Some(held) => held,
            None => empty_lease(),
        }
    }
}

/// A lease without a connection cannot be reached: taking the connection out consumes the lease.
#[expect(
    clippy::unreachable,
    reason = "Drop needs to move out of the lease, and safe code has only Option for that"
)]
fn empty_lease() -> ! {
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
            None => empty_lease(),
        }
    }
}

impl<C: Send + 'static> Drop for Lease<C> {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.owner.returned(held);
        }
    }
}

opaque_debug!([C: Send + 'static] Lease<C>, "Lease", |it| { connection: it.held().inner.meta.id });

/// An owner that calls a closure before the connection goes back to another owner, or after that.
struct Wrapped<C> {
    owner: Arc<dyn LeaseOwner<C>>,
    on_return: Once<dyn FnOnce(&mut C) + Send>,
    on_end: Once<dyn FnOnce() + Send>,
}

type Once<F> = Mutex<Option<Box<F>>>;

fn take<F: ?Sized>(closure: &Once<F>) -> Option<Box<F>> {
    closure.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl<C> Wrapped<C> {
    fn run_on_end(&self) {
        if let Some(then) = take(&self.on_end) {
            // The lease has ended already: a panic must not reach the borrower.
            let _ = catch_panic(then);
        }
    }
}

impl<C: Send + 'static> LeaseOwner<C> for Wrapped<C> {
    fn returned(&self, mut held: PooledConnection<C>) {
        let returns = take(&self.on_return)
            .is_none_or(|then| catch_panic(|| then(&mut held.inner.conn)).is_ok());
        if returns {
            self.owner.returned(held);
        } else {
            self.owner.discarded(held, CloseReason::Panicked);
        }
        self.run_on_end();
    }

    fn discarded(&self, held: PooledConnection<C>, reason: CloseReason) {
        self.owner.discarded(held, reason);
        self.run_on_end();
    }

    fn detached(&self, meta: &LeaseMeta) {
        self.owner.detached(meta);
        self.run_on_end();
    }

    fn info(&self, meta: &LeaseMeta) -> ConnectionInfo {
        self.owner.info(meta)
    }
}
