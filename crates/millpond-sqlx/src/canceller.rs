//! Stopping at the server what was abandoned, so that a query that was cut off does not hold its place until it ends.
//!
//! # Invariants
//!
//! 1. One cancel of a pool at a time.
//! 2. It goes over an idle connection of the pool, or over one of its own in a place under the cap, or not at all. That
//!    place is the victim's where the victim is closed first.
//! 3. The victim is with its caller, in no pool, until the cancel has returned: a late one cannot hit the next borrower. If
//!    the call is dropped half-way, the victim is to be closed.

use crate::backing_pool::Steered;
use crate::pool_handle::WeakPoolHandle;
use crate::stopping::{StopSession, Stopping};
use crate::sync_state::SyncState;
use crate::tracked::Tracked;
use millpond_core::{Request, async_trait};
use sqlx::{Connection, Database, Error};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, oneshot};
use tokio::time::{sleep, timeout};

/// What part of `ping_timeout` a connection has to come to rest by itself: a query that ends soon needs no cancel.
const PATIENCE: u32 = 8;

const FULL: &str = "what was cut off goes on at the server, and the pool has no place for the errand to cancel it";

/// How a backend stops what another session of the same user executes: implemented by its manager.
#[async_trait]
pub trait CancelTransport<DB: Database>: Send + Sync + 'static {
    /// Opens a connection past the pool.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind if the future is dropped.
    async fn connect(&self) -> Result<DB::Connection, Error>;

    /// Stops what the session with this number executes. It must have been stopped, or told to, when this returns.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the victim is closed.
    async fn cancel(&self, conn: &mut DB::Connection, session: u64) -> Result<(), Error>;

    /// Ends the session with this number, of which this side has been closed. By default what it executes is stopped.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the session may go on.
    async fn end(&self, conn: &mut DB::Connection, session: u64) -> Result<(), Error> {
        self.cancel(conn, session).await
    }
}

/// Stops at the server what was abandoned: one for each pool.
pub struct Canceller<DB: Database> {
    link: WeakPoolHandle<DB>,
    limit: Duration,
    turn: Mutex<()>,
}

impl<DB: Database> Canceller<DB> {
    /// The canceller of the pool that this link leads to; `limit` is its `ping_timeout`.
    pub fn new(link: WeakPoolHandle<DB>, limit: Duration) -> Self {
        Self { link, limit, turn: Mutex::new(()) }
    }

    /// Verifies that a connection is at rest, as [`Tracked::verify`] does; if it does not come to rest within an eighth of
    /// the limit, what it executes is cancelled first. A connection whose [session](Tracked::session) is not known is waited for.
    ///
    /// # Errors
    ///
    /// Those of [`Tracked::verify`]; one that says so if no place was free for the errand: then
    /// [`drop_and_stop`](Self::drop_and_stop) will do.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the connection is to be closed.
    pub async fn verify(&self, conn: &mut Tracked<DB>, errand: &dyn CancelTransport<DB>) -> Result<(), Error> {
        conn.stand_down().await;
        let mut patience = self.patience();
        while conn.session().is_some() {
            if let Ok(verified) = timeout(patience, conn.verify()).await {
                return verified;
            }
            // Not known while the errand is under way: if it hangs, nobody is to try it again.
            let session = conn.take_session();
            let cancelled = match session {
                Some(session) => self.cancel_now(session, errand).await,
                None => None,
            };
            if let (Some(session), Some(made)) = (session, cancelled) {
                conn.set_session(session);
                if !made {
                    return Err(Error::Protocol(FULL.to_owned()));
                }
            }
            // A cancel that came before the statement had begun has hit nothing; where the network is slow, nothing is amiss.
            patience = patience.saturating_mul(2);
        }
        conn.verify().await
    }

