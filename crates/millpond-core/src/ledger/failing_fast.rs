//! What callers get while connecting fails: how long it has failed, and who is refused.

use crate::ledger::{HANG_MIN, Ledger};
use crate::rt::Time;
use crate::{PoolError, SharedError};
use std::mem;
use std::time::Duration;

/// How long a caller that timed out or was refused still counts as demand.
const DEMAND_LASTS: Duration = Duration::from_secs(10);

/// The longest pause of a refused caller before it asks once more, in microseconds.
const REFUSAL_PAUSE: u64 = 4_000;

/// The least time that the first caller in a long while waits for the attempt made for it.
const FIRST_ASKER_PAUSE: Duration = Duration::from_millis(50);

impl<C: Send + 'static> Ledger<C> {
    /// No attempt is made before this.
    pub(crate) fn not_before(&self, now: Time) -> Time {
        let lately = self.connects.last_demand.is_some_and(|at| now.since(at) < DEMAND_LASTS);
        self.connects.pause.end(lately || self.has_demand())
    }

    pub(super) fn has_demand(&self) -> bool {
        !self.waiters.is_empty() || !self.connects.prewarm_targets.is_empty()
    }

    /// Notes a failed attempt. `true` if new callers fail at once from now on. A long pause begins
    /// a new streak: an old failure says nothing about now.
    pub(super) fn note_failure(&mut self, broken: bool, now: Time) -> bool {
        self.connects.last_failure = now;
        let since = match self.connects.failing_since {
            Some(since) if !broken || self.connects.failing_fast => since,
            _ => now,
        };
        self.connects.failing_since = Some(since);
        let long =
            now.since(since) >= self.config.fail_fast_after.unwrap_or(self.config.pool_timeout);
        long && !mem::replace(&mut self.connects.failing_fast, long)
    }

    /// Whether the last failure is too old to say anything about now.
    pub(super) fn streak_expired(&self, now: Time) -> bool {
        let pause = self
            .config
            .backoff_max
            .max(self.connects.pause.without_demand.since(self.connects.last_failure));
        let longest = self.config.connect_timeout.saturating_add(pause).saturating_mul(2);
        now.since(self.connects.last_failure) > longest
    }

    /// For how long attempts have failed in a row, if they still do.
    pub(crate) fn failing_for(&self, now: Time) -> Option<Duration> {
        let since = self
            .connects
            .failing_since
            .filter(|_| self.fails_fast() || !self.streak_expired(now))?;
        Some(now.since(since))
    }

    /// Whether connecting has failed for so long that new callers fail at once.
    pub(crate) fn fails_fast(&self) -> bool {
        self.slots.open() == 0 && self.connects.failing_fast
    }

    /// Why a new caller may not wait, if so.
    pub(crate) fn refusal(&self) -> Option<PoolError> {
        if self.fails_fast() {
            return self.connect_error();
        }
        let limit = self.config.max_waiters?;
        (self.waiting() >= limit).then_some(PoolError::TooManyWaiters { limit })
    }

    /// How long a refused caller waits before it asks once more. The first one only lets other
    /// tasks run; from the second in a row it is some milliseconds, so that callers that retry at
    /// once leave time for the probe. If no caller had asked for long, the server may be back: an
    /// attempt is made at once, and the caller waits for it. The refusal is dropped outside the
    /// lock.
    pub(crate) fn refusal_delay(&mut self, refusal: PoolError, now: Time) -> Duration {
        self.effects.discard(refusal);
        let was_quiet = self.not_before(now) > self.connects.pause.with_demand;
        // The probe does not keep the long pause.
        self.connects.note_demand(now);
        self.open_more(now);
        if was_quiet {
            self.connects
                .typical_connect
                .unwrap_or_default()
                .saturating_mul(2)
                .clamp(FIRST_ASKER_PAUSE, HANG_MIN)
        } else if mem::replace(&mut self.connects.refused, true) {
            Duration::from_micros(self.connects.random.u64(1_000..=REFUSAL_PAUSE))
        } else {
            Duration::ZERO
        }
    }

    pub(crate) fn last_error(&self) -> Option<&SharedError> {
        self.connects.last_error.as_ref()
    }

    /// Replaces the last error; the old one is user code, so it is dropped outside the lock.
    pub(super) fn forget_last_error(&mut self, by: Option<SharedError>) {
        if let Some(before) = mem::replace(&mut self.connects.last_error, by) {
            self.effects.discard(before);
        }
    }

    /// Why the last attempt to connect failed, unless one has succeeded since.
    pub(crate) fn connect_error(&self) -> Option<PoolError> {
        let source = self.last_error().cloned()?;
        Some(PoolError::Connect { attempts: self.connects.failures, source })
    }
}
