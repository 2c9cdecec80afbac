//! What the ledger keeps and hands out: connections and their metadata, grants, answers to callers,
//! and jobs for the maintenance task.

use crate::ledger::{Ticket, WaiterCell};
use crate::rt::{Handle, TaskId, Time};
use crate::{CloseReason, ConnectionId, Phase, PoolError, RequestRefusal, SharedError};
use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

/// What is known of a connection; travels with it wherever it goes.
#[derive(Debug, Clone, Copy)]
pub struct LeaseMeta {
    pub(crate) slot: u32,
    pub(crate) id: ConnectionId,
    pub(crate) generation: u64,
    pub(crate) uses: u64,
    /// The task that has it or had it last, if the borrower was one; compared among idle
    /// connections.
    pub(crate) last_task: Option<TaskId>,
    pub(crate) created: Time,
    /// When it has to be replaced; drawn once, with its jitter.
    pub(crate) expires: Time,
    pub(crate) renew_at: Time,
    /// When it came back, or was opened.
    pub(crate) idle_since: Time,
    /// When it was last known to be alive: came back, was opened, or answered a ping.
    pub(crate) validated_at: Time,
    /// How many nanoseconds it had been idle when its present borrower came.
    pub(crate) idled: u64,
    pub(crate) renewal: Renewal,
}

/// Whether a connection that is soon too old has a successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renewal {
    NotYet,
    /// A successor has been asked for.
    Wanted,
    /// The successor has come; this one may be lent until its time is up.
    Done,
}

impl LeaseMeta {
    #[inline]
    pub(crate) fn note_loan(&mut self, task: Option<TaskId>) {
        bump(&mut self.uses);
        self.last_task = task;
    }

    /// The metadata of a new connection without an age limit.
    pub(crate) fn new(slot: u32, id: ConnectionId, generation: u64, now: Time) -> Self {
        Self {
            slot,
            id,
            generation,
            uses: 0,
            last_task: None,
            created: now,
            expires: Time::NEVER,
            renew_at: Time::NEVER,
            idle_since: now,
            validated_at: now,
            idled: 0,
            renewal: Renewal::NotYet,
        }
    }

    /// The metadata of a lease of a custom pool.
    pub(crate) fn of_a_custom_pool() -> Self {
        Self { uses: 1, ..Self::new(0, ConnectionId::new(0), 0, Time::ZERO) }
    }

    /// The number of the connection.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Whether the connection may be lent as it is, where only `lendable` may be lent and a ping is
    /// due this many nanoseconds after the last successful validation.
    #[inline]
    pub(crate) fn is_fresh(&self, lendable: u64, ping_after: u64, now: Time) -> bool {
        self.generation == lendable
            && now < self.expires
            && now.nanos_since(self.validated_at) < ping_after
    }
}

/// A connection together with what is known of it: what a lease holds, and what comes back to a
/// [`LeaseOwner`](crate::LeaseOwner).
pub struct PooledConnection<C> {
    /// Boxed, since it is moved a dozen times in a checkout.
    pub(crate) inner: Box<Content<C>>,
}

pub(crate) struct Content<C> {
    pub(crate) conn: C,
    pub(crate) meta: LeaseMeta,
    /// The waiter cell this connection was delivered through, kept for reuse.
    pub(crate) cell: Option<Arc<WaiterCell<Grant<C>>>>,
}

impl<C> PooledConnection<C> {
    pub(crate) fn new(conn: C, meta: LeaseMeta) -> Self {
        Self { inner: Box::new(Content { conn, meta, cell: None }) }
    }

    /// The connection.
    pub fn connection(&mut self) -> &mut C {
        &mut self.inner.conn
    }

    /// Takes the connection out.
    pub fn into_connection(self) -> C {
        self.inner.conn
    }

    /// The number of the connection.
    pub fn id(&self) -> ConnectionId {
        self.inner.meta.id
    }

    /// What is known of the lease that has ended.
    pub fn meta(&self) -> &LeaseMeta {
        &self.inner.meta
    }
}

opaque_debug!([C] PooledConnection<C>, "PooledConnection", |it| { meta: it.inner.meta });

