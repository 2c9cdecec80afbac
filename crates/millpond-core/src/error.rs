//! Acquire errors, with what is needed to diagnose them.

use crate::{AcquireFailure, BoxError, Holder, HookPoint, RequestRefusal, SharedError, Status};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Why no connection was lent.
///
/// Cheap to clone: one failing server fails many waiters, and they share its cause. No message
/// contains a connection string or a password; a driver's own text is in
/// [`source`](std::error::Error::source) and at the end of the message.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum PoolError {
    /// The deadline passed: `pool_timeout`, or the limit of this request.
    TimedOut(Box<TimedOut>),
    /// The pool is closed.
    Closed,
    /// As many callers are waiting as `max_waiters` allows.
    TooManyWaiters {
        /// The limit.
        limit: u32,
    },
    /// No connection could be opened, and waiting would not help: the error is permanent, or
    /// nothing has worked for `fail_fast_after`.
    Connect {
        /// How many attempts in a row have failed.
        attempts: u32,
        /// The last one's error.
        source: SharedError,
    },
    /// Hooks refused one connection after the other.
    Refused {
        /// The hook point of the refusals.
        point: HookPoint,
        /// How many connections were refused for this acquire.
        attempts: u32,
        /// The last refusal.
        source: SharedError,
    },
    /// An `on_checkout` hook refused this request, not the connection: see [`RequestRefusal`],
    /// which has the hook's own error.
    RequestRefused(Arc<RequestRefusal>),
    /// There is no tokio runtime (with its timer enabled) on which to wait or to connect.
    NoRuntime,
}

impl PoolError {
    /// The kind of failure, for counting.
    pub fn kind(&self) -> AcquireFailure {
        match self {
            Self::TimedOut(_) => AcquireFailure::TimedOut,
            Self::Closed => AcquireFailure::Closed,
            Self::TooManyWaiters { .. } => AcquireFailure::TooManyWaiters,
            Self::Connect { .. } => AcquireFailure::Connect,
            Self::Refused { .. } => AcquireFailure::Refused,
            Self::RequestRefused(_) => AcquireFailure::RequestRefused,
            Self::NoRuntime => AcquireFailure::NoRuntime,
        }
    }

    /// Whether the deadline passed.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut(_))
    }

    /// Whether the pool is closed.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(timed_out) => timed_out.fmt(f),
            Self::Closed => f.write_str("the pool is closed"),
            Self::TooManyWaiters { limit } => {
                write!(f, "as many callers are waiting already as max_waiters = {limit} allows")
            }
            Self::Connect { attempts, source } => {
                write!(f, "no connection could be opened: {source} ({attempts} failed in a row)")
            }
            Self::Refused { point, attempts, source } => {
                write!(f, "{point} refused {attempts} connections in a row: {source}")
            }
            Self::RequestRefused(refusal) => refusal.fmt(f),
            Self::NoRuntime => f.write_str(
                "there is no tokio runtime with a timer here: call from inside one, or give the \
                 pool's builder a handle",
            ),
        }
    }
}

impl std::error::Error for PoolError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::TimedOut(timed_out) => timed_out.last_error.as_deref().map(|error| error as _),
            Self::Connect { source, .. } | Self::Refused { source, .. } => {
                Some(source.as_ref() as _)
            }
            Self::RequestRefused(refusal) => Some(refusal.get_ref()),
            Self::Closed | Self::TooManyWaiters { .. } | Self::NoRuntime => None,
        }
    }
}

/// Makes a shared error of a boxed one.
pub(crate) fn share(error: BoxError) -> SharedError {
    Arc::from(error)
}

millpond_observe::named! {
    /// In which part of an acquire its deadline passed.
    #[non_exhaustive]
    pub enum Phase {
        /// Waiting for a connection to come back: every slot was taken.
        Wait = "wait",
        /// Waiting for a connection to be opened: there was room, but none was opened in time.
        Connect = "connect",
        /// Waiting for the answer to a ping.
        Ping = "ping",
        /// Waiting for an `on_checkout` hook.
        Hook = "hook",
        /// Waiting for `overflow_after` to pass: `pool_size` connections are open, and no more were
        /// allowed yet.
        Overflow = "overflow",
        /// Not waiting: nothing was ready at this moment, and the limit was zero.
        NotReady = "not ready",
        /// Waiting for `resume`.
        Suspended = "suspended",
    }
    /// Its name in messages.
    pub fn name;
}

