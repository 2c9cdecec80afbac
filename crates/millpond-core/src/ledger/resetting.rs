//! Connections that the maintenance task checks before they may be lent again: resets, pings of
//! idle connections, validations whose callers have gone.

use crate::CloseReason;
use crate::ledger::{Job, LeaseMeta, Ledger, PooledConnection, Stage, Validation};
use crate::rt::Time;
use std::time::Duration;

impl<C: Send + 'static> Ledger<C> {
    /// Has a returned connection reset or pinged, and the `on_checkin` hooks called.
    pub(crate) fn send_to_checkin(&mut self, held: PooledConnection<C>, reset: bool, now: Time) {
        let ping = !reset && self.slots.is_suspect(held.inner.meta.slot);
        let closes = self.reason_to_close(&held.inner.meta, now);
        let no_task = || self.task.is_none().then_some(CloseReason::RuntimeShutDown);
        if let Some(reason) = closes.or_else(no_task) {
            return self.retire(held, reason, now);
        }
        self.check_later(held.inner.meta.slot, Job::Checkin { held, reset, ping }, now);
        self.check();
    }

    /// A connection was found broken, so others that have not answered since `before` may be too:
    /// idle ones are validated now, lent ones when they come back. A return is not an answer.
    pub(crate) fn mark_suspect(&mut self, before: Time, now: Time) {
        let silent = |meta: &LeaseMeta| {
            meta.created <= before && meta.validated_at <= before.max(meta.idle_since)
        };
        self.validate_those(silent, now);
        self.slots.suspect_loans(before);
        self.update_fast_paths();
    }

    /// Has the idle connections validated that were not validated for this long.
    pub(crate) fn validate_idle(&mut self, unheard: Duration, now: Time) {
        self.validate_those(|meta| now.since(meta.validated_at) >= unheard, now);
    }

    fn validate_those(&mut self, those: impl Fn(&LeaseMeta) -> bool, now: Time) {
        if self.task.is_none() {
            return;
        }
        for held in self.idle.take_all() {
            if those(&held.inner.meta) {
                self.validate(held, now);
            } else {
                self.idle.push(held, now);
            }
        }
    }

    pub(crate) fn validate(&mut self, held: PooledConnection<C>, now: Time) {
        self.check_later(held.inner.meta.slot, Job::Validate(held), now);
    }

    /// Leaves the check of the connection in a slot to the maintenance task.
    fn check_later(&mut self, slot: u32, job: Job<C>, now: Time) {
        self.slots.shift(slot, Stage::Resetting, now);
        self.inbox.push(job);
        self.wake_maintenance(now);
    }

    /// Has the maintenance task complete a validation whose caller has gone. Without such a task it
    /// is given back.
    pub(crate) fn take_over(
        &mut self,
        validation: Validation<C>,
        now: Time,
    ) -> Option<Validation<C>> {
        if self.task.is_none() {
            return Some(validation);
        }
        self.check_later(validation.slot, Job::Complete(validation), now);
        self.check();
        None
    }
}
