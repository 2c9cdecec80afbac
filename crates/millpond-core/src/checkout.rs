//! The way out: from `acquire` to a lease. Holds the only loop of a checkout.
//!
//! Ask the ledger; take what is idle, or wait in the queue; examine what one gets; if it is no good, ask again with the
//! same place in the order of arrival and the same deadline.

use crate::diagnosis::timed_out;
use crate::error::PoolError;
use crate::event::Event;
use crate::examine::{Examined, Examinee, examine};
use crate::hooks::Moment;
use crate::lease::{Held, Home, Lease};
use crate::ledger::{Asker, Claim, Ledger, bump};
use crate::manager::Manager;
use crate::pool::Request;
use crate::queue::{Look, Ticket};
use crate::rt::{self, COARSE_ERROR, Timer};
use crate::shared::Shared;
use crate::slots::Caller;
use crate::time::Time;
use crate::watch::ARM_AFTER;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// How many connections `on_checkout` hooks may refuse to one caller.
const REFUSALS_MAX: u32 = 3;

/// A limit that is too short to go without a timer at first.
const SHORT: Duration = ARM_AFTER.saturating_mul(4);

/// The future of an acquire. It borrows nothing, and it begins when it is first polled.
///
/// # Cancel safety
///
/// Dropping it loses no place, no connection and no wake-up: what it had been granted goes to the next waiter, a
/// connection being opened for it goes to the pool, and one that was being examined is closed.
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
    Waiting(Ticket, Trip),
    Examining(Examination<C>, Trip),
}

type Examination<C> = Pin<Box<dyn Future<Output = Examined<C>> + Send>>;

/// What an acquire carries along that is not served at once.
#[derive(Debug)]
struct Trip {
    asker: Asker,
    limit: Duration,
    deadline: Time,
    refusals: u32,
    timer: Option<Timer>,
}

/// Where a checkout stands.
enum Stand<C> {
    Claim(Trip),
    NeedsKeeper(Trip),
    /// Queued just now, with the present waker.
    Join {
        ticket: Ticket,
        trip: Trip,
        enlist: bool,
        told: Option<(u64, usize)>,
    },
    Wait(Ticket, Trip),
    Examine(Examination<C>, Trip),
    Lent(Held<C>, Told),
    Failed(PoolError, Told),
}

/// What the observers will be told of an end: its place in the order of events, and how long it took.
#[derive(Debug, Clone, Copy)]
struct Told {
    seq: Option<u64>,
    waited: Duration,
}

impl<M: Manager> Acquire<M> {
    pub(crate) fn new(shared: &Arc<Shared<M>>, request: Request) -> Self {
        Self { shared: Some(Arc::clone(shared)), request, state: State::Still }
    }

    /// The fast path of a poll, where nothing at all is due: a lease, or a place in the queue. `None`: something is.
    #[inline]
    fn poll_fresh(&mut self, cx: &mut Context<'_>) -> Option<Poll<Lease<M::Connection>>> {
        let shared = self.shared.as_ref().filter(|shared| shared.plain_checkout)?;
        let held = match &self.state {
            State::Still if !shared.crowded.load(Ordering::Relaxed) => {
                let caller = Caller { location: self.request.holder, task: rt::task() };
                let now = shared.clock.coarse();
                shared.ledger.lock().take_fresh(caller, now)?
            }
            State::Still => match self.join_fresh(shared, cx)? {
                Ok(held) => held,
                Err(waiting) => {
                    self.state = waiting;
                    return Some(Poll::Pending);
                }
            },
            State::Waiting(ticket, _) => {
                let now = shared.clock.coarse();
                let held = shared.ledger.lock().receive_fresh(ticket, now)?;
                self.state = State::Still;
                held
            }
            State::Examining(..) => return None,
        };
        self.shared.take().map(|home| Poll::Ready(Lease::lend(held, home)))
    }

