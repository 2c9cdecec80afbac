//! Opens, verifies, resets and closes PostgreSQL connections.

use crate::backend::POSTGRES;
use crate::dialer::Dialer;
use crate::error_class;
use crate::pooler::POOLED;
use crate::pooler_detection::{
    POOLER_FOUND, POOLER_SUSPECTED, check_transactions, share_backend_processes,
};
use crate::server_info::{limits, query_session, takes_writes};
use crate::verify::{clear_session, release_locks};
use millpond_core::{ConnectInfo, ErrorClass, Manager, Pooler, ResetLevel, Triage};
use millpond_sqlx::backend_api::{
    Canceller, FailoverDetector, SchemaChanges, TcpOptions, WeakPoolHandle,
};
use millpond_sqlx::{Credentials, SyncState, Tracked};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, Error, PgConnection, Postgres};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Fraction of the connect's limit that the detection of a pooler may take.
const DETECTION_SHARE: u32 = 4;

/// The manager of `sqlx::PgConnection`. [`PgPoolOptions`](crate::PgPoolOptions) creates one; use it
/// directly to build a core pool for a custom pool.
pub struct PgManager {
    dialer: Arc<Dialer>,
    reset: ResetLevel,
    pooler: Pooler,
    pool_handle: WeakPoolHandle<Postgres>,
    failover: FailoverDetector,
    changes: SchemaChanges,
    /// Whether the server's limits were queried, or a pooler was checked.
    compared: AtomicBool,
    canceller: Option<Arc<Canceller<Postgres>>>,
    /// The `extra_float_digits` that the driver requests.
    float_digits: OnceLock<Option<i8>>,
}

impl PgManager {
    /// Creates a manager of connections that are opened with these options.
    pub fn new(options: PgConnectOptions) -> Self {
        let pool_handle = WeakPoolHandle::new();
        Self {
            dialer: Arc::new(Dialer::new(options, pool_handle.clone())),
            reset: ResetLevel::default(),
            pooler: Pooler::default(),
            changes: pool_handle.schema_changes(),
            pool_handle,
            failover: FailoverDetector::new(),
            compared: AtomicBool::new(false),
            canceller: None,
            float_digits: OnceLock::new(),
        }
    }

    /// Sets what is reset between two borrowers.
    ///
    /// `Transaction` also releases the session's advisory locks and ends its LISTEN, if the text of
    /// a statement contains LISTEN or a function that takes such a lock; a user-defined function
    /// may hide one.
    ///
    /// `Session` costs two round trips on every return, of clean connections too, because even a
    /// plain SELECT can call `set_config` or take an advisory lock. It resets role, settings,
    /// search path, cursors, LISTEN, advisory locks, temporary tables, sequence state and
    /// statements prepared in SQL, and keeps those that sqlx has prepared. Settings are reset to
    /// those of the URL or the options, and then `on_connect` hooks are called again. PostgreSQL
    /// cannot undo everything: a custom setting (`app.tenant`) becomes empty instead of unset, and
    /// a loaded library stays loaded.
    #[must_use]
    pub fn with_reset(self, level: ResetLevel) -> Self {
        Self { reset: level, ..self }
    }

    /// Sets the pooler between the pool and its server. Also wrap the pool in
    /// [`SqlPool::transactions_only`](millpond_sqlx::SqlPool::transactions_only).
    #[must_use]
    pub fn behind(self, pooler: Pooler) -> Self {
        let dialer = if pooler != Pooler::PgBouncer {
            self.dialer
        } else {
            Arc::new(Arc::unwrap_or_clone(self.dialer).behind_pgbouncer())
        };
        Self { dialer, pooler, ..self }
    }

    /// Sets the credentials, which are read at every connect. With a [pool
    /// handle](Self::pool_handle), connections that were opened with older ones are retired.
    #[must_use]
    pub fn with_credentials(self, credentials: Credentials) -> Self {
        let dialer = Arc::unwrap_or_clone(self.dialer).with_credentials(credentials);
        Self { dialer: Arc::new(dialer), ..self }
    }

    /// Cancels abandoned statements at the server; `limit` is the pool's `ping_timeout`. Needs a
    /// [pool handle](Self::pool_handle). If the session may be pooled, nothing is cancelled, since
    /// another client may be using it by then.
    #[must_use]
    pub fn with_cancel(self, limit: Duration) -> Self {
        Self { canceller: Some(Arc::new(Canceller::new(self.pool_handle.clone(), limit))), ..self }
    }

    /// Sets the TCP socket options of all connections. Default: the kernel's.
    #[must_use]
    pub fn with_tcp_options(self, options: TcpOptions) -> Self {
        let dialer = Arc::unwrap_or_clone(self.dialer).with_tcp_options(options);
        Self { dialer: Arc::new(dialer), ..self }
    }

    /// Returns the manager's handle to its pool; attach it when the pool is built.
    pub fn pool_handle(&self) -> WeakPoolHandle<Postgres> {
        self.pool_handle.clone()
    }

