//! What happens to whoever asks when all connections are lent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What happens to whoever asks when all connections are lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnExhausted {
    /// Waits in turn, for up to `pool_timeout`.
    #[default]
    Wait,
    /// Gets an error at once, as with redis-py's `ConnectionPool`. Opening a connection is still waited for.
    Fail,
}

/// How many connections are lent, where nobody may wait for one.
#[derive(Debug)]
pub(crate) struct Permits {
    lent: AtomicU32,
    max: u32,
}

impl Permits {
    pub(crate) fn new(max: u32) -> Arc<Self> {
        Arc::new(Self { lent: AtomicU32::new(0), max })
    }

    /// `None` if all connections are lent.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Permit> {
        let more = |lent| (lent < self.max).then_some(lent + 1);
        self.lent.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Permit(Arc::clone(self)))
    }

    /// A permit for somebody who has a connection already, whose last borrower is about to give back his.
    pub(crate) fn owe(self: &Arc<Self>) -> Permit {
        self.lent.fetch_add(1, Ordering::AcqRel);
        Permit(Arc::clone(self))
    }
}

/// That one connection is lent.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Permits>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.lent.fetch_sub(1, Ordering::AcqRel);
    }
}
