//! The future of an acquire: its fast paths, the only loop of a checkout, and what is done when it
//! is dropped.

use crate::engine::checkout::{
    SHORT, Stand, Trip, begin, claim, fail, failed, hand_over, lent, look, pause, resume, validate,
};
use crate::engine::shared::Shared;
use crate::error::PoolError;
use crate::event::Event;
use crate::lease::Lease;
use crate::ledger::{Asker, Grant, Ticket, Validation};
use crate::manager::Manager;
use crate::request::Request;
use crate::rt::{self, COARSE_ERROR, Timer};
use std::fmt;
use std::future::Future;
use std::mem;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

/// The future of an acquire. It borrows nothing, and it begins when it is first polled.
///
/// # Cancel safety
///
/// Dropping it loses no place, no connection and no wake-up: what it had been granted goes to the
/// next waiter, a connection being opened for it goes to the pool, and so does one that was being
/// validated, if it turns out well.
#[must_use = "futures do nothing unless polled"]
pub struct Acquire<M: Manager> {
    /// `None` once the future has ended.
    shared: Option<Arc<Shared<M>>>,
    request: Request,
    state: State<M::Connection>,
}

enum State<C> {
    /// Not polled yet, or ended.
    Still,
    Waiting(Ticket<Grant<C>>, Trip),
    Validating(Validation<C>, Trip),
    /// Refused, and about to ask once more: when the timer rings, or when other tasks have had
    /// their turn.
    Pausing(Trip, Option<Timer>),
}

impl<M: Manager> Acquire<M> {
    pub(crate) fn new(shared: &Arc<Shared<M>>, request: Request) -> Self {
        Self { shared: Some(Arc::clone(shared)), request, state: State::Still }
    }

    /// The fast paths of a poll, where nothing at all is due: a lease, or a place in the queue.
    /// `None`: something is.
    #[inline]
    fn poll_fresh(&mut self, cx: &mut Context<'_>) -> Option<Poll<Lease<M::Connection>>> {
        let shared = self.shared.as_ref().filter(|shared| shared.plain_checkout)?;
        let held = match &self.state {
            State::Still if !shared.unlocked.crowded.load(Ordering::Relaxed) => {
                let caller = self.request.caller();
                shared.change_at(shared.glance(), |ledger, now| ledger.take_fresh(caller, now))?
            }
            State::Still => {
                self.state = self.join_fresh(shared, cx)?;
                return Some(Poll::Pending);
            }
            State::Waiting(ticket, _) => {
                let now = shared.clock.coarse();
                let fresh = |granted: &Grant<_>| match granted {
                    Grant::Fresh(held) => shared.is_fresh(&held.inner.tag, now),
                    _ => false,
                };
                let Some(Grant::Fresh(mut held)) = ticket.cell.take_if(fresh) else { return None };
                if let State::Waiting(ticket, _) = mem::replace(&mut self.state, State::Still) {
                    held.inner.cell = Some(ticket.cell);
                }
                shared.unlocked.fetched.fetch_add(1, Ordering::Relaxed);
                held
            }
            State::Validating(..) | State::Pausing(..) => return None,
        };
        self.shared.take().map(|home| Poll::Ready(Lease::lend(held, home)))
    }

    /// Where many wait: a place in the queue.
    #[inline]
    fn join_fresh(&self, shared: &Shared<M>, cx: &mut Context<'_>) -> Option<State<M::Connection>> {
        let limit = self.request.limit.unwrap_or(shared.config.pool_timeout);
        if limit <= SHORT {
            return None;
        }
        let caller = self.request.caller();
        // Cloned, and dropped if it is not needed, outside the lock.
        let mut waker = Some(cx.waker().clone());
        let now = shared.clock.coarse();
        let joined =
            shared.change_at(now, |ledger, now| ledger.join_fresh(caller, &mut waker, now));
        let (ticket, arrival) = joined?;
        let asker = Asker { caller, arrival, since: now, again: false, armed: false };
        // The coarse clock may be late: no deadline comes early.
        let deadline = now.after(COARSE_ERROR).after(limit);
        Some(State::Waiting(ticket, Trip { deadline, ..Trip::new(asker, limit) }))
    }
}

