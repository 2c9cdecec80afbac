//! Stops at the server what a borrower has left behind on a connection that it keeps.
//!
//! The cancel is sent by a task of its own, off the caller's path: at once for a statement that has
//! exceeded its limit, in a full pool too; after a moment for one that was dropped, since most of
//! those end by themselves.
//!
//! # Invariants
//!
//! 1. A connection has at most one such task. Before the next statement is executed and before the
//!    connection is lent again, the task has either sent nothing and never will, or the server has
//!    answered its cancel. If neither is certain, nothing more is executed on the connection, and
//!    it is closed.
//! 2. Whether a cancel is sent is decided once: by the task right before it sends, or by the
//!    connection, which calls it off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// What has become of a cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CancelOutcome {
    /// The server was not asked, and will not be.
    NotSent,
    /// The server has answered, so nothing is on its way any more.
    Answered,
    /// The server may have been asked and may still act on it: the session must end.
    Unknown,
}

/// A session at its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Session {
    /// By which the server knows it.
    pub(crate) number: u64,
    /// When the server has told the number.
    pub(crate) known_at: Instant,
}

/// Why a statement is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CancelReason {
    /// It exceeded its limit. It is cancelled at once.
    Expired,
    /// It was dropped. It is cancelled if it does not end by itself within a moment.
    Dropped,
}

/// How what one connection executes is stopped at its server.
pub(crate) trait AutoCancel: Send + Sync {
    /// Begins to cancel what `session` executes, until it is called off.
    fn begin(&self, session: Session, reason: CancelReason) -> PendingCancel;

    /// How long reading over what was cut off may take, its cancel included.
    fn limit(&self) -> Duration;
}

/// Decides once whether a cancel is sent.
#[derive(Clone, Default)]
pub(crate) struct Decision(Arc<AtomicBool>);

impl Decision {
    /// Takes the decision. Returns `false` if the other side has taken it before.
    pub(crate) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// A cancel that is due or on its way. It is called off if this is dropped in time.
pub(crate) struct PendingCancel {
    decision: Decision,
    /// Dropped to wake the task once the cancel is called off.
    needed: Option<oneshot::Sender<()>>,
    task: JoinHandle<CancelOutcome>,
}

impl PendingCancel {
    /// The cancel that `task` sends if it takes the decision; the task ends early if `needed` is
    /// dropped.
    pub(crate) fn new(
        decision: Decision,
        needed: oneshot::Sender<()>,
        task: JoinHandle<CancelOutcome>,
    ) -> Self {
        Self { decision, needed: Some(needed), task }
    }

    /// Sees to it that the cancel is not sent. Returns `false` if it may have been sent already.
    pub(crate) fn revoke(&mut self) -> bool {
        if self.needed.is_some() && self.decision.take() {
            self.needed = None;
        }
        self.needed.is_none()
    }

    /// Calls the cancel off, or waits for its outcome if it may have been sent.
    ///
    /// # Cancel safety
    ///
    /// It can be called again.
    pub(crate) async fn resolve(&mut self) -> CancelOutcome {
        if self.revoke() {
            return CancelOutcome::NotSent;
        }
        // An error means that the task ended, with the runtime of the pool, after it had sent.
        (&mut self.task).await.unwrap_or(CancelOutcome::Unknown)
    }
}

impl Drop for PendingCancel {
    fn drop(&mut self) {
        self.revoke();
    }
}

/// What an operation needs to have itself stopped.
pub(crate) struct CancelHandle<'e> {
    pub(crate) auto_cancel: Option<&'e dyn AutoCancel>,
    pub(crate) session: Option<Session>,
    pub(crate) pending: &'e mut Option<PendingCancel>,
}

impl CancelHandle<'_> {
    /// Begins to cancel the statement, unless that is under way.
    pub(crate) fn start(&mut self, reason: CancelReason) {
        if let (None, Some(auto_cancel), Some(session)) =
            (&self.pending, self.auto_cancel, self.session)
        {
            *self.pending = Some(auto_cancel.begin(session, reason));
        }
    }
}
