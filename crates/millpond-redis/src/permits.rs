//! What an acquire does when all connections are lent.

use millpond_core::PoolConfig;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What an acquire does when all connections are lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnExhausted {
    /// It waits in turn, for up to `pool_timeout`.
    #[default]
    Wait,
    /// It fails at once, as in redis-py's `ConnectionPool`. It still waits for a connection to
    /// open.
    Fail,
}

/// Counts the lent connections, for [`OnExhausted::Fail`].
#[derive(Debug, Default)]
pub(crate) struct Permits {
    lent: AtomicU32,
}

impl Permits {
    /// Returns `None` if all connections of a pool of these sizes are lent.
    pub(crate) fn take(self: &Arc<Self>, sizes: &PoolConfig) -> Option<Permit> {
        let max = sizes.pool_size.saturating_add(sizes.max_overflow);
        let more = |lent| (lent < max).then_some(lent + 1);
        self.lent.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Permit(Arc::clone(self)))
    }

    /// Issues a permit beyond the limit; the previous holder's is about to be released.
    pub(crate) fn issue_extra(self: &Arc<Self>) -> Permit {
        self.lent.fetch_add(1, Ordering::AcqRel);
        Permit(Arc::clone(self))
    }
}

/// Counts one lent connection until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Permits>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.lent.fetch_sub(1, Ordering::AcqRel);
    }
}
