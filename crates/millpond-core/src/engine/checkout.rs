//! The way out: the steps of a checkout, from `acquire` to a lease.
//!
//! Ask the ledger; take what is idle, or wait in the queue; validate what one gets; if it is no
//! good, ask again with the same place in the order of arrival and the same deadline.

use crate::engine::shared::Shared;
use crate::engine::validate::{begin_hooks, begin_ping};
use crate::error::{Phase, PoolError};
use crate::event::Event;
use crate::hooks::HookPoint;
use crate::lease::{Lease, LeaseOwner};
use crate::ledger::{
    Asker, Caller, Claim, Grant, Ledger, Look, PooledConnection, Ticket, Validated, Validation,
};
use crate::manager::Manager;
use crate::request::Request;
use crate::rt::deadline_thread::ARM_AFTER;
use crate::rt::time::Time;
use crate::rt::{self, Timer};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// How many connections `on_checkout` hooks may refuse to one caller.
const REFUSALS_MAX: u32 = 3;

/// A limit that is too short to go without a timer at first: the deadline thread takes two rounds
/// at most, if it is in time.
pub(crate) const SHORT: Duration = ARM_AFTER.saturating_mul(3);

/// A ticket of a waiter for connections of this manager.
type Ticketed<M> = Ticket<Grant<<M as Manager>::Connection>>;

/// What an acquire carries along that is not served at once. It never moves under the lock: to drop
/// its timer drops a waker, which is user code.
#[derive(Debug)]
pub(crate) struct Trip {
    pub(crate) asker: Asker,
    pub(crate) limit: Duration,
    pub(crate) deadline: Time,
    pub(crate) refusals: u32,
    /// Whether the pool has refused it once: the next refusal is its answer.
    pub(crate) insists: bool,
    pub(crate) timer: Option<Timer>,
}

impl Trip {
    pub(crate) fn new(asker: Asker, limit: Duration) -> Self {
        Self {
            asker,
            limit,
            deadline: asker.since.after(limit),
            refusals: 0,
            insists: false,
            timer: None,
        }
    }
}

/// Where a checkout stands.
pub(crate) enum Stand<C> {
    Claim,
    NeedsMaintenance,
    /// Queued just now, with the present waker.
    Join {
        ticket: Ticket<Grant<C>>,
        enlist: bool,
        told: Option<(u64, usize)>,
    },
    Wait(Ticket<Grant<C>>),
    Validate(Validation<C>),
    /// Refused by the pool; it asks once more after this moment.
    Refused(Time),
    Pause(Option<Timer>),
    Lent(PooledConnection<C>, Told),
    Failed(PoolError, Told),
}

/// What the observers will see of an end: its place in the order of events, and how long it took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    seq: Option<u64>,
    waited: Duration,
}

/// The first poll of one who cannot be served at once.
pub(crate) fn begin<M: Manager>(
    shared: &Arc<Shared<M>>,
    request: Request,
    cx: &mut Context<'_>,
) -> (Stand<M::Connection>, Trip) {
    let caller = request.caller();
    let limit = request.limit.unwrap_or(shared.config.pool_timeout);
    let armed = limit <= SHORT || shared.clock.is_paused();
    // Cloned, and dropped if it is not needed, outside the lock, as in what follows.
    let mut waker = Some(cx.waker().clone());
    shared.change(|ledger, now| {
        if limit.is_zero() {
            let asker = Asker { caller, arrival: 0, since: now, again: false, armed };
            return (take_or_fail(shared, ledger, caller, now), Trip::new(asker, limit));
        }
        // A member may be waited for where its borrowers would fail at once.
        let again = ledger.is_multiplexed();
        let asker = Asker { caller, arrival: ledger.arrive(), since: now, again, armed };
        let mut trip = Trip::new(asker, limit);
        let claim = ledger.claim(asker, &mut waker, now);
        (answer(shared, ledger, claim, &mut trip, now), trip)
    })
}

/// Asks again, with the same place in the order of arrival.
pub(crate) fn claim<M: Manager>(
    shared: &Arc<Shared<M>>,
    trip: &mut Trip,
    cx: &mut Context<'_>,
) -> Stand<M::Connection> {
    let mut waker = Some(cx.waker().clone());
    shared.change(|ledger, now| {
        let claim = ledger.claim(trip.asker, &mut waker, now);
        answer(shared, ledger, claim, trip, now)
    })
}

