//! Work that is due by the clock, at each turn of the maintenance task.

use crate::ledger::{Job, Ledger, Renewal};
use crate::rt::Time;
use crate::{CloseReason, Event, Holder};
use std::mem;
use std::task::Waker;

#[derive(Debug)]
pub(crate) struct Turn<C> {
    pub(crate) jobs: Vec<Job<C>>,
    pub(crate) leaks: Vec<Holder>,
    /// When something falls due next.
    pub(crate) wakes_at: Time,
    /// The pool is closed and nothing is open any more.
    pub(crate) done: bool,
}

impl<C: Send + 'static> Ledger<C> {
    /// One turn of the maintenance task: everything that is due, and everything in the inbox.
    pub(crate) fn turn(&mut self, now: Time) -> Turn<C> {
        if let Some(task) = &mut self.task {
            task.woken_at = Some(now);
        }
        if self.idle.is_due(now) {
            self.sweep_ages(now);
        }
        self.sweep_surplus(now);
        self.open_more(now);
        let leaks = match self.config.report_after() {
            Some(age) if now.elapsed() >= age => self.slots.leaks(now.before(age), now),
            _ => Vec::new(),
        };
        for &Holder { id, location, held, .. } in &leaks {
            self.report(Event::Leaked { id, location, held });
        }
        let wakes_at = self.next_due(now);
        if let Some(task) = &mut self.task {
            task.woken_at = None;
            task.wakes_at = wakes_at;
        }
        self.check();
        let done = self.closed && self.inbox.is_empty() && self.slots.used() == 0;
        Turn { jobs: mem::take(&mut self.inbox), leaks, wakes_at, done }
    }

    /// Whether the maintenance task may sleep: it was not woken meanwhile. Its old waker is left in
    /// `waker`, which must be dropped outside the lock.
    pub(crate) fn try_sleep(&mut self, waker: &mut Option<Waker>) -> bool {
        let Some(task) = &mut self.task else { return true };
        let sleeps = task.woken_at.is_none() && self.inbox.is_empty();
        if sleeps {
            mem::swap(&mut task.waker, waker);
        }
        sleeps
    }

    /// Closes what is too old, and asks for replacements in time.
    fn sweep_ages(&mut self, now: Time) {
        let (room, mut left) = (self.idle_room(), self.idle.len());
        for mut held in self.idle.take_all() {
            left = left.saturating_sub(1);
            let maintained =
                self.traits.keeps && !self.suspended && left.saturating_add(self.idle.len()) < room;
            if let Some(reason) = self.unfit(&held.inner.meta, now) {
                let succeeded = held.inner.meta.renewal == Renewal::Done;
                if reason == CloseReason::Recycled && maintained && !succeeded {
                    self.connects.replacements_due =
                        self.connects.replacements_due.saturating_add(1);
                }
                self.retire(held, reason, now);
                continue;
            }
            if held.inner.meta.renewal == Renewal::NotYet
                && maintained
                && now >= Self::renewal_due(&held.inner.meta)
            {
                held.inner.meta.renewal = Renewal::Wanted;
            }
            self.idle.push(held, now);
        }
    }

    /// Closes, oldest first, what has lingered beyond `pool_size` or been idle for too long.
    fn sweep_surplus(&mut self, now: Time) {
        let floor = self.floor().unwrap_or(self.config.pool_size) as usize;
        let room = self.idle_room();
        while let Some(oldest) = self.idle.oldest() {
            let idle = now.since(oldest.inner.meta.idle_since);
            let surplus = self.idle.len() > room;
            let reason = if surplus && idle >= self.config.overflow_linger {
                CloseReason::Overflow
            } else if self.idle.len() > floor
                && self.config.idle_timeout.is_some_and(|limit| idle >= limit)
            {
                CloseReason::IdleTooLong
            } else {
                return;
            };
            if let Some(held) = self.idle.pop_oldest() {
                self.retire(held, reason, now);
            }
        }
    }

    fn next_due(&self, now: Time) -> Time {
        let mut due = self.growth_due(now);
        due = due.min(self.idle.due());
        let floor = self.floor().unwrap_or(self.config.pool_size) as usize;
        if let Some(since) = self.idle.oldest().map(|oldest| oldest.inner.meta.idle_since) {
            if self.idle.len() > self.idle_room() {
                due = due.min(since.after(self.config.overflow_linger));
            }
            if let Some(idle_timeout) = self.config.idle_timeout.filter(|_| self.idle.len() > floor)
            {
                due = due.min(since.after(idle_timeout));
            }
        }
        if let Some(age) = self.config.report_after() {
            due = due.min(self.slots.oldest_unreported().after(age));
        }
        due
    }
}
