//! Connections that become available: they are granted, kept idle, or closed, which frees the slot.

use crate::ledger::{
    Effect, Grant, Job, LeaseMeta, Ledger, PooledConnection, Stage, Verdict, bump,
};
use crate::rt::Time;
use crate::{CloseReason, Event, SharedError};
use std::time::Duration;

impl<C: Send + 'static> Ledger<C> {
    /// A lease has ended: measures and reports it, and takes its connection back.
    pub(crate) fn returned(&mut self, mut held: PooledConnection<C>, verdict: Verdict, now: Time) {
        self.recycle_cell(&mut held);
        let meta = &mut held.inner.meta;
        (meta.idle_since, meta.validated_at) = (now, now);
        let (id, lent) = (meta.id, self.slots.since(meta.slot));
        let time_held = now.since(lent);
        self.measure_use(lent, now);
        self.report(Event::Returned { id, held: time_held });
        let is_overdue = self.config.max_lease.is_some_and(|limit| time_held >= limit);
        let closes = matches!(verdict, Verdict::Close(_));
        let overdue = Verdict::Close(CloseReason::Overdue);
        self.take_back(held, if is_overdue && !closes { overdue } else { verdict }, now);
    }

    /// Takes a connection back that was lent, or was about to be.
    pub(crate) fn take_back(&mut self, held: PooledConnection<C>, verdict: Verdict, now: Time) {
        let (keeps, hooks) = (self.traits.keeps, self.traits.checkin_hooks);
        match verdict {
            Verdict::Close(reason) => {
                self.retire(held, reason, now);
                if reason == CloseReason::Broken {
                    self.mark_suspect(now, now);
                }
            }
            _ if !keeps && !self.closed => self.retire(held, CloseReason::NotPooled, now),
            Verdict::Reset if keeps => self.send_to_checkin(held, true, now),
            Verdict::Keep if keeps && hooks => self.send_to_checkin(held, false, now),
            Verdict::Keep | Verdict::Reset => self.settle(held, now),
        }
        if self.slow_returns {
            self.update_fast_paths();
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

    /// A connection that the maintenance task has checked is usable again.
    pub(crate) fn settle_checked(&mut self, held: PooledConnection<C>, now: Time) {
        self.settle(held, now);
        self.check();
    }

    /// Every connection that becomes available passes here: oldest waiter, else idle, else closed.
    pub(crate) fn settle(&mut self, mut held: PooledConnection<C>, now: Time) {
        let closes = self.reason_to_close(&held.inner.meta, now);
        if let Some(reason) = closes.or_else(|| self.too_many().then_some(CloseReason::Shrunk)) {
            return self.retire(held, reason, now);
        }
        if self.slots.is_suspect(held.inner.meta.slot) && self.task.is_some() {
            return self.validate(held, now);
        }
        if !self.suspended
            && let Some((caller, _)) = self.waiters.first()
        {
            held.inner.meta.idled = now.nanos_since(held.inner.meta.idle_since);
            self.lend(&mut held, caller, now);
            match self.waiters.grant(Grant::NeedsCheck(held)) {
                Ok(waker) => self.wake(waker),
                Err(_) => debug_assert!(false, "the first waiter has gone under the lock"),
            }
            return;
        }
        self.keep_idle(held, now);
    }

    /// Why a connection may not stay in the pool, if so.
    pub(super) fn reason_to_close(&self, meta: &LeaseMeta, now: Time) -> Option<CloseReason> {
        if self.closed { Some(CloseReason::PoolClosed) } else { self.unfit(meta, now) }
    }

    /// Whether more connections are open than the sizes allow since they were changed.
    pub(super) fn too_many(&self) -> bool {
        self.slots.used().saturating_sub(self.slots.count(Stage::Closing)) > self.config.limit()
    }

    /// Keeps the connection if there is room among the idle ones, lets it linger, or closes it.
    fn keep_idle(&mut self, held: PooledConnection<C>, now: Time) {
        if !self.traits.keeps {
            return self.retire(held, CloseReason::NotPooled, now);
        }
        let lingers = self.config.overflow_linger > Duration::ZERO;
        let full = self.idle.len() >= self.config.pool_size as usize
            && self.idle.len() >= self.idle_room();
        if full && !lingers {
            return self.retire(held, CloseReason::Overflow, now);
        }
        let meta = &held.inner.meta;
        self.slots.shift(meta.slot, Stage::Idle, now);
        let due = self.idle_due(meta);
        self.idle.insert(held, now);
        self.wake_by(due, now);
        self.note_change();
    }

    /// How many connections may be idle: `pool_size`, plus expiring ones whose replacement is
    /// already open.
    pub(crate) fn idle_room(&self) -> usize {
        self.idle.renewals_done().saturating_add(self.config.pool_size as usize)
    }

    /// Has a connection closed by the maintenance task; it holds its slot until then.
    pub(crate) fn retire(&mut self, held: PooledConnection<C>, reason: CloseReason, now: Time) {
        let slot = held.inner.meta.slot;
        self.slots.shift(slot, Stage::Closing, now);
        if self.task.is_some() && held.inner.meta.generation >= self.hard_below {
            self.inbox.push(Job::Close(held, reason));
            self.wake_maintenance(now);
        } else {
            // It is dropped when the lock is released, and holds its slot until then.
            self.effects.push(Effect::Drop(held, reason));
        }
    }

    pub(crate) fn connection_closed(
        &mut self,
        meta: &LeaseMeta,
        reason: CloseReason,
        error: Option<SharedError>,
        now: Time,
    ) {
        bump(&mut self.totals.closed);
        self.free(meta.slot, now);
        self.report(Event::Closed { id: meta.id, reason, error });
    }

    /// A borrower keeps its connection, whose slot becomes free.
    pub(crate) fn detached(&mut self, meta: &LeaseMeta, now: Time) {
        bump(&mut self.totals.detached);
        self.free(meta.slot, now);
        self.report(Event::Detached { id: meta.id });
    }

    pub(crate) fn free(&mut self, slot: u32, now: Time) {
        self.slots.shift(slot, Stage::Free, now);
        if self.slow_returns {
            self.update_fast_paths();
        }
        self.open_more(now);
        self.note_change();
        if self.closed && self.slots.used() == 0 {
            self.wake_maintenance(now);
        }
        self.check();
    }
}
