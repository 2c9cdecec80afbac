//! The limits of one operation, kept on this side of the connection: a server that is silent ends
//! no statement.

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

/// The settings of a pool that limit what is done on its connections.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    /// Of one statement.
    pub(crate) statement: Option<Duration>,
    /// Of one loan.
    pub(crate) lease: Option<Duration>,
}

impl Limits {
    pub(crate) fn of(config: &PoolConfig) -> Self {
        Self { statement: config.statement_timeout, lease: config.max_lease }
    }
}

/// What is known of the present loan of a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CurrentLease {
    pub(crate) limits: Limits,
    /// When it is over, if it has a limit.
    deadline: Option<Instant>,
    /// Who has the connection.
    location: Option<&'static Location<'static>>,
}

impl CurrentLease {
    /// One that begins now.
    pub(crate) fn new(limits: Limits, location: Option<&'static Location<'static>>) -> Self {
        let deadline = limits.lease.and_then(|limit| Instant::now().checked_add(limit));
        Self { limits, deadline, location }
    }

    /// The limits of an operation that begins now; nothing, and no clock is read, where none is
    /// set.
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

    /// The error of an operation that comes when the loan is over.
    pub(crate) fn lease_expired(&self) -> Option<Error> {
        let is_over = self.deadline.is_some_and(|at| Instant::now() >= at);
        is_over.then(|| self.expired(Setting::MaxLease, String::new()))
    }

    fn expired(&self, setting: Setting, statement: String) -> Error {
        let limit = match setting {
            Setting::StatementTimeout => self.limits.statement,
            Setting::MaxLease => self.limits.lease,
        };
        let expired = Expired {
            setting,
            limit: limit.unwrap_or_default(),
            statement,
            location: self.location,
        };
        Error::Io(io::Error::new(io::ErrorKind::TimedOut, expired))
    }
}

/// Rings when an operation has taken too long.
pub(crate) struct OperationTimer {
    lease: CurrentLease,
    excerpt: String,
    /// When the statement has taken too long. The time that its consumer takes between two rows
    /// does not count.
    due: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
    paused: Option<Instant>,
}

impl OperationTimer {
    /// To be polled while the operation waits for its server.
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
            .map(|()| self.lease.expired(setting, std::mem::take(&mut self.excerpt)))
    }

    /// The consumer has a row, and comes back for the next one.
    pub(crate) fn pause(&mut self) {
        self.paused = Some(Instant::now());
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setting {
    StatementTimeout,
    MaxLease,
}

/// A statement took longer than `statement_timeout`, or a loan longer than `max_lease`.
///
/// It is the cause of an `Error::Io` of kind `TimedOut`; [`of`](Self::of) reads it back. The
/// connection is checked or closed when it comes back, and its server gets a request to stop what
/// it still executes, where it can be.
#[derive(Debug)]
pub struct Expired {
    setting: Setting,
    limit: Duration,
    statement: String,
    location: Option<&'static Location<'static>>,
}

impl Expired {
    /// Reads it out of an error.
    pub fn of(error: &Error) -> Option<&Self> {
        match error {
            Error::Io(error) => error.get_ref()?.downcast_ref(),
            _ => None,
        }
    }

    /// The setting that ended the operation: `statement_timeout` or `max_lease`.
    pub fn setting(&self) -> &'static str {
        match self.setting {
            Setting::StatementTimeout => "statement_timeout",
            Setting::MaxLease => "max_lease",
        }
    }

    /// Its value.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// The first words of the statement, never a value in it; empty for what is no statement, a
    /// COMMIT for one.
    pub fn statement(&self) -> &str {
        &self.statement
    }

    /// Where the connection was acquired, if that is known.
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
            Setting::MaxLease if what.is_empty() => {
                f.write_str("the lease has ended and nothing more is done on it")?
            }
            Setting::MaxLease => write!(f, "the lease has ended during the statement `{what}`")?,
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
