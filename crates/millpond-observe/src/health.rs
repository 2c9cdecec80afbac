//! Whether a pool serves its callers, found from its own counts.

use crate::{SharedError, Status};
use std::fmt;
use std::time::Duration;

named! {
    /// Whether a pool serves its callers.
    #[non_exhaustive]
    pub enum Verdict {
        /// A connection is idle, or can be opened.
        Ready = "ready",
        /// Every connection is in use: callers wait, but the pool works.
        Busy = "busy",
        /// No connection was opened yet, so nothing is known of the server.
        Unverified = "unverified",
        /// No connection is open, and none can be opened.
        Down = "down",
        /// Nothing is lent until the pool is resumed.
        Suspended = "suspended",
        /// The pool is closed or closing.
        Closed = "closed",
    }
    /// The verdict as one word: `ready`, `busy` and so on.
    pub fn name;
}

/// The health of a pool, for readiness probes and pages.
///
/// It is derived from the pool's own counts: no connection is acquired, nothing is sent and nothing
/// is awaited, so a probe neither waits behind other callers nor takes a busy service down.
///
/// ```
/// use millpond_observe::{Status, Verdict};
///
/// let mut status = Status::default();
/// (status.pool_size, status.open, status.in_use) = (2, 2, 2);
/// status.totals.created = 2;
/// let health = status.health();
/// assert_eq!((health.verdict, health.is_serving()), (Verdict::Busy, true));
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Health {
    /// Whether the pool serves.
    pub verdict: Verdict,
    /// For how long it has been [`Down`](Verdict::Down); `None` for every other verdict.
    pub since: Option<Duration>,
    /// Why the last attempt to open a connection failed, if none has succeeded since and the pool
    /// keeps the error.
    pub cause: Option<SharedError>,
    /// How long ago a connection was last known to be alive: opened, validated, lent or returned.
    pub last_success: Option<Duration>,
    /// For how long the first in the queue has waited.
    pub oldest_wait: Option<Duration>,
}

impl Status {
    /// Derives the health of the pool from its counts.
    pub fn health(&self) -> Health {
        // Closing connections can neither be lent nor come back.
        let usable = self.open.saturating_sub(self.closing);
        let taken = self.open.saturating_add(self.connecting).saturating_add(self.reserved);
        let is_failing = self.failing_since.is_some();
        let verdict = if self.closed {
            Verdict::Closed
        } else if self.suspended {
            Verdict::Suspended
        } else if usable == 0 && is_failing {
            Verdict::Down
        } else if self.totals.created == 0 {
            Verdict::Unverified
        } else if self.waiting > 0 || (self.idle == 0 && (is_failing || taken >= self.limit())) {
            Verdict::Busy
        } else {
            Verdict::Ready
        };
        Health {
            verdict,
            since: self.failing_since.filter(|_| verdict == Verdict::Down),
            cause: None,
            last_success: self.last_success,
            oldest_wait: self.oldest_waiter,
        }
    }
}

impl Health {
    /// Returns false if the pool is known not to serve: for a readiness probe. An
    /// [`Unverified`](Verdict::Unverified) pool counts as serving, because a pool that opens its
    /// first connection on demand would otherwise never get a caller.
    pub fn is_serving(&self) -> bool {
        !matches!(self.verdict, Verdict::Down | Verdict::Suspended | Verdict::Closed)
    }

    /// The worse of two, for a pool that consists of several.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        let rank = |health: &Self| match health.verdict {
            Verdict::Ready => 0,
            Verdict::Busy => 1,
            Verdict::Unverified => 2,
            Verdict::Suspended => 3,
            Verdict::Down => 4,
            Verdict::Closed => 5,
        };
        let oldest_wait = self.oldest_wait.max(other.oldest_wait);
        let worse = if rank(&other) > rank(&self) { other } else { self };
        Self { oldest_wait, ..worse }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.verdict.fmt(f)?;
        if let Some(since) = self.since {
            write!(f, " for {:.2} s", since.as_secs_f64())?;
        }
        if let Some(wait) = self.oldest_wait {
            write!(f, ", the oldest caller has waited for {:.2} s", wait.as_secs_f64())?;
        }
        if let Some(cause) = &self.cause {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}
