//! The fast paths of the ledger: loans, waits and returns for which nothing at all is due.
//!
//! They do what `begin`, `poll` and `returned` would do, and are skipped whenever anything has to
//! be considered: a state of the pool, a setting that concerns every loan or wait, a connection's
//! age. `tests/unit/fast_path.rs` holds them to it: the same random events leave the same ledger.
//!
//! What they gain, by the programs of `benches` with `--quick` on one core, linked with the core
//! and deadpool alone, three runs in turn: without them, but with the coarse clock, `uncontended`
//! takes 119 ns instead of 53, and `hold64_core1` serves 2.7 M/s instead of 4.1 M/s. Of these,
//! [`join_fresh`](Ledger::join_fresh) alone is worth 25 % of `hold64_core1`, that a waiter takes
//! a [`Grant::Ready`] without the lock 22 %, and that callers of a crowded pool do not try
//! [`take_fresh`](Ledger::take_fresh) first 26 %.

use crate::ledger::{
    Caller, Claimant, Grant, Ledger, MaintenanceTask, PooledConnection, Stage, Ticket,
};
use crate::rt::{COARSE_ERROR, Time};
use std::task::Waker;

/// How many idle connections behind the freshest are searched for the one that the caller had last.
const CANDIDATES: usize = 3;

impl<C: Send + 'static> Ledger<C> {
    /// Puts the connection in front of the other idle ones that the caller's task had last, if it
    /// is nearly as fresh as they are and nothing is due for it. Two tasks that return and ask at
    /// the same moment would exchange theirs otherwise, which was measured to cost far more than
    /// this look (`docs/performance.md`).
    #[inline]
    pub(crate) fn prefer_last_of(&mut self, caller: Caller, now: Time) {
        if self.idle.freshest().is_some_and(|freshest| freshest.inner.meta.last_task != caller.task)
        {
            self.move_to_front(caller, now);
        }
    }

    #[cold]
    fn move_to_front(&mut self, caller: Caller, now: Time) {
        if caller.task.is_none() {
            return;
        }
        let (ping_after, generation) = (self.ping_after, self.generation);
        self.idle.move_to_front(CANDIDATES, |held| {
            let meta = &held.inner.meta;
            meta.last_task == caller.task && meta.is_fresh(generation, ping_after, now)
        });
    }

    /// The fast path of a claim: the freshest idle connection if nothing at all is due, for it or
    /// because of it.
    #[inline]
    pub(crate) fn take_fresh(&mut self, caller: Caller, now: Time) -> Option<PooledConnection<C>> {
        if !self.fast_loans {
            return None;
        }
        self.prefer_last_of(caller, now);
        let meta = &self.idle.freshest()?.inner.meta;
        let idled = now.nanos_since(meta.idle_since);
        if self.ping_would_be_due(meta, now) || self.unfit(meta, now).is_some() {
            return None;
        }
        let mut held = self.idle.pop_freshest()?;
        held.inner.meta.idled = idled;
        held.inner.meta.note_loan(caller.task);
        self.slots.shift_known(held.inner.meta.slot, Stage::Idle, Stage::InUse, Some(caller), now);
        self.arrive();
        self.count_success(now, now);
        self.check();
        Some(held)
    }

    /// The fast path of a claim that has to wait: others wait already, every slot is taken, and one
    /// waiter more has no other effect. Leaves the waker otherwise.
    #[inline]
    pub(crate) fn join_fresh(
        &mut self,
        claimant: &mut Claimant,
        waker: &mut Option<Waker>,
        now: Time,
    ) -> Option<Ticket<Grant<C>>> {
        let others_wait = self.registered && !self.waiters.is_empty();
        let none_to_come =
            self.slots.used() >= self.config.limit() && self.slots.count(Stage::Resetting) == 0;
        if self.slow_returns
            || !self.fast_waits
            || !others_wait
            || !none_to_come
            || self.connects.failures > 0
        {
            return None;
        }
        (claimant.since, claimant.arrival) = (now, self.arrive());
        // The coarse clock may be late: no deadline comes early.
        claimant.deadline = now.after(COARSE_ERROR).after(claimant.limit);
        self.connects.note_demand(now);
        let ticket = self.waiters.join(claimant, waker.take());
        self.check();
        Some(ticket)
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
        let meta = &mut held.inner.meta;
        if self.slow_returns || meta.generation != self.generation || now >= meta.renew_at {
            return Some(held);
        }
        if let Some((caller, _)) = self.waiters.first() {
            if self.histograms.is_some() {
                return Some(held);
            }
            (meta.idle_since, meta.validated_at, meta.idled) = (now, now, 0);
            meta.note_loan(caller.task);
            self.slots.shift_known(meta.slot, Stage::InUse, Stage::InUse, Some(caller), now);
            let granted = self.waiters.grant(Grant::Ready(held));
            if let Ok(waker) = granted {
                self.wake(waker);
            }
            self.check();
            return None;
        }
        let wakes_in_time =
            |task: &MaintenanceTask| task.woken_at.is_some() || task.wakes_at <= meta.renew_at;
        if !self.task.as_ref().is_some_and(wakes_in_time)
            || self.idle.len() >= self.config.pool_size as usize
        {
            return Some(held);
        }
        (meta.idle_since, meta.validated_at) = (now, now);
        if self.histograms.is_some() {
            self.measure_use(self.slots.since(meta.slot), now);
        }
        self.slots.shift_known(meta.slot, Stage::InUse, Stage::Idle, None, now);
        self.idle.push(held, now);
        self.check();
        None
    }
}

#[cfg(all(test, not(millpond_models)))]
#[path = "../../tests/unit/fast_path.rs"]
mod tests;