pub(crate) enum Validated<C> {
    Fit(PooledConnection<C>),
    Unfit {
        refused: Option<SharedError>,
    },
    /// The connection is fit and has gone back; the caller is refused.
    Refused(Arc<RequestRefusal>),
}

/// A stage of a validation. It belongs to the pool as a connect does: if its caller goes away, the
/// maintenance task completes it.
pub(crate) struct Validation<C> {
    pub(crate) stage: Pin<Box<dyn Future<Output = Validated<C>> + Send>>,
    pub(crate) phase: Phase,
    pub(crate) limit: Duration,
    pub(crate) slot: u32,
}

opaque_debug!([C] Validation<C>, "Validation", |it| { slot: it.slot, phase: it.phase });

/// What never changes in the life of a pool, beside its settings.
#[derive(Debug, Clone)]
pub(crate) struct PoolTraits {
    pub(crate) name: Arc<str>,
    /// `QueuePool`, `NullPool` or `SharedPool`, as error messages name it.
    pub(crate) kind: &'static str,
    /// Whether connections are kept at all (`NullPool` keeps none).
    pub(crate) keeps: bool,
    pub(crate) first_connect_hooks: bool,
    pub(crate) checkout_hooks: bool,
    pub(crate) checkin_hooks: bool,
}

/// What becomes of a connection that comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It can be lent as it is.
    Keep,
    Reset,
    Close(CloseReason),
}

#[derive(Debug)]
pub(crate) enum Grant<C> {
    /// A connection for which nothing is due: its waiter may take it without the lock, and then
    /// counts the loan itself.
    Ready(PooledConnection<C>),
    /// A connection that must be validated and counted.
    NeedsCheck(PooledConnection<C>),
    Refusal(PoolError),
}

#[derive(Debug)]
pub(crate) enum Job<C> {
    /// Open a connection in this slot.
    Connect(Attempt),
    /// Reset or ping a connection that came back, if need be, and call the `on_checkin` hooks.
    Checkin { held: PooledConnection<C>, reset: bool, ping: bool },
    /// Ping an idle connection.
    Validate(PooledConnection<C>),
    /// Complete a validation whose caller has gone.
    Complete(Validation<C>),
    /// Run `on_close` and close.
    Close(PooledConnection<C>, CloseReason),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    pub(crate) slot: u32,
    pub(crate) id: ConnectionId,
    pub(crate) generation: u64,
    pub(crate) attempt: u32,
    /// Whether the `on_first_connect` hooks have to be called.
    pub(crate) first: bool,
}

/// What follows for a caller.
#[derive(Debug)]
pub(crate) enum Answer<C> {
    /// The connection is lent, and the loan counted.
    Lent(PooledConnection<C>),
    /// The connection has to be validated in this way first.
    Validate(PooledConnection<C>, Phase),
    /// A position in the queue; `register` if the deadline thread does not know of this pool yet.
    Queued { ticket: Ticket<Grant<C>>, register: bool },
    /// The caller has to wait, and there is no maintenance task yet: bring a runtime, then ask
    /// again.
    NeedsMaintenance,
    /// What the caller was granted may not be lent any more.
    AskAgain,
    /// Refused, because connecting fails: ask once more at this time.
    Refused(Time),
    /// The acquire has failed, which is counted.
    Failed(PoolError),
}

/// State of the pool's background task.
#[derive(Debug)]
pub(crate) struct MaintenanceTask {
    pub(super) runtime: Handle,
    pub(super) waker: Option<Waker>,
    /// When it wakes by itself.
    pub(super) wakes_at: Time,
    /// When it was last woken without having run yet.
    pub(super) woken_at: Option<Time>,
    /// The pool itself, from the drop of its last handle until everything is closed.
    pub(super) kept_pool: Option<Arc<dyn Any + Send + Sync>>,
}

impl MaintenanceTask {
    pub(crate) fn wake(self) {
        if let Some(waker) = self.waker {
            waker.wake();
        }
    }
}

pub(crate) fn bump(count: &mut u64) {
    *count = count.wrapping_add(1);
}
