//! The way out: the steps of a checkout, from `acquire` to a lease.
//!
//! Ask the ledger; take what is idle, or wait in the queue; validate what is granted; if it is
//! unusable, ask again with the same arrival number and the same deadline.

use crate::engine::Shared;
use crate::engine::validate::{begin_hooks, begin_ping};
use crate::ledger::{
    Caller, Claim, Claimant, Grant, Ledger, Polled, Ticket, Validated, Validation,
};
use crate::rt::{self, TIMER_AFTER, Time, Timer};
use crate::{Event, HookPoint, Lease, Manager, Phase, PoolError, PooledConnection, Request};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// How many connections `on_checkout` hooks may refuse to one caller.
const REFUSALS_MAX: u32 = 3;

/// Acquires with at most this limit set a timer at once: the deadline thread needs up to two
/// rounds.
pub(crate) const SHORT: Duration = TIMER_AFTER.saturating_mul(3);

/// A ticket of a waiter for connections of this manager.
type Ticketed<M> = Ticket<Grant<<M as Manager>::Connection>>;

/// The state of an acquire that was not served at once. It never moves under the lock: to drop its
/// timer drops a waker, which is user code.
#[derive(Debug)]
pub(crate) struct PendingAcquire {
    pub(crate) claimant: Claimant,
    pub(crate) limit: Duration,
    pub(crate) deadline: Time,
    pub(crate) refusals: u32,
    /// Whether the pool has refused it once; the next refusal is final.
    pub(crate) refused_once: bool,
    pub(crate) timer: Option<Timer>,
}

impl PendingAcquire {
    pub(crate) fn new(claimant: Claimant, limit: Duration) -> Self {
        Self {
            claimant,
            limit,
            deadline: claimant.since.after(limit),
            refusals: 0,
            refused_once: false,
            timer: None,
        }
    }
}

pub(crate) enum Step<C> {
    Claim,
    NeedsMaintenance,
    /// Queued just now, with the present waker.
    Join {
        ticket: Ticket<Grant<C>>,
        register: bool,
        report: Option<(u64, usize)>,
    },
    Wait(Ticket<Grant<C>>),
    Validate(Validation<C>),
    /// Refused by the pool; it asks once more after this moment.
    Refused(Time),
    Pause(Option<Timer>),
    Lent(PooledConnection<C>, EndReport),
    Failed(PoolError, EndReport),
}

/// What observers see of an acquire that has ended: the event's sequence number, and how long it
/// took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EndReport {
    seq: Option<u64>,
    waited: Duration,
}

/// First poll of an acquire that the fast path did not serve.
pub(crate) fn begin<M: Manager>(
    shared: &Arc<Shared<M>>,
    request: Request,
    cx: &mut Context<'_>,
) -> (Step<M::Connection>, PendingAcquire) {
    let caller = request.caller();
    let limit = request.limit.unwrap_or(shared.config.pool_timeout);
    let has_timer = limit <= SHORT || shared.clock.is_paused();
    // Cloned, and dropped if it is not needed, outside the lock, as in what follows.
    let mut waker = Some(cx.waker().clone());
    shared.change(|ledger, now| {
        if limit.is_zero() {
            let claimant = Claimant { caller, arrival: 0, since: now, again: false, has_timer };
            return (
                take_or_fail(shared, ledger, caller, now),
                PendingAcquire::new(claimant, limit),
            );
        }
        // A member may be waited for where its borrowers would fail at once.
        let again = ledger.is_multiplexed();
        let claimant = Claimant { caller, arrival: ledger.arrive(), since: now, again, has_timer };
        let mut pending = PendingAcquire::new(claimant, limit);
        let claim = ledger.claim(claimant, &mut waker, now);
        (answer(shared, ledger, claim, &mut pending, now), pending)
    })
}

/// Asks again, with the same arrival number.
pub(crate) fn claim<M: Manager>(
    shared: &Arc<Shared<M>>,
    pending: &mut PendingAcquire,
    cx: &mut Context<'_>,
) -> Step<M::Connection> {
    let mut waker = Some(cx.waker().clone());
    shared.change(|ledger, now| {
        let claim = ledger.claim(pending.claimant, &mut waker, now);
        answer(shared, ledger, claim, pending, now)
    })
}

