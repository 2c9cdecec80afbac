//! Opens, verifies and closes MySQL and MariaDB connections.

use crate::backend::MYSQL;
use crate::dialer::Dialer;
use crate::error_class;
use crate::kill::has_public_number;
use crate::server_info::{limits, takes_writes};
use crate::verify::{query_session, release_locks, restore_database, verify};
use millpond_core::{ConnectInfo, ErrorClass, Manager, ResetLevel, Triage};
use millpond_sqlx::backend_api::{
    Canceller, FailoverDetector, SchemaChanges, TcpOptions, WeakPoolHandle,
};
use millpond_sqlx::{Credentials, SyncState, Tracked};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{Connection, Error, MySql, MySqlConnection};
use std::fmt;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::timeout;

/// The manager of `sqlx::MySqlConnection`. [`MySqlPoolOptions`](crate::MySqlPoolOptions) creates
/// one; use it directly to build a core pool for a custom pool.
pub struct MySqlManager {
    dialer: Arc<Dialer>,
    reset: ResetLevel,
    /// The database of new connections, as the server spells it. Known once the first one is open.
    initial_database: OnceLock<Option<String>>,
    pool_handle: WeakPoolHandle<MySql>,
    failover: FailoverDetector,
    changes: SchemaChanges,
    /// Whether the server's limits were queried.
    compared: AtomicBool,
    canceller: Option<Arc<Canceller<MySql>>>,
}

impl MySqlManager {
    /// Creates a manager of connections that are opened with these options.
    pub fn new(options: MySqlConnectOptions) -> Self {
        let pool_handle = WeakPoolHandle::new();
        Self {
            dialer: Arc::new(Dialer::new(options, pool_handle.clone())),
            reset: ResetLevel::default(),
            initial_database: OnceLock::new(),
            changes: pool_handle.schema_changes(),
            pool_handle,
            failover: FailoverDetector::new(),
            compared: AtomicBool::new(false),
            canceller: None,
        }
    }

    /// Sets what is reset between two borrowers.
    ///
    /// `Transaction` also ends LOCK TABLES and FLUSH TABLES WITH READ LOCK, releases the locks of
    /// GET_LOCK if the text of a statement names it, and closes a connection on which BACKUP,
    /// HANDLER or XA was executed.
    ///
    /// SQL cannot reset a MySQL session: user variables, temporary tables (which can hide real
    /// ones) and prepared statements remain, and sqlx does not expose the protocol's own reset. So
    /// `Session` closes every connection on return, as `Replace` does, because even a plain SELECT
    /// can set a variable or take a lock. With `min_idle` a replacement is opened in advance.
    #[must_use]
    pub fn with_reset(self, level: ResetLevel) -> Self {
        Self { reset: level, ..self }
    }

    /// Sets the credentials, which are read at every connect. With a [pool
    /// handle](Self::pool_handle), connections that were opened with older ones are retired.
    #[must_use]
    pub fn with_credentials(self, credentials: Credentials) -> Self {
        let dialer = Arc::unwrap_or_clone(self.dialer).with_credentials(credentials);
        Self { dialer: Arc::new(dialer), ..self }
    }

    /// Ends abandoned sessions at the server; `limit` is the pool's `ping_timeout`.
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
    pub fn pool_handle(&self) -> WeakPoolHandle<MySql> {
        self.pool_handle.clone()
    }

