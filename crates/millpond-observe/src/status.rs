//! Snapshots of a pool: its counts, its holders, and how its close ended.

use crate::ConnectionId;
use std::fmt;
use std::panic::Location;
use std::time::Duration;

/// A snapshot of a pool's counts. All numbers are taken together, so they add up: `open =
/// idle + in_use + resetting + closing`, and `open + connecting + reserved` never exceeds the
/// limit; after a shrink it may be above the new limit but does not grow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Connections to maintain.
    pub pool_size: u32,
    /// Connections allowed beyond those.
    pub max_overflow: u32,
    /// Idle connections that the pool keeps ready: `min_idle`, and at most `pool_size`; 0 if it is
    /// unset.
    pub min_idle: u32,
    /// Connections that exist, those being closed included.
    pub open: u32,
    /// Connections being opened.
    pub connecting: u32,
    /// Connections ready to be lent.
    pub idle: u32,
    /// Connections lent, or being validated before they are lent.
    pub in_use: u32,
    /// Connections that came back and are being reset or validated.
    pub resetting: u32,
    /// Connections being closed.
    pub closing: u32,
    /// Slots held for connections that are not the pool's: see
    /// `QueuePool::try_reserve`.
    pub reserved: u32,
    /// Callers that wait.
    pub waiting: u32,
    /// For how long the first in the queue has waited.
    pub oldest_waiter: Option<Duration>,
    /// For how long no connection could be opened, attempt after attempt. `None` if the last
    /// attempt worked, if none was made, or if the last failure is so long ago that it says nothing
    /// of now: longer than twice `connect_timeout + backoff_max` (or the pause, if that is longer).
    /// Of several pools one may choose another while this one is failing.
    pub failing_since: Option<Duration>,
    /// How long ago a connection was last known to be alive: opened, validated, lent or returned.
    pub last_success: Option<Duration>,
    /// How often everything was invalidated.
    pub generation: u64,
    /// Whether lending is suspended.
    pub suspended: bool,
    /// Whether the pool is closed or closing.
    pub closed: bool,
    /// What has happened since the pool was built.
    pub totals: Totals,
}

impl Status {
    /// The most connections that may exist at once.
    pub fn limit(&self) -> u32 {
        self.pool_size.saturating_add(self.max_overflow)
    }

    /// Connections open beyond `pool_size`.
    pub fn overflow(&self) -> u32 {
        self.open.saturating_sub(self.pool_size)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} in use, {} idle, {} connecting, {} waiting",
            self.in_use, self.idle, self.connecting, self.waiting
        )?;
        if self.resetting > 0 {
            write!(f, ", {} being reset", self.resetting)?;
        }
        if self.closing > 0 {
            write!(f, ", {} closing", self.closing)?;
        }
        if self.reserved > 0 {
            write!(f, ", {} reserved", self.reserved)?;
        }
        if let Some(age) = self.oldest_waiter {
            write!(f, " (the oldest for {:.2} s)", age.as_secs_f64())?;
        }
        if self.suspended {
            f.write_str(", suspended")?;
        }
        if self.closed {
            f.write_str(", closed")?;
        }
        Ok(())
    }
}

/// What has happened since the pool was built. The books balance: `created = closed + detached +
/// open`, and when no acquire is under way `acquires = succeeded + timed_out + cancelled + failed`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Connections opened.
    pub created: u64,
    /// Connections closed, for whatever reason.
    pub closed: u64,
    /// Connections taken out by their borrower.
    pub detached: u64,
    /// Attempts to connect that failed.
    pub connect_failed: u64,
    /// Acquires begun (`try_acquire` counts only if it lends).
    pub acquires: u64,
    /// Acquires that lent a connection.
    pub succeeded: u64,
    /// Acquires whose deadline passed.
    pub timed_out: u64,
    /// Acquires dropped by their caller.
    pub cancelled: u64,
    /// Acquires that failed in another way.
    pub failed: u64,
    /// The most slots that were taken at once.
    pub peak: u32,
}

/// The holder of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// The connection.
    pub id: ConnectionId,
    /// The line that acquired it.
    pub location: &'static Location<'static>,
    /// The label of its request, shown instead of the line: for a query on a pool, the first words
    /// of the statement, without values.
    pub label: Option<&'static str>,
    /// For how long.
    pub held: Duration,
}

impl Holder {
    /// A holder of a connection of a custom pool, without a label.
    pub fn new(id: ConnectionId, location: &'static Location<'static>, held: Duration) -> Self {
        Self { id, location, label: None, held }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.label {
            Some(label) => write!(f, "`{label}`")?,
            None => write!(f, "{}:{}", self.location.file(), self.location.line())?,
        }
        write!(f, " for {:.2} s", self.held.as_secs_f64())
    }
}

/// How a close ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "it lists the holders that are left"]
pub struct CloseReport {
    /// The holders that are left, the oldest first. Their connections are closed on return.
    pub holders: Vec<Holder>,
    /// Connections still being opened, reset or closed.
    pub pending: u32,
    /// How long the close took.
    pub took: Duration,
}

impl CloseReport {
    /// A report of what is left after this time.
    pub fn new(holders: Vec<Holder>, pending: u32, took: Duration) -> Self {
        Self { holders, pending, took }
    }

    /// A report of a pool in which nothing is left: for custom pools.
    pub fn clean(took: Duration) -> Self {
        Self::new(Vec::new(), 0, took)
    }

    /// Whether nothing is left open.
    pub fn is_clean(&self) -> bool {
        self.holders.is_empty() && self.pending == 0
    }
}

impl fmt::Display for CloseReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return write!(f, "closed in {:.2} s, nothing is left open", self.took.as_secs_f64());
        }
        write!(f, "after {:.2} s {} are still held", self.took.as_secs_f64(), self.holders.len())?;
        for holder in &self.holders {
            write!(f, ", {holder}")?;
        }
        if self.pending > 0 {
            write!(f, "; {} are still being opened, reset or closed", self.pending)?;
        }
        Ok(())
    }
}