    /// Queries the server's limits at the pool's first connection.
    async fn compare(
        &self,
        conn: &mut PgConnection,
        may_be_pooled: bool,
        limit: Duration,
    ) -> Result<(), Error> {
        if !self.compared.load(Ordering::Relaxed) {
            if may_be_pooled && self.pooler != Pooler::Unchecked {
                self.detect_pooler(conn, limit).await?;
            }
            self.pool_handle.compare(&limits(conn).await?);
            self.compared.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Detects a transaction pooler, by a second connection in a free slot.
    async fn detect_pooler(&self, conn: &mut PgConnection, limit: Duration) -> Result<(), Error> {
        let slot = self.pool_handle.try_reserve();
        let limit = limit / DETECTION_SHARE;
        let detection = async {
            // The limit around it decides.
            // A server at its limit refuses the second connection, which shows nothing.
            let opened = self.dialer.open(limit.saturating_mul(2)).await;
            let Ok(mut other) = opened else { return Ok(false) };
            let shared = share_backend_processes(conn, &mut other).await;
            // An error of this close does not matter.
            let _ = other.close().await;
            shared
        };
        // A pooler without a server for the second connection lets it wait.
        let certain = match &slot {
            Some(_) => timeout(limit, detection).await.unwrap_or(Ok(false))?,
            None => false,
        };
        self.pool_handle
            .warn("behind", if certain { POOLER_FOUND } else { POOLER_SUSPECTED }.to_owned());
        if certain { Err(Error::Configuration(POOLER_FOUND.into())) } else { Ok(()) }
    }
}

impl Manager for PgManager {
    type Connection = Tracked<Postgres>;
    type Error = Error;

    async fn connect(&self, info: &ConnectInfo) -> Result<Tracked<Postgres>, Error> {
        let began = Instant::now();
        let mut conn = self.dialer.open(info.limit).await?;
        if self.pooler == Pooler::PgBouncer {
            // Its servers' properties do not apply to the connection.
            if !self.compared.load(Ordering::Relaxed) {
                check_transactions(&mut conn).await?;
                self.compared.store(true, Ordering::Relaxed);
            }
            let mut conn = Tracked::new(conn, &POOLED);
            conn.share_schema_changes(&self.changes);
            return Ok(conn);
        }
        // Costs a round trip, so it is done only if needed.
        let asked = self.canceller.is_some() || !self.failover.has_written();
        let float_digits = *self.float_digits.get_or_init(|| self.dialer.float_digits());
        let session_info = if asked { query_session(&mut conn, float_digits).await? } else { None };
        let may_be_pooled = session_info
            .as_ref()
            .is_some_and(|session_info| session_info.may_be_pooled(began.elapsed()));
        self.compare(&mut conn, may_be_pooled, info.limit).await?;
        let mut conn = Tracked::new(conn, &POSTGRES);
        conn.share_schema_changes(&self.changes);
        if let Some(session_info) = session_info {
            self.failover.connected(session_info.takes_writes);
            // A pooler may give the session to another client, which a cancel would hit.
            let session = session_info.session.filter(|_| !may_be_pooled);
            if let (Some(session), Some(canceller)) = (session, &self.canceller) {
                conn.set_session(session);
                let dialer = Arc::clone(&self.dialer);
                canceller.enable_auto_cancel(&mut conn, dialer);
            }
        }
        Ok(conn)
    }

    async fn ping(&self, conn: &mut Tracked<Postgres>) -> Result<(), Error> {
        conn.refresh().await?;
        let was_checked = self.failover.check_if_due(takes_writes(conn.driver_mut())).await?;
        if was_checked { Ok(()) } else { conn.driver_mut().ping().await }
    }

    fn triage(&self, conn: &mut Tracked<Postgres>) -> Triage {
        conn.end_lease();
        if conn.is_suspect() {
            self.failover.suspect();
        }
        match (self.reset, conn.sync_state()) {
            (_, SyncState::Broken) => Triage::Broken,
            _ if conn.is_given_up() || conn.needs_new_session() => Triage::Discard,
            (ResetLevel::Replace, _) => Triage::Discard,
            (ResetLevel::Session, _) => Triage::Reset,
            _ if conn.is_outdated() || conn.has_large_buffers() => Triage::Reset,
            (ResetLevel::Transaction, _) if conn.may_hold_locks() => Triage::Reset,
            (ResetLevel::None, _) if conn.has_lost_transaction() => Triage::Discard,
            // Nothing waits for the cancel at this level.
            (ResetLevel::None, _) if !conn.revoke_cancel() => Triage::Discard,
            (ResetLevel::None, _) => Triage::Keep,
            (_, SyncState::Clean) if !conn.is_suspect() => Triage::Keep,
            _ => Triage::Reset,
        }
    }

    async fn reset(&self, conn: &mut Tracked<Postgres>) -> Result<(), Error> {
        conn.shrink();
        let may_hold_locks = conn.take_may_hold_locks();
        match &self.canceller {
            // Outdated, or large buffers: nothing else is reset at this level.
            _ if self.reset == ResetLevel::None => return conn.refresh().await,
            Some(canceller) => canceller.verify(conn, &*self.dialer).await?,
            None => conn.verify().await?,
        }
        conn.refresh().await?;
        if may_hold_locks && self.reset == ResetLevel::Transaction {
            release_locks(conn.driver_mut()).await?;
        }
        if self.reset == ResetLevel::Session {
            clear_session(conn.driver_mut()).await?;
        }
        self.failover.check_if_due(takes_writes(conn.driver_mut())).await.map(drop)
    }

    fn undoes_on_connect(&self, _conn: &mut Tracked<Postgres>) -> bool {
        self.reset == ResetLevel::Session
    }

    async fn close(&self, conn: Tracked<Postgres>) -> Result<(), Error> {
        match (conn.sync_state(), &self.canceller) {
            // The server has already closed the session.
            (SyncState::Broken, _) => Ok(()),
            // The server would continue the abandoned statement.
            (SyncState::Interrupted | SyncState::Undrained, Some(canceller)) => {
                canceller.drop_and_end_session(conn, &*self.dialer).await;
                Ok(())
            }
            _ => conn.into_driver().close().await,
        }
    }

    fn classify(&self, error: &Error) -> ErrorClass {
        error_class::classify(error)
    }
}

impl fmt::Debug for PgManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The options are not shown: they contain the password.
        f.debug_struct("PgManager").field("reset", &self.reset).finish_non_exhaustive()
    }
}