/// What follows from the ledger's answer; still under its lock.
fn answer<M: Manager>(
    shared: &Arc<Shared<M>>,
    ledger: &mut Ledger<M::Connection>,
    claim: Claim<M::Connection>,
    trip: &mut Trip,
    now: Time,
) -> Stand<M::Connection> {
    match claim {
        Claim::Idle(held) => inspect(shared, ledger, held, trip, now),
        Claim::Wait { ticket, enlist } => {
            let waiting = ledger.waiting() as usize;
            let told = ledger.seq_if(shared.routine_observed()).map(|seq| (seq, waiting));
            Stand::Join { ticket, enlist, told }
        }
        Claim::NeedsMaintenance => Stand::NeedsMaintenance,
        Claim::Failed(error @ PoolError::Connect { .. }) if !trip.insists => {
            trip.insists = true;
            let until = now.after(ledger.pause_of_refusal(error, now)).min(trip.deadline);
            Stand::Refused(until)
        }
        Claim::Failed(error) => count_failure(shared, ledger, error, trip.asker.since, now),
    }
}

/// Lets other tasks run, and time pass, before one who was refused asks once more: a caller who
/// tries again and again without a pause must not keep its runtime from finding out that the server
/// is back.
pub(crate) fn pause<M: Manager>(
    shared: &Shared<M>,
    until: Time,
    cx: &mut Context<'_>,
) -> Stand<M::Connection> {
    let timer = if until > shared.now() { shared.timer(until) } else { None };
    match timer {
        Some(timer) => resume(Some(timer), cx),
        None => {
            cx.waker().wake_by_ref();
            Stand::Pause(None)
        }
    }
}

/// Asks once more when the pause is over.
pub(crate) fn resume<C>(mut timer: Option<Timer>, cx: &mut Context<'_>) -> Stand<C> {
    let rings = timer.as_mut().is_none_or(|timer| timer.rings(cx) != Some(false));
    if rings { Stand::Claim } else { Stand::Pause(timer) }
}

/// A waiter takes what it was granted, unless that has gone out of date since, or nothing may be
/// lent any more.
fn receive<M: Manager>(
    shared: &Arc<Shared<M>>,
    ledger: &mut Ledger<M::Connection>,
    granted: Grant<M::Connection>,
    trip: &mut Trip,
    now: Time,
) -> Stand<M::Connection> {
    let held = match granted {
        Grant::Fresh(held) | Grant::Due(held) => held,
        Grant::Refusal(error) => {
            return count_failure(shared, ledger, error, trip.asker.since, now);
        }
    };
    if let Some(held) = ledger.accept(held, now) {
        return inspect(shared, ledger, held, trip, now);
    }
    trip.asker.again = true;
    Stand::Claim
}

/// Lends a connection for which nothing is due, or has it validated.
fn inspect<M: Manager>(
    shared: &Arc<Shared<M>>,
    ledger: &mut Ledger<M::Connection>,
    held: PooledConnection<M::Connection>,
    trip: &Trip,
    now: Time,
) -> Stand<M::Connection> {
    if ledger.must_ping(&held.inner.tag, now) {
        return Stand::Validate(begin_ping(shared, held));
    }
    if shared.checkout_hooks {
        return Stand::Validate(begin_hooks(shared, held));
    }
    count_loan(shared, ledger, held, trip.asker.since, now)
}

fn count_loan<M: Manager>(
    shared: &Shared<M>,
    ledger: &mut Ledger<M::Connection>,
    held: PooledConnection<M::Connection>,
    since: Time,
    now: Time,
) -> Stand<M::Connection> {
    ledger.count_loan(since, now);
    Stand::Lent(
        held,
        Told { seq: ledger.seq_if(shared.routine_observed()), waited: now.since(since) },
    )
}

fn count_failure<M: Manager>(
    shared: &Shared<M>,
    ledger: &mut Ledger<M::Connection>,
    error: PoolError,
    since: Time,
    now: Time,
) -> Stand<M::Connection> {
    ledger.count_failure(&error);
    Stand::Failed(error, Told { seq: ledger.seq_if(shared.observed()), waited: now.since(since) })
}

