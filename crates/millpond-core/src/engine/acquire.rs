//! The future of an acquire: its fast paths, and what is done when it is dropped.

use crate::engine::Shared;
use crate::engine::checkout::{Pending, SHORT, Step};
use crate::ledger::{Claimant, Grant, Ledger};
use crate::{Lease, Manager, PoolError, Request, rt};
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

/// The future of an acquire. It borrows nothing, and it begins when it is first polled.
///
/// # Cancel safety
///
/// Dropping it loses no slot, no connection and no wake-up: what it had been granted goes to the
/// next waiter, a connection being opened for it goes to the pool, and so does one that was being
/// validated, if it succeeds.
#[must_use = "futures do nothing unless polled"]
pub struct Acquire<M: Manager> {
    /// `None` once the future has ended.
    shared: Option<Arc<Shared<M>>>,
    request: Request,
    /// `None` until something must be awaited.
    pending: Option<Pending<M>>,
}

impl<M: Manager> Acquire<M> {
    pub(crate) fn new(shared: &Arc<Shared<M>>, request: Request) -> Self {
        Self { shared: Some(Arc::clone(shared)), request, pending: None }
    }

    /// The fast paths of a poll: a lease, or a position in the queue. `None`: something is due that
    /// only the slow path does.
    #[inline]
    fn poll_fresh(&mut self, cx: &mut Context<'_>) -> Option<Poll<Lease<M::Connection>>> {
        let shared = self.shared.as_ref().filter(|shared| shared.fast_checkout)?;
        let held = match &mut self.pending {
            None if !shared.unlocked.contended.load(Ordering::Relaxed) => {
                let caller = self.request.caller();
                shared
                    .change_at(shared.loan_time(), |ledger, now| ledger.take_fresh(caller, now))?
            }
            None => {
                self.pending = Some(join_fresh(shared, self.request, cx)?);
                return Some(Poll::Pending);
            }
            Some(pending) => {
                let Step::Waiting(ticket) = &pending.step else { return None };
                let now = shared.clock.coarse();
                let fresh = |granted: &Grant<_>| match granted {
                    Grant::Ready(held) => shared.is_fresh(&held.inner.meta, now),
                    _ => false,
                };
                let Some(Grant::Ready(mut held)) = ticket.cell.take_if(fresh) else { return None };
                if let Step::Waiting(ticket) = mem::replace(&mut pending.step, Step::Taken) {
                    held.inner.cell = Some(ticket.cell);
                }
                shared.unlocked.taken_unlocked.fetch_add(1, Ordering::Relaxed);
                // Its timer would wake the task once more.
                self.pending = None;
                held
            }
        };
        self.shared.take().map(|owner| Poll::Ready(Lease::lend(held, owner)))
    }
}

/// Joins the queue while other callers wait.
#[inline]
fn join_fresh<M: Manager>(
    shared: &Shared<M>,
    request: Request,
    cx: &mut Context<'_>,
) -> Option<Pending<M>> {
    let limit = request.limit.unwrap_or(shared.config.pool_timeout);
    if limit <= SHORT {
        return None;
    }
    let mut claimant = Claimant::new(request.caller(), limit, false);
    // Cloned, and dropped if it is not needed, outside the lock.
    let mut waker = Some(cx.waker().clone());
    let join = |ledger: &mut Ledger<_>, now| ledger.join_fresh(&mut claimant, &mut waker, now);
    let ticket = shared.change_at(shared.clock.coarse(), join)?;
    Some(Pending::new(claimant, Step::Waiting(ticket)))
}

impl<M: Manager> Future for Acquire<M> {
    type Output = Result<Lease<M::Connection>, PoolError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.pending.is_none() && rt::cooperate(cx).is_pending() {
            return Poll::Pending;
        }
        if let Some(poll) = this.poll_fresh(cx) {
            return poll.map(Ok);
        }
        let Some(shared) = &this.shared else { return Poll::Pending };
        let request = this.request;
        let pending = this.pending.get_or_insert_with(|| Pending::begin(shared, request));
        let outcome = ready!(pending.poll(shared, cx));
        this.pending = None;
        let Some(owner) = this.shared.take() else { return Poll::Pending };
        Poll::Ready(outcome.map(|held| Lease::lend(held, owner)))
    }
}

impl<M: Manager> Drop for Acquire<M> {
    #[inline]
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take()
            && let Some(pending) = self.pending.take()
        {
            pending.cancel(&shared);
        }
    }
}

opaque_debug!([M: Manager] Acquire<M>, "Acquire", |it| { request: it.request });
