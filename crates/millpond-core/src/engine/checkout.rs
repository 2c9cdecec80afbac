//! The steps of an acquire that the fast paths did not serve.
//!
//! It asks the ledger, takes an idle connection or waits in the queue, and has the connection
//! validated. If that is unusable, it asks again with the same arrival number and deadline.

use crate::engine::{Held, Shared};
use crate::ledger::{Answer, Claimant, Grant, Ledger, Ticket, Validated, Validation};
use crate::rt::{self, TIMER_AFTER, Time, Timer};
use crate::{HookPoint, Lease, Manager, Phase, PoolError, Request};
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// How many connections `on_checkout` hooks may refuse to one caller.
const REFUSALS_MAX: u32 = 3;

/// Acquires with at most this limit set a timer at once: the deadline thread needs up to two
/// rounds.
pub(crate) const SHORT: Duration = TIMER_AFTER.saturating_mul(3);

/// An acquire that was not served at once. It never moves under the lock: to drop its timer drops a
/// waker, which is user code.
pub(crate) struct Pending<M: Manager> {
    pub(crate) step: Step<M::Connection>,
    claimant: Claimant,
    refusals: u32,
    timer: Option<Timer>,
}

/// What an acquire does next.
pub(crate) enum Step<C> {
    Begin,
    Claim,
    Waiting(Ticket<Grant<C>>),
    Validating(Validation<C>),
    /// Refused, and about to ask once more: when the timer elapses, or after other tasks have run.
    Pausing(Option<Timer>),
    /// Being polled, or ended.
    Taken,
}

/// An answer of the ledger or a validation, or the step to poll again later.
type Answered<C> = Result<Answer<C>, Step<C>>;

impl<M: Manager> Pending<M> {
    pub(crate) fn new(claimant: Claimant, step: Step<M::Connection>) -> Self {
        Self { step, claimant, refusals: 0, timer: None }
    }

    pub(crate) fn begin(shared: &Shared<M>, request: Request) -> Self {
        let limit = request.limit.unwrap_or(shared.config.pool_timeout);
        let has_timer = limit <= SHORT || shared.clock.is_paused();
        Self::new(Claimant::new(request.caller(), limit, has_timer), Step::Begin)
    }

