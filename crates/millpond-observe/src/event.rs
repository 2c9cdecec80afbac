//! Everything that happens in a pool, as one stream of events for metrics, logs, pages and tests.

use crate::{ConnectionId, HookPoint, PoolHistograms};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// Observes the events of a pool. It cannot fail, has no access to connections, and must not block.
///
/// Called after the pool's lock is released, on whatever thread the event happened, so two events
/// may arrive out of order: [`EventContext::seq`] says which was first. A panic in an observer is
/// caught; only that call is lost.
///
/// A closure will do: `builder.observer(|event: &Event, context: &EventContext<'_>| ..)`.
pub trait Observer: Send + Sync + 'static {
    /// Called for each event.
    fn observe(&self, event: &Event, context: &EventContext<'_>);

    /// Which events this observer gets: all of them by default. Asked once, when the pool is built.
    ///
    /// Without an observer of every loan, a loan costs half as much.
    fn interest(&self) -> Interest {
        Interest::Everything
    }

    /// Takes the pool's own measurements. Called once, when the pool is built, for one whose
    /// interest is [`Interest::Measurements`].
    fn attach_histograms(&self, pool: &str, histograms: Arc<PoolHistograms>) {
        let _ = (pool, histograms);
    }
}

/// What an [`Observer`] wants to observe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Interest {
    /// Every event.
    Everything,
    /// Every event but those of a loan that goes well: [`Waiting`](Event::Waiting),
    /// [`Acquired`](Event::Acquired) and [`Returned`](Event::Returned).
    Incidents,
    /// The same, and how long loans and the waits for them took, which the pool counts itself: see
    /// [`Observer::attach_histograms`].
    Measurements,
}

impl<F: Fn(&Event, &EventContext<'_>) + Send + Sync + 'static> Observer for F {
    fn observe(&self, event: &Event, context: &EventContext<'_>) {
        self(event, context);
    }
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn observe(&self, event: &Event, context: &EventContext<'_>) {
        (**self).observe(event, context);
    }

    fn interest(&self) -> Interest {
        (**self).interest()
    }

    fn attach_histograms(&self, pool: &str, histograms: Arc<PoolHistograms>) {
        (**self).attach_histograms(pool, histograms);
    }
}

/// Where and when an event happened.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct EventContext<'a> {
    /// The name of the pool.
    pub pool: &'a str,
    /// Its sequence number among the pool's events, taken under the lock.
    pub seq: u64,
}

impl<'a> EventContext<'a> {
    /// The context of an event of a custom pool: the pool's name, and the event's number among the
    /// pool's events, which counts from 1 and is given to one event only.
    pub fn new(pool: &'a str, seq: u64) -> Self {
        Self { pool, seq }
    }
}

/// An error that several share: the waiters that it fails, an event, the status.
pub type SharedError = Arc<dyn std::error::Error + Send + Sync>;

/// What an error means for the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// This connection is broken; the others need not be. From `connect`: try again.
    Connection,
    /// The server is no longer the one to talk to: everything opened so far is invalidated.
    Failover,
    /// Trying again will not help (a wrong password, an unknown database): waiting callers get the
    /// error at once if nothing is open.
    Permanent,
    /// It may pass: the pool goes on trying until the caller's deadline.
    Transient,
}

