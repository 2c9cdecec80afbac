//! A slot within the limit for a connection that is opened past the pool, such as one that sends a
//! cancel to the same server.

use crate::Manager;
use crate::engine::Shared;
use std::fmt;
use std::sync::Arc;

/// A slot within the limit, held for a connection that is opened past the pool. It is free again
/// when this is dropped: close that connection first. See
/// [`QueuePool::try_reserve`](crate::QueuePool::try_reserve).
#[must_use = "the slot is free again when the reservation is dropped"]
pub struct Reservation {
    landlord: Arc<dyn Landlord>,
    slot: u32,
}

/// The pool that the slot belongs to.
trait Landlord: Send + Sync {
    fn vacate(&self, slot: u32);
}

impl Reservation {
    /// Takes a slot if one is free.
    pub(crate) fn try_new<M: Manager>(shared: &Arc<Shared<M>>) -> Option<Self> {
        let slot = shared.change(|ledger, now| ledger.reserve(now))?;
        Some(Self { landlord: Arc::<Shared<M>>::clone(shared), slot })
    }
}

impl<M: Manager> Landlord for Shared<M> {
    fn vacate(&self, slot: u32) {
        self.change(|ledger, now| ledger.free(slot, now));
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.landlord.vacate(self.slot);
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").finish_non_exhaustive()
    }
}