    /// Where many wait: a connection if nobody does any more, else a place in the queue.
    #[inline]
    fn join_fresh(
        &self,
        shared: &Shared<M>,
        cx: &mut Context<'_>,
    ) -> Option<Result<Held<M::Connection>, State<M::Connection>>> {
        let limit = self.request.limit.unwrap_or(shared.config.pool_timeout);
        if limit <= SHORT {
            return None;
        }
        let caller = Caller { location: self.request.holder, task: rt::task() };
        // Cloned, and dropped if it is not needed, outside the lock.
        let waker = cx.waker().clone();
        let now = shared.clock.coarse();
        let mut ledger = shared.ledger.lock();
        if let Some(held) = ledger.take_fresh(caller, now) {
            drop(ledger);
            shared.crowded.store(false, Ordering::Relaxed);
            return Some(Ok(held));
        }
        let (joined, arrival) = (ledger.join_fresh(caller, waker, now), ledger.arrivals);
        drop(ledger);
        let ticket = joined.ok()?;
        let asker = Asker { caller, arrival, since: now, again: false, armed: false };
        // The coarse clock may be late: no deadline comes early.
        let deadline = now.after(COARSE_ERROR).after(limit);
        Some(Err(State::Waiting(ticket, Trip { asker, limit, deadline, refusals: 0, timer: None })))
    }
}

impl<M: Manager> Future for Acquire<M> {
    type Output = Result<Lease<M::Connection>, PoolError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Some(poll) = this.poll_fresh(cx) {
            return poll.map(Ok);
        }
        let Some(shared) = this.shared.take() else { return Poll::Pending };
        let mut stand = match mem::replace(&mut this.state, State::Still) {
            State::Still => begin(&shared, this.request, cx),
            State::Waiting(ticket, trip) => Stand::Wait(ticket, trip),
            State::Examining(examination, trip) => Stand::Examine(examination, trip),
        };
        loop {
            stand = match stand {
                Stand::Claim(trip) => claim(&shared, trip, cx),
                Stand::NeedsKeeper(trip) if shared.ensure_keeper() => Stand::Claim(trip),
                Stand::NeedsKeeper(trip) => fail(&shared, &trip, PoolError::NoRuntime),
                Stand::Join { ticket, trip, enlist, told } => {
                    if let Some((seq, waiting)) = told {
                        shared.tell_at(seq, &Event::Waiting { waiting });
                    }
                    if trip.asker.armed || (enlist && !shared.enlist()) {
                        Stand::Wait(ticket, trip)
                    } else {
                        // The watch will say when it is time for a timer.
                        this.state = State::Waiting(ticket, trip);
                        this.shared = Some(shared);
                        return Poll::Pending;
                    }
                }
                Stand::Wait(ticket, trip) => match look(&shared, ticket, trip, cx) {
                    Ok(stand) => stand,
                    Err((ticket, trip)) => {
                        this.state = State::Waiting(ticket, trip);
                        this.shared = Some(shared);
                        return Poll::Pending;
                    }
                },
                Stand::Examine(mut examination, trip) => match poll_at_home(&shared, &mut examination, cx) {
                    Poll::Ready(examined) => conclude(&shared, examined, trip),
                    Poll::Pending => {
                        this.state = State::Examining(examination, trip);
                        this.shared = Some(shared);
                        return Poll::Pending;
                    }
                },
                Stand::Lent(held, told) => return Poll::Ready(Ok(lent(shared, held, told, this.request))),
                Stand::Failed(error, told) => return Poll::Ready(Err(failed(&shared, error, told, this.request))),
            };
        }
    }
}

/// The first poll of one who cannot be served at once.
fn begin<M: Manager>(shared: &Arc<Shared<M>>, request: Request, cx: &mut Context<'_>) -> Stand<M::Connection> {
    let caller = Caller { location: request.holder, task: rt::task() };
    let limit = request.limit.unwrap_or(shared.config.pool_timeout);
    if limit.is_zero() {
        return take_or_fail(shared, caller);
    }
    shared.change(|ledger, now| {
        let armed = limit <= SHORT || shared.clock.is_paused();
        let asker = Asker { caller, arrival: ledger.arrive(), since: now, again: false, armed };
        let trip = Trip { asker, limit, deadline: now.after(limit), refusals: 0, timer: None };
        let claim = ledger.claim(asker, cx.waker(), now);
        answer(shared, ledger, claim, trip, now)
    })
}

