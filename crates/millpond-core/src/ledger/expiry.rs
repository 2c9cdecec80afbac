//! Work that is due by the clock, at each turn of the maintenance task.

use crate::CloseReason;
use crate::ledger::{LeaseMeta, Ledger, Renewal};
use crate::rt::Time;

impl<C: Send + 'static> Ledger<C> {
    /// Closes what is too old, and asks for replacements in time.
    pub(super) fn sweep_ages(&mut self, now: Time) {
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
    pub(super) fn sweep_surplus(&mut self, now: Time) {
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

    pub(super) fn next_due(&self, now: Time) -> Time {
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

    pub(crate) fn idle_due(&self, meta: &LeaseMeta) -> Time {
        let mut due = Self::renewal_due(meta);
        if let Some(idle_timeout) = self.config.idle_timeout {
            due = due.min(meta.idle_since.after(idle_timeout));
        }
        if !self.config.overflow_linger.is_zero() {
            due = due.min(meta.idle_since.after(self.config.overflow_linger));
        }
        due
    }

    /// When to open the successor of a connection; after that, when to close the connection.
    pub(crate) fn renewal_due(meta: &LeaseMeta) -> Time {
        if meta.renewal == Renewal::NotYet { meta.renew_at } else { meta.expires }
    }
}
