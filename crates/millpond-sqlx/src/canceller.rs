//! Stopping at the server what was abandoned, so that a query that was cut off does not hold its
//! place until it ends.
//!
//! # Invariants
//!
//! 1. One cancel of a pool at a time. Its limit begins when it has its turn.
//! 2. It goes over an idle connection of the pool that has just answered a ping, or over one of its
//!    own in a place under the cap, or not at all. That place is the victim's where the victim is
//!    closed first. Only for a statement that exceeded its limit in a full pool is a connection
//!    opened beyond the cap; it is closed before the victim is.
//! 3. The victim is with its caller, in no pool, until the server has answered the cancel: a late
//!    one cannot hit the next borrower. If the answer does not come, or the call is dropped
//!    half-way, the victim is closed.

use crate::pending_cancel::{
    AutoCancel, CancelOutcome, CancelReason, Decision, PendingCancel, Session,
};
use crate::pool_handle::WeakPoolHandle;
use crate::sync_state::SyncState;
use crate::tracked::Tracked;
use millpond_core::{CloseReason, Lease, Request, async_trait};
use sqlx::{Connection, Database, Error};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// What part of `ping_timeout` a connection has to come to rest by itself: a query that ends soon
/// needs no cancel.
const GRACE_SHARE: u32 = 8;

const NO_CONNECTION: &str =
    "what was cut off goes on at the server, and the pool has no connection to cancel it over";

/// How a backend stops what another session of the same user executes: implemented by its manager.
#[async_trait]
pub trait CancelTransport<DB: Database>: Send + Sync + 'static {
    /// Opens a connection past the pool.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind if the future is dropped.
    async fn connect(&self) -> Result<DB::Connection, Error>;

    /// Stops what the session with this number executes. It must have been stopped, or told to,
    /// when this returns. `is_older` says that `conn` was opened before that session, so the server
    /// has not been started again since.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the victim is closed.
    async fn cancel(
        &self,
        conn: &mut DB::Connection,
        session: u64,
        is_older: bool,
    ) -> Result<(), Error>;

    /// Ends the session with this number, of which this side has been closed, over a connection
    /// that is newer. By default what it executes is stopped.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the session may go on.
    async fn end(&self, conn: &mut DB::Connection, session: u64) -> Result<(), Error> {
        self.cancel(conn, session, false).await
    }
}

/// Stops at the server what was abandoned: one for each pool.
pub struct Canceller<DB: Database> {
    pool_handle: WeakPoolHandle<DB>,
    limit: Duration,
    turn: Mutex<()>,
}

impl<DB: Database> Canceller<DB> {
    /// The canceller of the pool that this link leads to; `limit` is its `ping_timeout`.
    pub fn new(pool_handle: WeakPoolHandle<DB>, limit: Duration) -> Self {
        Self { pool_handle, limit, turn: Mutex::new(()) }
    }

    /// Verifies that a connection is at rest, as [`Tracked::verify`] does; if it does not come to
    /// rest within an eighth of the limit, what it executes is cancelled first. A connection whose
    /// [session](Tracked::session) is not known is waited for.
    ///
    /// # Errors
    ///
    /// Those of [`Tracked::verify`]; that nothing was free to send the cancel over; that the server
    /// has not answered it, so that it may come late. Then
    /// [`drop_and_end_session`](Self::drop_and_end_session) will do.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the connection is to be closed.
    pub async fn verify(
        &self,
        conn: &mut Tracked<DB>,
        transport: &dyn CancelTransport<DB>,
    ) -> Result<(), Error> {
        conn.resolve_cancel().await;
        conn.refuse_if_given_up()?;
        let mut grace_period = self.grace_period();
        while conn.session().is_some() {
            if let Ok(verified) = timeout(grace_period, conn.verify()).await {
                return verified;
            }
            // Not known while the cancel is under way: if it hangs, it is not tried again.
            let Some(session) = conn.session_mut().take() else { break };
            let decision = Decision::default();
            let outcome = self.cancel(session, transport, &decision, CancelReason::Dropped).await;
            *conn.session_mut() = Some(session);
            match outcome {
                CancelOutcome::Answered => {}
                CancelOutcome::NotSent => return Err(Error::Protocol(NO_CONNECTION.to_owned())),
                CancelOutcome::Unknown => return Err(conn.give_up_for_late_cancel()),
            }
            // A cancel that came before the statement had begun has hit nothing; where the network
            // is slow, nothing is amiss.
            grace_period = grace_period.saturating_mul(2);
        }
        conn.verify().await
    }

    /// Drops a connection and then ends its session at the server, over a connection in the place
    /// that the dropped one had: for [`Manager::close`](millpond_core::Manager::close), during
    /// which a place is taken. A failure is reported as a warning of the pool.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the server may go on.
    pub async fn drop_and_end_session(
        &self,
        mut conn: Tracked<DB>,
        transport: &dyn CancelTransport<DB>,
    ) {
        conn.resolve_cancel().await;
        let session = conn.session_mut().take();
        drop(conn);
        if let Some(session) = session {
            let _turn = self.turn.lock().await;
            let end = async {
                let mut conn = transport.connect().await?;
                transport.end(&mut conn, session.number).await?;
                conn.close().await
            };
            self.until(Instant::now() + self.limit, end).await;
        }
    }

