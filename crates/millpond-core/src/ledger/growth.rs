//! When a connection is opened, and what follows when that fails.
//!
//! Connects never exceed demand: one for each waiter that no connection is on its way to, one for
//! each idle connection short of `min_idle`, one for each that is about to be recycled. While
//! connects fail there is one at a time.

use crate::error::PoolError;
use crate::event::SharedError;
use crate::ledger::backoff::{PATIENCE_LEAST, Pause};
use crate::ledger::effects::Effect;
use crate::ledger::entry::{Attempt, Job, LeaseMeta, PooledConnection, Renewal, bump};
use crate::ledger::slots::Stage;
use crate::ledger::state::Ledger;
use crate::manager::ErrorClass;
use crate::rt::time::Time;
use std::mem;
use std::time::Duration;

/// How long a connection that is being reset counts as being on its way to a waiter. A reset is a
/// round trip; one that takes longer hangs, and a waiter gets another connection if there is room.
const RESET_GRACE: Duration = Duration::from_millis(50);

/// How long a caller that timed out or was refused still counts as demand.
const ASKED_LASTS: Duration = Duration::from_secs(10);

/// The longest pause of a refused caller before it asks once more, in microseconds.
const REFUSAL_PAUSE: u64 = 4_000;

/// How long a caller that is the first to ask for long waits for the attempt that is made for it,
/// at least.
const FIRST_ASKER_PAUSE: Duration = Duration::from_millis(50);

/// How far ahead of its time a connection's replacement is opened, at most; never more than a
/// twentieth of its life.
const RENEW_AHEAD: Duration = Duration::from_secs(10);

/// What a failed attempt leads to.
#[derive(Debug)]
pub(crate) struct Setback {
    pub(crate) retry_in: Duration,
    #[cfg_attr(
        any(not(test), millpond_models),
        expect(dead_code, reason = "only the simulator looks at it")
    )]
    pub(crate) pause: Pause,
    /// Newcomers fail at once from now on.
    pub(crate) failing_fast: bool,
}

