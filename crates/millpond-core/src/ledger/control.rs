//! Operations on the whole pool: prewarm, resize, invalidate, suspend, resume, close.

use crate::ledger::{Job, Ledger};
use crate::rt::Time;
use crate::{CloseReason, Event, PoolError};
use std::mem;

impl<C: Send + 'static> Ledger<C> {
    /// Opens connections until this many exist. `false` if the pool keeps none.
    pub(crate) fn begin_prewarm(&mut self, connections: u32, now: Time) -> bool {
        if self.traits.keeps {
            self.connects.prewarm_targets.push(connections);
            // An old failure says nothing about the attempt that begins now.
            self.connects.last_error_permanent = false;
            self.open_more(now);
        }
        self.traits.keeps
    }

    pub(crate) fn end_prewarm(&mut self, connections: u32) {
        let mine = self.connects.prewarm_targets.iter().position(|wanted| *wanted == connections);
        mine.map(|at| self.connects.prewarm_targets.swap_remove(at));
    }

    /// Result of a prewarm once it is decided.
    pub(crate) fn prewarm_result(&self, connections: u32) -> Option<Result<(), PoolError>> {
        if self.closed {
            Some(Err(PoolError::Closed))
        } else if self.slots.alive() >= connections.min(self.config.pool_size) {
            Some(Ok(()))
        } else if self.connects.last_error_permanent || self.fails_fast() {
            self.connect_error().map(Err)
        } else {
            None
        }
    }

    pub(super) fn retire_idle(&mut self, reason: CloseReason, now: Time) {
        while let Some(held) = self.idle.pop_oldest() {
            self.retire(held, reason, now);
        }
    }

    /// Changes the sizes. Surplus connections are closed at once if idle, else when they come back.
    /// A closed pool keeps its sizes.
    pub(crate) fn resize(&mut self, pool_size: u32, max_overflow: u32, now: Time) {
        if self.closed {
            return;
        }
        let shrinks = pool_size < self.config.pool_size;
        (self.config.pool_size, self.config.max_overflow) = (pool_size, max_overflow);
        while self.too_many() || (shrinks && self.idle.len() > self.idle_room()) {
            let Some(held) = self.idle.pop_oldest() else { break };
            self.retire(held, CloseReason::Shrunk, now);
        }
        self.update_fast_paths();
        self.open_more(now);
        self.note_change();
        self.check();
        self.report(Event::Resized { pool_size, max_overflow });
    }

    /// Begins a new generation. `hard`: older connections are dropped without a clean close.
    pub(crate) fn invalidate_all(&mut self, hard: bool, now: Time) -> u64 {
        self.generation = self.generation.saturating_add(1);
        self.update_fast_paths();
        if hard {
            self.hard_below = self.generation;
        }
        self.retire_idle(CloseReason::Invalidated, now);
        self.forget_attempts(now);
        self.open_more(now);
        self.check();
        self.report(Event::Invalidated { generation: self.generation });
        self.generation
    }

    /// From now on nothing is lent and no connect begins.
    pub(crate) fn suspend(&mut self, now: Time) {
        self.suspended = true;
        self.update_fast_paths();
        self.forget_attempts(now);
        self.report(Event::Suspended);
    }

    /// Frees the slots of connects that have not begun.
    fn forget_attempts(&mut self, now: Time) {
        for job in mem::take(&mut self.inbox) {
            match job {
                Job::Connect(attempt) => self.free(attempt.slot, now),
                job => self.inbox.push(job),
            }
        }
    }

    /// Ends a suspension: idle connections go to the oldest waiters.
    pub(crate) fn resume(&mut self, now: Time) {
        self.suspended = false;
        self.update_fast_paths();
        while !self.waiters.is_empty() {
            let Some(held) = self.idle.pop_freshest() else { break };
            self.settle(held, now);
        }
        self.open_more(now);
        // Successors may have become due meanwhile.
        self.wake_maintenance(now);
        self.check();
        self.report(Event::Resumed);
    }

    /// Closes the pool: fails the waiters and closes the idle connections.
    pub(crate) fn close(&mut self, now: Time) {
        if mem::replace(&mut self.closed, true) {
            return;
        }
        self.suspended = false;
        self.update_fast_paths();
        self.fail_waiters(&PoolError::Closed);
        self.retire_idle(CloseReason::PoolClosed, now);
        self.forget_attempts(now);
        self.wake_maintenance(now);
        self.note_change();
        self.check();
        self.report(Event::Closing);
    }
}
