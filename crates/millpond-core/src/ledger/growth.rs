//! When a connection is opened, and what follows when it is open or the attempt has failed.
//!
//! Connects never exceed demand: one for each waiter without a connection on its way, one for each
//! idle connection short of `min_idle`, one for each that will soon be recycled. While connects
//! fail, there is one at a time.

use crate::ledger::{Attempt, Job, LeaseMeta, Ledger, Pause, PooledConnection, Stage, bump};
use crate::rt::Time;
use crate::{ConnectionId, ErrorClass, Event, SharedError};
use std::time::Duration;

/// How long a connection that is being reset counts as on its way to a waiter. A reset is a round
/// trip; if it takes longer it hangs, and the waiter gets another connection.
const RESET_GRACE: Duration = Duration::from_millis(50);

/// How far ahead of its time a connection's replacement is opened, at most; never more than a
/// twentieth of its life.
const RENEW_AHEAD: Duration = Duration::from_secs(10);

impl<C: Send + 'static> Ledger<C> {
    /// Has connections opened while there is demand and room.
    pub(crate) fn open_more(&mut self, now: Time) {
        let lends = !self.closed && !self.suspended && self.task.is_some();
        if !lends || self.slots.used() >= self.config.limit() {
            return;
        }
        let one_by_one = self.connects.failures > 0 || self.connects.first_pending;
        let at_once = if one_by_one { 1 } else { self.config.max_connecting };
        while now >= self.not_before(now)
            && self.connecting(now) < at_once
            && self.wants_one_more(now)
        {
            let (slot, id) = self.take_slot(now);
            self.inbox.push(Job::Connect(Attempt {
                slot,
                id,
                generation: self.generation,
                attempt: self.connects.failures.saturating_add(1),
                first: self.connects.first_pending,
            }));
            self.wake_maintenance(now);
        }
        // What cannot be opened yet is considered again later, even if no caller asks until then.
        self.wake_by(self.growth_due(now), now);
    }

    fn take_slot(&mut self, now: Time) -> (u32, ConnectionId) {
        let taken = self.slots.take(now);
        self.totals.peak = self.totals.peak.max(self.slots.used());
        taken
    }

    fn wants_one_more(&self, now: Time) -> bool {
        let used = self.slots.used();
        if used >= self.config.limit() {
            return false;
        }
        let connecting = self.connecting(now);
        let coming = connecting.saturating_add(self.coming_back(now));
        if self.waiters.len() > coming
            && (used < self.config.pool_size || self.may_overflow(coming, now))
        {
            return true;
        }
        // What is opened beyond the waiters' need becomes idle.
        let spare = coming.saturating_sub(self.waiters.len());
        let ready = self.slots.count(Stage::Idle).saturating_add(spare);
        let short = ready < self.floor().unwrap_or(0) || self.is_cold(now);
        if self.traits.keeps && used < self.config.pool_size && short {
            return true;
        }
        let renewals = self.idle.renewals_wanted();
        let due =
            if used < self.config.pool_size { self.connects.replacements_due as usize } else { 0 };
        (spare as usize) < renewals.saturating_add(due) || (connecting == 0 && self.fails_fast())
    }

    /// How many connections are being opened, without those that hang: they block no others.
    fn connecting(&self, now: Time) -> u32 {
        self.slots.count(Stage::Connecting).saturating_sub(self.hanging(now).0)
    }

    /// How many attempts hang, and when the next one will. None does before `on_first_connect` has
    /// succeeded, since those hooks must not run twice at once.
    pub(crate) fn hanging(&self, now: Time) -> (u32, Time) {
        if self.connects.first_pending {
            (0, Time::NEVER)
        } else {
            self.slots.hanging(self.connects.hang_threshold(), now)
        }
    }

    pub(crate) fn floor(&self) -> Option<u32> {
        self.config.min_idle.map(|idle| idle.min(self.config.pool_size))
    }

    /// Connections with the maintenance task that will be back in a moment.
    fn coming_back(&self, now: Time) -> u32 {
        u32::try_from(self.fresh_resets(now).count()).unwrap_or(u32::MAX)
    }

    /// Since when they have been with the maintenance task, the latest first.
    fn fresh_resets(&self, now: Time) -> impl Iterator<Item = Time> {
        self.slots.resetting_since().take_while(move |since| now.since(*since) < RESET_GRACE)
    }

    /// Whether the next waiter has waited long enough for a connection beyond `pool_size`.
    fn may_overflow(&self, coming: u32, now: Time) -> bool {
        if self.config.overflow_after.is_zero() {
            return true;
        }
        let latest = now.before(self.config.overflow_after);
        let old_enough = now.elapsed() >= self.config.overflow_after;
        old_enough && self.waiters.count_since(latest, coming.saturating_add(1)) > coming
    }

    /// Whether a `prewarm` under way wants more connections than exist and are being opened.
    fn is_cold(&self, now: Time) -> bool {
        let wanted = self.connects.prewarm_targets.iter().max().copied().unwrap_or(0);
        let exist = self.slots.alive().saturating_add(self.connecting(now));
        exist < wanted.min(self.config.pool_size)
    }

    /// When the next waiter may have an overflow connection. Only the first few waiters matter,
    /// since at most `max_connecting` connections are opened at once.
    pub(crate) fn overflow_due(&self, now: Time) -> Time {
        let wait = self.config.overflow_after;
        if wait.is_zero() {
            return Time::NEVER;
        }
        let next = if now.elapsed() < wait {
            self.waiters.first().map(|(_, since)| since)
        } else {
            self.waiters.first_after(now.before(wait), self.config.max_connecting.saturating_add(1))
        };
        next.map_or(Time::NEVER, |since| since.after(wait))
    }

    /// When to consider opening again: after a pause, or when a reset or a connect hangs.
    pub(crate) fn growth_due(&self, now: Time) -> Time {
        let mut due = self.overflow_due(now);
        let not_before = self.not_before(now);
        if not_before > now && (!self.waiters.is_empty() || self.wants_one_more(now)) {
            due = due.min(not_before);
        }
        if !self.waiters.is_empty()
            && let Some(next) = self.fresh_resets(now).last()
        {
            due = due.min(next.after(RESET_GRACE));
        }
        due.min(self.hanging(now).1)
    }

    fn new_meta(&mut self, attempt: &Attempt, now: Time) -> LeaseMeta {
        let mut meta = LeaseMeta::new(attempt.slot, attempt.id, attempt.generation, now);
        if let Some(age) = self.config.pool_recycle {
            meta.expires = now.after(self.connects.life(age, self.config.recycle_jitter));
            let ahead = age.checked_div(20).unwrap_or(Duration::ZERO).min(RENEW_AHEAD);
            meta.renew_at = meta.expires.before(ahead);
        }
        meta
    }

    /// A connection was opened and has passed its hooks. Returns how long connecting had failed
    /// before, if it had.
    pub(crate) fn connected(
        &mut self,
        conn: C,
        attempt: &Attempt,
        took: Duration,
        now: Time,
    ) -> Option<Duration> {
        let held = PooledConnection::new(conn, self.new_meta(attempt, now));
        self.note_took(took);
        bump(&mut self.totals.created);
        self.report(Event::Connected { id: attempt.id, took });
        let failed_for = self.connects.failing_since.take().map(|since| now.since(since));
        (self.connects.failures, self.connects.last_connected) = (0, Some(now));
        self.forget_last_error(None);
        (self.connects.pause, self.connects.last_demand) = (Pause::default(), None);
        (self.connects.failing_fast, self.connects.refused) = (false, false);
        self.connects.replacements_due = self.connects.replacements_due.saturating_sub(1);
        self.connects.last_error_permanent = false;
        self.slots.shift(attempt.slot, Stage::Resetting, now);
        if self.waiters.is_empty() {
            self.idle.note_successor();
        }
        self.settle(held, now);
        self.open_more(now);
        self.note_change();
        self.check();
        if let Some(after) = failed_for {
            self.report(Event::Recovered { after });
        }
        failed_for
    }

    /// An attempt failed: its slot is free, and the next one has to wait.
    pub(crate) fn connect_failed(
        &mut self,
        attempt: &Attempt,
        error: &SharedError,
        class: ErrorClass,
        now: Time,
    ) {
        bump(&mut self.totals.connect_failed);
        let broken = self.streak_expired(now);
        if self.has_demand() {
            self.connects.note_demand(now);
        }
        self.connects.failures = self.connects.failures.saturating_add(1);
        self.forget_last_error(Some(error.clone()));
        self.connects.last_error_permanent = class == ErrorClass::Permanent;
        self.connects.pause = self.connects.draw_pause(self.config.backoff_max, now);
        self.slots.shift(attempt.slot, Stage::Free, now);
        if class == ErrorClass::Permanent
            && self.slots.open() == 0
            && let Some(error) = self.connect_error()
        {
            self.fail_waiters(&error);
        }
        self.update_fast_paths();
        let failing_fast = self.note_failure(broken, now);
        self.wake_maintenance(now);
        self.note_change();
        self.check();
        let (id, error, retry_in) = (attempt.id, error.clone(), self.not_before(now).since(now));
        self.report(Event::ConnectFailed { id, error: error.clone(), class, retry_in });
        if failing_fast {
            self.report(Event::FailingFast { error });
        }
    }

    /// Takes a free slot for a connection outside the pool.
    pub(crate) fn reserve(&mut self, now: Time) -> Option<u32> {
        if self.closed || self.suspended || self.slots.used() >= self.config.limit() {
            return None;
        }
        let (slot, _) = self.take_slot(now);
        self.slots.shift(slot, Stage::Reserved, now);
        self.check();
        Some(slot)
    }

    pub(crate) fn first_connect_done(&mut self) {
        self.connects.first_pending = false;
    }
}
