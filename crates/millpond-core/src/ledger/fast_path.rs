//! The fast paths of the ledger: loans, waits and returns for which nothing at all is due.
//!
//! They do what `claim`, `look` and `put_back` would do, and stand aside whenever anything has to
//! be considered: a state of the pool, a setting that looks at every loan or wait, a connection's
//! age. `tests/unit/fast_path.rs` holds them to it: the same random events leave the same ledger.
//!
//! What they gain, by the programs of `benches` with `--quick` on one core, linked with the core
//! and deadpool alone, three runs in turn: without them, but with the coarse clock, `uncontended`
//! takes 119 ns instead of 53, and `hold64_core1` serves 2.7 M/s instead of 4.1 M/s. Of these,
//! [`join_fresh`](Ledger::join_fresh) alone is worth 25 % of `hold64_core1`, that a waiter takes
//! a [`Grant::Fresh`] without the lock 22 %, and that callers of a crowded pool do not try
//! [`take_fresh`](Ledger::take_fresh) first 26 %.

use crate::ledger::entry::{Grant, PooledConnection};
use crate::ledger::slots::{Caller, Stage};
use crate::ledger::state::{Ledger, MaintenanceTask};
use crate::ledger::wait_queue::Ticket;
use crate::rt::time::Time;
use std::task::Waker;

/// How many idle connections behind the freshest are looked at for the one that the caller had
/// last.
const LOOKS: usize = 3;

impl<C: Send + 'static> Ledger<C> {
    /// Puts the connection in front of the other idle ones that the caller's task had last, if it
    /// is nearly as fresh as they are and nothing is due for it. Two tasks that return and ask at
    /// the same moment would exchange theirs otherwise, which was measured to cost far more than
    /// this look (`docs/performance.md`).
    #[inline]
    pub(crate) fn prefer_last_of(&mut self, caller: Caller, now: Time) {
        if self.idle.freshest().is_some_and(|freshest| freshest.inner.tag.last_task != caller.task)
        {
            self.bring_forward(caller, now);
        }
    }

    #[cold]
    fn bring_forward(&mut self, caller: Caller, now: Time) {
        if caller.task.is_none() {
            return;
        }
        let (ping_after, generation) = (self.ping_after, self.generation);
        self.idle.bring_forward(LOOKS, |held| {
            let tag = &held.inner.tag;
            tag.last_task == caller.task && tag.is_fresh(generation, ping_after, now)
        });
    }

    /// The fast path of a claim: the freshest idle connection if nothing at all is due, for it or
    /// because of it.
    #[inline]
    pub(crate) fn take_fresh(&mut self, caller: Caller, now: Time) -> Option<PooledConnection<C>> {
        if !self.lends_plainly {
            return None;
        }
        self.prefer_last_of(caller, now);
        let tag = &self.idle.freshest()?.inner.tag;
        let idled = now.nanos_since(tag.idle_since);
        if self.ping_would_be_due(tag, now) || self.unfit(tag, now).is_some() {
            return None;
        }
        let mut held = self.idle.pop_freshest()?;
        held.inner.tag.idled = idled;
        held.inner.tag.note_loan(caller.task);
        self.slots.lend_idle(held.inner.tag.slot, caller, now);
        self.arrive();
        self.count_loan(now, now);
        self.check();
        Some(held)
    }

    /// The fast path of a claim that has to wait: others wait already, every place is taken, and
    /// nothing follows from one waiter more. Returns its number too. Leaves the waker otherwise.
    #[inline]
    pub(crate) fn join_fresh(
        &mut self,
        caller: Caller,
        waker: &mut Option<Waker>,
        now: Time,
    ) -> Option<(Ticket<Grant<C>>, u64)> {
        let others_wait = self.watched && !self.waiters.is_empty();
        let none_to_come =
            self.slots.used() >= self.config.cap() && self.slots.count(Stage::Resting) == 0;
        if self.eventful
            || !self.waits_plainly
            || !others_wait
            || !none_to_come
            || self.opening.failures > 0
        {
            return None;
        }
        let arrival = self.arrive();
        self.opening.note_asked(now);
        let ticket = self.waiters.join(arrival, now, false, caller, waker.take());
        self.check();
        Some((ticket, arrival))
    }

    /// The fast path of a return: the connection is young, and goes to the oldest waiter, or there
    /// is room among the idle ones. Gives it back if something has to be considered.
    #[inline]
    pub(crate) fn put_back_fresh(
        &mut self,
        mut held: PooledConnection<C>,
        now: Time,
    ) -> Option<PooledConnection<C>> {
        self.recycle_cell(&mut held);
        let tag = &mut held.inner.tag;
        if self.eventful || tag.generation != self.generation || now >= tag.renew_at {
            return Some(held);
        }
        if let Some((caller, _)) = self.waiters.first() {
            if self.times.is_some() {
                return Some(held);
            }
            (tag.idle_since, tag.validated_at, tag.idled) = (now, now, 0);
            tag.note_loan(caller.task);
            self.slots.hand_over(tag.slot, caller, now);
            let granted = self.waiters.grant(Grant::Fresh(held));
            if let Ok(waker) = granted {
                self.wake(waker);
            }
            self.check();
            return None;
        }
        let wakes_in_time =
            |task: &MaintenanceTask| task.called.is_some() || task.wakes_at <= tag.renew_at;
        if !self.task.as_ref().is_some_and(wakes_in_time)
            || self.idle.len() >= self.config.pool_size as usize
        {
            return Some(held);
        }
        (tag.idle_since, tag.validated_at) = (now, now);
        if self.times.is_some() {
            self.measure_use(self.slots.since(tag.slot), now);
        }
        self.slots.return_idle(tag.slot, now);
        self.idle.push(held, now);
        self.check();
        None
    }
}

#[cfg(all(test, not(millpond_models)))]
#[path = "../../tests/unit/fast_path.rs"]
mod tests;
