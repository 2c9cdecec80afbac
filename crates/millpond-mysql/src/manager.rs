//! Opens, verifies and closes MySQL and MariaDB connections.

use crate::backend::MYSQL;
use crate::dialer::Dialer;
use crate::error_class;
use crate::server_info::{limits, takes_writes};
use crate::verify::{greet, lead_home, release_locks, verify};
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

/// The manager over `sqlx::MySqlConnection`. [`MySqlPoolOptions`](crate::MySqlPoolOptions) makes
/// one for you; build a core pool over it if you want to wrap one in a pool of your own.
pub struct MySqlManager {
    dialer: Arc<Dialer>,
    reset: ResetLevel,
    /// The database in which connections begin, as the server spells it. Known from the first one
    /// on.
    home: OnceLock<Option<String>>,
    link: WeakPoolHandle<MySql>,
    failover: FailoverDetector,
    changes: SchemaChanges,
    /// Whether the server was asked what it allows.
    compared: AtomicBool,
    canceller: Option<Arc<Canceller<MySql>>>,
}

impl MySqlManager {
    /// A manager of connections that are opened with these options.
    pub fn new(options: MySqlConnectOptions) -> Self {
        let link = WeakPoolHandle::new();
        Self {
            dialer: Arc::new(Dialer::new(options, link.clone())),
            reset: ResetLevel::default(),
            home: OnceLock::new(),
            changes: link.schema_changes(),
            link,
            failover: FailoverDetector::new(),
            compared: AtomicBool::new(false),
            canceller: None,
        }
    }

    /// What is done to a connection between two borrowers.
    ///
    /// `Transaction` also ends LOCK TABLES and FLUSH TABLES WITH READ LOCK, releases the locks of
    /// GET_LOCK if the text of a statement names it, and closes a connection on which BACKUP,
    /// HANDLER or XA was executed.
    ///
    /// SQL cannot reset a session of MySQL: user variables, temporary tables (which can hide real
    /// ones) and prepared statements stay, and what the protocol has for it sqlx does not offer. So
    /// `Session` closes every connection on return, as `Replace` does: a plain SELECT can set a
    /// variable or take a lock. With `min_idle` the next one is opened before it is asked for.
    #[must_use]
    pub fn with_reset(self, level: ResetLevel) -> Self {
        Self { reset: level, ..self }
    }

    /// Asks for the password, and the user, at every connect. A [link](Self::link) to the pool
    /// retires what was opened with older ones.
    #[must_use]
    pub fn with_credentials(self, credentials: Credentials) -> Self {
        let dialer = Arc::unwrap_or_clone(self.dialer).with_credentials(credentials);
        Self { dialer: Arc::new(dialer), ..self }
    }

    /// Ends at the server what was abandoned and goes on there, `limit` being the pool's
    /// `ping_timeout`.
    #[must_use]
    pub fn with_cancel(self, limit: Duration) -> Self {
        Self { canceller: Some(Arc::new(Canceller::new(self.link.clone(), limit))), ..self }
    }

    /// Sets these options of the sockets of all connections. By default they are the kernel's.
    #[must_use]
    pub fn with_tcp_options(self, options: TcpOptions) -> Self {
        let dialer = Arc::unwrap_or_clone(self.dialer).with_tcp_options(options);
        Self { dialer: Arc::new(dialer), ..self }
    }

    /// The manager's way to its pool, to be joined when the pool is built.
    pub fn link(&self) -> WeakPoolHandle<MySql> {
        self.link.clone()
    }

