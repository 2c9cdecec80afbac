//! The guards that a borrower holds: `SqlLease`, which tracks its connection, and `RawLease`, which
//! cannot.

use crate::tracked::Tracked;
use millpond_core::{CloseReason, ConnectionInfo, Lease};
use sqlx::{Database, Error};
use std::fmt;
use std::future::{self, Future};
use std::ops::{Deref, DerefMut};

/// A lent connection, returned by [`SqlPool::acquire`](crate::SqlPool::acquire).
///
/// `&mut *lease` is an `Executor`; `&mut lease` can be passed to a function that takes `&mut
/// SqliteConnection` and the like, and is an `Acquire`. Dropping it returns the connection without
/// waiting, on any thread. Its methods are [`begin`](Self::begin), [`begin_with`](Self::begin_with)
/// and those of sqlx's `PoolConnection`; the others are called as `SqlLease::discard(lease)`, so
/// that they cannot hide one of the connection's.
#[must_use = "the connection is returned when the lease is dropped"]
pub struct SqlLease<DB: Database>(Lease<Tracked<DB>>);

impl<DB: Database> SqlLease<DB> {
    /// Wraps a lease of a custom pool.
    pub fn new(lease: Lease<Tracked<DB>>) -> Self {
        Self(lease)
    }

    /// Removes the connection from the pool permanently. Its slot is free at once.
    ///
    /// A pending cancel of a dropped or expired statement can still hit the next statement: execute
    /// one on the lease first, which waits for the cancel.
    pub fn detach(self) -> DB::Connection {
        Lease::detach(self.0).into_driver()
    }

    /// Returns the connection, which is closed instead of being lent again, as sqlx's method of
    /// this name does. The close is not waited for: the pool closes it, and it holds its slot until
    /// then.
    ///
    /// # Errors
    ///
    /// None.
    ///
    /// # Cancel safety
    ///
    /// The connection is returned by the call, whether or not the future is polled.
    pub fn close(self) -> impl Future<Output = Result<(), Error>> + Send + 'static + use<DB> {
        Self::discard(self);
        future::ready(Ok(()))
    }

    /// Returns the connection, which is closed instead of being lent again.
    pub fn discard(lease: Self) {
        Lease::discard(lease.0, CloseReason::Discarded);
    }

    /// Returns the connection's number, its age and how often it was lent.
    pub fn info(lease: &Self) -> ConnectionInfo {
        Lease::info(&lease.0)
    }

    /// Returns the core's lease.
    pub fn into_inner(lease: Self) -> Lease<Tracked<DB>> {
        lease.0
    }
}

impl<DB: Database> Deref for SqlLease<DB> {
    type Target = Tracked<DB>;
    fn deref(&self) -> &Tracked<DB> {
        &self.0
    }
}

impl<DB: Database> DerefMut for SqlLease<DB> {
    fn deref_mut(&mut self) -> &mut Tracked<DB> {
        &mut self.0
    }
}

impl<DB: Database> AsRef<DB::Connection> for SqlLease<DB> {
    fn as_ref(&self) -> &DB::Connection {
        self
    }
}

impl<DB: Database> AsMut<DB::Connection> for SqlLease<DB> {
    fn as_mut(&mut self) -> &mut DB::Connection {
        self
    }
}

impl<DB: Database> fmt::Debug for SqlLease<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SqlLease").field(&*self.0).finish()
    }
}

/// A lent connection for code that is generic over sqlx's `Acquire`, such as
/// `migrate!().run(&pool)`.
///
/// `Acquire` requires that it dereferences to the driver's connection, so its use is not tracked,
/// and the connection is verified on return.
#[must_use = "the connection is returned when the lease is dropped"]
pub struct RawLease<DB: Database>(SqlLease<DB>);

impl<DB: Database> RawLease<DB> {
    pub(crate) fn new(lease: SqlLease<DB>) -> Self {
        Self(lease)
    }

    /// Returns a lease that tracks the connection from now on.
    pub fn into_lease(lease: Self) -> SqlLease<DB> {
        lease.0
    }
}

impl<DB: Database> Deref for RawLease<DB> {
    type Target = DB::Connection;
    fn deref(&self) -> &DB::Connection {
        &self.0
    }
}

impl<DB: Database> DerefMut for RawLease<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        // Called for every statement; only the first call has to update the tracked state.
        if self.0.needs_sync_check { self.0.driver_mut() } else { &mut self.0 }
    }
}

impl<DB: Database> fmt::Debug for RawLease<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RawLease").field(&*self.0).finish()
    }
}
