//! What the suite asks of a pool beyond [`Pool`](millpond_core::Pool), and how ours answer.

use crate::conformance::fixture::Capability;
use millpond_core::{Buildable, Invalidate, Manager, NullPool, Pool, QueuePool};
use millpond_shared::SharedPool;

/// A pool that can be tried: one of ours, or one of yours that wraps one of ours.
pub trait PoolUnderTest: Pool<Connection = <Self::Manager as Manager>::Connection> + Clone {
    /// Who opens its connections.
    type Manager: Manager;
    /// What the builder builds: the pool itself, or the one that it wraps.
    type Base: Buildable<Manager = Self::Manager>;

    /// What it can do.
    const CAN: &'static [Capability];

    /// The pool over what was built.
    fn over(base: Self::Base) -> Self;

    /// The pool of exclusive connections behind it, whose size can be changed.
    fn queue(&self) -> Option<&QueuePool<Self::Manager>>;

    /// Has nothing lent again that was opened before.
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
