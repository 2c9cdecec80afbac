//! Stops at the server what a borrower has left behind on a connection that it keeps.
//!
//! The cancel is sent by a task of its own, off the caller's path: at once for a statement that has exceeded its limit,
//! after a moment for one that was dropped, since most of those end by themselves.
//!
//! # Invariants
//!
//! 1. A connection has at most one such task. It has ended before the next statement is executed and before the
//!    connection is lent again, so a late cancel hits neither.
//! 2. A task that has not sent its cancel yet ends without sending it when its connection is verified or dropped.

use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How what one connection executes is stopped at its server.
pub(crate) trait StopSession: Send + Sync {
    /// Begins to cancel what `session` executes, unless it is stood down within `patience`.
    fn begin(&self, session: u64, patience: Duration) -> Stopping;

    /// How long a statement may take to end by itself.
    fn patience(&self) -> Duration;

    /// How long a cancel may take.
    fn limit(&self) -> Duration;
}

/// A cancel that is due or on its way. It is not sent any more if this is dropped in time.
pub(crate) struct Stopping {
    needed: Option<oneshot::Sender<()>>,
    /// Whether it was sent.
    task: JoinHandle<bool>,
}

impl Stopping {
    /// The cancel that `task` sends unless `needed` is dropped before.
    pub(crate) fn new(needed: oneshot::Sender<()>, task: JoinHandle<bool>) -> Self {
        Self { needed: Some(needed), task }
    }

    /// Has it not sent if it has not been yet, and waits until it is not on its way. Returns whether it was sent.
    ///
    /// # Cancel safety
    ///
    /// It can be called again.
    pub(crate) async fn stand_down(&mut self) -> bool {
        self.needed = None;
        self.until_sent().await
    }

    /// Waits until it was sent.
    ///
    /// # Cancel safety
    ///
    /// It can be called again.
    pub(crate) async fn until_sent(&mut self) -> bool {
        // It fails if the runtime of the pool has ended: then nothing is sent any more.
        (&mut self.task).await.unwrap_or(false)
    }
}

/// What an operation needs to have itself stopped.
pub(crate) struct StopMark<'e> {
    pub(crate) stopper: Option<&'e dyn StopSession>,
    pub(crate) session: Option<u64>,
    pub(crate) stopping: &'e mut Option<Stopping>,
}

impl StopMark<'_> {
    /// The statement has exceeded its limit.
    pub(crate) fn stop_now(&mut self) {
        self.stop_after(None);
    }

    /// The statement was dropped.
    pub(crate) fn stop_soon(&mut self) {
        self.stop_after(self.stopper.map(|stopper| stopper.patience()));
    }

    fn stop_after(&mut self, patience: Option<Duration>) {
        if let (None, Some(stopper), Some(session)) = (&self.stopping, self.stopper, self.session) {
            *self.stopping = Some(stopper.begin(session, patience.unwrap_or_default()));
        }
    }
}
