//! Asking for a connection: what is idle is lent, else the caller joins the queue, is polled, and
//! leaves.

use crate::ledger::{
    Caller, Claim, Claimant, Effect, Grant, LeaseMeta, Ledger, Polled, PooledConnection, Ticket,
    TimersSet,
};
use crate::rt::Time;
use crate::{CloseReason, PoolError};
use std::mem;
use std::task::Waker;
use std::time::Duration;

/// How long the maintenance task's validation of an idle connection counts for `try_acquire`.
pub(crate) const RECENT_PING: Duration = Duration::from_millis(500);

impl<C: Send + 'static> Ledger<C> {
    /// Asks for a connection. A waiter takes `waker`, which is woken when something was granted;
    /// else it is to be dropped outside the lock, as it was cloned there: both are user code.
    pub(crate) fn claim(
        &mut self,
        claimant: Claimant,
        waker: &mut Option<Waker>,
        now: Time,
    ) -> Claim<C> {
        if self.closed {
            return Claim::Failed(PoolError::Closed);
        }
        if !self.suspended
            && let Some(held) = self.take_idle(claimant.caller, now)
        {
            self.unlocked.note_contended(false);
            return Claim::Idle(held);
        }
        // Before any refusal: without a maintenance task, nothing would notice the server's return.
        if self.task.is_none() {
            return Claim::NeedsMaintenance;
        }
        if let Some(error) = self.refusal().filter(|_| !claimant.again) {
            return Claim::Failed(error);
        }
        self.unlocked.note_contended(true);
        self.connects.note_demand(now);
        let ticket = self.waiters.join(
            claimant.arrival,
            claimant.since,
            claimant.has_timer,
            claimant.caller,
            waker.take(),
        );
        self.open_more(now);
        self.check();
        let register = !claimant.has_timer && !mem::replace(&mut self.registered, true);
        Claim::Wait { ticket, register }
    }

    /// The freshest idle connection that is young enough, lent to the caller.
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

    /// Ends what may not be lent any more, until the freshest idle connection may.
    fn retire_unfit(&mut self, now: Time) {
        while let Some(reason) =
            self.idle.freshest().and_then(|freshest| self.unfit(&freshest.inner.meta, now))
            && let Some(held) = self.idle.pop_freshest()
        {
            self.retire(held, reason, now);
        }
    }

    /// Whether a connection that was lent just now has to be pinged before its borrower gets it: it
    /// was last validated too long ago, and it was not opened for this very borrower.
    pub(crate) fn ping_due(&self, meta: &LeaseMeta, now: Time) -> bool {
        let just_opened = meta.uses <= 1 && meta.idled == 0;
        !just_opened && self.ping_would_be_due(meta, now)
    }

    /// Whether a connection has to be validated before `try_acquire` lends it. Where every checkout
    /// pings, the answer that the maintenance task has just had for it counts as this checkout's.
    fn try_has_to_ping(&self, meta: &LeaseMeta, now: Time) -> bool {
        let validated =
            meta.validated_at > meta.idle_since && now.since(meta.validated_at) < RECENT_PING;
        !validated && self.ping_would_be_due(meta, now)
    }

    pub(crate) fn ping_would_be_due(&self, meta: &LeaseMeta, now: Time) -> bool {
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

    /// Lends an idle connection for which nothing is due, and has the others validated.
    pub(crate) fn try_claim(&mut self, caller: Caller, now: Time) -> Option<PooledConnection<C>> {
        if self.closed || self.suspended {
            return None;
        }
        self.prefer_last_of(caller, now);
        self.retire_unfit(now);
        if self
            .idle
            .freshest()
            .is_some_and(|freshest| self.try_has_to_ping(&freshest.inner.meta, now))
        {
            self.validate_idle(self.config.pre_ping_idle, now);
            return None;
        }
        let held = self.take_idle(caller, now);
        if held.is_some() {
            self.arrive();
            self.count_loan(now, now);
        }
        self.check();
        held
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

    /// Polls a waiter for its grant. A granted connection must still be validated and counted.
    pub(crate) fn poll(
        &mut self,
        ticket: Ticket<Grant<C>>,
        waker: &mut Option<Waker>,
    ) -> Polled<Grant<C>> {
        self.waiters.poll(ticket, waker)
    }

    /// A waiter takes the connection that it was granted, unless it has gone out of date since, or
    /// nothing may be lent.
    pub(crate) fn accept(
        &mut self,
        held: PooledConnection<C>,
        now: Time,
    ) -> Option<PooledConnection<C>> {
        if self.suspended && self.unfit(&held.inner.meta, now).is_none() {
            self.settle_checked(held, now);
            return None;
        }
        self.still_fit(held, now)
    }

    /// The connection, unless it has gone out of date while it was validated; then it is closed.
    pub(crate) fn still_fit(
        &mut self,
        held: PooledConnection<C>,
        now: Time,
    ) -> Option<PooledConnection<C>> {
        match self.unfit(&held.inner.meta, now) {
            None => Some(held),
            Some(reason) => {
                self.retire(held, reason, now);
                None
            }
        }
    }

    /// Whether a connection that was lent just now has to be pinged before its borrower gets it.
    pub(crate) fn must_ping(&self, meta: &LeaseMeta, now: Time) -> bool {
        self.ping_due(meta, now) || self.slots.is_suspect(meta.slot)
    }

    /// A waiter gives up. What it had been granted goes to the next one; its waker is to be dropped
    /// outside the lock.
    pub(crate) fn leave(&mut self, ticket: Ticket<Grant<C>>, now: Time) -> Option<Waker> {
        let (granted, waker) = self.waiters.leave(ticket);
        match granted {
            Some(Grant::Ready(held) | Grant::NeedsCheck(held)) => self.settle(held, now),
            Some(Grant::Refusal(error)) => self.effects.push(Effect::ForgetRefusal(error)),
            None => {}
        }
        self.check();
        waker
    }

    /// Wakes the waiters that have waited since `latest` without a timer. Once all have one, the
    /// deadline thread need not look again.
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
