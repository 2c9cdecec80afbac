//! The future of an acquire: its fast paths, the only loop of a checkout, and what is done when it
//! is dropped.

use crate::engine::Shared;
use crate::engine::checkout::{
    PendingAcquire, SHORT, Step, begin, claim, delegate, fail, failed, lent, pause, poll_pause,
    poll_wait, validate,
};
use crate::ledger::{Claimant, Grant, Ticket, Validation};
use crate::rt::{self, COARSE_ERROR, Timer};
use crate::{Event, Lease, Manager, PoolError, Request};
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
/// Dropping it loses no slot, no connection and no wake-up: what it had been granted goes to the
/// next waiter, a connection being opened for it goes to the pool, and so does one that was being
/// validated, if it succeeds.
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
    Waiting(Ticket<Grant<C>>, PendingAcquire),
    Validating(Validation<C>, PendingAcquire),
    /// Refused, and about to ask once more: when the timer elapses, or when other tasks have had
    /// their turn.
    Pausing(PendingAcquire, Option<Timer>),
}

impl<M: Manager> Acquire<M> {
    pub(crate) fn new(shared: &Arc<Shared<M>>, request: Request) -> Self {
        Self { shared: Some(Arc::clone(shared)), request, state: State::Still }
    }

    /// The fast paths of a poll, where nothing at all is due: a lease, or a position in the queue.
    /// `None`: something is due.
    #[inline]
    fn poll_fresh(&mut self, cx: &mut Context<'_>) -> Option<Poll<Lease<M::Connection>>> {
        let shared = self.shared.as_ref().filter(|shared| shared.fast_checkout)?;
        let held = match &self.state {
            State::Still if !shared.unlocked.contended.load(Ordering::Relaxed) => {
                let caller = self.request.caller();
                shared
                    .change_at(shared.loan_time(), |ledger, now| ledger.take_fresh(caller, now))?
            }
            State::Still => {
                self.state = self.join_fresh(shared, cx)?;
                return Some(Poll::Pending);
            }
            State::Waiting(ticket, _) => {
                let now = shared.clock.coarse();
                let fresh = |granted: &Grant<_>| match granted {
                    Grant::Ready(held) => shared.is_fresh(&held.inner.meta, now),
                    _ => false,
                };
                let Some(Grant::Ready(mut held)) = ticket.cell.take_if(fresh) else { return None };
                if let State::Waiting(ticket, _) = mem::replace(&mut self.state, State::Still) {
                    held.inner.cell = Some(ticket.cell);
                }
                shared.unlocked.taken_unlocked.fetch_add(1, Ordering::Relaxed);
                held
            }
            State::Validating(..) | State::Pausing(..) => return None,
        };
        self.shared.take().map(|owner| Poll::Ready(Lease::lend(held, owner)))
    }

    /// While other callers wait: joins the queue.
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
        let claimant = Claimant { caller, arrival, since: now, again: false, has_timer: false };
        // The coarse clock may be late: no deadline comes early.
        let deadline = now.after(COARSE_ERROR).after(limit);
        Some(State::Waiting(
            ticket,
            PendingAcquire { deadline, ..PendingAcquire::new(claimant, limit) },
        ))
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
        let (mut step, mut pending) = match mem::replace(&mut this.state, State::Still) {
            State::Still => begin(&shared, this.request, cx),
            State::Waiting(ticket, pending) => (Step::Wait(ticket), pending),
            State::Validating(validation, pending) => (Step::Validate(validation), pending),
            State::Pausing(pending, timer) => (poll_pause(timer, cx), pending),
        };
        loop {
            step = match step {
                Step::Claim => claim(&shared, &mut pending, cx),
                Step::NeedsMaintenance if shared.ensure_maintenance() => Step::Claim,
                Step::NeedsMaintenance => fail(&shared, &pending, PoolError::NoRuntime),
                Step::Join { ticket, register, report } => {
                    if let Some((seq, waiting)) = report {
                        shared.report_at(seq, &Event::Waiting { waiting });
                    }
                    if pending.claimant.has_timer || (register && !shared.register()) {
                        Step::Wait(ticket)
                    } else {
                        // The deadline thread wakes it when it is time for a timer.
                        this.state = State::Waiting(ticket, pending);
                        this.shared = Some(shared);
                        return Poll::Pending;
                    }
                }
                Step::Wait(ticket) => match poll_wait(&shared, ticket, &mut pending, cx) {
                    Ok(step) => step,
                    Err(ticket) => {
                        this.state = State::Waiting(ticket, pending);
                        this.shared = Some(shared);
                        return Poll::Pending;
                    }
                },
                Step::Validate(validation) => match validate(&shared, validation, &mut pending, cx)
                {
                    ControlFlow::Break(step) => step,
                    ControlFlow::Continue(validation) => {
                        this.state = State::Validating(validation, pending);
                        this.shared = Some(shared);
                        return Poll::Pending;
                    }
                },
                Step::Pause(timer) => {
                    this.state = State::Pausing(pending, timer);
                    this.shared = Some(shared);
                    return Poll::Pending;
                }
                Step::Refused(until) => pause(&shared, until, cx),
                Step::Lent(held, report) => {
                    return Poll::Ready(Ok(lent(shared, held, report, this.request)));
                }
                Step::Failed(error, report) => {
                    return Poll::Ready(Err(failed(&shared, error, report, this.request)));
                }
            };
        }
    }
}

impl<M: Manager> Acquire<M> {
    #[cold]
    fn cancel(&mut self, shared: &Shared<M>) {
        let (pending, ticket) = match mem::replace(&mut self.state, State::Still) {
            State::Still => return,
            State::Waiting(ticket, pending) => (pending, Some(ticket)),
            State::Validating(validation, pending) => {
                delegate(shared, validation);
                (pending, None)
            }
            State::Pausing(pending, _) => (pending, None),
        };
        // The waker that it had in the queue is dropped outside the lock.
        let (seq, waited, _waker) = shared.change_at(shared.loan_time(), |ledger, now| {
            let waker = ticket.and_then(|ticket| ledger.leave(ticket, now));
            ledger.count_cancelled();
            (ledger.seq_if(shared.observed()), now.since(pending.claimant.since), waker)
        });
        if let Some(seq) = seq {
            shared.report_at(
                seq,
                &Event::AcquireCancelled { waited, location: self.request.location },
            );
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

opaque_debug!([M: Manager] Acquire<M>, "Acquire", |it| { request: it.request });