    /// Asks the first server of the pool what it allows.
    async fn compare(&self, conn: &mut MySqlConnection) -> Result<(), Error> {
        if !self.compared.load(Ordering::Relaxed) {
            self.link.compare(&limits(conn).await?);
            self.compared.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Asks the server whether it takes writes, if that is in doubt.
    async fn look_into_suspicion(&self, conn: &mut Tracked<MySql>) -> Result<bool, Error> {
        let due = self.failover.is_due();
        if due {
            self.failover.check(takes_writes(conn.driver_mut())).await?;
        }
        Ok(due)
    }

    /// Verifies a connection and leads it back to its database.
    async fn verify_at_home(&self, conn: &mut Tracked<MySql>) -> Result<(), Error> {
        let here = verify(conn.driver_mut()).await?;
        let home = self.home.get().and_then(Option::as_deref);
        if here.as_deref() != home {
            // A hook may have led it elsewhere when it was opened.
            conn.note_hooks_undone();
        }
        lead_home(conn.driver_mut(), here.as_deref(), home).await
    }
}

impl Manager for MySqlManager {
    type Connection = Tracked<MySql>;
    type Error = Error;

    async fn connect(&self, info: &ConnectInfo) -> Result<Tracked<MySql>, Error> {
        let mut conn = self.dialer.open(info.limit).await?;
        let here = greet(&mut conn).await?;
        self.compare(&mut conn).await?;
        self.failover.connected(here.takes_writes);
        // They all begin in the same one.
        let _ = self.home.set(here.database);
        let mut conn = Tracked::new(conn, &MYSQL);
        conn.share_schema_changes(&self.changes);
        conn.set_session(here.session);
        if let Some(canceller) = &self.canceller {
            let dialer = Arc::clone(&self.dialer);
            canceller.stop_left_behind(&mut conn, dialer);
        }
        Ok(conn)
    }

    async fn ping(&self, conn: &mut Tracked<MySql>) -> Result<(), Error> {
        conn.refresh().await?;
        if self.look_into_suspicion(conn).await? { Ok(()) } else { conn.driver_mut().ping().await }
    }

    fn triage(&self, conn: &mut Tracked<MySql>) -> Triage {
        conn.end_loan();
        if conn.is_suspect() {
            self.failover.raise();
        }
        match (self.reset, conn.sync_state()) {
            (_, SyncState::Broken) => Triage::Broken,
            // What was cut off cannot be verified: sqlx-mysql may have lost its place in the
            // stream.
            (_, SyncState::Cut) => Triage::Discard,
            (ResetLevel::Session | ResetLevel::Replace, _) => Triage::Discard,
            (ResetLevel::Transaction, _) if conn.is_spent() => Triage::Discard,
            _ if conn.is_outdated() || conn.is_bulky() => Triage::Reset,
            (ResetLevel::Transaction, _) if conn.has_escaped() => Triage::Reset,
            (ResetLevel::None, _) if conn.has_lost_transaction() => Triage::Discard,
            (ResetLevel::None, _) => Triage::Keep,
            (_, SyncState::Clean) if !conn.is_suspect() => Triage::Keep,
            _ => Triage::Reset,
        }
    }

    async fn reset(&self, conn: &mut Tracked<MySql>) -> Result<(), Error> {
        conn.shrink();
        let escaped = conn.take_escaped();
        if self.reset == ResetLevel::None {
            // Outdated, or large: nothing else is done at this level.
            return conn.refresh().await;
        }
        // A stream without end would be read for as long as the core lets us.
        let patience = self
            .canceller
            .as_ref()
            .filter(|_| conn.sync_state() == SyncState::Undrained)
            .map(|canceller| canceller.patience());
        // Until it has been verified: whatever happens here, nobody goes on with it then.
        conn.degrade(SyncState::Cut);
        match patience {
            Some(limit) => {
                timeout(limit, self.verify_at_home(conn)).await.unwrap_or_else(|_| Err(restless()))
            }
            None => self.verify_at_home(conn).await,
        }?;
        if escaped {
            release_locks(conn.driver_mut()).await?;
        }
        conn.mark_in_sync();
        conn.refresh().await?;
        self.look_into_suspicion(conn).await.map(drop)
    }

    fn undoes_on_connect(&self, conn: &mut Tracked<MySql>) -> bool {
        conn.take_hooks_undone()
    }

    async fn close(&self, conn: Tracked<MySql>) -> Result<(), Error> {
        match (conn.sync_state(), &self.canceller) {
            // Nobody is left to say goodbye to.
            (SyncState::Broken, _) => Ok(()),
            // What is said would be taken for the rest of something else, or not be heard before
            // the end of it.
            (SyncState::Cut | SyncState::Undrained, Some(canceller)) => {
                canceller.drop_and_stop(conn, &*self.dialer).await;
                Ok(())
            }
            (SyncState::Cut | SyncState::Undrained, None) => Ok(()),
            (SyncState::Clean | SyncState::Raw, _) => conn.into_driver().close().await,
        }
    }

    fn classify(&self, error: &Error) -> ErrorClass {
        error_class::classify(error)
    }
}

fn restless() -> Error {
    let text = "the connection did not come to rest within an eighth of `ping_timeout`";
    Error::Io(std::io::Error::new(ErrorKind::TimedOut, text))
}

impl fmt::Debug for MySqlManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the options: they hold the password.
        f.debug_struct("MySqlManager").field("reset", &self.reset).finish_non_exhaustive()
    }
}