/// Asks again, with the same place in the order of arrival.
fn claim<M: Manager>(shared: &Arc<Shared<M>>, trip: Trip, cx: &mut Context<'_>) -> Stand<M::Connection> {
    shared.change(|ledger, now| {
        let claim = ledger.claim(trip.asker, cx.waker(), now);
        answer(shared, ledger, claim, trip, now)
    })
}

/// What follows from the ledger's answer; still under its lock.
fn answer<M: Manager>(
    shared: &Arc<Shared<M>>,
    ledger: &mut Ledger<M::Connection>,
    claim: Claim<M::Connection>,
    trip: Trip,
    now: Time,
) -> Stand<M::Connection> {
    match claim {
        Claim::Idle(held) => {
            shared.crowded.store(false, Ordering::Relaxed);
            inspect(shared, ledger, held, trip, now)
        }
        Claim::Wait { ticket, enlist } => {
            if !shared.crowded.load(Ordering::Relaxed) {
                shared.crowded.store(true, Ordering::Relaxed);
            }
            let waiting = ledger.waiters.len() as usize;
            Stand::Join { ticket, trip, enlist, told: ledger.stamp_if(shared.observed()).map(|seq| (seq, waiting)) }
        }
        Claim::NeedsKeeper => Stand::NeedsKeeper(trip),
        Claim::Failed(error) => count_failure(shared, ledger, error, trip.asker.since, now),
    }
}

/// A waiter takes what it was granted, unless that has gone out of date since, or nothing may be lent any more.
fn receive<M: Manager>(
    shared: &Arc<Shared<M>>,
    ledger: &mut Ledger<M::Connection>,
    held: Held<M::Connection>,
    mut trip: Trip,
    now: Time,
) -> Stand<M::Connection> {
    match ledger.unfit(&held.inner.tag, now) {
        None if !ledger.suspended => return inspect(shared, ledger, held, trip, now),
        None => ledger.settle_checked(held, now),
        Some(reason) => ledger.retire(held, reason, now),
    }
    trip.asker.again = true;
    Stand::Claim(trip)
}

/// Lends a connection for which nothing is due, or has it examined.
fn inspect<M: Manager>(
    shared: &Arc<Shared<M>>,
    ledger: &mut Ledger<M::Connection>,
    held: Held<M::Connection>,
    trip: Trip,
    now: Time,
) -> Stand<M::Connection> {
    let ping = ledger.ping_due(&held.inner.tag, now);
    if ping || shared.checkout_hooks {
        let examinee = Examinee { shared: Arc::clone(shared), held: Some(held) };
        return Stand::Examine(Box::pin(examine(examinee, ping, trip.deadline)), trip);
    }
    count_loan(shared, ledger, held, trip.asker.since, now)
}

fn count_loan<M: Manager>(
    shared: &Shared<M>,
    ledger: &mut Ledger<M::Connection>,
    held: Held<M::Connection>,
    since: Time,
    now: Time,
) -> Stand<M::Connection> {
    bump(&mut ledger.totals.ok);
    Stand::Lent(held, Told { seq: ledger.stamp_if(shared.observed()), waited: now.since(since) })
}

fn count_failure<M: Manager>(
    shared: &Shared<M>,
    ledger: &mut Ledger<M::Connection>,
    error: PoolError,
    since: Time,
    now: Time,
) -> Stand<M::Connection> {
    bump(if error.is_timeout() { &mut ledger.totals.timed_out } else { &mut ledger.totals.failed });
    Stand::Failed(error, Told { seq: ledger.stamp_if(shared.observed()), waited: now.since(since) })
}

fn fail<M: Manager>(shared: &Shared<M>, trip: &Trip, error: PoolError) -> Stand<M::Connection> {
    shared.change(|ledger, now| count_failure(shared, ledger, error, trip.asker.since, now))
}

