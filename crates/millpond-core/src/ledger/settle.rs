//! What becomes of a connection that is available: it is granted, kept idle, or closed, and its
//! slot is free at the end.

use crate::event::CloseReason;
use crate::ledger::effects::Effect;
use crate::ledger::entry::{Grant, Job, PooledConnection, bump};
use crate::ledger::slots::Stage;
use crate::ledger::state::Ledger;
use crate::rt::time::Time;
use std::time::Duration;

impl<C: Send + 'static> Ledger<C> {
    /// A borrower gave a connection back, and it is fit as it is.
    pub(crate) fn put_back(&mut self, held: PooledConnection<C>, now: Time) {
        if self.keeps || self.closed {
            self.settle(held, now);
        } else {
            self.retire(held, CloseReason::NotPooled, now);
        }
        self.check();
    }

    /// Takes the waiter cell that a returned connection was delivered through.
    #[inline]
    pub(crate) fn recycle_cell(&mut self, held: &mut PooledConnection<C>) {
        if let Some(cell) = held.inner.cell.take() {
            self.waiters.recycle(cell);
        }
    }

    /// A connection that the maintenance task looked after is fit again.
    pub(crate) fn settle_checked(&mut self, held: PooledConnection<C>, now: Time) {
        self.settle(held, now);
        self.check();
    }

    /// The one way of a connection that has become available: to the oldest waiter, to the idle
    /// ones, or out.
    pub(crate) fn settle(&mut self, mut held: PooledConnection<C>, now: Time) {
        let reason = if self.closed {
            Some(CloseReason::PoolClosed)
        } else {
            self.unfit(&held.inner.tag, now)
                .or_else(|| self.too_many().then_some(CloseReason::Shrunk))
        };
        if let Some(reason) = reason {
            return self.retire(held, reason, now);
        }
        if self.slots.is_doubted(held.inner.tag.slot) && self.task.is_some() {
            return self.validate(held, now);
        }
        if !self.suspended
            && let Some((caller, _)) = self.waiters.first()
        {
            held.inner.tag.idled = now.nanos_since(held.inner.tag.idle_since);
            self.lend(&mut held, caller, now);
            match self.waiters.grant(Grant::Due(held)) {
                Ok(waker) => self.wake(waker),
                Err(_) => debug_assert!(false, "the first waiter has gone under the lock"),
            }
            return;
        }
        self.keep_idle(held, now);
    }

    /// Whether more connections are open than the sizes allow since they were changed.
    fn too_many(&self) -> bool {
        self.slots.used().saturating_sub(self.slots.count(Stage::Closing)) > self.config.cap()
    }

    /// Nobody waits: keep the connection if there is room among the idle ones, or let it linger, or
    /// close it.
    fn keep_idle(&mut self, held: PooledConnection<C>, now: Time) {
        if !self.keeps {
            return self.retire(held, CloseReason::NotPooled, now);
        }
        let lingers = self.config.overflow_linger > Duration::ZERO;
        let full = self.idle.len() >= self.config.pool_size as usize
            && self.idle.len() >= self.idle_room();
        if full && !lingers {
            return self.retire(held, CloseReason::Overflow, now);
        }
        let tag = &held.inner.tag;
        self.slots.shift(tag.slot, Stage::Idle, now);
        let due = self.idle_due(tag);
        self.idle.insert(held, now);
        self.expect_sweep(due, now);
        self.notify_watchers();
    }

    /// How many connections may be idle: `pool_size`, and those that wait for their end beside
    /// their successors.
    pub(crate) fn idle_room(&self) -> usize {
        self.idle.renewals_done().saturating_add(self.config.pool_size as usize)
    }

    /// Ends a connection: the maintenance task closes it, and it holds its place until that is
    /// done.
    pub(crate) fn retire(&mut self, held: PooledConnection<C>, reason: CloseReason, now: Time) {
        let slot = held.inner.tag.slot;
        self.slots.shift(slot, Stage::Closing, now);
        if self.task.is_some() && held.inner.tag.generation >= self.hard_below {
            self.inbox.push(Job::Close(held, reason));
            self.call_maintenance(now);
        } else {
            // It is dropped when the lock is released, and holds its place until then.
            self.effects.push(Effect::Drop(held, reason));
        }
    }

    /// A connection has been closed: its place is free.
    pub(crate) fn gone(&mut self, slot: u32, now: Time) {
        bump(&mut self.totals.closed);
        self.free(slot, now);
    }

    /// A borrower keeps its connection for good: its place is free.
    pub(crate) fn detached(&mut self, slot: u32, now: Time) {
        bump(&mut self.totals.detached);
        self.free(slot, now);
    }

    pub(crate) fn free(&mut self, slot: u32, now: Time) {
        self.slots.shift(slot, Stage::Free, now);
        if self.eventful {
            self.note_eventful();
        }
        self.open_more(now);
        self.notify_watchers();
        if self.closed && self.slots.used() == 0 {
            self.call_maintenance(now);
        }
        self.check();
    }

    /// Takes a free place for a connection that is opened past the pool.
    pub(crate) fn reserve(&mut self, now: Time) -> Option<u32> {
        if self.closed || self.suspended || self.slots.used() >= self.config.cap() {
            return None;
        }
        let (slot, _) = self.slots.take(now);
        self.slots.shift(slot, Stage::Reserved, now);
        self.totals.peak = self.totals.peak.max(self.slots.used());
        self.check();
        Some(slot)
    }
}
