//! The fast paths of the ledger: a loan and a return for which nothing at all is due.
//!
//! They do what `claim` and `put_back` would do, and stand aside whenever anything has to be considered: a state of the
//! pool, a setting that looks at every loan, a waiter, a connection's age.

use crate::lease::Held;
use crate::ledger::{Keeper, Ledger, bump};
use crate::slots::{Caller, Stage};
use crate::time::Time;

impl<C> Ledger<C> {
    /// The fast path of a claim: the freshest idle connection if nothing at all is due, for it or because of it.
    #[inline]
    pub(crate) fn take_fresh(&mut self, caller: Caller, now: Time) -> Option<Held<C>> {
        let eventful =
            self.closed || self.suspended || self.config.min_idle.is_some() || self.config.leak_after.is_some();
        if eventful || !self.waiters.is_empty() {
            return None;
        }
        let tag = &self.idle.back()?.inner.tag;
        let idled = now.nanos_since(tag.idle_since);
        if self.ping_would_be_due(tag, now) || self.unfit(tag, now).is_some() {
            return None;
        }
        let mut held = self.idle.pop_back()?;
        held.inner.tag.idled = idled;
        bump(&mut held.inner.tag.uses);
        self.slots.lend(held.inner.tag.slot, caller, now);
        self.arrive();
        bump(&mut self.totals.ok);
        self.check();
        Some(held)
    }

    /// The fast path of a return: nobody waits, nothing is due, and there is room among the idle ones. Gives the
    /// connection back if anything at all is to be considered.
    #[inline]
    pub(crate) fn put_back_fresh(&mut self, mut held: Held<C>, now: Time) -> Option<Held<C>> {
        let tag = &mut held.inner.tag;
        let wakes_in_time = |keeper: &Keeper| keeper.called.is_some() || keeper.wakes_at <= tag.renew_at;
        let wakes_in_time = self.keeper.as_ref().is_some_and(wakes_in_time);
        let plain = !self.eventful && self.waiters.is_empty() && tag.generation == self.generation;
        if !plain || !wakes_in_time || now >= tag.renew_at || self.idle.len() >= self.config.pool_size as usize {
            return Some(held);
        }
        (tag.idle_since, tag.proved_at) = (now, now);
        self.slots.shift(tag.slot, Stage::Idle, now);
        self.idle.push_back(held);
        self.check();
        None
    }

    /// Whether the fast paths have to stand aside: for a state of the pool, or for a setting that looks at every loan.
    pub(crate) fn note_eventful(&mut self) {
        let config = &self.config;
        self.eventful = self.closed
            || self.suspended
            || !self.keeps
            || config.min_idle.is_some()
            || config.leak_after.is_some()
            || config.idle_timeout.is_some()
            || !config.overflow_linger.is_zero()
            || self.slots.used() > config.cap();
    }
}