    /// Has what is dropped on a connection, or exceeds its limit there, cancelled while its
    /// borrower keeps it: when the connection is new and its [session](Tracked::session) is known.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn enable_auto_cancel(
        self: &Arc<Self>,
        conn: &mut Tracked<DB>,
        transport: Arc<dyn CancelTransport<DB>>,
    ) {
        let canceller = Arc::clone(self);
        conn.auto_cancel =
            Some(Box::new(SessionCanceller { canceller, transport, runtime: Handle::current() }));
    }

    /// How long a connection may take to come to rest by itself.
    pub fn grace_period(&self) -> Duration {
        self.limit / GRACE_SHARE
    }

    /// Cancels what a session executes, if `decision` can be taken when everything is ready to send
    /// it. A failure is reported as a warning of the pool.
    async fn cancel(
        &self,
        session: Session,
        transport: &dyn CancelTransport<DB>,
        decision: &Decision,
        reason: CancelReason,
    ) -> CancelOutcome {
        let _turn = self.turn.lock().await;
        if let Some(mut lease) = self.idle_connection().await {
            if !decision.take() {
                return CancelOutcome::NotSent;
            }
            let is_older = lease.session_mut().is_some_and(|own| own.known_at <= session.known_at);
            let (conn, guard) = lease.begin_operation(SyncState::Clean);
            let sent = guard.track(transport.cancel(conn, session.number, is_older));
            return outcome(self.until(Instant::now() + self.limit, sent).await);
        }
        // It is freed after the connection is dropped.
        let slot = self.pool_handle.try_reserve();
        if slot.is_none() && !(reason == CancelReason::Expired && self.pool_handle.is_open()) {
            return CancelOutcome::NotSent;
        }
        let until = Instant::now() + self.limit;
        let Some(mut conn) = self.until(until, transport.connect()).await else {
            return CancelOutcome::NotSent;
        };
        if !decision.take() {
            return CancelOutcome::NotSent;
        }
        let sent = self.until(until, transport.cancel(&mut conn, session.number, false)).await;
        // The cancel has its outcome, whatever becomes of the goodbye.
        let _ = timeout_at(until, conn.close()).await;
        outcome(sent)
    }

    /// An idle connection of the pool that answers. Those that do not are closed: what is sent over
    /// them would have an unknown outcome.
    async fn idle_connection(&self) -> Option<Lease<Tracked<DB>>> {
        loop {
            let mut lease = self.pool_handle.pool()?.try_acquire_with(Request::here())?;
            let (conn, guard) = lease.begin_operation(SyncState::Clean);
            let pinged = timeout(self.grace_period(), guard.track(Box::pin(conn.ping()))).await;
            if matches!(pinged, Ok(Ok(()))) {
                return Some(lease);
            }
            Lease::discard(lease, CloseReason::PingFailed);
        }
    }

    async fn until<T>(
        &self,
        end: Instant,
        step: impl Future<Output = Result<T, Error>>,
    ) -> Option<T> {
        let outcome = timeout_at(end, step).await;
        let outcome =
            outcome.unwrap_or_else(|_| Err(Error::Io(std::io::ErrorKind::TimedOut.into())));
        outcome
            .map_err(|error| {
                let message = format!(
                    "a query that was cut off could not be cancelled at the server: {error}"
                );
                self.pool_handle.warn("cancel_abandoned", message);
            })
            .ok()
    }
}

/// The outcome of a cancel that was sent, and answered or not.
fn outcome(answer: Option<()>) -> CancelOutcome {
    answer.map_or(CancelOutcome::Unknown, |()| CancelOutcome::Answered)
}

/// How one connection is stopped while its borrower keeps it.
struct SessionCanceller<DB: Database> {
    canceller: Arc<Canceller<DB>>,
    transport: Arc<dyn CancelTransport<DB>>,
    /// The runtime of the pool: futures may be dropped anywhere.
    runtime: Handle,
}

impl<DB: Database> AutoCancel for SessionCanceller<DB> {
    /// As long as it could not be sent, it is tried again.
    fn begin(&self, session: Session, reason: CancelReason) -> PendingCancel {
        let (canceller, transport) = (Arc::clone(&self.canceller), Arc::clone(&self.transport));
        let decision = Decision::default();
        let (needed, mut revoked) = oneshot::channel::<()>();
        let task_decision = decision.clone();
        let task = self.runtime.spawn(async move {
            let mut pause = match reason {
                CancelReason::Expired => Duration::ZERO,
                CancelReason::Dropped => canceller.grace_period(),
            };
            loop {
                tokio::select! {
                    biased;
                    _ = &mut revoked => return CancelOutcome::NotSent,
                    () = sleep(pause) => {}
                }
                let outcome = canceller.cancel(session, &*transport, &task_decision, reason).await;
                if outcome != CancelOutcome::NotSent {
                    return outcome;
                }
                pause = pause.max(canceller.grace_period()).saturating_mul(2).min(canceller.limit);
            }
        });
        PendingCancel::new(decision, needed, task)
    }

    fn limit(&self) -> Duration {
        self.canceller.limit
    }
}

impl<DB: Database> fmt::Debug for Canceller<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller").field("limit", &self.limit).finish_non_exhaustive()
    }
}