/// A request without patience: what is ready at this moment, or an error.
fn take_or_fail<M: Manager>(shared: &Shared<M>, caller: Caller) -> Stand<M::Connection> {
    shared.change(|ledger, now| {
        if !shared.checkout_hooks
            && let Some(held) = ledger.try_claim(caller, now)
        {
            let told = Told { seq: ledger.stamp_if(shared.observed()), waited: Duration::ZERO };
            return Stand::Lent(held, told);
        }
        ledger.arrive();
        let error = if ledger.closed {
            PoolError::Closed
        } else {
            timed_out(shared, ledger, caller, Duration::ZERO, None, now)
        };
        count_failure(shared, ledger, error, now, now)
    })
}

/// A waiter looks whether its turn has come, and whether its time is up; else it goes on waiting.
fn look<M: Manager>(
    shared: &Arc<Shared<M>>,
    ticket: Ticket,
    mut trip: Trip,
    cx: &mut Context<'_>,
) -> Result<Stand<M::Connection>, (Ticket, Trip)> {
    let looked = shared.change_at(shared.glance(), |ledger, now| match ledger.look(&ticket, cx.waker()) {
        Look::Granted(Ok(held)) => Ok(receive(shared, ledger, held, trip, now)),
        Look::Granted(Err(error)) => Ok(count_failure(shared, ledger, error, trip.asker.since, now)),
        Look::Waiting(replaced) => Err((trip, replaced, ledger.keeper.is_none())),
    });
    let homeless;
    // A replaced waker is dropped here, outside the lock.
    (trip, _, homeless) = match looked {
        Ok(stand) => return Ok(stand),
        Err(waiting) => waiting,
    };
    if homeless && !shared.ensure_keeper() {
        return Ok(leave(shared, &ticket, trip, |_, _| PoolError::NoRuntime));
    }
    if trip.timer.is_none() {
        trip.timer = shared.clock.timer(trip.deadline, || shared.home());
        // If it has to come again it will not be without one.
        trip.asker.armed = true;
    }
    let mut rings = trip.timer.as_mut().and_then(|timer| timer.rings(cx));
    if rings.is_none() {
        // It was set on a runtime that has ended, or there was none to set it on: now another one may be here.
        trip.timer = shared.clock.timer(trip.deadline, || shared.home());
        rings = trip.timer.as_mut().and_then(|timer| timer.rings(cx));
    }
    match rings {
        Some(false) => return Err((ticket, trip)),
        Some(true) => {}
        None => return Ok(leave(shared, &ticket, trip, |_, _| PoolError::NoRuntime)),
    }
    let (caller, limit) = (trip.asker.caller, trip.limit);
    Ok(leave(shared, &ticket, trip, |ledger, now| timed_out(shared, ledger, caller, limit, None, now)))
}

/// Leaves the queue with an error, unless something was granted at the last moment.
fn leave<M: Manager>(
    shared: &Arc<Shared<M>>,
    ticket: &Ticket,
    trip: Trip,
    error: impl FnOnce(&Ledger<M::Connection>, Time) -> PoolError,
) -> Stand<M::Connection> {
    let (stand, _wakers) = shared.change(|ledger, now| match ledger.look(ticket, Waker::noop()) {
        Look::Granted(Ok(held)) => (receive(shared, ledger, held, trip, now), (None, None)),
        Look::Granted(Err(error)) => (count_failure(shared, ledger, error, trip.asker.since, now), (None, None)),
        Look::Waiting(replaced) => {
            let error = error(ledger, now);
            let left = ledger.leave(ticket, now);
            (count_failure(shared, ledger, error, trip.asker.since, now), (replaced, left))
        }
    });
    stand
}

/// Polls an examination on the pool's runtime if the caller has none.
fn poll_at_home<M: Manager>(
    shared: &Shared<M>,
    examination: &mut Examination<M::Connection>,
    cx: &mut Context<'_>,
) -> Poll<Examined<M::Connection>> {
    let home = if rt::current().is_some_and(|here| rt::has_timer(&here)) { None } else { shared.home() };
    let _entered = home.as_ref().map(|home| home.enter());
    examination.as_mut().poll(cx)
}

