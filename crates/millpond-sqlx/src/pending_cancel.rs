//! Cancels dropped and expired statements while their borrower keeps the connection.
//!
//! A separate task sends the cancel: at once for an expired statement, even in a full pool; after a
//! grace period for a dropped one, since most of those end by themselves.
//!
//! # Invariants
//!
//! 1. A connection has at most one such task. Before its next statement or lease, the cancel has
//!    either been revoked or been answered by the server. If neither is certain, nothing more is
//!    executed on the connection, and it is closed.
//! 2. Whether a cancel is sent is decided once: by the task right before it sends, or by the
//!    connection, which revokes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The outcome of a cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CancelOutcome {
    /// The cancel was not sent, and will not be.
    NotSent,
    /// The server has answered, so nothing is in flight.
    Answered,
    /// The cancel may have been sent and may still take effect: the session must end.
    Unknown,
}

/// A session at its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Session {
    /// The number by which the server identifies it.
    pub(crate) number: u64,
    /// When the number became known.
    pub(crate) known_at: Instant,
}

/// Why a statement is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CancelReason {
    /// It exceeded its limit. It is cancelled at once.
    Expired,
    /// It was dropped. It is cancelled if it does not end within the grace period.
    Dropped,
    /// Its rows were dropped and are drained. It is cancelled if they do not end within
    /// `ping_timeout`.
    RowsLeft,
}

/// Cancels statements of one connection at its server.
pub(crate) trait AutoCancel: Send + Sync {
    /// Starts cancelling the statement of `session`, until the cancel is revoked.
    fn begin(&self, session: Session, reason: CancelReason) -> PendingCancel;

    /// Returns how long a drain may take, its cancel included.
    fn limit(&self) -> Duration;
}

/// Decides once whether a cancel is sent.
#[derive(Clone, Default)]
pub(crate) struct Decision(Arc<AtomicBool>);

impl Decision {
    /// Takes the decision. Returns `false` if the other side has already taken it.
    pub(crate) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// A cancel that is due or in flight. Dropping this revokes it if that is still possible.
pub(crate) struct PendingCancel {
    decision: Decision,
    /// Dropped to wake the task once the cancel is revoked.
    needed: Option<oneshot::Sender<()>>,
    task: JoinHandle<CancelOutcome>,
}

impl PendingCancel {
    /// A cancel that `task` sends if it takes the decision; the task ends early if `needed` is
    /// dropped.
    pub(crate) fn new(
        decision: Decision,
        needed: oneshot::Sender<()>,
        task: JoinHandle<CancelOutcome>,
    ) -> Self {
        Self { decision, needed: Some(needed), task }
    }

    /// Revokes the cancel. Returns `false` if it may have been sent already.
    pub(crate) fn revoke(&mut self) -> bool {
        if self.needed.is_some() && self.decision.take() {
            self.needed = None;
        }
        self.needed.is_none()
    }

    /// Revokes the cancel, or waits for its outcome if it may have been sent.
    ///
    /// # Cancel safety
    ///
    /// Can be called again if it was dropped.
    pub(crate) async fn resolve(&mut self) -> CancelOutcome {
        if self.revoke() {
            return CancelOutcome::NotSent;
        }
        // An error means that the pool's runtime shut down after the task had sent the cancel.
        (&mut self.task).await.unwrap_or(CancelOutcome::Unknown)
    }
}

impl Drop for PendingCancel {
    fn drop(&mut self) {
        self.revoke();
    }
}

/// What an operation needs to have its statement cancelled.
pub(crate) struct CancelHandle<'e> {
    pub(crate) auto_cancel: Option<&'e dyn AutoCancel>,
    pub(crate) session: Option<Session>,
    pub(crate) pending: &'e mut Option<PendingCancel>,
}

impl CancelHandle<'_> {
    /// Starts cancelling the statement, unless a cancel is pending.
    pub(crate) fn start(&mut self, reason: CancelReason) {
        if let (None, Some(auto_cancel), Some(session)) =
            (&self.pending, self.auto_cancel, self.session)
        {
            *self.pending = Some(auto_cancel.begin(session, reason));
        }
    }
}
