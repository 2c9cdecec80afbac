//! Acquires: an idle connection is lent, else the caller joins the queue, is polled, and leaves.
//! The end of every acquire is counted and reported here.

use crate::ledger::{
    Answer, Caller, Claimant, Effect, Grant, LeaseMeta, Ledger, PooledConnection, Ticket, TimersSet,
};
use crate::rt::Time;
use crate::{CloseReason, Event, Phase, PoolError};
use std::mem;
use std::task::Waker;
use std::time::Duration;

/// How long the maintenance task's validation of an idle connection counts for `try_acquire`.
pub(crate) const RECENT_PING: Duration = Duration::from_millis(500);

impl Claimant {
    /// What the caller was granted may not be lent.
    pub(crate) fn ask_again<C>(&mut self) -> Answer<C> {
        self.again = true;
        Answer::AskAgain
    }
}

impl<C: Send + 'static> Ledger<C> {
    /// Begins an acquire. With a limit of zero it takes what is ready, or fails; else it goes on as
    /// [`claim`](Self::claim).
    pub(crate) fn begin(
        &mut self,
        claimant: &mut Claimant,
        waker: &mut Option<Waker>,
        now: Time,
    ) -> Answer<C> {
        (claimant.since, claimant.deadline) = (now, now.after(claimant.limit));
        if !claimant.limit.is_zero() {
            claimant.arrival = self.arrive();
            // A member may be waited for where its borrowers would fail at once.
            claimant.again = self.is_multiplexed();
            return self.claim(claimant, waker, now);
        }
        if let Some(held) = self.try_claim(claimant.caller, now) {
            return Answer::Lent(held);
        }
        self.arrive();
        let error = if self.closed {
            PoolError::Closed
        } else {
            self.timed_out(claimant.caller.task, claimant.limit, None, now)
        };
        Answer::Failed(self.fail(claimant, error, now))
    }

    /// Asks for a connection. A waiter takes `waker`, which is woken when something is granted;
    /// else it must be dropped outside the lock, as it is user code.
    pub(crate) fn claim(
        &mut self,
        claimant: &mut Claimant,
        waker: &mut Option<Waker>,
        now: Time,
    ) -> Answer<C> {
        if self.closed {
            return Answer::Failed(self.fail(claimant, PoolError::Closed, now));
        }
        if !self.suspended
            && let Some(held) = self.take_idle(claimant.caller, now)
        {
            self.unlocked.note_contended(false);
            return self.inspect(held, None, claimant, now);
        }
        // Before any refusal: without a maintenance task, nothing would notice the server's return.
        if self.task.is_none() {
            return Answer::NeedsMaintenance;
        }
        if let Some(error) = self.refusal().filter(|_| !claimant.again) {
            return self.refuse(error, claimant, now);
        }
        self.unlocked.note_contended(true);
        self.connects.note_demand(now);
        let ticket = self.waiters.join(claimant, waker.take());
        self.open_more(now);
        self.check();
        self.report(Event::Waiting { waiting: self.waiting() as usize });
        let register = !claimant.has_timer && !mem::replace(&mut self.registered, true);
        Answer::Queued { ticket, register }
    }

    /// Refuses to let a caller wait. If the reason is that connecting fails, it asks once more.
    fn refuse(&mut self, error: PoolError, claimant: &mut Claimant, now: Time) -> Answer<C> {
        let is_final = mem::replace(&mut claimant.refused_once, true);
        if !is_final && matches!(error, PoolError::Connect { .. }) {
            let pause_end = now.after(self.refusal_delay(error, now));
            return Answer::Refused(pause_end.min(claimant.deadline));
        }
        Answer::Failed(self.fail(claimant, error, now))
    }

    /// Lends the freshest idle connection that is fit.
    fn take_idle(&mut self, caller: Caller, now: Time) -> Option<PooledConnection<C>> {
        self.prefer_last_of(caller, now);
        self.retire_unfit(now);
        let mut held = self.idle.pop_freshest()?;
        held.inner.meta.idled = now.nanos_since(held.inner.meta.idle_since);
        self.lend(&mut held, caller, now);
        if self.config.min_idle.is_some() {
            self.open_more(now);
        }
        Some(held)
    }

    /// Closes idle connections, the freshest first, until one may be lent.
    fn retire_unfit(&mut self, now: Time) {
        while let Some(reason) =
            self.idle.freshest().and_then(|freshest| self.unfit(&freshest.inner.meta, now))
            && let Some(held) = self.idle.pop_freshest()
        {
            self.retire(held, reason, now);
        }
    }

    /// Whether a connection has to be pinged before its borrower gets it: it is suspect, or it was
    /// validated too long ago and not opened for this borrower.
    pub(crate) fn must_ping(&self, meta: &LeaseMeta, now: Time) -> bool {
        let just_opened = meta.uses <= 1 && meta.idled == 0;
        (!just_opened && self.ping_would_be_due(meta, now)) || self.slots.is_suspect(meta.slot)
    }

    /// Whether a connection has to be validated before `try_acquire` lends it. Where every checkout
    /// pings, a recent ping by the maintenance task counts.
    fn try_has_to_ping(&self, meta: &LeaseMeta, now: Time) -> bool {
        let validated =
            meta.validated_at > meta.idle_since && now.since(meta.validated_at) < RECENT_PING;
        !validated && self.ping_would_be_due(meta, now)
    }

    pub(super) fn ping_would_be_due(&self, meta: &LeaseMeta, now: Time) -> bool {
        now.nanos_since(meta.validated_at) >= self.ping_after
    }

    pub(super) fn lend(&mut self, held: &mut PooledConnection<C>, caller: Caller, now: Time) {
        held.inner.meta.note_loan(caller.task);
        // A member has no holder: its borrowers are those of its shares.
        let holder = self.borrowers.is_none().then_some(caller);
        self.slots.lend(held.inner.meta.slot, holder, now);
        if let Some(age) = self.config.report_after() {
            self.wake_by(now.after(age), now);
        }
    }

    /// Lends an idle connection without a wait; if a ping is due, has the idle ones validated for
    /// later. With hooks, which must be awaited, it lends nothing.
    pub(crate) fn try_claim(&mut self, caller: Caller, now: Time) -> Option<PooledConnection<C>> {
        if self.closed || self.suspended || self.traits.checkout_hooks {
            return None;
        }
        self.prefer_last_of(caller, now);
        self.retire_unfit(now);
        let freshest = self.idle.freshest()?;
        if self.try_has_to_ping(&freshest.inner.meta, now) {
            self.validate_idle(self.config.pre_ping_idle, now);
            return None;
        }
        let held = self.take_idle(caller, now)?;
        self.arrive();
        self.count_loan(&held, caller, now, now);
        self.check();
        Some(held)
    }

    /// Why this connection may not be lent, if so.
    pub(crate) fn unfit(&self, meta: &LeaseMeta, now: Time) -> Option<CloseReason> {
        if meta.generation != self.generation {
            Some(CloseReason::Invalidated)
        } else if now >= meta.expires {
            Some(CloseReason::Recycled)
        } else {
            None
        }
    }

    /// Polls a waiter for its grant, which is declined if it is out of date or the pool is
    /// suspended.
    pub(crate) fn poll(
        &mut self,
        ticket: Ticket<Grant<C>>,
        claimant: &mut Claimant,
        waker: &mut Option<Waker>,
        now: Time,
    ) -> Result<Answer<C>, Ticket<Grant<C>>> {
        let held = match self.waiters.poll(ticket, waker)? {
            Grant::Ready(held) | Grant::NeedsCheck(held) => held,
            Grant::Refusal(error) => return Ok(Answer::Failed(self.fail(claimant, error, now))),
        };
        match self.unfit(&held.inner.meta, now) {
            None if !self.suspended => return Ok(self.inspect(held, None, claimant, now)),
            None => self.settle_checked(held, now),
            Some(reason) => self.retire(held, reason, now),
        }
        Ok(claimant.ask_again())
    }

    /// Goes on with a validated connection, unless it is out of date by now.
    pub(crate) fn validated(
        &mut self,
        held: PooledConnection<C>,
        phase: Phase,
        claimant: &mut Claimant,
        now: Time,
    ) -> Answer<C> {
        if let Some(reason) = self.unfit(&held.inner.meta, now) {
            self.retire(held, reason, now);
            return claimant.ask_again();
        }
        self.inspect(held, Some(phase), claimant, now)
    }

    /// Lends a connection, or has it validated: by a ping, then by hooks. `passed` is what it has
    /// been through already.
    fn inspect(
        &mut self,
        held: PooledConnection<C>,
        passed: Option<Phase>,
        claimant: &Claimant,
        now: Time,
    ) -> Answer<C> {
        if passed.is_none() && self.must_ping(&held.inner.meta, now) {
            return Answer::Validate(held, Phase::Ping);
        }
        if passed != Some(Phase::Hook) && self.traits.checkout_hooks {
            return Answer::Validate(held, Phase::Hook);
        }
        self.count_loan(&held, claimant.caller, claimant.since, now);
        Answer::Lent(held)
    }

    /// Counts and reports a loan to a caller whose acquire began at `since`.
    fn count_loan(&mut self, held: &PooledConnection<C>, caller: Caller, since: Time, now: Time) {
        self.count_success(since, now);
        let (id, waited, location) = (held.id(), now.since(since), caller.location);
        self.report(Event::Acquired { id, waited, location });
    }

    /// Counts and reports an acquire that fails.
    pub(crate) fn fail(&mut self, claimant: &Claimant, error: PoolError, now: Time) -> PoolError {
        self.count_failure(Some(&error));
        let (waited, location) = (now.since(claimant.since), claimant.caller.location);
        self.report(Event::AcquireFailed { failure: error.kind(), waited, location });
        error
    }

    /// Fails a waiter, unless it was granted something at the last moment. Its waker must be
    /// dropped outside the lock.
    pub(crate) fn give_up(
        &mut self,
        ticket: Ticket<Grant<C>>,
        claimant: &mut Claimant,
        error: impl FnOnce(&Self) -> PoolError,
        now: Time,
    ) -> (Answer<C>, Option<Waker>) {
        match self.poll(ticket, claimant, &mut None, now) {
            Ok(answer) => (answer, None),
            Err(ticket) => {
                let error = error(self);
                let waker = self.leave(ticket, now);
                (Answer::Failed(self.fail(claimant, error, now)), waker)
            }
        }
    }

    /// The acquire was dropped. Its waker must be dropped outside the lock.
    pub(crate) fn cancel(
        &mut self,
        ticket: Option<Ticket<Grant<C>>>,
        claimant: &Claimant,
        now: Time,
    ) -> Option<Waker> {
        let waker = ticket.and_then(|ticket| self.leave(ticket, now));
        self.count_failure(None);
        let (waited, location) = (now.since(claimant.since), claimant.caller.location);
        self.report(Event::AcquireCancelled { waited, location });
        waker
    }

    /// Removes a waiter from the queue; a connection that it was granted goes to the next one.
    fn leave(&mut self, ticket: Ticket<Grant<C>>, now: Time) -> Option<Waker> {
        let (granted, waker) = self.waiters.leave(ticket);
        match granted {
            Some(Grant::Ready(held) | Grant::NeedsCheck(held)) => self.settle(held, now),
            Some(Grant::Refusal(error)) => self.effects.discard(error),
            None => {}
        }
        self.check();
        waker
    }

    /// Wakes the waiters without a timer that arrived at `latest` or before. Once all have a timer,
    /// the pool is no longer registered with the deadline thread.
    pub(crate) fn set_timers(&mut self, latest: Time, now: Time) -> TimersSet {
        let mut wakers = Vec::new();
        let set = self.waiters.set_timers(latest, now, &mut wakers);
        self.effects.extend(wakers.into_iter().map(Effect::Wake));
        self.registered = set != TimersSet::All;
        set
    }

    pub(crate) fn fail_waiters(&mut self, error: &PoolError) {
        while let Ok(waker) = self.waiters.grant(Grant::Refusal(error.clone())) {
            self.wake(waker);
        }
    }
}
