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

use crate::backend::Unfinished;
use crate::canceller::{CancelTransport, Canceller};
use crate::sync_state::SyncState;
use crate::tracked::Tracked;
use sqlx::{Database, Error};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const RESTLESS: &str = "an operation on this connection was dropped before it ended, and the server did not finish or \
                        cancel it within ping_timeout: drop the connection and acquire another one";

/// How one connection is stopped.
pub(crate) struct Stopper<DB: Database> {
    canceller: Arc<Canceller<DB>>,
    transport: Arc<dyn CancelTransport<DB>>,
    /// The runtime of the pool: futures may be dropped anywhere.
    runtime: Handle,
}

impl<DB: Database> Stopper<DB> {
    /// Cancels what `session` executes, unless it is stood down within `patience`. While the pool has no slot for a
    /// cancel, it is tried again.
    pub(crate) fn begin(&self, session: u64, patience: Duration) -> Stopping {
        let (canceller, transport) = (Arc::clone(&self.canceller), Arc::clone(&self.transport));
        let (needed, mut stood_down) = oneshot::channel::<()>();
        let task = self.runtime.spawn(async move {
            let mut pause = patience;
            loop {
                tokio::select! {
                    biased;
                    _ = &mut stood_down => return false,
                    () = sleep(pause) => {}
                }
                if canceller.cancel_now(session, &*transport).await != Some(false) {
                    return true;
                }
                pause = pause.max(canceller.patience()).saturating_mul(2).min(canceller.limit());
            }
        });
        Stopping { needed: Some(needed), task }
    }
}

/// A cancel that is due or on its way. It is not sent any more if this is dropped in time.
pub(crate) struct Stopping {
    needed: Option<oneshot::Sender<()>>,
    /// Whether it was sent.
    task: JoinHandle<bool>,
}

/// What an operation needs to have itself stopped.
pub(crate) struct StopMark<'e, DB: Database> {
    pub(crate) stopper: Option<&'e Stopper<DB>>,
    pub(crate) session: Option<u64>,
    pub(crate) stopping: &'e mut Option<Stopping>,
}

impl<DB: Database> StopMark<'_, DB> {
    /// The statement has exceeded its limit.
    pub(crate) fn stop_now(&mut self) {
        self.stop_after(|_| Duration::ZERO);
    }

    /// The statement was dropped.
    pub(crate) fn stop_soon(&mut self) {
        self.stop_after(Canceller::patience);
    }

    fn stop_after(&mut self, patience: impl FnOnce(&Canceller<DB>) -> Duration) {
        if let (None, Some(stopper), Some(session)) = (&self.stopping, self.stopper, self.session) {
            *self.stopping = Some(stopper.begin(session, patience(&stopper.canceller)));
        }
    }
}

impl<DB: Database> Tracked<DB> {
    /// Has a statement that is dropped, or exceeds its limit, cancelled at the server while its borrower keeps the
    /// connection: for managers, when it is new and its [session](Self::session) is known. The task that does so runs on
    /// the current runtime.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn stop_through(&mut self, canceller: &Arc<Canceller<DB>>, transport: Arc<dyn CancelTransport<DB>>) {
        let canceller = Arc::clone(canceller);
        self.stopper = Some(Stopper { canceller, transport, runtime: Handle::current() });
    }

    /// Waits until no cancel is on its way, and has none sent that has not been yet. Returns whether one was sent.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub(crate) async fn stand_down(&mut self) -> bool {
        let Some(stopping) = &mut self.stopping else { return false };
        stopping.needed = None;
        let sent = (&mut stopping.task).await.unwrap_or(false);
        self.stopping = None;
        sent
    }

    /// Reads over what is left of an operation that was cut off, and has it cancelled if that takes long. The error of
    /// what was cut off is the result.
    pub(crate) async fn read_over(&mut self, left: Unfinished) -> Result<Option<Error>, Error> {
        let stopper = self.stopper.as_ref().filter(|_| left == Unfinished::Operation && self.session().is_some());
        let Some(canceller) = stopper.map(|stopper| Arc::clone(&stopper.canceller)) else {
            return self.read_over_once(left, true).await;
        };
        let mut first = None;
        let mut limit = canceller.patience();
        loop {
            match timeout(limit, self.read_over_once(left, false)).await {
                Ok(read_over) => {
                    let error = read_over?;
                    first = first.or(error);
                    if !self.stand_down().await {
                        return Ok(first);
                    }
                    // The cancel may have come too late for the statement: what it has hit is read over as well.
                }
                Err(_) if limit == canceller.limit() => {
                    return Err(Error::Io(io::Error::new(io::ErrorKind::TimedOut, RESTLESS)));
                }
                Err(_) => self.wait_for_cancel(canceller.limit()).await,
            }
            limit = canceller.limit();
        }
    }

    /// Waits until the cancel that is due was sent, for a limited time.
    async fn wait_for_cancel(&mut self, limit: Duration) {
        if let Some(stopping) = &mut self.stopping
            && timeout(limit, &mut stopping.task).await.is_ok()
        {
            self.stopping = None;
        }
    }

    async fn read_over_once(&mut self, left: Unfinished, has_alarm: bool) -> Result<Option<Error>, Error> {
        let backend = self.backend();
        let effect = if left == Unfinished::Rows { SyncState::Undrained } else { SyncState::Cut };
        let (conn, mut watch) = self.watched(effect);
        if !has_alarm {
            // It has a limit of its own, within which a statement that has exceeded the other one is cancelled.
            watch.silence();
        }
        watch.follow(backend.resume(conn, left)).await
    }
}