/// What follows from the ledger's answer; still under its lock.
fn answer<M: Manager>(
    shared: &Arc<Shared<M>>,
    ledger: &mut Ledger<M::Connection>,
    claim: Claim<M::Connection>,
    pending: &mut PendingAcquire,
    now: Time,
) -> Step<M::Connection> {
    match claim {
        Claim::Idle(held) => inspect(shared, ledger, held, pending, now),
        Claim::Wait { ticket, register } => {
            let waiting = ledger.waiting() as usize;
            let report = ledger.seq_if(shared.routine_observed()).map(|seq| (seq, waiting));
            Step::Join { ticket, register, report }
        }
        Claim::NeedsMaintenance => Step::NeedsMaintenance,
        Claim::Failed(error @ PoolError::Connect { .. }) if !pending.refused_once => {
            pending.refused_once = true;
            let until = now.after(ledger.refusal_delay(error, now)).min(pending.deadline);
            Step::Refused(until)
        }
        Claim::Failed(error) => count_failure(shared, ledger, error, pending.claimant.since, now),
    }
}

/// Lets other tasks run, and time pass, before a refused caller asks once more: one that retries
/// without a pause must not keep its runtime from noticing that the server is back.
pub(crate) fn pause<M: Manager>(
    shared: &Shared<M>,
    until: Time,
    cx: &mut Context<'_>,
) -> Step<M::Connection> {
    let timer = if until > shared.now() { shared.timer(until) } else { None };
    match timer {
        Some(timer) => poll_pause(Some(timer), cx),
        None => {
            cx.waker().wake_by_ref();
            Step::Pause(None)
        }
    }
}

/// Asks once more when the pause is over.
pub(crate) fn poll_pause<C>(mut timer: Option<Timer>, cx: &mut Context<'_>) -> Step<C> {
    let elapsed = timer.as_mut().is_none_or(|timer| timer.poll_elapsed(cx) != Some(false));
    if elapsed { Step::Claim } else { Step::Pause(timer) }
}

/// A waiter takes what it was granted, unless that has gone out of date since, or nothing may be
/// lent any more.
fn receive<M: Manager>(
    shared: &Arc<Shared<M>>,
    ledger: &mut Ledger<M::Connection>,
    granted: Grant<M::Connection>,
    pending: &mut PendingAcquire,
    now: Time,
) -> Step<M::Connection> {
    let held = match granted {
        Grant::Ready(held) | Grant::NeedsCheck(held) => held,
        Grant::Refusal(error) => {
            return count_failure(shared, ledger, error, pending.claimant.since, now);
        }
    };
    if let Some(held) = ledger.accept(held, now) {
        return inspect(shared, ledger, held, pending, now);
    }
    pending.claimant.again = true;
    Step::Claim
}

/// Lends a connection for which nothing is due, or has it validated.
fn inspect<M: Manager>(
    shared: &Arc<Shared<M>>,
    ledger: &mut Ledger<M::Connection>,
    held: PooledConnection<M::Connection>,
    pending: &PendingAcquire,
    now: Time,
) -> Step<M::Connection> {
    if ledger.must_ping(&held.inner.meta, now) {
        return Step::Validate(begin_ping(shared, held));
    }
    if shared.checkout_hooks {
        return Step::Validate(begin_hooks(shared, held));
    }
    count_loan(shared, ledger, held, pending.claimant.since, now)
}

fn count_loan<M: Manager>(
    shared: &Shared<M>,
    ledger: &mut Ledger<M::Connection>,
    held: PooledConnection<M::Connection>,
    since: Time,
    now: Time,
) -> Step<M::Connection> {
    ledger.count_loan(since, now);
    Step::Lent(
        held,
        EndReport { seq: ledger.seq_if(shared.routine_observed()), waited: now.since(since) },
    )
}

fn count_failure<M: Manager>(
    shared: &Shared<M>,
    ledger: &mut Ledger<M::Connection>,
    error: PoolError,
    since: Time,
    now: Time,
) -> Step<M::Connection> {
    ledger.count_failure(&error);
    Step::Failed(
        error,
        EndReport { seq: ledger.seq_if(shared.observed()), waited: now.since(since) },
    )
}