    /// Goes on until the acquire has ended, or something must be awaited.
    pub(crate) fn poll(
        &mut self,
        shared: &Arc<Shared<M>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Held<M>, PoolError>> {
        loop {
            let answered = match mem::replace(&mut self.step, Step::Taken) {
                Step::Begin => Ok(self.ask(shared, Ledger::begin, cx)),
                Step::Claim => Ok(self.ask(shared, Ledger::claim, cx)),
                Step::Waiting(ticket) => self.poll_wait(shared, ticket, cx),
                Step::Validating(validation) => self.poll_validation(shared, validation, cx),
                Step::Pausing(timer) => poll_pause(timer, cx),
                Step::Taken => return Poll::Pending,
            };
            match answered {
                Err(step) => {
                    self.step = step;
                    return Poll::Pending;
                }
                Ok(answer) => {
                    if let Some(poll) = self.follow(shared, answer, cx) {
                        return poll;
                    }
                }
            }
        }
    }

    /// Takes the step that an answer leads to. `None`: it is to be polled at once.
    fn follow(
        &mut self,
        shared: &Arc<Shared<M>>,
        answer: Answer<M::Connection>,
        cx: &mut Context<'_>,
    ) -> Option<Poll<Result<Held<M>, PoolError>>> {
        self.step = match answer {
            Answer::Lent(held) => return Some(Poll::Ready(Ok(held))),
            Answer::Failed(error) => return Some(Poll::Ready(Err(error))),
            Answer::AskAgain => Step::Claim,
            Answer::NeedsMaintenance if shared.ensure_maintenance() => Step::Claim,
            Answer::NeedsMaintenance => {
                return Some(Poll::Ready(Err(self.fail(shared, PoolError::NoRuntime))));
            }
            Answer::Validate(held, phase) => Step::Validating(shared.begin_validation(held, phase)),
            Answer::Queued { ticket, register } => {
                self.step = Step::Waiting(ticket);
                let sets_timer = self.claimant.has_timer || (register && !shared.register());
                // Without a timer it is woken by the deadline thread when it is time for one.
                return (!sets_timer).then_some(Poll::Pending);
            }
            // Other tasks run before a refused caller asks once more: one that retries without a
            // pause must not keep its runtime from noticing that the server is back.
            Answer::Refused(until) => {
                let timer = if until > shared.now() { shared.timer(until) } else { None };
                let yields = timer.is_none();
                self.step = Step::Pausing(timer);
                return yields.then(|| {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                });
            }
        };
        None
    }

    /// Asks the ledger, with the present waker.
    fn ask(
        &mut self,
        shared: &Shared<M>,
        how: impl FnOnce(
            &mut Ledger<M::Connection>,
            &mut Claimant,
            &mut Option<Waker>,
            Time,
        ) -> Answer<M::Connection>,
        cx: &mut Context<'_>,
    ) -> Answer<M::Connection> {
        // Cloned, and dropped if it is not needed, outside the lock.
        let mut waker = Some(cx.waker().clone());
        shared.change(|ledger, now| how(ledger, &mut self.claimant, &mut waker, now))
    }

    fn fail(&self, shared: &Shared<M>, error: PoolError) -> PoolError {
        shared.change(|ledger, now| ledger.fail(&self.claimant, error, now))
    }

    /// Polls a waiter: takes its grant, fails it at its deadline, or keeps it waiting.
    fn poll_wait(
        &mut self,
        shared: &Arc<Shared<M>>,
        ticket: Ticket<Grant<M::Connection>>,
        cx: &mut Context<'_>,
    ) -> Answered<M::Connection> {
        let mut waker = Some(cx.waker().clone());
        let polled = shared.change_at(shared.loan_time(), |ledger, now| {
            let polled = ledger.poll(ticket, &mut self.claimant, &mut waker, now);
            polled.map_err(|ticket| (ticket, ledger.has_task()))
        });
        let (ticket, has_task) = match polled {
            Ok(answer) => return Ok(answer),
            Err(waits) => waits,
        };
        let has_runtime = has_task || shared.ensure_maintenance();
        let elapsed = if has_runtime { self.poll_deadline(shared, cx) } else { None };
        if elapsed == Some(false) {
            return Err(Step::Waiting(ticket));
        }
        let Claimant { caller, limit, .. } = self.claimant;
        let (answer, _waker) = shared.change(|ledger, now| {
            let error = |ledger: &Ledger<M::Connection>| match elapsed {
                Some(_) => ledger.timed_out(caller.task, limit, None, now),
                None => PoolError::NoRuntime,
            };
            ledger.give_up(ticket, &mut self.claimant, error, now)
        });
        Ok(answer)
    }

    /// Whether the deadline has passed. `None`: there is no runtime to set a timer on.
    fn poll_deadline(&mut self, shared: &Shared<M>, cx: &mut Context<'_>) -> Option<bool> {
        // If it has to queue again, it has a timer already.
        self.claimant.has_timer = true;
        if let Some(elapsed) = self.timer.as_mut().and_then(|timer| timer.poll_elapsed(cx)) {
            return Some(elapsed);
        }
        // There was none, or its runtime has shut down: by now there may be another runtime.
        self.timer = shared.timer(self.claimant.deadline);
        self.timer.as_mut().and_then(|timer| timer.poll_elapsed(cx))
    }

    /// Polls a validation, on the pool's runtime if the caller has none. At the caller's deadline
    /// the maintenance task takes it over.
    fn poll_validation(
        &mut self,
        shared: &Shared<M>,
        mut validation: Validation<M::Connection>,
        cx: &mut Context<'_>,
    ) -> Answered<M::Connection> {
        let has_timer = rt::current().is_some_and(|here| rt::has_timer(&here));
        let runtime = if has_timer { None } else { shared.runtime() };
        let entered = runtime.as_ref().map(|runtime| runtime.enter());
        let polled = validation.stage.as_mut().poll(cx);
        drop(entered);
        if let Poll::Ready(validated) = polled {
            return Ok(self.conclude(shared, validated, validation.phase));
        }
        let ends_in_time = self.claimant.deadline > shared.now().after(validation.limit);
        if (self.timer.is_none() && ends_in_time) || self.poll_deadline(shared, cx) == Some(false) {
            return Err(Step::Validating(validation));
        }
        let phase = validation.phase;
        delegate(shared, validation);
        Ok(Answer::Failed(shared.change(|ledger, now| {
            let Claimant { caller, limit, .. } = self.claimant;
            let error = ledger.timed_out(caller.task, limit, Some(phase), now);
            ledger.fail(&self.claimant, error, now)
        })))
    }

    fn conclude(
        &mut self,
        shared: &Shared<M>,
        validated: Validated<M::Connection>,
        phase: Phase,
    ) -> Answer<M::Connection> {
        let error = match validated {
            Validated::Fit(held) => {
                return shared
                    .change(|ledger, now| ledger.validated(held, phase, &mut self.claimant, now));
            }
            Validated::Unfit { refused: None } => return self.claimant.ask_again(),
            Validated::Unfit { refused: Some(source) } => {
                self.refusals = self.refusals.saturating_add(1);
                if self.refusals < REFUSALS_MAX {
                    return self.claimant.ask_again();
                }
                PoolError::Refused { point: HookPoint::Checkout, attempts: self.refusals, source }
            }
            Validated::Refused(refusal) => PoolError::RequestRefused(refusal),
        };
        Answer::Failed(self.fail(shared, error))
    }

    /// The future of the acquire was dropped.
    #[cold]
    pub(crate) fn cancel(self, shared: &Shared<M>) {
        let ticket = match self.step {
            Step::Waiting(ticket) => Some(ticket),
            Step::Validating(validation) => {
                delegate(shared, validation);
                None
            }
            Step::Pausing(_) => None,
            Step::Begin | Step::Claim | Step::Taken => return,
        };
        // The waker that it had in the queue is dropped outside the lock.
        let _waker = shared.change_at(shared.loan_time(), |ledger, now| {
            ledger.cancel(ticket, &self.claimant, now)
        });
    }
}

fn poll_pause<C>(mut timer: Option<Timer>, cx: &mut Context<'_>) -> Answered<C> {
    match timer.as_mut().and_then(|timer| timer.poll_elapsed(cx)) {
        Some(false) => Err(Step::Pausing(timer)),
        _ => Ok(Answer::AskAgain),
    }
}

/// Leaves a validation to the maintenance task. Without one it is dropped here, outside the lock.
fn delegate<M: Manager>(shared: &Shared<M>, validation: Validation<M::Connection>) {
    let refused = shared.change(|ledger, now| ledger.take_over(validation, now));
    drop(refused);
}

/// Lends what is ready at this moment.
pub(crate) fn try_acquire<M: Manager>(
    shared: &Arc<Shared<M>>,
    request: Request,
) -> Option<Lease<M::Connection>> {
    let held = shared.change(|ledger, now| ledger.try_claim(request.caller(), now))?;
    let owner = Arc::clone(shared);
    Some(Lease::lend(held, owner))
}