    /// Queries the server's limits at the pool's first connection.
    async fn compare(&self, conn: &mut MySqlConnection) -> Result<(), Error> {
        if !self.compared.load(Ordering::Relaxed) {
            self.pool_handle.compare(&limits(conn).await?);
            self.compared.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Verifies a connection and selects its initial database again.
    async fn verify_and_restore_database(&self, conn: &mut Tracked<MySql>) -> Result<(), Error> {
        let (current, late_errors) = verify(conn.driver_mut()).await?;
        late_errors.iter().for_each(|error| conn.note_late_error(error));
        let initial_database = self.initial_database.get().and_then(Option::as_deref);
        if current.as_deref() != initial_database {
            // A hook may have selected another database when the connection was opened.
            conn.note_hooks_undone();
        }
        restore_database(conn.driver_mut(), current.as_deref(), initial_database).await
    }
}

impl Manager for MySqlManager {
    type Connection = Tracked<MySql>;
    type Error = Error;

    async fn connect(&self, info: &ConnectInfo) -> Result<Tracked<MySql>, Error> {
        let mut conn = self.dialer.open(info.limit).await?;
        let session_info = query_session(&mut conn).await?;
        self.compare(&mut conn).await?;
        self.failover.connected(session_info.takes_writes);
        // All connections begin in the same database.
        let _ = self.initial_database.set(session_info.database);
        let canceller = match &self.canceller {
            Some(canceller) if has_public_number(&mut conn, session_info.session).await? => {
                Some(canceller)
            }
            _ => None,
        };
        let mut conn = Tracked::new(conn, &MYSQL);
        conn.share_schema_changes(&self.changes);
        if let Some(canceller) = canceller {
            conn.set_session(session_info.session);
            let dialer = Arc::clone(&self.dialer);
            canceller.enable_auto_cancel(&mut conn, dialer);
        }
        Ok(conn)
    }

    async fn ping(&self, conn: &mut Tracked<MySql>) -> Result<(), Error> {
        conn.refresh().await?;
        let was_checked = self.failover.check_if_due(takes_writes(conn.driver_mut())).await?;
        if was_checked { Ok(()) } else { conn.driver_mut().ping().await }
    }

    fn triage(&self, conn: &mut Tracked<MySql>) -> Triage {
        conn.end_lease();
        if conn.is_suspect() {
            self.failover.suspect();
        }
        match (self.reset, conn.sync_state()) {
            (_, SyncState::Broken) => Triage::Broken,
            // An interrupted connection cannot be verified: sqlx-mysql may have lost its position
            // in the stream.
            (_, SyncState::Interrupted) => Triage::Discard,
            (ResetLevel::Session | ResetLevel::Replace, _) => Triage::Discard,
            (ResetLevel::Transaction, _) if conn.needs_new_session() => Triage::Discard,
            _ if conn.is_outdated() || conn.has_large_buffers() => Triage::Reset,
            (ResetLevel::Transaction, _) if conn.may_hold_locks() => Triage::Reset,
            (ResetLevel::None, _) if conn.has_lost_transaction() => Triage::Discard,
            (ResetLevel::None, _) => Triage::Keep,
            (_, SyncState::Clean) if !conn.is_suspect() => Triage::Keep,
            _ => Triage::Reset,
        }
    }

    async fn reset(&self, conn: &mut Tracked<MySql>) -> Result<(), Error> {
        conn.shrink();
        let may_hold_locks = conn.take_may_hold_locks();
        if self.reset == ResetLevel::None {
            // Outdated, or large buffers: nothing else is reset at this level.
            return conn.refresh().await;
        }
        // An endless stream would otherwise be read until the core's limit.
        let grace_period = self
            .canceller
            .as_ref()
            .filter(|_| conn.sync_state() == SyncState::Undrained)
            .map(|canceller| canceller.grace_period());
        // Any failure below must close the connection.
        conn.degrade(SyncState::Interrupted);
        match grace_period {
            Some(limit) => timeout(limit, self.verify_and_restore_database(conn))
                .await
                .unwrap_or_else(|_| Err(drain_timed_out())),
            None => self.verify_and_restore_database(conn).await,
        }?;
        if may_hold_locks {
            release_locks(conn.driver_mut()).await?;
        }
        conn.mark_in_sync();
        conn.refresh().await?;
        self.failover.check_if_due(takes_writes(conn.driver_mut())).await.map(drop)
    }

    fn undoes_on_connect(&self, conn: &mut Tracked<MySql>) -> bool {
        conn.take_hooks_undone()
    }

    async fn close(&self, conn: Tracked<MySql>) -> Result<(), Error> {
        match (conn.sync_state(), &self.canceller) {
            // The server has already closed the session.
            (SyncState::Broken, _) => Ok(()),
            // A regular close would be read as the rest of another message, or only after the
            // statement.
            (SyncState::Interrupted | SyncState::Undrained, Some(canceller)) => {
                canceller.drop_and_end_session(conn, &*self.dialer).await;
                Ok(())
            }
            (SyncState::Interrupted | SyncState::Undrained, None) => Ok(()),
            (SyncState::Clean | SyncState::InDoubt, _) => conn.into_driver().close().await,
        }
    }

    fn classify(&self, error: &Error) -> ErrorClass {
        error_class::classify(error)
    }
}

fn drain_timed_out() -> Error {
    let text = "the connection did not finish its pending answers within an eighth of \
        `ping_timeout`";
    Error::Io(std::io::Error::new(ErrorKind::TimedOut, text))
}

impl fmt::Debug for MySqlManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The options are not shown: they contain the password.
        f.debug_struct("MySqlManager").field("reset", &self.reset).finish_non_exhaustive()
    }
}