pub(crate) fn fail<M: Manager>(
    shared: &Shared<M>,
    trip: &Trip,
    error: PoolError,
) -> Stand<M::Connection> {
    shared.change(|ledger, now| count_failure(shared, ledger, error, trip.asker.since, now))
}

/// A request without patience: what is ready at this moment, or an error.
fn take_or_fail<M: Manager>(
    shared: &Shared<M>,
    ledger: &mut Ledger<M::Connection>,
    caller: Caller,
    now: Time,
) -> Stand<M::Connection> {
    if !shared.checkout_hooks
        && let Some(held) = ledger.try_claim(caller, now)
    {
        let told = Told { seq: ledger.seq_if(shared.routine_observed()), waited: Duration::ZERO };
        return Stand::Lent(held, told);
    }
    ledger.arrive();
    let error = if ledger.is_closed() {
        PoolError::Closed
    } else {
        ledger.timed_out(shared.names(), caller.task, Duration::ZERO, None, now)
    };
    count_failure(shared, ledger, error, now, now)
}

/// A waiter looks whether its turn has come, and whether its time is up; else it goes on waiting.
pub(crate) fn look<M: Manager>(
    shared: &Arc<Shared<M>>,
    ticket: Ticketed<M>,
    trip: &mut Trip,
    cx: &mut Context<'_>,
) -> Result<Stand<M::Connection>, Ticketed<M>> {
    let mut waker = Some(cx.waker().clone());
    let looked =
        shared.change_at(shared.glance(), |ledger, now| match ledger.look(ticket, &mut waker) {
            Look::Granted(granted) => {
                ControlFlow::Break(receive(shared, ledger, granted, trip, now))
            }
            Look::Waiting(ticket) => ControlFlow::Continue((ticket, !ledger.has_task())),
        });
    let (ticket, without_task) = match looked {
        ControlFlow::Break(stand) => return Ok(stand),
        ControlFlow::Continue(waiting) => waiting,
    };
    if without_task && !shared.ensure_maintenance() {
        return Ok(leave(shared, ticket, trip, |_, _| PoolError::NoRuntime));
    }
    if trip.timer.is_none() {
        trip.timer = shared.timer(trip.deadline);
        // If it has to come again it will not be without one.
        trip.asker.armed = true;
    }
    let mut rings = trip.timer.as_mut().and_then(|timer| timer.rings(cx));
    if rings.is_none() {
        // It was set on a runtime that has ended, or there was none to set it on: now another one
        // may be here.
        trip.timer = shared.timer(trip.deadline);
        rings = trip.timer.as_mut().and_then(|timer| timer.rings(cx));
    }
    match rings {
        Some(false) => return Err(ticket),
        Some(true) => {}
        None => return Ok(leave(shared, ticket, trip, |_, _| PoolError::NoRuntime)),
    }
    let (task, limit) = (trip.asker.caller.task, trip.limit);
    Ok(leave(shared, ticket, trip, |ledger, now| {
        ledger.timed_out(shared.names(), task, limit, None, now)
    }))
}

/// Leaves the queue with an error, unless something was granted at the last moment.
fn leave<M: Manager>(
    shared: &Arc<Shared<M>>,
    ticket: Ticketed<M>,
    trip: &mut Trip,
    error: impl FnOnce(&Ledger<M::Connection>, Time) -> PoolError,
) -> Stand<M::Connection> {
    let (stand, _waker) = shared.change(|ledger, now| match ledger.look(ticket, &mut None) {
        Look::Granted(granted) => (receive(shared, ledger, granted, trip, now), None),
        Look::Waiting(ticket) => {
            let error = error(ledger, now);
            let left = ledger.leave(ticket, now);
            (count_failure(shared, ledger, error, trip.asker.since, now), left)
        }
    });
    stand
}

