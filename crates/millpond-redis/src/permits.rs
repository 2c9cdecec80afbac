//! What an acquire does when all connections are lent.

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
#[derive(Debug)]
pub(crate) struct Permits {
    lent: AtomicU32,
    max: u32,
}

impl Permits {
    pub(crate) fn new(max: u32) -> Arc<Self> {
        Arc::new(Self { lent: AtomicU32::new(0), max })
    }

    /// Returns `None` if all connections are lent.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Permit> {
        let more = |lent| (lent < self.max).then_some(lent + 1);
        self.lent.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Permit(Arc::clone(self)))
    }

    /// Issues a permit beyond the limit; the previous holder's is about to be released.
    pub(crate) fn owe(self: &Arc<Self>) -> Permit {
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
