//! What follows from a change of the ledger and is done once its lock is released.

use crate::ledger::{PooledConnection, Validation};
use crate::{CloseReason, PoolError, SharedError};
use std::task::Waker;

/// What has to be done once the lock is released. Wakers and destructors are user code.
#[derive(Debug)]
pub(crate) enum Effect<C> {
    Wake(Waker),
    /// Wakes `close` and `prewarm`, with the number of the change.
    Changed(u64),
    /// Drops a connection that no maintenance task is left to close.
    Drop(PooledConnection<C>, CloseReason),
    /// Cuts off a validation that no maintenance task is left to complete.
    CutOff(Validation<C>),
    Forget(SharedError),
    /// Drops a refusal that was granted to a waiter who has left.
    ForgetRefusal(PoolError),
}

#[derive(Debug)]
pub(crate) struct Effects<C> {
    /// The first task to be woken: most changes have no other effect, and this one is not
    /// allocated.
    pub(crate) wake: Option<Waker>,
    pub(crate) others: Vec<Effect<C>>,
}

impl<C> Default for Effects<C> {
    fn default() -> Self {
        Self { wake: None, others: Vec::new() }
    }
}

impl<C> Effects<C> {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.wake.is_none() && self.others.is_empty()
    }

    pub(crate) fn push(&mut self, effect: Effect<C>) {
        match effect {
            Effect::Wake(waker) if self.wake.is_none() => self.wake = Some(waker),
            effect => self.others.push(effect),
        }
    }

    pub(crate) fn extend(&mut self, effects: impl IntoIterator<Item = Effect<C>>) {
        effects.into_iter().for_each(|effect| self.push(effect));
    }
}
