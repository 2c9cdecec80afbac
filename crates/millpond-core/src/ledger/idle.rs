//! The idle connections: a stack with the freshest on top, which knows when something falls due for
//! one of them.
//!
//! Only a sweep walks the whole stack, and only when something has fallen due: a return, a reset or
//! a turn of the maintenance task costs the same however many connections are idle.

use crate::ledger::entry::{PooledConnection, Renewal};
use crate::ledger::visits;
use crate::rt::time::Time;
use std::collections::VecDeque;

#[derive(Debug)]
pub(crate) struct Idle<C> {
    /// Those that have been idle longest are in front.
    stack: VecDeque<PooledConnection<C>>,
    /// How many of them wait for a successor.
    renewals_wanted: usize,
    /// How many of them have one.
    renewals_done: usize,
    /// When the first of them reaches its age or is due for a successor. May be earlier, if that
    /// one has been lent since.
    due: Time,
    /// Whether a successor is due already and has not been asked for.
    overdue: bool,
}

impl<C> Idle<C> {
    pub(crate) fn new() -> Self {
        Self {
            stack: VecDeque::new(),
            renewals_wanted: 0,
            renewals_done: 0,
            due: Time::NEVER,
            overdue: false,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.stack.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.stack.is_empty()
    }

    pub(crate) fn renewals_wanted(&self) -> usize {
        self.renewals_wanted
    }

    pub(crate) fn renewals_done(&self) -> usize {
        self.renewals_done
    }

    /// When a sweep will find something, if not [at once](Self::is_due).
    pub(crate) fn due(&self) -> Time {
        self.due
    }

    /// Whether a sweep may find something now.
    pub(crate) fn is_due(&self, now: Time) -> bool {
        self.overdue || now >= self.due
    }

    /// The one that has been idle longest.
    pub(crate) fn oldest(&self) -> Option<&PooledConnection<C>> {
        self.stack.front()
    }

    /// The one that came back last.
    #[inline]
    pub(crate) fn freshest(&self) -> Option<&PooledConnection<C>> {
        self.stack.back()
    }

    /// All of them, the oldest first.
    #[cfg(all(test, not(millpond_models)))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &PooledConnection<C>> {
        self.stack.iter()
    }

    #[inline]
    pub(crate) fn push(&mut self, held: PooledConnection<C>, now: Time) {
        self.count_in(&held, now);
        self.stack.push_back(held);
    }

    /// Puts a connection among the others by how long it has been idle: one that comes from a
    /// validation is not the freshest.
    pub(crate) fn insert(&mut self, held: PooledConnection<C>, now: Time) {
        let since = held.inner.tag.idle_since;
        let later =
            self.stack.iter().rev().take_while(|other| other.inner.tag.idle_since > since).count();
        self.count_in(&held, now);
        self.stack.insert(self.stack.len().saturating_sub(later), held);
    }

    #[inline]
    pub(crate) fn pop_freshest(&mut self) -> Option<PooledConnection<C>> {
        let held = self.stack.pop_back()?;
        self.count_out(&held);
        Some(held)
    }

    pub(crate) fn pop_oldest(&mut self) -> Option<PooledConnection<C>> {
        let held = self.stack.pop_front()?;
        self.count_out(&held);
        visits::note();
        Some(held)
    }

    /// Takes all of them out, to be looked at one by one and put back with [`push`](Self::push).
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = PooledConnection<C>> + use<C> {
        let mut taken = std::mem::replace(self, Self::new());
        std::iter::from_fn(move || taken.pop_oldest())
    }

    /// Makes one of the `looks` next to the freshest the freshest, if `wanted` accepts it.
    pub(crate) fn bring_forward(
        &mut self,
        looks: usize,
        wanted: impl Fn(&PooledConnection<C>) -> bool,
    ) {
        let behind = self.stack.iter().rev().skip(1).take(looks).position(wanted);
        if let Some(behind) = behind
            && let Some(found) =
                self.stack.remove(self.stack.len().saturating_sub(behind.saturating_add(2)))
        {
            self.stack.push_back(found);
        }
    }

