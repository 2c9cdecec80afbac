//! The fast paths of the ledger: loans, waits and returns for which no other work is due.
//!
//! They do what `begin`, `poll` and `returned` would do, and are skipped whenever a state of the
//! pool, a setting or the age of a connection requires more. `tests/unit/fast_path.rs` compares
//! both: the same random events leave the same ledger.
//!
//! Their gain, measured by the programs of `benches` with `--quick` on one core: without them
//! `uncontended` takes 119 ns instead of 53, and `hold64_core1` serves 2.7 M/s instead of 4.1 M/s.
//! Of the latter, [`join_fresh`](Ledger::join_fresh) is worth 25 %, that a waiter takes a
//! [`Grant::Ready`] without the lock 22 %, and that callers of a contended pool do not try
//! [`take_fresh`](Ledger::take_fresh) first 26 %.

use crate::ledger::{
    Caller, Claimant, Grant, Ledger, MaintenanceTask, PooledConnection, Stage, Ticket,
};
use crate::rt::{COARSE_ERROR, Time};
use std::task::Waker;

/// How many idle connections behind the freshest are searched for the caller's last one.
const CANDIDATES: usize = 3;

impl<C: Send + 'static> Ledger<C> {
    /// Makes the connection that the caller's task had last the freshest, if it nearly is and
    /// nothing is due for it. Otherwise two tasks that return and ask at the same moment would
    /// exchange theirs, which costs far more (`docs/performance.md`).
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

    /// The fast path of a claim: lends the freshest idle connection.
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

    /// The fast path of a claim that has to wait: others wait already, and every slot is taken.
    /// Takes the waker if it succeeds.
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
        // The coarse clock may be late, and no deadline may pass early.
        claimant.deadline = now.after(COARSE_ERROR).after(claimant.limit);
        self.connects.note_demand(now);
        let ticket = self.waiters.join(claimant, waker.take());
        self.check();
        Some(ticket)
    }

    /// The fast path of a return: a young connection goes to the oldest waiter or becomes idle.
    /// Gives it back if the slow path has to take it.
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
