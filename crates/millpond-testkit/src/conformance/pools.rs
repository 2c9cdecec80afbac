//! What the suite needs from a pool beyond [`Pool`](millpond_core::Pool), for millpond's own pools.

use crate::conformance::fixture::Capability;
use millpond_core::{Buildable, Invalidate, Manager, NullPool, Pool, QueuePool};
use millpond_shared::SharedPool;

/// A pool that can be tested: one of millpond's, or a wrapper around one.
pub trait PoolUnderTest: Pool<Connection = <Self::Manager as Manager>::Connection> + Clone {
    /// The manager that opens the pool's connections.
    type Manager: Manager;
    /// What the builder builds: the pool itself, or the pool that it wraps.
    type Base: Buildable<Manager = Self::Manager>;

    /// The capabilities of the pool.
    const CAN: &'static [Capability];

    /// Wraps the built pool.
    fn over(base: Self::Base) -> Self;

    /// Returns the pool of exclusive connections behind this pool, whose size can be changed.
    fn queue(&self) -> Option<&QueuePool<Self::Manager>>;

    /// Makes sure that no connection opened before this call is lent again.
    fn invalidate_all(&self, how: Invalidate);
}

impl<M: Manager> PoolUnderTest for QueuePool<M> {
    type Manager = M;
    type Base = Self;

    const CAN: &'static [Capability] = &[Capability::Exclusive, Capability::Keeps];

    fn over(base: Self) -> Self {
        base
    }

    fn queue(&self) -> Option<&Self> {
        Some(self)
    }

    fn invalidate_all(&self, how: Invalidate) {
        Self::invalidate_all(self, how);
    }
}

impl<M: Manager> PoolUnderTest for NullPool<M> {
    type Manager = M;
    type Base = Self;

    const CAN: &'static [Capability] = &[Capability::Exclusive];

    fn over(base: Self) -> Self {
        base
    }

    fn queue(&self) -> Option<&QueuePool<M>> {
        Some(self)
    }

    fn invalidate_all(&self, how: Invalidate) {
        QueuePool::invalidate_all(self, how);
    }
}

impl<M: Manager> PoolUnderTest for SharedPool<M>
where
    M::Connection: Clone + Sync,
{
    type Manager = M;
    type Base = Self;

    const CAN: &'static [Capability] = &[Capability::Keeps];

    fn over(base: Self) -> Self {
        base
    }

    fn queue(&self) -> Option<&QueuePool<M>> {
        None
    }

    fn invalidate_all(&self, how: Invalidate) {
        Self::invalidate_all(self, how);
    }
}
