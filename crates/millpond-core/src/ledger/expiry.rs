//! What falls due by the clock alone, and the operations that touch every connection at once.

use crate::error::PoolError;
use crate::event::CloseReason;
use crate::lease::Renewal;
use crate::ledger::slots::Stage;
use crate::ledger::{Job, Keeper, Ledger};
use crate::rt::Handle;
use crate::rt::time::Time;
use crate::status::Holder;
use std::mem;
use std::task::Waker;

/// What the keeper has to do now.
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
    /// One turn of the keeper: everything that is due, and everything in the inbox.
    pub(crate) fn turn(&mut self, now: Time) -> Turn<C> {
        if let Some(keeper) = &mut self.keeper {
            keeper.called = Some(now);
        }
        self.sweep_idle(now);
        self.open_more(now);
        let leaks = match self.config.report_after() {
            Some(age) if now.elapsed() >= age => self.slots.leaks(now.before(age), now),
            _ => Vec::new(),
        };
        let wakes_at = self.next_due(now);
        if let Some(keeper) = &mut self.keeper {
            keeper.called = None;
            keeper.wakes_at = wakes_at;
        }
        self.check();
        let done = self.closed && self.inbox.is_empty() && self.slots.used() == 0;
        Turn { jobs: mem::take(&mut self.inbox), leaks, wakes_at, done }
    }

    /// The keeper goes to sleep unless it was called meanwhile; returns whether it does. Its old waker is left in `waker`,
    /// to be dropped outside the lock.
    pub(crate) fn doze(&mut self, waker: &mut Option<Waker>) -> bool {
        let Some(keeper) = &mut self.keeper else { return true };
        let dozes = keeper.called.is_none() && self.inbox.is_empty();
        if dozes {
            mem::swap(&mut keeper.waker, waker);
        }
        dozes
    }

    /// Closes what is too old or has been idle for too long, and asks for replacements in time.
    fn sweep_idle(&mut self, now: Time) {
        if self.idle.is_due(now) {
            self.sweep_ages(now);
        }
        self.sweep_surplus(now);
    }

    fn sweep_ages(&mut self, now: Time) {
        let (room, mut left) = (self.idle_room(), self.idle.len());
        for mut held in self.idle.take_all() {
            left = left.saturating_sub(1);
            let maintained = self.keeps && !self.suspended && left.saturating_add(self.idle.len()) < room;
            if let Some(reason) = self.unfit(&held.inner.tag, now) {
                let succeeded = held.inner.tag.renewal == Renewal::Done;
                if reason == CloseReason::Recycled && maintained && !succeeded {
                    self.opening.owed = self.opening.owed.saturating_add(1);
                }
                self.retire(held, reason, now);
                continue;
            }
            if held.inner.tag.renewal == Renewal::NotYet && maintained && now >= Self::renewal_due(&held.inner.tag) {
                held.inner.tag.renewal = Renewal::Wanted;
            }
            self.idle.push(held, now);
        }
    }

    /// The longest idle go first: those that lingered beyond `pool_size`, then those idle for too long.
    fn sweep_surplus(&mut self, now: Time) {
        let floor = self.floor().unwrap_or(self.config.pool_size) as usize;
        let room = self.idle_room();
        while let Some(oldest) = self.idle.oldest() {
            let idle = now.since(oldest.inner.tag.idle_since);
            let surplus = self.idle.len() > room;
            let reason = if surplus && idle >= self.config.overflow_linger {
                CloseReason::Overflow
            } else if self.idle.len() > floor && self.config.idle_timeout.is_some_and(|limit| idle >= limit) {
                CloseReason::IdleTooLong
            } else {
                return;
            };
            if let Some(held) = self.idle.pop_oldest() {
                self.retire(held, reason, now);
            }
        }
    }

    /// When the keeper has to look again.
    fn next_due(&self, now: Time) -> Time {
        let mut due = self.opening_due(now);
        due = due.min(self.idle.due());
        let floor = self.floor().unwrap_or(self.config.pool_size) as usize;
        if let Some(since) = self.idle.oldest().map(|oldest| oldest.inner.tag.idle_since) {
            if self.idle.len() > self.idle_room() {
                due = due.min(since.after(self.config.overflow_linger));
            }
            if let Some(idle_timeout) = self.config.idle_timeout.filter(|_| self.idle.len() > floor) {
                due = due.min(since.after(idle_timeout));
            }
        }
        if let (Some(age), Some(since)) = (self.config.report_after(), self.slots.quiet_since()) {
            due = due.min(since.after(age));
        }
        due
    }

    /// A keeper is about to start on this runtime.
    pub(crate) fn keeper_starts(&mut self, home: Handle, now: Time) {
        self.keeper = Some(Keeper { home, waker: None, wakes_at: Time::NEVER, called: Some(now), survivor: None });
        self.note_eventful();
    }

    /// The keeper has ended. If the pool is not closed, its runtime has, and everything that lived there is gone. What
    /// is left of the keeper is to be dropped outside the lock.
    pub(crate) fn keeper_ended(&mut self, now: Time) -> Option<Keeper> {
        let keeper = self.keeper.take();
        self.homes_lost = self.homes_lost.saturating_add(1);
        self.generation = self.generation.saturating_add(1);
        while let Some(held) = self.idle.pop_oldest() {
            self.retire(held, CloseReason::RuntimeShutDown, now);
        }
        for job in mem::take(&mut self.inbox) {
            match job {
                Job::Connect(attempt) => self.free(attempt.slot, now),
                Job::Checkin { held, .. } | Job::Examine(held) => self.retire(held, CloseReason::RuntimeShutDown, now),
                Job::SeeThrough(examination) => self.aftermath.examinations.push(examination),
                Job::Close(held, reason) => self.retire(held, reason, now),
            }
        }
        // Everybody looks again: the next one to look brings a new home.
        self.aftermath.wakes.extend(self.waiters.take_wakers());
        self.notify_watchers();
        keeper
    }

    /// Changes the sizes; what is too many goes at once if idle, else when it comes back.
    pub(crate) fn resize(&mut self, pool_size: u32, max_overflow: u32, now: Time) {
        let shrinks = pool_size < self.config.pool_size;
        (self.config.pool_size, self.config.max_overflow) = (pool_size, max_overflow);
        let live = |ledger: &Self| ledger.slots.used().saturating_sub(ledger.slots.count(Stage::Closing));
        while live(self) > self.config.cap() || (shrinks && self.idle.len() > self.idle_room()) {
            let Some(held) = self.idle.pop_oldest() else { break };
            self.retire(held, CloseReason::Shrunk, now);
        }
        self.note_eventful();
        self.open_more(now);
        self.notify_watchers();
        self.check();
    }

    /// Makes everything opened so far out of date. `hard`: idle connections are dropped without a farewell.
    pub(crate) fn invalidate_all(&mut self, hard: bool, now: Time) -> u64 {
        self.generation = self.generation.saturating_add(1);
        if hard {
            self.hard_below = self.generation;
        }
        while let Some(held) = self.idle.pop_oldest() {
            self.retire(held, CloseReason::Invalidated, now);
        }
        self.forget_attempts(now);
        self.open_more(now);
        self.check();
        self.generation
    }

    /// Nothing is lent or opened from now on. What is being opened already may still come, and is not lent.
    pub(crate) fn suspend(&mut self, now: Time) {
        self.suspended = true;
        self.note_eventful();
        self.forget_attempts(now);
    }

    /// Frees the places of connections whose opening has not begun.
    fn forget_attempts(&mut self, now: Time) {
        for job in mem::take(&mut self.inbox) {
            match job {
                Job::Connect(attempt) => self.free(attempt.slot, now),
                job => self.inbox.push(job),
            }
        }
    }

    /// Lending goes on: idle connections go to those who have waited longest.
    pub(crate) fn resume(&mut self, now: Time) {
        self.suspended = false;
        self.note_eventful();
        while !self.waiters.is_empty() {
            let Some(held) = self.idle.pop_freshest() else { break };
            self.settle(held, now);
        }
        self.open_more(now);
        // Successors that were due meanwhile.
        self.call_keeper(now);
        self.check();
    }

    /// Lends nothing any more; fails those who wait, closes what is idle. `false` if that was done before.
    pub(crate) fn close(&mut self, now: Time) -> bool {
        if mem::replace(&mut self.closed, true) {
            return false;
        }
        self.suspended = false;
        self.note_eventful();
        self.fail_waiters(&PoolError::Closed);
        while let Some(held) = self.idle.pop_oldest() {
            self.retire(held, CloseReason::PoolClosed, now);
        }
        self.forget_attempts(now);
        self.call_keeper(now);
        self.notify_watchers();
        self.check();
        true
    }
}
