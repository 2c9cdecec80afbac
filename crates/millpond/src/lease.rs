//! The guard returned by [`DatabaseConnection::acquire`](crate::DatabaseConnection::acquire).

use crate::any_connection::AnyConnection;
use crate::backends::{TypedLease, each};
use millpond_core::{ConnectionInfo, Lease};
use millpond_sqlx::SqlLease;
use std::ops::{Deref, DerefMut};

/// A lent connection.
///
/// `&mut *lease` is an `Executor` in sqlx's `Any` types, as is `&mut lease`. Dropping the lease
/// returns the connection without waiting, on any thread. It has associated functions instead of
/// methods, so that none hides a method of the connection: `DatabaseLease::discard(lease)`.
#[derive(Debug)]
#[must_use = "the connection is returned when the lease is dropped"]
pub struct DatabaseLease(pub(crate) TypedLease);

impl DatabaseLease {
    /// Closes the connection instead of lending it again.
    pub fn discard(lease: Self) {
        each!(TypedLease, lease.0, lease => SqlLease::discard(lease));
    }

    /// Removes the connection from the pool permanently. Its slot is free at once, and the
    /// connection is closed when it is dropped.
    #[must_use]
    pub fn detach(lease: Self) -> Box<dyn AnyConnection> {
        each!(TypedLease, lease.0, lease => Box::new(Lease::detach(SqlLease::into_inner(lease))))
    }

    /// Returns the connection's number, its age and how many times it was lent.
    pub fn info(lease: &Self) -> ConnectionInfo {
        each!(TypedLease, &lease.0, lease => SqlLease::info(lease))
    }
}

impl Deref for DatabaseLease {
    type Target = dyn AnyConnection;

    fn deref(&self) -> &Self::Target {
        each!(TypedLease, &self.0, lease => &**lease)
    }
}

impl DerefMut for DatabaseLease {
    fn deref_mut(&mut self) -> &mut Self::Target {
        each!(TypedLease, &mut self.0, lease => &mut **lease)
    }
}
