//! The floor: not a pool, only tokio's semaphore and a queue. It has no deadlines, ages, checks,
//! hooks or counters; the lease borrows.

use crate::books::{Books, Opener, Wire};
use crate::competitor::{Competitor, Spec};
use crossbeam_queue::ArrayQueue;
use std::sync::Arc;
use tokio::sync::{Semaphore, SemaphorePermit};

/// A semaphore and a queue.
pub(crate) struct Baseline {
    permits: Semaphore,
    idle: ArrayQueue<Box<Wire>>,
    opener: Opener,
}

/// A connection and its permit.
pub(crate) struct FloorLease<'a> {
    /// `None` only inside `drop`.
    wire: Option<Box<Wire>>,
    idle: &'a ArrayQueue<Box<Wire>>,
    /// Released after the connection is back, since fields are dropped after `drop`.
    _permit: SemaphorePermit<'a>,
}

impl Competitor for Arc<Baseline> {
    const NAME: &'static str = "floor";
    type Lease<'a> = FloorLease<'a>;

    async fn open(books: &Arc<Books>, spec: Spec) -> Self {
        let places = spec.cap as usize;
        let opener = Opener(Arc::clone(books));
        Self::new(Baseline {
            permits: Semaphore::new(places),
            idle: ArrayQueue::new(places),
            opener,
        })
    }

    async fn acquire(&self) -> Self::Lease<'_> {
        let permit = self.permits.acquire().await.expect("it is never closed");
        let wire = match self.idle.pop() {
            Some(wire) => wire,
            None => self.opener.open().await,
        };
        FloorLease { wire: Some(wire), idle: &self.idle, _permit: permit }
    }
}

impl Drop for FloorLease<'_> {
    fn drop(&mut self) {
        if let Some(wire) = self.wire.take() {
            // There are as many slots as permits.
            let _ = self.idle.push(wire);
        }
    }
}