impl<C: Send + 'static> Ledger<C> {
    /// Has connections opened while there is demand, room, and no reason to hold back.
    pub(crate) fn open_more(&mut self, now: Time) {
        let lends = !self.closed && !self.suspended && self.task.is_some();
        if !lends || self.slots.used() >= self.config.cap() {
            return;
        }
        if now >= self.not_before(now) {
            self.open_while_wanted(now);
        }
        // What is wanted and cannot be opened yet is looked at again, even if nobody asks until
        // then: after the pause, or when the next waiter becomes entitled to an overflow
        // connection.
        self.expect_sweep(self.opening_due(now), now);
    }

    /// No attempt before this.
    fn not_before(&self, now: Time) -> Time {
        let lately = self.opening.asked.is_some_and(|at| now.since(at) < ASKED_LASTS);
        self.opening.pause.end(lately || self.is_asked())
    }

    /// Whether somebody waits for a connection to be opened.
    fn is_asked(&self) -> bool {
        !self.waiters.is_empty() || !self.opening.warm.is_empty()
    }

    fn open_while_wanted(&mut self, now: Time) {
        let one_by_one = self.opening.failures > 0 || self.opening.first_pending;
        let at_once = if one_by_one { 1 } else { self.config.max_connecting };
        while self.connecting(now) < at_once && self.wants_one_more(now) {
            let (slot, id) = self.slots.take(now);
            self.totals.peak = self.totals.peak.max(self.slots.used());
            self.inbox.push(Job::Connect(Attempt {
                slot,
                id,
                generation: self.generation,
                attempt: self.opening.failures.saturating_add(1),
                first: self.opening.first_pending,
            }));
            self.call_maintenance(now);
        }
    }

    /// Whether one more connection is wanted and there is room for it.
    fn wants_one_more(&self, now: Time) -> bool {
        let used = self.slots.used();
        if used >= self.config.cap() {
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
        if self.keeps && used < self.config.pool_size && short {
            return true;
        }
        let renewals = self.idle.renewals_wanted();
        let owed = if used < self.config.pool_size { self.opening.owed as usize } else { 0 };
        (spare as usize) < renewals.saturating_add(owed) || (connecting == 0 && self.fails_fast())
    }

    /// How many connections are being opened, those left aside that take much longer than usual:
    /// they hold nothing up.
    fn connecting(&self, now: Time) -> u32 {
        self.slots.count(Stage::Connecting).saturating_sub(self.hanging(now).0)
    }

    /// How many attempts hang, and when the next one will. The `on_first_connect` hooks must not
    /// run beside themselves.
    pub(crate) fn hanging(&self, now: Time) -> (u32, Time) {
        if self.opening.first_pending {
            (0, Time::NEVER)
        } else {
            self.slots.hanging(self.opening.patience(), now)
        }
    }

    /// `min_idle`, as far as `pool_size` allows it now.
    pub(crate) fn floor(&self) -> Option<u32> {
        self.config.min_idle.map(|idle| idle.min(self.config.pool_size))
    }

    /// Connections with the maintenance task that will be back in a moment.
    fn coming_back(&self, now: Time) -> u32 {
        u32::try_from(self.fresh_resets(now).count()).unwrap_or(u32::MAX)
    }

    /// Since when they have been with the maintenance task, the latest first.
    fn fresh_resets(&self, now: Time) -> impl Iterator<Item = Time> {
        self.slots.resting_since().take_while(move |since| now.since(*since) < RESET_GRACE)
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
        let wanted =
            self.opening.warm.iter().max().copied().unwrap_or(0).min(self.config.pool_size);
        let alive = self.slots.open().saturating_sub(self.slots.count(Stage::Closing));
        alive.saturating_add(self.connecting(now)) < wanted
    }

    /// When the next waiter becomes entitled to an overflow connection. Those behind the first few
    /// can wait for their turn: no more than `max_connecting` are opened at once.
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

    /// When the maintenance task has to think about opening again: after a pause, or when a reset
    /// takes too long.
    pub(crate) fn opening_due(&self, now: Time) -> Time {
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

    /// What is known of a connection that was opened just now.
    pub(crate) fn new_tag(&mut self, attempt: &Attempt, now: Time) -> LeaseMeta {
        let percent = self.config.recycle_jitter;
        let (expires, renew_at) = match self.config.pool_recycle {
            Some(age) => {
                let expires = now.after(self.opening.life(age, percent));
                let ahead = age.checked_div(20).unwrap_or(Duration::ZERO).min(RENEW_AHEAD);
                (expires, expires.before(ahead))
            }
            None => (Time::NEVER, Time::NEVER),
        };
        LeaseMeta {
            slot: attempt.slot,
            id: attempt.id,
            generation: attempt.generation,
            uses: 0,
            last_task: None,
            created: now,
            expires,
            renew_at,
            idle_since: now,
            validated_at: now,
            idled: 0,
            renewal: Renewal::NotYet,
        }
    }

    /// A connection was opened and has passed its hooks. How long nothing had worked before, if so.
    pub(crate) fn connected(&mut self, held: PooledConnection<C>, now: Time) -> Option<Duration> {
        bump(&mut self.totals.created);
        let failed_for = self.opening.failing_since.take().map(|since| now.since(since));
        self.opening.failures = 0;
        self.effects.extend(self.opening.last_error.take().map(Effect::Forget));
        (self.opening.pause, self.opening.asked) = (Pause::NONE, None);
        (self.opening.failing_fast, self.opening.refused) = (false, false);
        self.opening.owed = self.opening.owed.saturating_sub(1);
        self.opening.hopeless = false;
        self.slots.shift(held.inner.tag.slot, Stage::Resting, now);
        if self.waiters.is_empty() {
            self.idle.note_successor();
        }
        self.settle(held, now);
        self.open_more(now);
        self.notify_watchers();
        self.check();
        failed_for
    }

    /// An attempt failed: its place is free, and the next one has to wait.
    pub(crate) fn connect_failed(
        &mut self,
        slot: u32,
        error: &SharedError,
        class: ErrorClass,
        now: Time,
    ) -> Setback {
        bump(&mut self.totals.connect_failed);
        let broken = self.row_is_broken(now);
        if self.is_asked() {
            self.opening.note_asked(now);
        }
        self.opening.failures = self.opening.failures.saturating_add(1);
        let before = self.opening.last_error.replace(error.clone());
        self.effects.extend(before.map(Effect::Forget));
        self.opening.hopeless = class == ErrorClass::Permanent;
        let pause = self.opening.draw_pause(self.config.backoff_max, now);
        self.opening.pause = pause;
        self.slots.shift(slot, Stage::Free, now);
        if class == ErrorClass::Permanent
            && self.slots.open() == 0
            && let Some(error) = self.connect_error()
        {
            self.fail_waiters(&error);
        }
        self.note_eventful();
        let failing_fast = self.note_streak(broken, now);
        self.call_maintenance(now);
        self.notify_watchers();
        self.check();
        Setback { retry_in: self.not_before(now).since(now), pause, failing_fast }
    }

    /// Notes how long attempts have failed in a row. `true` at the moment from which newcomers fail
    /// at once. A pause in which nobody wanted a connection begins a new row: what failed an hour
    /// ago says nothing of now.
    fn note_streak(&mut self, broken: bool, now: Time) -> bool {
        self.opening.last_failure = now;
        let since = match self.opening.failing_since {
            Some(since) if !broken || self.opening.failing_fast => since,
            _ => now,
        };
        self.opening.failing_since = Some(since);
        let long =
            now.since(since) >= self.config.fail_fast_after.unwrap_or(self.config.pool_timeout);
        long && !mem::replace(&mut self.opening.failing_fast, long)
    }

    /// Whether the last failure is so long ago that it says nothing of now.
    fn row_is_broken(&self, now: Time) -> bool {
        let pause = self
            .config
            .backoff_max
            .max(self.opening.pause.unasked.since(self.opening.last_failure));
        let longest = self.config.connect_timeout.saturating_add(pause).saturating_mul(2);
        now.since(self.opening.last_failure) > longest
    }

    /// For how long attempts have failed in a row, if they still do.
    pub(crate) fn failing_for(&self, now: Time) -> Option<Duration> {
        let since =
            self.opening.failing_since.filter(|_| self.fails_fast() || !self.row_is_broken(now))?;
        Some(now.since(since))
    }

    /// Whether nothing has worked for so long that newcomers fail at once.
    pub(crate) fn fails_fast(&self) -> bool {
        self.slots.open() == 0 && self.opening.failing_fast
    }

    /// Why a newcomer is not even allowed to wait, if so.
    pub(crate) fn refusal(&self) -> Option<PoolError> {
        if self.fails_fast() {
            return self.connect_error();
        }
        let limit = self.config.max_waiters?;
        (self.waiting() >= limit).then_some(PoolError::TooManyWaiters { limit })
    }

    /// How long a caller that was refused because connecting fails waits before it asks once more.
    /// The first one waits for other tasks only, from the second in a row it is some milliseconds,
    /// so that callers who try again without a pause leave the runtime to the probe. If nobody had
    /// asked for long, the server may be back: an attempt is made at once, and the caller waits for
    /// it. The refusal is dropped outside the lock.
    pub(crate) fn pause_of_refusal(&mut self, refusal: PoolError, now: Time) -> Duration {
        self.effects.push(Effect::ForgetRefusal(refusal));
        let was_quiet = self.not_before(now) > self.opening.pause.asked;
        self.note_refusal(now);
        if was_quiet {
            self.opening
                .usual
                .unwrap_or_default()
                .saturating_mul(2)
                .clamp(FIRST_ASKER_PAUSE, PATIENCE_LEAST)
        } else if mem::replace(&mut self.opening.refused, true) {
            Duration::from_micros(self.opening.random.u64(1_000..=REFUSAL_PAUSE))
        } else {
            Duration::ZERO
        }
    }

    /// A caller was refused because connecting fails: the probe does not keep the long pause.
    fn note_refusal(&mut self, now: Time) {
        self.opening.note_asked(now);
        self.open_more(now);
    }

    /// Why the last attempt to connect failed, unless one has succeeded since.
    pub(crate) fn last_error(&self) -> Option<SharedError> {
        self.opening.last_error.clone()
    }

    /// The cached cause of failing connects.
    pub(crate) fn connect_error(&self) -> Option<PoolError> {
        let source = self.last_error()?;
        Some(PoolError::Connect { attempts: self.opening.failures, source })
    }

    /// When something is due for an idle connection.
    pub(crate) fn idle_due(&self, tag: &LeaseMeta) -> Time {
        let mut due = Self::renewal_due(tag);
        if let Some(idle_timeout) = self.config.idle_timeout {
            due = due.min(tag.idle_since.after(idle_timeout));
        }
        if !self.config.overflow_linger.is_zero() {
            due = due.min(tag.idle_since.after(self.config.overflow_linger));
        }
        due
    }

    /// When the successor of a connection is to be opened; once that was asked for, when the
    /// connection has to go.
    pub(crate) fn renewal_due(tag: &LeaseMeta) -> Time {
        if tag.renewal == Renewal::NotYet { tag.renew_at } else { tag.expires }
    }
}
