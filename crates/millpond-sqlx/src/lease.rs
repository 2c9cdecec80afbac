//! The guards that a borrower holds: one that follows what is done with the connection, and one
//! that cannot.

use crate::tracked::Tracked;
use millpond_core::{CloseReason, ConnectionInfo, Lease};
use sqlx::Database;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// A connection on loan: what [`SqlPool::acquire`](crate::SqlPool::acquire) gives.
///
/// `&mut *lease` is an `Executor`; `&mut lease` can be passed to a function that takes `&mut
/// SqliteConnection` and the like, and is an `Acquire`. Dropping it gives the connection back,
/// anywhere and without waiting. It has no methods, so that none can hide one of the connection's:
/// `SqlLease::detach(lease)`.
#[must_use = "the connection goes back when the lease is dropped"]
pub struct SqlLease<DB: Database>(Lease<Tracked<DB>>);

impl<DB: Database> SqlLease<DB> {
    /// Makes a lease of one that a pool of your own has lent.
    pub fn new(lease: Lease<Tracked<DB>>) -> Self {
        Self(lease)
    }

    /// Takes the connection out of the pool for good. Its place is free at once.
    ///
    /// A cancel that is on its way for a statement that was dropped or has exceeded its limit can
    /// still hit what is executed next: execute something on the lease first, which waits for it.
    pub fn detach(lease: Self) -> DB::Connection {
        Lease::detach(lease.0).into_driver()
    }

    /// Gives the connection back and says that it must not be lent again.
    pub fn discard(lease: Self) {
        Lease::discard(lease.0, CloseReason::Discarded);
    }

    /// What is known of the connection: its number, its age, how often it was lent.
    pub fn info(lease: &Self) -> ConnectionInfo {
        Lease::info(&lease.0)
    }

    /// The lease as the core knows it.
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

/// A connection on loan as code that is generic over sqlx's `Acquire` gets it,
/// `migrate!().run(&pool)` for one.
///
/// `Acquire` demands that it dereferences to the driver's own connection, so what is done with it
/// is not followed, and the connection is verified when it comes back.
#[must_use = "the connection goes back when the lease is dropped"]
pub struct RawLease<DB: Database>(SqlLease<DB>);

impl<DB: Database> RawLease<DB> {
    pub(crate) fn new(lease: SqlLease<DB>) -> Self {
        Self(lease)
    }

    /// The lease that follows what is done with the connection from now on.
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
        // It is called for every statement, and what follows from the first one holds for all.
        if self.0.shown { self.0.driver_mut() } else { &mut self.0 }
    }
}

impl<DB: Database> fmt::Debug for RawLease<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RawLease").field(&*self.0).finish()
    }
}