/// Goes on with a validation, on the pool's runtime if the caller has none. At the caller's
/// deadline the maintenance task takes it over.
pub(crate) fn validate<M: Manager>(
    shared: &Arc<Shared<M>>,
    mut validation: Validation<M::Connection>,
    trip: &mut Trip,
    cx: &mut Context<'_>,
) -> ControlFlow<Stand<M::Connection>, Validation<M::Connection>> {
    let home =
        if rt::current().is_some_and(|here| rt::has_timer(&here)) { None } else { shared.home() };
    let entered = home.as_ref().map(|home| home.enter());
    if let Poll::Ready(validated) = validation.stage.as_mut().poll(cx) {
        return ControlFlow::Break(conclude(shared, validated, validation.phase, trip));
    }
    drop(entered);
    if trip.timer.is_none() && trip.deadline > shared.now().after(validation.limit) {
        // It ends before the deadline, whatever happens.
        return ControlFlow::Continue(validation);
    }
    if trip.timer.is_none() {
        trip.timer = shared.timer(trip.deadline);
    }
    if trip.timer.as_mut().and_then(|timer| timer.rings(cx)) == Some(false) {
        return ControlFlow::Continue(validation);
    }
    let phase = validation.phase;
    hand_over(shared, validation);
    ControlFlow::Break(shared.change(|ledger, now| {
        let error =
            ledger.timed_out(shared.names(), trip.asker.caller.task, trip.limit, Some(phase), now);
        count_failure(shared, ledger, error, trip.asker.since, now)
    }))
}

/// The caller of a validation goes away: the maintenance task sees it through. Without one it is
/// cut off here, outside the lock.
pub(crate) fn hand_over<M: Manager>(shared: &Shared<M>, validation: Validation<M::Connection>) {
    let refused = shared.change(|ledger, now| ledger.adopt(validation, now));
    drop(refused);
}

/// What follows from a validation.
fn conclude<M: Manager>(
    shared: &Arc<Shared<M>>,
    validated: Validated<M::Connection>,
    phase: Phase,
    trip: &mut Trip,
) -> Stand<M::Connection> {
    match validated {
        Validated::Fit(held) => shared.change(|ledger, now| {
            // It may have been invalidated, or the pool closed, while it was validated.
            let Some(held) = ledger.still_fit(held, now) else {
                trip.asker.again = true;
                return Stand::Claim;
            };
            if phase == Phase::Ping && shared.checkout_hooks {
                return Stand::Validate(begin_hooks(shared, held));
            }
            count_loan(shared, ledger, held, trip.asker.since, now)
        }),
        Validated::Unfit { refused } => {
            trip.asker.again = true;
            trip.refusals = trip.refusals.saturating_add(u32::from(refused.is_some()));
            match refused {
                Some(source) if trip.refusals >= REFUSALS_MAX => {
                    let error = PoolError::Refused {
                        point: HookPoint::Checkout,
                        attempts: trip.refusals,
                        source,
                    };
                    fail(shared, trip, error)
                }
                _ => Stand::Claim,
            }
        }
        Validated::Refused(refusal) => fail(shared, trip, PoolError::RequestRefused(refusal)),
    }
}

pub(crate) fn lent<M: Manager>(
    shared: Arc<Shared<M>>,
    held: PooledConnection<M::Connection>,
    told: Told,
    request: Request,
) -> Lease<M::Connection> {
    if let Some(seq) = told.seq {
        let event = Event::Acquired {
            id: held.inner.tag.id,
            waited: told.waited,
            location: request.location,
        };
        shared.tell_at(seq, &event);
    }
    let home: Arc<dyn LeaseOwner<M::Connection>> = shared;
    Lease::lend(held, home)
}

pub(crate) fn failed<M: Manager>(
    shared: &Shared<M>,
    error: PoolError,
    told: Told,
    request: Request,
) -> PoolError {
    if let Some(seq) = told.seq {
        let event = Event::AcquireFailed {
            why: error.kind(),
            waited: told.waited,
            location: request.location,
        };
        shared.tell_at(seq, &event);
    }
    error
}

/// A lease of what is ready at this moment.
pub(crate) fn try_acquire<M: Manager>(
    shared: &Arc<Shared<M>>,
    request: Request,
) -> Option<Lease<M::Connection>> {
    if shared.checkout_hooks {
        return None;
    }
    let caller = request.caller();
    let (held, seq) = shared.change(|ledger, now| {
        let held = ledger.try_claim(caller, now)?;
        Some((held, ledger.seq_if(shared.routine_observed())))
    })?;
    Some(lent(Arc::clone(shared), held, Told { seq, waited: Duration::ZERO }, request))
}