/// Something that happened in a pool.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A caller has to wait; `waiting` callers do now.
    Waiting {
        /// How many wait, this one included.
        waiting: usize,
    },
    /// A connection was lent.
    Acquired {
        /// The connection.
        id: ConnectionId,
        /// How long the acquire took.
        waited: Duration,
        /// The caller's line.
        location: &'static Location<'static>,
    },
    /// An acquire ended with an error.
    AcquireFailed {
        /// The kind of failure.
        failure: AcquireFailure,
        /// How long the acquire took.
        waited: Duration,
        /// The caller's line.
        location: &'static Location<'static>,
    },
    /// An acquire was dropped before it ended.
    AcquireCancelled {
        /// How long the acquire took.
        waited: Duration,
        /// The caller's line.
        location: &'static Location<'static>,
    },
    /// A lease was dropped, and its connection came back.
    Returned {
        /// The connection.
        id: ConnectionId,
        /// How long it was held.
        held: Duration,
    },
    /// A connection is being opened.
    Connecting {
        /// The number that it will have.
        id: ConnectionId,
        /// 1, and one more for every failure in a row.
        attempt: u32,
    },
    /// A connection was opened and has passed its hooks.
    Connected {
        /// The connection.
        id: ConnectionId,
        /// How long it took, hooks included.
        took: Duration,
    },
    /// A connection could not be opened.
    ConnectFailed {
        /// The number that the connection would have had.
        id: ConnectionId,
        /// The driver's error, a refusing hook's, a limit that passed or a panic.
        error: SharedError,
        /// How the manager classifies it.
        class: ErrorClass,
        /// The pause before the next attempt. A caller that comes meanwhile shortens it to at most
        /// `backoff_max`.
        retry_in: Duration,
    },
    /// A ping failed, panicked or took too long; the connection will be closed.
    PingFailed {
        /// The connection.
        id: ConnectionId,
        /// The cause.
        error: SharedError,
    },
    /// A reset failed, panicked or took too long; the connection will be closed.
    ResetFailed {
        /// The connection.
        id: ConnectionId,
        /// The cause.
        error: SharedError,
    },
    /// A hook refused, panicked or took too long.
    HookFailed {
        /// The connection.
        id: ConnectionId,
        /// The hook point.
        point: HookPoint,
        /// The cause.
        error: SharedError,
    },
    /// A connection was closed, and its slot is free.
    Closed {
        /// The connection.
        id: ConnectionId,
        /// Why it was closed.
        reason: CloseReason,
        /// Why the close failed, if it did; the connection was dropped then.
        error: Option<SharedError>,
    },
    /// A borrower detached a connection from the pool.
    Detached {
        /// The connection.
        id: ConnectionId,
    },
    /// A borrower has kept a connection for longer than `leak_after` or `max_lease`. Reported once
    /// for each lease.
    Leaked {
        /// The connection.
        id: ConnectionId,
        /// The holder's line.
        location: &'static Location<'static>,
        /// How long it has been held so far.
        held: Duration,
    },
    /// User code panicked: a manager or a hook. A borrower that panics is reported by `Closed` with
    /// its reason.
    Panicked {
        /// The callback that panicked, such as `on_connect` or `ping`.
        callback: &'static str,
        /// The message of the panic.
        message: String,
    },
    /// New callers now fail at once, because connects have failed for `fail_fast_after`.
    FailingFast {
        /// The last failure.
        error: SharedError,
    },
    /// A connection could be opened again after failures.
    Recovered {
        /// How long connects had failed.
        after: Duration,
    },
    /// The sizes were changed.
    Resized {
        /// The new `pool_size`.
        pool_size: u32,
        /// The new `max_overflow`.
        max_overflow: u32,
    },
    /// Everything opened so far is out of date.
    Invalidated {
        /// The generation that holds from now on.
        generation: u64,
    },
    /// A setting does not go together with another one (`PoolConfig::conflicts`), or with the
    /// server (`QueuePool::warn`).
    Warned {
        /// The setting that could be changed.
        setting: &'static str,
        /// What is wrong, and what the user can do.
        message: String,
    },
    /// Nothing is lent until `resume`.
    Suspended,
    /// Lending goes on.
    Resumed,
    /// The pool's runtime has shut down, and its connections with it.
    RuntimeShutDown,
    /// `close` was called, or the last handle was dropped.
    Closing,
}

impl Event {
    /// Returns true if it belongs to a loan that goes well.
    #[inline]
    pub fn is_routine(&self) -> bool {
        matches!(self, Self::Waiting { .. } | Self::Acquired { .. } | Self::Returned { .. })
    }

    /// Returns true if it belongs to an acquire or a loan, however that goes.
    #[inline]
    pub fn is_of_a_loan(&self) -> bool {
        self.is_routine()
            || matches!(self, Self::AcquireFailed { .. } | Self::AcquireCancelled { .. })
    }

    /// The error of the manager or of a hook that it carries.
    pub fn error(&self) -> Option<&SharedError> {
        match self {
            Self::ConnectFailed { error, .. }
            | Self::PingFailed { error, .. }
            | Self::ResetFailed { error, .. }
            | Self::HookFailed { error, .. }
            | Self::FailingFast { error } => Some(error),
            Self::Closed { error, .. } => error.as_ref(),
            _ => None,
        }
    }
}

/// Why an acquire failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AcquireFailure {
    /// The deadline passed.
    TimedOut,
    /// The pool is closed.
    Closed,
    /// `max_waiters` callers were waiting already.
    TooManyWaiters,
    /// No connection could be opened.
    Connect,
    /// Hooks refused one connection after the other.
    Refused,
    /// A hook refused the request.
    RequestRefused,
    /// There is no tokio runtime.
    NoRuntime,
}

named! {
    /// Why a connection was closed.
    #[non_exhaustive]
    pub enum CloseReason {
        /// Older than `pool_recycle`.
        Recycled = "recycled",
        /// Idle for longer than `idle_timeout`.
        IdleTooLong = "idle_too_long",
        /// A ping failed or took too long.
        PingFailed = "ping_failed",
        /// A hook refused it.
        RefusedByHook = "refused_by_hook",
        /// An operation on it was cut off before it ended.
        Interrupted = "interrupted",
        /// The driver reported it as unusable.
        Broken = "broken",
        /// It could not be verified to be in sync, or the manager's `triage` discarded it.
        Unverified = "unverified",
        /// A reset failed or took too long.
        ResetFailed = "reset_failed",
        /// Held for longer than `max_lease`.
        Overdue = "overdue",
        /// The borrower has kept another handle to it.
        HandleLeaked = "handle_leaked",
        /// It is older than the last `invalidate_all`.
        Invalidated = "invalidated",
        /// It came back and `pool_size` connections were idle already.
        Overflow = "overflow",
        /// The pool keeps nothing (`NullPool`).
        NotPooled = "not_pooled",
        /// The pool was made smaller.
        Shrunk = "shrunk",
        /// The borrower asked for it.
        Discarded = "discarded",
        /// Its manager or its borrower panicked.
        Panicked = "panicked",
        /// Its runtime has shut down.
        RuntimeShutDown = "runtime_shut_down",
        /// The pool was closed.
        PoolClosed = "pool_closed",
    }
    /// The reason as one word for metrics and tables: `recycled`, `idle_too_long` and so on.
    pub fn name;
}
