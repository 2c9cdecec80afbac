//! Cancels abandoned statements at the server, so that they do not hold a slot.
//!
//! # Invariants
//!
//! 1. A pool sends one cancel at a time. Its time limit starts when its turn comes.
//! 2. It uses an idle connection that answered a ping, or a new one in a free slot, or none. If the
//!    cancelled connection is closed first, its own slot is used. Only for a statement in a full
//!    pool that exceeded its limit, or whose dropped rows do not end, is a connection opened beyond
//!    the pool's limit; it is closed before the cancelled connection is.
//! 3. The cancelled connection stays with its caller until the server has answered the cancel, so
//!    that a late cancel cannot hit the next borrower. If no answer arrives, or the call is
//!    dropped, the connection is closed.

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

/// Fraction of `ping_timeout` after which a pending statement is cancelled: a query that ends
/// sooner needs no cancel.
const GRACE_SHARE: u32 = 8;

const NO_CONNECTION: &str =
    "the abandoned statement is still running at the server; no connection to cancel it with";

/// How a backend cancels a statement of another session of the same user. A manager implements it.
#[async_trait]
pub trait CancelTransport<DB: Database>: Send + Sync + 'static {
    /// Opens a connection outside the pool.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind if the future is dropped.
    async fn connect(&self) -> Result<DB::Connection, Error>;

    /// Cancels the statement of the session with this number. When this returns, the statement has
    /// been cancelled or the server has been asked to. `is_older` means that `conn` was opened
    /// before that session, so the server was not restarted in between.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the cancelled connection is closed.
    async fn cancel(
        &self,
        conn: &mut DB::Connection,
        session: u64,
        is_older: bool,
    ) -> Result<(), Error>;

    /// Ends the session with this number, whose connection has been closed on this side; `conn` is
    /// newer. By default its statement is cancelled.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the session may continue.
    async fn end(&self, conn: &mut DB::Connection, session: u64) -> Result<(), Error> {
        self.cancel(conn, session, false).await
    }
}

/// A `ping_timeout` may have no end, but a deadline must be a time.
const LIMIT_MAX: Duration = Duration::from_secs(60 * 60 * 24 * 365);

/// Cancels abandoned statements at the server; one for each pool.
pub struct Canceller<DB: Database> {
    pool_handle: WeakPoolHandle<DB>,
    limit: Duration,
    turn: Mutex<()>,
}

impl<DB: Database> Canceller<DB> {
    /// Creates the canceller of the pool behind `pool_handle`; `limit` is its `ping_timeout`.
    pub fn new(pool_handle: WeakPoolHandle<DB>, limit: Duration) -> Self {
        Self { pool_handle, limit: limit.min(LIMIT_MAX), turn: Mutex::new(()) }
    }

    /// Verifies a connection, as [`Tracked::verify`] does. If that takes longer than an eighth of
    /// the limit, the connection's statement is cancelled first; without a known
    /// [session](Tracked::session) it is only waited for.
    ///
    /// # Errors
    ///
    /// Those of [`Tracked::verify`]; an error if no connection was free to send the cancel, or if
    /// the server has not answered it, so that it may still arrive. Call
    /// [`drop_and_end_session`](Self::drop_and_end_session) then.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, close the connection.
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
            // Taken while the cancel is in flight, so that one that hangs is not repeated.
            let Some(session) = conn.session_mut().take() else { break };
            let decision = Decision::default();
            let outcome = self.cancel(session, transport, &decision, CancelReason::Dropped).await;
            *conn.session_mut() = Some(session);
            match outcome {
                CancelOutcome::Answered => {}
                CancelOutcome::NotSent => return Err(Error::Protocol(NO_CONNECTION.to_owned())),
                CancelOutcome::Unknown => return Err(conn.give_up_for_late_cancel()),
            }
            // The cancel arrived before the statement started, or the network is slow.
            grace_period = grace_period.saturating_mul(2);
        }
        conn.verify().await
    }

    /// Drops a connection and then ends its session at the server, over a new connection in the
    /// same slot: for [`Manager::close`](millpond_core::Manager::close), during which the slot is
    /// still taken. A failure is reported as a warning of the pool.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the session may continue at the server.
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

    /// Makes dropped and expired statements of a connection be cancelled while its borrower keeps
    /// it. Call it when the connection is new and its [session](Tracked::session) is known.
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

    /// Returns how long a pending statement may take before it is cancelled.
    pub fn grace_period(&self) -> Duration {
        self.limit / GRACE_SHARE
    }

    /// Cancels the statement of a session, if `decision` can be taken once everything is ready to
    /// send the cancel. A failure is reported as a warning of the pool.
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
        // Declared before the connection, so that the slot is freed after it is dropped.
        let slot = self.pool_handle.try_reserve();
        if slot.is_none() && (reason == CancelReason::Dropped || !self.pool_handle.is_open()) {
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
        // The outcome is known; an error of this close does not change it.
        let _ = timeout_at(until, conn.close()).await;
        outcome(sent)
    }

    /// Returns an idle connection of the pool that answers a ping. Those that do not are closed: a
    /// cancel sent over them would have an unknown outcome.
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
                let message =
                    format!("an abandoned query could not be cancelled at the server: {error}");
                self.pool_handle.warn("cancel_abandoned", message);
            })
            .ok()
    }
}

/// Returns the outcome of a cancel that was sent, by its answer if there is one.
fn outcome(answer: Option<()>) -> CancelOutcome {
    answer.map_or(CancelOutcome::Unknown, |()| CancelOutcome::Answered)
}

/// Cancels statements of one connection while its borrower keeps it.
struct SessionCanceller<DB: Database> {
    canceller: Arc<Canceller<DB>>,
    transport: Arc<dyn CancelTransport<DB>>,
    /// The runtime of the pool: futures may be dropped outside of any runtime.
    runtime: Handle,
}

impl<DB: Database> AutoCancel for SessionCanceller<DB> {
    /// Retries until the cancel could be sent.
    fn begin(&self, session: Session, reason: CancelReason) -> PendingCancel {
        let (canceller, transport) = (Arc::clone(&self.canceller), Arc::clone(&self.transport));
        let decision = Decision::default();
        let (needed, mut revoked) = oneshot::channel::<()>();
        let task_decision = decision.clone();
        let task = self.runtime.spawn(async move {
            let mut pause = match reason {
                CancelReason::Expired => Duration::ZERO,
                CancelReason::Dropped => canceller.grace_period(),
                CancelReason::RowsLeft => canceller.limit,
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
