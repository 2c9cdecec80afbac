//! A slot within the limit for a connection that is opened past the pool, such as one that sends a
//! cancel to the same server.

use crate::Manager;
use crate::engine::{Shared, SlotGuard};
use std::any::Any;
use std::sync::Arc;

/// A slot within the limit, held for a connection that is opened past the pool. It is free again
/// when this is dropped: close that connection first. See
/// [`QueuePool::try_reserve`](crate::QueuePool::try_reserve).
#[must_use = "the slot is free again when the reservation is dropped"]
pub struct Reservation {
    _slot: Box<dyn Any + Send + Sync>,
}

impl Reservation {
    pub(crate) fn try_new<M: Manager>(shared: &Arc<Shared<M>>) -> Option<Self> {
        let slot = shared.change(|ledger, now| ledger.reserve(now))?;
        Some(Self { _slot: Box::new(SlotGuard::new(Arc::clone(shared), slot)) })
    }
}

opaque_debug!([] Reservation, "Reservation", |_it| {});