    /// A successor has come for the connection that has wanted one longest.
    pub(crate) fn note_successor(&mut self) {
        if self.renewals_wanted == 0 {
            return;
        }
        let mut wanting = self.stack.iter_mut().inspect(|_| visits::note());
        if let Some(old) = wanting.find(|held| held.inner.tag.renewal == Renewal::Wanted) {
            old.inner.tag.renewal = Renewal::Done;
            self.renewals_wanted = self.renewals_wanted.saturating_sub(1);
            self.renewals_done = self.renewals_done.saturating_add(1);
        }
    }

    #[inline]
    fn count_in(&mut self, held: &PooledConnection<C>, now: Time) {
        let tag = &held.inner.tag;
        match tag.renewal {
            Renewal::NotYet if tag.renew_at > now => return self.due = self.due.min(tag.renew_at),
            Renewal::NotYet => self.overdue = true,
            Renewal::Wanted => self.renewals_wanted = self.renewals_wanted.saturating_add(1),
            Renewal::Done => self.renewals_done = self.renewals_done.saturating_add(1),
        }
        self.due = self.due.min(tag.expires);
    }

    #[inline]
    fn count_out(&mut self, held: &PooledConnection<C>) {
        match held.inner.tag.renewal {
            Renewal::NotYet => {}
            Renewal::Wanted => self.renewals_wanted = self.renewals_wanted.saturating_sub(1),
            Renewal::Done => self.renewals_done = self.renewals_done.saturating_sub(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::PoolConfig;
    use crate::ledger::entry::{Attempt, Job, PooledConnection};
    use crate::ledger::slots::Caller;
    use crate::ledger::state::Ledger;
    use crate::ledger::visits;
    use crate::rt;
    use crate::rt::time::Time;
    use std::panic::Location;
    use std::time::Duration;

    const S: Duration = Duration::from_secs(1);

    /// A pool with so many idle connections, in which all that needs the maintenance task is
    /// switched on.
    fn ledger_with(idle: u32) -> Ledger<u32> {
        let config = PoolConfig {
            pool_size: idle + 10,
            pool_recycle: Some(S * 3_600),
            idle_timeout: Some(S * 600),
            min_idle: Some(1),
            leak_after: Some(S * 60),
            ..PoolConfig::default()
        };
        let mut ledger = Ledger::new(config, true, false, 1);
        ledger.maintenance_starts(rt::still().handle().clone(), Time::ZERO);
        for n in 0..idle {
            let (slot, id) = ledger.slots.take(Time::ZERO);
            let attempt = Attempt { slot, id, generation: 0, attempt: 1, first: false };
            let tag = ledger.new_tag(&attempt, Time::ZERO);
            ledger.connected(PooledConnection::new(n, tag), Time::ZERO);
        }
        ledger.turn(Time::ZERO);
        ledger
    }

    /// How many connections and places are looked at while one is lent, returned, reset and
    /// returned again.
    fn visits_of_a_reset(idle: u32) -> u64 {
        let mut ledger = ledger_with(idle);
        let caller = Caller { location: Location::caller(), label: None, task: None };
        let now = Time::ZERO.after(S / 10);
        visits::take();
        let held = ledger.try_claim(caller, now).expect("one is idle");
        ledger.rest(held, true, now);
        for job in ledger.turn(now).jobs {
            if let Job::Checkin { held, .. } = job {
                ledger.settle_checked(held, now);
            }
        }
        ledger.turn(now);
        visits::take()
    }

    #[test]
    fn a_reset_looks_at_no_more_connections_if_two_thousand_are_idle() {
        assert_eq!(visits_of_a_reset(2_000), visits_of_a_reset(20));
    }

    #[test]
    fn a_sweep_looks_at_all_that_are_idle_once_something_is_due() {
        let mut ledger = ledger_with(20);
        visits::take();
        ledger.turn(Time::ZERO.after(S * 3_500));
        assert!(visits::take() >= 20);
    }
}