/// A deadline that passed, and the state of the pool at that moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TimedOut {
    /// The name of the pool.
    pub pool: Arc<str>,
    /// What kind of pool it is: `QueuePool`, `NullPool`, `SharedPool`.
    pub kind: &'static str,
    /// What the caller was waiting for.
    pub phase: Phase,
    /// The limit of the acquire.
    pub limit: Duration,
    /// The pool at that moment.
    pub status: Status,
    /// The oldest holders, at most three, the oldest first.
    pub holders: Vec<Holder>,
    /// Why the last attempt to connect failed, unless one has succeeded since.
    pub last_error: Option<SharedError>,
    /// The caller's own task took one of the connections that it is waiting for, and it has not
    /// come back. Known for spawned tasks only: what runs in the body of `block_on`, as
    /// `#[tokio::main]` does, has no task of its own.
    pub self_deadlock: bool,
    /// The runtime on which the pool connects has not run for this long.
    pub runtime_stalled_for: Option<Duration>,
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason(f)?;
        write!(f, "; pool `{}`, phase {}: {}", self.pool, self.phase, self.status)?;
        if let (Some(error), true) = (&self.last_error, self.phase != Phase::Connect) {
            write!(f, "; last connect error: {error}")?;
        }
        if let Some(stalled) = self.runtime_stalled_for {
            let seconds = stalled.as_secs_f64();
            write!(
                f,
                "; the runtime on which the pool connects has not run for {seconds:.2} s: \
                 is it blocked?"
            )?;
        }
        if self.self_deadlock {
            f.write_str(
                "; this task holds one of the connections that it is waiting for: release it \
                 before acquiring again",
            )?;
        }
        if !self.holders.is_empty() {
            f.write_str("; held longest: ")?;
            for (n, holder) in self.holders.iter().enumerate() {
                write!(f, "{}{holder}", if n > 0 { ", " } else { "" })?;
            }
        }
        Ok(())
    }
}

impl TimedOut {
    /// A deadline that passed in a custom pool: its name, its kind, what the caller was waiting
    /// for, the limit it had, and the pool at that moment. The other fields are empty, and can
    /// be set. [`PoolError::TimedOut`] holds it boxed.
    pub fn new(
        pool: impl Into<Arc<str>>,
        kind: &'static str,
        phase: Phase,
        limit: Duration,
        status: Status,
    ) -> Self {
        Self {
            pool: pool.into(),
            kind,
            phase,
            limit,
            status,
            holders: Vec::new(),
            last_error: None,
            self_deadlock: false,
            runtime_stalled_for: None,
        }
    }

    /// The first half of the message.
    fn reason(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Status { pool_size, max_overflow, .. } = self.status;
        match (self.phase, &self.last_error) {
            (Phase::Wait, _) => write!(
                f,
                "{} limit of size {pool_size} overflow {max_overflow} reached, connection timed \
                 out",
                self.kind
            ),
            (Phase::Connect, Some(error)) => write!(f, "no connection could be opened: {error}"),
            (Phase::Connect, None) => {
                f.write_str("no connection could be opened: the server has not answered")
            }
            (Phase::Ping, _) => f.write_str("no connection passed its ping in time"),
            (Phase::Hook, _) => f.write_str("an on_checkout hook did not finish"),
            (Phase::Overflow, _) => write!(
                f,
                "all {pool_size} connections of pool_size are open and overflow_after has not \
                 passed, connection timed out"
            ),
            (Phase::NotReady, _) => f.write_str("no connection was ready at this moment"),
            (Phase::Suspended, _) => {
                f.write_str("the pool is suspended and was not resumed in time")
            }
        }?;
        write!(f, ", timeout {:.2}", self.limit.as_secs_f64())
    }
}