/// What follows from an examination.
fn conclude<M: Manager>(
    shared: &Arc<Shared<M>>,
    examined: Examined<M::Connection>,
    mut trip: Trip,
) -> Stand<M::Connection> {
    match examined {
        Examined::Fit(held) => shared.change(|ledger, now| {
            // It may have been invalidated, or the pool closed, while it was examined.
            match ledger.unfit(&held.inner.tag, now) {
                None => count_loan(shared, ledger, held, trip.asker.since, now),
                Some(reason) => {
                    ledger.retire(held, reason, now);
                    trip.asker.again = true;
                    Stand::Claim(trip)
                }
            }
        }),
        Examined::Unfit { refused } => {
            trip.asker.again = true;
            trip.refusals = trip.refusals.saturating_add(u32::from(refused.is_some()));
            match refused {
                Some(source) if trip.refusals >= REFUSALS_MAX => {
                    let error = PoolError::Refused { moment: Moment::Checkout, attempts: trip.refusals, source };
                    fail(shared, &trip, error)
                }
                _ => Stand::Claim(trip),
            }
        }
        Examined::OutOfTime(phase) => shared.change(|ledger, now| {
            let error = timed_out(shared, ledger, trip.asker.caller, trip.limit, Some(phase), now);
            count_failure(shared, ledger, error, trip.asker.since, now)
        }),
    }
}

fn lent<M: Manager>(
    shared: Arc<Shared<M>>,
    held: Held<M::Connection>,
    told: Told,
    request: Request,
) -> Lease<M::Connection> {
    if let Some(seq) = told.seq {
        let event = Event::Acquired { id: held.inner.tag.id, waited: told.waited, holder: request.holder };
        shared.tell_at(seq, &event);
    }
    let home: Arc<dyn Home<M::Connection>> = shared;
    Lease::lend(held, home)
}

fn failed<M: Manager>(shared: &Shared<M>, error: PoolError, told: Told, request: Request) -> PoolError {
    if let Some(seq) = told.seq {
        let event = Event::AcquireFailed { why: error.kind(), waited: told.waited, holder: request.holder };
        shared.tell_at(seq, &event);
    }
    error
}

/// A lease of what is ready at this moment.
pub(crate) fn try_acquire<M: Manager>(shared: &Arc<Shared<M>>, request: Request) -> Option<Lease<M::Connection>> {
    if shared.checkout_hooks {
        return None;
    }
    let caller = Caller { location: request.holder, task: rt::task() };
    let (held, seq) = shared.change(|ledger, now| {
        let held = ledger.try_claim(caller, now)?;
        Some((held, ledger.stamp_if(shared.observed())))
    })?;
    Some(lent(Arc::clone(shared), held, Told { seq, waited: Duration::ZERO }, request))
}

impl<M: Manager> Drop for Acquire<M> {
    fn drop(&mut self) {
        let Some(shared) = self.shared.take() else { return };
        let (trip, ticket) = match mem::replace(&mut self.state, State::Still) {
            State::Still => return,
            State::Waiting(ticket, trip) => (trip, Some(ticket)),
            State::Examining(examination, trip) => {
                drop(examination);
                (trip, None)
            }
        };
        // The waker that it had in the queue is dropped outside the lock.
        let (seq, waited, _waker) = shared.change_at(shared.glance(), |ledger, now| {
            let waker = ticket.and_then(|ticket| ledger.leave(&ticket, now));
            bump(&mut ledger.totals.cancelled);
            (ledger.stamp_if(shared.observed()), now.since(trip.asker.since), waker)
        });
        if let Some(seq) = seq {
            shared.tell_at(seq, &Event::AcquireCancelled { waited, holder: self.request.holder });
        }
    }
}

impl<M: Manager> fmt::Debug for Acquire<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire").field("request", &self.request).finish_non_exhaustive()
    }
}
