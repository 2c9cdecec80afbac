//! What follows from a change of the ledger and is done when its lock is released: who is woken,
//! what is dropped.

use crate::error::PoolError;
use crate::event::{CloseReason, SharedError};
use crate::ledger::entry::{PooledConnection, Validation};
use std::task::Waker;

/// What has to be done when the lock is released.
#[derive(Debug)]
pub(crate) struct Effects<C> {
    pub(crate) wakes: Vec<Waker>,
    pub(crate) wake: Option<Waker>,
    /// Connections that nobody is left to close properly, and why they go.
    pub(crate) dropped: Vec<(PooledConnection<C>, CloseReason)>,
    /// Validations that nobody is left to see through.
    pub(crate) validations: Vec<Validation<C>>,
    /// Errors that nobody needs any more: their destructors are user code.
    pub(crate) errors: Vec<SharedError>,
    /// Refusals that were granted to waiters who have gone.
    pub(crate) refusals: Vec<PoolError>,
}

impl<C> Default for Effects<C> {
    fn default() -> Self {
        Self {
            wakes: Vec::new(),
            wake: None,
            dropped: Vec::new(),
            validations: Vec::new(),
            errors: Vec::new(),
            refusals: Vec::new(),
        }
    }
}

impl<C> Effects<C> {
    /// Whether there is anything to be done beyond one wake.
    pub(crate) fn is_large(&self) -> bool {
        let few = self.wakes.is_empty() && self.dropped.is_empty() && self.validations.is_empty();
        !(few && self.errors.is_empty() && self.refusals.is_empty())
    }
}
