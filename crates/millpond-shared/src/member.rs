//! `Member`: a connection of a pool over a multiplexer, while new borrowers may get it.

use millpond_core::{CloseReason, ConnectionId, Lease, Manager, Shares};
use std::fmt;
use std::ops::Deref;
use std::sync::OnceLock;

/// A connection of which a pool over a [`Multiplexer`](crate::Multiplexer) lends shares.
/// Dereferences to the connection, and closes it when dropped: keep the member until the last share
/// has ended, for example in an `Arc` that the owner of each share has too.
#[must_use = "a member is closed when it is dropped"]
pub struct Member<M: Manager> {
    shares: Shares<M>,
    pub(crate) lease: Lease<M::Connection>,
    id: ConnectionId,
    reason: OnceLock<CloseReason>,
}

impl<M: Manager> Member<M> {
    pub(crate) fn new(shares: Shares<M>, lease: Lease<M::Connection>) -> Self {
        let id = Lease::info(&lease).id;
        Self { shares, lease, id, reason: OnceLock::new() }
    }

    /// Returns the number of the connection.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Returns why the member should get no new borrowers: [`CloseReason::Recycled`] if it is as
    /// old as `pool_recycle`, [`CloseReason::Invalidated`] if it is older than the last
    /// `invalidate_all`, failover or end of the runtime. Returns `None` if it is fit; this check
    /// takes no lock.
    pub fn unfit(&self) -> Option<CloseReason> {
        self.shares.unfit(&self.lease)
    }

    /// Sets the reason with which the connection will be closed, unless one is set. The default is
    /// that of [`unfit`](Self::unfit), or else [`CloseReason::Discarded`].
    pub fn dismiss(&self, reason: CloseReason) {
        let _ = self.reason.set(reason);
    }
}

impl<M: Manager> Deref for Member<M> {
    type Target = M::Connection;
    fn deref(&self) -> &M::Connection {
        &self.lease
    }
}

impl<M: Manager> Drop for Member<M> {
    fn drop(&mut self) {
        let reason = self.reason.get().copied().or_else(|| self.unfit());
        self.shares.close(&mut self.lease, reason.unwrap_or(CloseReason::Discarded));
    }
}

impl<M: Manager> fmt::Debug for Member<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("id", &self.id()).finish_non_exhaustive()
    }
}
