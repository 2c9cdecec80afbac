//! Leases: an exclusive connection, or a share of one.

use crate::client::RedisClient;
use crate::connection::RedisConnection;
use crate::permits::Permit;
use millpond_core::{CloseReason, ConnectionInfo, Lease};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// A lent [`RedisConnection`]. Dropping the lease returns it to the pool.
#[must_use = "the connection goes back when the lease is dropped"]
pub struct RedisLease {
    /// `None` only inside `drop` and `discard`.
    lease: Option<Lease<RedisConnection>>,
    /// Dropped after the lease, so that the next holder of the permit finds the connection
    /// returned.
    _permit: Option<Permit>,
}

impl RedisLease {
    pub(crate) fn new(lease: Lease<RedisConnection>, permit: Option<Permit>) -> Self {
        Self { lease: Some(lease), _permit: permit }
    }

    /// Returns the connection to be closed instead of lent again.
    pub fn discard(mut lease: Self) {
        if let Some(lease) = lease.lease.take() {
            Lease::discard(lease, CloseReason::Discarded);
        }
    }

    /// Returns facts about the connection.
    pub fn info(lease: &Self) -> ConnectionInfo {
        Lease::info(lease.held())
    }

    fn held(&self) -> &Lease<RedisConnection> {
        match &self.lease {
            Some(lease) => lease,
            None => absent(),
        }
    }
}

/// A lease without a connection cannot be reached: taking the connection consumes the lease.
fn absent() -> ! {
    unreachable!("a lease holds its connection until it is consumed")
}

impl Deref for RedisLease {
    type Target = RedisConnection;
    fn deref(&self) -> &RedisConnection {
        self.held()
    }
}

impl DerefMut for RedisLease {
    fn deref_mut(&mut self) -> &mut RedisConnection {
        match &mut self.lease {
            Some(lease) => lease,
            None => absent(),
        }
    }
}

impl Drop for RedisLease {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take()
            && lease.has_escaped()
        {
            Lease::discard(lease, CloseReason::HandleLeaked);
        }
    }
}

impl fmt::Debug for RedisLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLease")
            .field("connection", &Self::info(self).id)
            .finish_non_exhaustive()
    }
}

/// A share of a [`RedisClient`].
#[must_use = "the share goes back when the lease is dropped"]
pub struct SharedRedisLease {
    /// `None` only inside `drop`.
    lease: Option<Lease<Arc<RedisClient>>>,
}

impl SharedRedisLease {
    pub(crate) fn new(lease: Lease<Arc<RedisClient>>) -> Self {
        Self { lease: Some(lease) }
    }

    /// Returns facts about the connection.
    pub fn info(lease: &Self) -> ConnectionInfo {
        Lease::info(lease.held())
    }

    fn held(&self) -> &Lease<Arc<RedisClient>> {
        match &self.lease {
            Some(lease) => lease,
            None => absent(),
        }
    }
}

impl Deref for SharedRedisLease {
    type Target = RedisClient;
    fn deref(&self) -> &RedisClient {
        self.held()
    }
}

impl Drop for SharedRedisLease {
    fn drop(&mut self) {
        // The first borrower to notice that it is lost has it replaced.
        if let Some(lease) = self.lease.take()
            && !lease.is_fit()
        {
            Lease::discard(lease, CloseReason::Unverified);
        }
    }
}

impl fmt::Debug for SharedRedisLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedRedisLease")
            .field("connection", &Self::info(self).id)
            .finish_non_exhaustive()
    }
}