pub(crate) fn fail<M: Manager>(
    shared: &Shared<M>,
    pending: &PendingAcquire,
    error: PoolError,
) -> Step<M::Connection> {
    shared.change(|ledger, now| count_failure(shared, ledger, error, pending.claimant.since, now))
}

/// A zero limit: lends what is ready, else fails.
fn take_or_fail<M: Manager>(
    shared: &Shared<M>,
    ledger: &mut Ledger<M::Connection>,
    caller: Caller,
    now: Time,
) -> Step<M::Connection> {
    if !shared.checkout_hooks
        && let Some(held) = ledger.try_claim(caller, now)
    {
        let report =
            EndReport { seq: ledger.seq_if(shared.routine_observed()), waited: Duration::ZERO };
        return Step::Lent(held, report);
    }
    ledger.arrive();
    let error = if ledger.is_closed() {
        PoolError::Closed
    } else {
        ledger.timed_out(shared.names(), caller.task, Duration::ZERO, None, now)
    };
    count_failure(shared, ledger, error, now, now)
}

/// Polls a waiter: takes its grant, fails it at its deadline, or keeps it waiting.
pub(crate) fn poll_wait<M: Manager>(
    shared: &Arc<Shared<M>>,
    ticket: Ticketed<M>,
    pending: &mut PendingAcquire,
    cx: &mut Context<'_>,
) -> Result<Step<M::Connection>, Ticketed<M>> {
    let mut waker = Some(cx.waker().clone());
    let looked =
        shared.change_at(shared.loan_time(), |ledger, now| match ledger.poll(ticket, &mut waker) {
            Polled::Granted(granted) => {
                ControlFlow::Break(receive(shared, ledger, granted, pending, now))
            }
            Polled::Waiting(ticket) => ControlFlow::Continue((ticket, !ledger.has_task())),
        });
    let (ticket, without_task) = match looked {
        ControlFlow::Break(step) => return Ok(step),
        ControlFlow::Continue(waiting) => waiting,
    };
    if without_task && !shared.ensure_maintenance() {
        return Ok(leave_queue(shared, ticket, pending, |_, _| PoolError::NoRuntime));
    }
    if pending.timer.is_none() {
        pending.timer = shared.timer(pending.deadline);
        // If it has to queue again, it has one already.
        pending.claimant.has_timer = true;
    }
    let mut elapsed = pending.timer.as_mut().and_then(|timer| timer.poll_elapsed(cx));
    if elapsed.is_none() {
        // It was set on a runtime that has ended, or there was none to set it on: now another one
        // may be here.
        pending.timer = shared.timer(pending.deadline);
        elapsed = pending.timer.as_mut().and_then(|timer| timer.poll_elapsed(cx));
    }
    match elapsed {
        Some(false) => return Err(ticket),
        Some(true) => {}
        None => return Ok(leave_queue(shared, ticket, pending, |_, _| PoolError::NoRuntime)),
    }
    let (task, limit) = (pending.claimant.caller.task, pending.limit);
    Ok(leave_queue(shared, ticket, pending, |ledger, now| {
        ledger.timed_out(shared.names(), task, limit, None, now)
    }))
}

/// Leaves the queue with an error, unless something was granted at the last moment.
fn leave_queue<M: Manager>(
    shared: &Arc<Shared<M>>,
    ticket: Ticketed<M>,
    pending: &mut PendingAcquire,
    error: impl FnOnce(&Ledger<M::Connection>, Time) -> PoolError,
) -> Step<M::Connection> {
    let (step, _waker) = shared.change(|ledger, now| match ledger.poll(ticket, &mut None) {
        Polled::Granted(granted) => (receive(shared, ledger, granted, pending, now), None),
        Polled::Waiting(ticket) => {
            let error = error(ledger, now);
            let left = ledger.leave(ticket, now);
            (count_failure(shared, ledger, error, pending.claimant.since, now), left)
        }
    });
    step
}