impl<M: Manager> Future for Acquire<M> {
    type Output = Result<Lease<M::Connection>, PoolError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if matches!(this.state, State::Still) && rt::cooperate(cx).is_pending() {
            return Poll::Pending;
        }
        if let Some(poll) = this.poll_fresh(cx) {
            return poll.map(Ok);
        }
        let Some(shared) = this.shared.take() else { return Poll::Pending };
        let (mut stand, mut trip) = match mem::replace(&mut this.state, State::Still) {
            State::Still => begin(&shared, this.request, cx),
            State::Waiting(ticket, trip) => (Stand::Wait(ticket), trip),
            State::Validating(validation, trip) => (Stand::Validate(validation), trip),
            State::Pausing(trip, timer) => (resume(timer, cx), trip),
        };
        loop {
            stand = match stand {
                Stand::Claim => claim(&shared, &mut trip, cx),
                Stand::NeedsMaintenance if shared.ensure_maintenance() => Stand::Claim,
                Stand::NeedsMaintenance => fail(&shared, &trip, PoolError::NoRuntime),
                Stand::Join { ticket, enlist, told } => {
                    if let Some((seq, waiting)) = told {
                        shared.tell_at(seq, &Event::Waiting { waiting });
                    }
                    if trip.asker.armed || (enlist && !shared.enlist()) {
                        Stand::Wait(ticket)
                    } else {
                        // The deadline thread wakes it when it is time for a timer.
                        this.state = State::Waiting(ticket, trip);
                        this.shared = Some(shared);
                        return Poll::Pending;
                    }
                }
                Stand::Wait(ticket) => match look(&shared, ticket, &mut trip, cx) {
                    Ok(stand) => stand,
                    Err(ticket) => {
                        this.state = State::Waiting(ticket, trip);
                        this.shared = Some(shared);
                        return Poll::Pending;
                    }
                },
                Stand::Validate(validation) => match validate(&shared, validation, &mut trip, cx) {
                    ControlFlow::Break(stand) => stand,
                    ControlFlow::Continue(validation) => {
                        this.state = State::Validating(validation, trip);
                        this.shared = Some(shared);
                        return Poll::Pending;
                    }
                },
                Stand::Pause(timer) => {
                    this.state = State::Pausing(trip, timer);
                    this.shared = Some(shared);
                    return Poll::Pending;
                }
                Stand::Refused(until) => pause(&shared, until, cx),
                Stand::Lent(held, told) => {
                    return Poll::Ready(Ok(lent(shared, held, told, this.request)));
                }
                Stand::Failed(error, told) => {
                    return Poll::Ready(Err(failed(&shared, error, told, this.request)));
                }
            };
        }
    }
}

impl<M: Manager> Acquire<M> {
    /// Dropped before it has ended.
    #[cold]
    fn cancel(&mut self, shared: &Shared<M>) {
        let (trip, ticket) = match mem::replace(&mut self.state, State::Still) {
            State::Still => return,
            State::Waiting(ticket, trip) => (trip, Some(ticket)),
            State::Validating(validation, trip) => {
                hand_over(shared, validation);
                (trip, None)
            }
            State::Pausing(trip, _) => (trip, None),
        };
        // The waker that it had in the queue is dropped outside the lock.
        let (seq, waited, _waker) = shared.change_at(shared.glance(), |ledger, now| {
            let waker = ticket.and_then(|ticket| ledger.leave(ticket, now));
            ledger.count_cancelled();
            (ledger.seq_if(shared.observed()), now.since(trip.asker.since), waker)
        });
        if let Some(seq) = seq {
            shared
                .tell_at(seq, &Event::AcquireCancelled { waited, location: self.request.location });
        }
    }
}

impl<M: Manager> Drop for Acquire<M> {
    #[inline]
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            self.cancel(&shared);
        }
    }
}

impl<M: Manager> fmt::Debug for Acquire<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire").field("request", &self.request).finish_non_exhaustive()
    }
}
