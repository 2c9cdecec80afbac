//! Time limits of operations, enforced by the client, so that they also end a statement whose
//! server does not respond.

use crate::sql_text::excerpt;
use millpond_core::PoolConfig;
use sqlx::Error;
use std::fmt;
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// The settings of a pool, or of a handle of it, for its leases.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    /// The limit of one statement.
    pub(crate) statement: Option<Duration>,
    /// The limit of one lease.
    pub(crate) lease: Option<Duration>,
    /// True if borrowers rely on the declared types of columns.
    pub(crate) declared_types: bool,
    /// True if a timeout of an acquire is sqlx's `PoolTimedOut`.
    pub(crate) sqlx_timeouts: bool,
}

impl Limits {
    pub(crate) fn of(config: &PoolConfig) -> Self {
        let (statement, lease) = (config.statement_timeout, config.max_lease);
        Self { statement, lease, ..Self::default() }
    }
}

/// The current lease of a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CurrentLease {
    pub(crate) limits: Limits,
    /// When the lease expires, if it has a limit.
    deadline: Option<Instant>,
    /// Where the connection was acquired.
    location: Option<&'static Location<'static>>,
}

impl CurrentLease {
    /// Starts a lease.
    pub(crate) fn new(limits: Limits, location: Option<&'static Location<'static>>) -> Self {
        let deadline = limits.lease.and_then(|limit| Instant::now().checked_add(limit));
        Self { limits, deadline, location }
    }

    /// Returns the timer of an operation that starts now. Without limits there is none, and no
    /// clock is read.
    pub(crate) fn timer(&self, sql: &str) -> Option<Box<OperationTimer>> {
        if self.limits.statement.is_none() && self.deadline.is_none() {
            return None;
        }
        Some(Box::new(OperationTimer {
            lease: *self,
            excerpt: excerpt(sql),
            due: None,
            sleep: None,
            paused: None,
        }))
    }

    /// Returns an error if the lease has expired.
    pub(crate) fn lease_expired(&self) -> Option<Error> {
        let is_over = self.deadline.is_some_and(|at| Instant::now() >= at);
        is_over.then(|| self.expired(Setting::MaxLease, String::new(), false))
    }

    fn expired(&self, setting: Setting, statement: String, was_sent: bool) -> Error {
        let limit = match setting {
            Setting::StatementTimeout => self.limits.statement,
            Setting::MaxLease => self.limits.lease,
        };
        let expired = Expired {
            setting,
            limit: limit.unwrap_or_default(),
            statement,
            was_sent,
            location: self.location,
        };
        Error::Io(io::Error::new(io::ErrorKind::TimedOut, expired))
    }
}

/// Limits the time of one operation.
pub(crate) struct OperationTimer {
    lease: CurrentLease,
    excerpt: String,
    /// The deadline of the statement. The time that the consumer takes between two rows does not
    /// count.
    due: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
    paused: Option<Instant>,
}

impl OperationTimer {
    /// Polled while the operation waits for its server; returns an error at its deadline.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let now = Instant::now();
        if let (Some(paused), Some(due)) = (self.paused.take(), &mut self.due) {
            *due += now.saturating_duration_since(paused);
            self.sleep = None;
        }
        if self.due.is_none() {
            self.due = self.lease.limits.statement.and_then(|limit| now.checked_add(limit));
        }
        let (setting, at) = match (self.due, self.lease.deadline) {
            (Some(due), deadline) if deadline.is_none_or(|deadline| due <= deadline) => {
                (Setting::StatementTimeout, due)
            }
            (_, Some(deadline)) => (Setting::MaxLease, deadline),
            _ => return Poll::Pending,
        };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        sleep
            .as_mut()
            .poll(cx)
            .map(|()| self.lease.expired(setting, std::mem::take(&mut self.excerpt), true))
    }

    /// Stops the clock while the consumer processes a row.
    pub(crate) fn pause(&mut self) {
        self.paused = Some(Instant::now());
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setting {
    StatementTimeout,
    MaxLease,
}

/// A statement took longer than `statement_timeout`, or a lease longer than `max_lease`.
///
/// It is the cause of an `Error::Io` of kind `TimedOut`; [`of`](Self::of) extracts it. The
/// connection is verified or closed on return, and the statement is cancelled at the server where
/// possible.
#[derive(Debug)]
pub struct Expired {
    setting: Setting,
    limit: Duration,
    statement: String,
    /// Whether the operation may have reached the server.
    was_sent: bool,
    location: Option<&'static Location<'static>>,
}

impl Expired {
    /// Extracts it from an error.
    pub fn of(error: &Error) -> Option<&Self> {
        match error {
            Error::Io(error) => error.get_ref()?.downcast_ref(),
            _ => None,
        }
    }

    /// Returns the setting that ended the operation: `statement_timeout` or `max_lease`.
    pub fn setting(&self) -> &'static str {
        match self.setting {
            Setting::StatementTimeout => "statement_timeout",
            Setting::MaxLease => "max_lease",
        }
    }

    /// Returns the value of the setting.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// Returns the first words of the statement, without values; empty for an operation without
    /// one, such as a commit.
    pub fn statement(&self) -> &str {
        &self.statement
    }

    /// Returns where the connection was acquired, if that is known.
    pub fn location(&self) -> Option<&'static Location<'static>> {
        self.location
    }
}

impl fmt::Display for Expired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, limit) = (&self.statement, self.limit);
        match self.setting {
            Setting::StatementTimeout if what.is_empty() => {
                f.write_str("the operation did not end")?
            }
            Setting::StatementTimeout => write!(f, "the statement `{what}` did not end")?,
            Setting::MaxLease if !self.was_sent => {
                f.write_str("the lease has expired and nothing more is executed on it")?
            }
            Setting::MaxLease if what.is_empty() => f.write_str(
                "the lease expired during an operation, and whether the server has executed that \
                 is not known",
            )?,
            Setting::MaxLease => write!(f, "the lease expired during the statement `{what}`")?,
        }
        match self.setting {
            Setting::StatementTimeout => write!(f, " within statement_timeout ({limit:?})")?,
            Setting::MaxLease => write!(f, ": it is older than max_lease ({limit:?})")?,
        }
        match self.location {
            Some(location) => write!(f, "; the connection was acquired at {location}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Expired {}