/// Goes on with a validation, on the pool's runtime if the caller has none. At the caller's
/// deadline the maintenance task takes it over.
pub(crate) fn validate<M: Manager>(
    shared: &Arc<Shared<M>>,
    mut validation: Validation<M::Connection>,
    pending: &mut PendingAcquire,
    cx: &mut Context<'_>,
) -> ControlFlow<Step<M::Connection>, Validation<M::Connection>> {
    let runtime = if rt::current().is_some_and(|here| rt::has_timer(&here)) {
        None
    } else {
        shared.runtime()
    };
    let entered = runtime.as_ref().map(|runtime| runtime.enter());
    if let Poll::Ready(validated) = validation.stage.as_mut().poll(cx) {
        return ControlFlow::Break(conclude(shared, validated, validation.phase, pending));
    }
    drop(entered);
    if pending.timer.is_none() && pending.deadline > shared.now().after(validation.limit) {
        // It ends before the deadline, whatever happens.
        return ControlFlow::Continue(validation);
    }
    if pending.timer.is_none() {
        pending.timer = shared.timer(pending.deadline);
    }
    if pending.timer.as_mut().and_then(|timer| timer.poll_elapsed(cx)) == Some(false) {
        return ControlFlow::Continue(validation);
    }
    let phase = validation.phase;
    delegate(shared, validation);
    ControlFlow::Break(shared.change(|ledger, now| {
        let error = ledger.timed_out(
            shared.names(),
            pending.claimant.caller.task,
            pending.limit,
            Some(phase),
            now,
        );
        count_failure(shared, ledger, error, pending.claimant.since, now)
    }))
}

/// Hands a validation whose caller goes away to the maintenance task. Without one it is dropped
/// here, outside the lock.
pub(crate) fn delegate<M: Manager>(shared: &Shared<M>, validation: Validation<M::Connection>) {
    let refused = shared.change(|ledger, now| ledger.take_over(validation, now));
    drop(refused);
}

fn conclude<M: Manager>(
    shared: &Arc<Shared<M>>,
    validated: Validated<M::Connection>,
    phase: Phase,
    pending: &mut PendingAcquire,
) -> Step<M::Connection> {
    match validated {
        Validated::Fit(held) => shared.change(|ledger, now| {
            // It may have been invalidated, or the pool closed, while it was validated.
            let Some(held) = ledger.still_fit(held, now) else {
                pending.claimant.again = true;
                return Step::Claim;
            };
            if phase == Phase::Ping && shared.checkout_hooks {
                return Step::Validate(begin_hooks(shared, held));
            }
            count_loan(shared, ledger, held, pending.claimant.since, now)
        }),
        Validated::Unfit { refused } => {
            pending.claimant.again = true;
            pending.refusals = pending.refusals.saturating_add(u32::from(refused.is_some()));
            match refused {
                Some(source) if pending.refusals >= REFUSALS_MAX => {
                    let error = PoolError::Refused {
                        point: HookPoint::Checkout,
                        attempts: pending.refusals,
                        source,
                    };
                    fail(shared, pending, error)
                }
                _ => Step::Claim,
            }
        }
        Validated::Refused(refusal) => fail(shared, pending, PoolError::RequestRefused(refusal)),
    }
}

pub(crate) fn lent<M: Manager>(
    shared: Arc<Shared<M>>,
    held: PooledConnection<M::Connection>,
    report: EndReport,
    request: Request,
) -> Lease<M::Connection> {
    if let Some(seq) = report.seq {
        let event = Event::Acquired {
            id: held.inner.meta.id,
            waited: report.waited,
            location: request.location,
        };
        shared.report_at(seq, &event);
    }
    Lease::lend(held, shared)
}

pub(crate) fn failed<M: Manager>(
    shared: &Shared<M>,
    error: PoolError,
    report: EndReport,
    request: Request,
) -> PoolError {
    if let Some(seq) = report.seq {
        let event = Event::AcquireFailed {
            failure: error.kind(),
            waited: report.waited,
            location: request.location,
        };
        shared.report_at(seq, &event);
    }
    error
}

/// Lends what is ready at this moment.
pub(crate) fn try_acquire<M: Manager>(
    shared: &Arc<Shared<M>>,
    request: Request,
) -> Option<Lease<M::Connection>> {
    if shared.checkout_hooks {
        return None;
    }
    let (held, seq) = shared.change(|ledger, now| {
        let held = ledger.try_claim(request.caller(), now)?;
        Some((held, ledger.seq_if(shared.routine_observed())))
    })?;
    Some(lent(Arc::clone(shared), held, EndReport { seq, waited: Duration::ZERO }, request))
}