    /// Drops a connection and then ends its session at the server, over a connection in the place that the dropped one had: for [`Manager::close`](millpond_core::Manager::close), during which a place is taken. A failure is
    /// told as a warning of the pool.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the server may go on.
    pub async fn drop_and_stop(&self, mut conn: Tracked<DB>, errand: &dyn CancelTransport<DB>) {
        conn.stand_down().await;
        let session = conn.take_session();
        drop(conn);
        if let Some(session) = session {
            let cancel = async {
                let _turn = self.turn.lock().await;
                let mut conn = errand.connect().await?;
                errand.end(&mut conn, session).await?;
                conn.close().await
            };
            self.within_limit(cancel).await;
        }
    }

    /// Has what is dropped on a connection, or exceeds its limit there, cancelled while its borrower keeps it: when the
    /// connection is new and its [session](Tracked::session) is known.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn stop_left_behind(self: &Arc<Self>, conn: &mut Tracked<DB>, transport: Arc<dyn CancelTransport<DB>>) {
        let canceller = Arc::clone(self);
        conn.stopper = Some(Box::new(Stopper { canceller, transport, runtime: Handle::current() }));
    }

    /// How long a connection may take to come to rest by itself.
    pub fn patience(&self) -> Duration {
        self.limit / PATIENCE
    }

    /// Cancels what a session executes: `false` if the pool has no slot for that now, `None` if it failed, which is
    /// told as a warning of the pool.
    pub(crate) async fn cancel_now(&self, session: u64, transport: &dyn CancelTransport<DB>) -> Option<bool> {
        self.within_limit(self.cancel(session, transport)).await
    }

    async fn within_limit<T>(&self, cancel: impl Future<Output = Result<T, Error>>) -> Option<T> {
        let outcome = timeout(self.limit, cancel).await;
        let outcome = outcome.unwrap_or_else(|_| Err(Error::Io(std::io::ErrorKind::TimedOut.into())));
        outcome
            .map_err(|error| {
                let message = format!("a query that was cut off could not be cancelled at the server: {error}");
                self.link.warn("cancel_abandoned", message);
            })
            .ok()
    }

    /// `false` if nothing was free for it.
    async fn cancel(&self, session: u64, errand: &dyn CancelTransport<DB>) -> Result<bool, Error> {
        let _turn = self.turn.lock().await;
        match self.link.pool().and_then(Means::of) {
            None => return Ok(false),
            Some(Means::Idle(mut lease)) => {
                let (conn, watch) = lease.watched(SyncState::Clean);
                watch.follow(errand.cancel(conn, session)).await?;
            }
            // The place is dropped after the connection.
            Some(Means::Place(_place)) => {
                let mut conn = errand.connect().await?;
                errand.cancel(&mut conn, session).await?;
                conn.close().await?;
            }
        }
        Ok(true)
    }
}

/// How one connection is stopped while its borrower keeps it.
struct Stopper<DB: Database> {
    canceller: Arc<Canceller<DB>>,
    transport: Arc<dyn CancelTransport<DB>>,
    /// The runtime of the pool: futures may be dropped anywhere.
    runtime: Handle,
}

impl<DB: Database> StopSession for Stopper<DB> {
    /// While the pool has no slot for the cancel, it is tried again.
    fn begin(&self, session: u64, patience: Duration) -> Stopping {
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
                pause = pause.max(canceller.patience()).saturating_mul(2).min(canceller.limit);
            }
        });
        Stopping::new(needed, task)
    }

    fn patience(&self) -> Duration {
        self.canceller.patience()
    }

    fn limit(&self) -> Duration {
        self.canceller.limit
    }
}

/// Over what a cancel goes.
enum Means<DB: Database> {
    Idle(millpond_core::Lease<Tracked<DB>>),
    Place(millpond_core::Reservation),
}

impl<DB: Database> Means<DB> {
    fn of(pool: Box<dyn Steered<DB>>) -> Option<Self> {
        let idle = pool.try_acquire_with(Request::here()).map(Self::Idle);
        idle.or_else(|| pool.try_reserve().map(Self::Place))
    }
}

impl<DB: Database> fmt::Debug for Canceller<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller").field("limit", &self.limit).finish_non_exhaustive()
    }
}
