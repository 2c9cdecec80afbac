//! Stopping at the server what was abandoned, so that a query that was cut off does not hold its place until it ends.
//!
//! # Invariants
//!
//! 1. One cancel of a pool at a time.
//! 2. It goes over an idle connection of the pool, or over one of its own in a place under the cap, or not at all.
//! 3. The victim is with its caller, in no pool, until the cancel has returned: a late one cannot hit the next borrower. If
//!    the call is dropped half-way, the victim is to be closed.

use crate::link::PoolLink;
use crate::source::Steered;
use crate::standing::Standing;
use crate::tracked::Tracked;
use millpond_core::{Request, async_trait};
use sqlx::{Connection, Database, Error};
use std::fmt;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::timeout;

/// What part of `ping_timeout` a connection has to come to rest by itself: a query that ends soon needs no cancel.
const PATIENCE: u32 = 8;

/// How a backend stops what another session of the same user executes: implemented by its manager.
#[async_trait]
pub trait Errand<DB: Database>: Sync {
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
}

/// Stops at the server what was abandoned: one for each pool.
pub struct Canceller<DB: Database> {
    link: PoolLink<DB>,
    limit: Duration,
    turn: Mutex<()>,
}

impl<DB: Database> Canceller<DB> {
    /// The canceller of the pool that this link leads to; `limit` is its `ping_timeout`.
    pub fn new(link: PoolLink<DB>, limit: Duration) -> Self {
        Self { link, limit, turn: Mutex::new(()) }
    }

    /// Proves that a connection is at rest, as [`Tracked::settle`] does; if it does not come to rest within an eighth of
    /// the limit, what it executes is cancelled first. A connection whose [session](Tracked::session) is not known is waited for.
    ///
    /// # Errors
    ///
    /// Those of [`Tracked::settle`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the connection is to be closed.
    pub async fn settle(&self, conn: &mut Tracked<DB>, errand: &impl Errand<DB>) -> Result<(), Error> {
        let Some(session) = conn.session() else { return conn.settle().await };
        if let Ok(settled) = timeout(self.limit / PATIENCE, conn.settle()).await {
            return settled;
        }
        self.stop(conn, errand).await;
        conn.settle().await?;
        conn.set_session(session);
        Ok(())
    }

    /// Cancels what a connection executes, for what is going to be closed. It is tried once: the connection's
    /// [session](Tracked::session) is forgotten. A failure is told as a warning of the pool.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the connection is to be closed.
    pub async fn stop(&self, conn: &mut Tracked<DB>, errand: &impl Errand<DB>) {
        let Some(session) = conn.take_session() else { return };
        let outcome = timeout(self.limit, self.cancel(session, errand)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(Error::Io(std::io::ErrorKind::TimedOut.into())));
        if let Err(error) = outcome {
            let message = format!("a query that was cut off could not be cancelled at the server: {error}");
            self.link.warn("cancel_abandoned", message);
        }
    }

    async fn cancel(&self, session: u64, errand: &impl Errand<DB>) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        let Some(pool) = self.link.pool() else { return Ok(()) };
        match Means::of(pool) {
            None => Ok(()),
            Some(Means::Idle(mut lease)) => {
                let (conn, watch) = lease.watched(Standing::Clean);
                watch.follow(errand.cancel(conn, session)).await
            }
            Some(Means::Place(_place)) => {
                // Declared after the place, so dropped before it.
                let mut conn = errand.connect().await?;
                errand.cancel(&mut conn, session).await?;
                conn.close().await
            }
        }
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
