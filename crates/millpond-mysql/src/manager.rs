//! Opens, proves and closes MySQL and MariaDB connections.

use crate::backend::MYSQL;
use crate::fault;
use crate::first_look::{limits, takes_writes};
use crate::kill::kill;
use crate::prove::{greet, lead_home, prove, release_locks};
use millpond_core::{ConnectInfo, ErrorClass, Manager, ResetLevel, Triage, async_trait};
use millpond_sqlx::{
    CancelTransport, Canceller, Credentials, FailoverDetector, Rotation, SchemaChanges, SyncState, Target, Tracked,
    WeakPoolHandle, bridged,
};
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::{ConnectOptions, Connection, Error, MySql, MySqlConnection};
use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// The manager over `sqlx::MySqlConnection`. [`MySqlPoolOptions`](crate::MySqlPoolOptions) makes one for you; build a core
/// pool over it if you want to wrap one in a pool of your own.
pub struct MySqlManager {
    options: MySqlConnectOptions,
    reset: ResetLevel,
    /// The database in which connections begin, as the server spells it. Known from the first one on.
    home: OnceLock<Option<String>>,
    rotation: Option<Rotation>,
    link: WeakPoolHandle<MySql>,
    suspicion: FailoverDetector,
    changes: SchemaChanges<MySql>,
    /// Whether the server was asked what it allows.
    compared: AtomicBool,
    canceller: Option<Canceller<MySql>>,
}

impl MySqlManager {
    /// A manager of connections that are opened with these options.
    pub fn new(options: MySqlConnectOptions) -> Self {
        let link = WeakPoolHandle::new();
        Self {
            options,
            reset: ResetLevel::default(),
            home: OnceLock::new(),
            rotation: None,
            changes: SchemaChanges::new(link.clone()),
            link,
            suspicion: FailoverDetector::new(),
            compared: AtomicBool::new(false),
            canceller: None,
        }
    }

    /// What is done to a connection between two borrowers.
    ///
    /// SQL cannot reset a session of MySQL: user variables, temporary tables (which can hide real ones) and prepared
    /// statements stay, and what the protocol has for it sqlx does not offer. So `Session` closes every connection on
    /// return, as `Replace` does: a plain SELECT can set a variable or take a lock. With `min_idle` the next one is opened
    /// before it is asked for.
    #[must_use]
    pub fn with_reset(self, level: ResetLevel) -> Self {
        Self { reset: level, ..self }
    }

    /// Asks for the password, and the user, at every connect. A [link](Self::link) to the pool retires what was opened
    /// with older ones.
    #[must_use]
    pub fn with_credentials(self, credentials: Credentials) -> Self {
        Self { rotation: Some(Rotation::new(credentials)), ..self }
    }

    /// Ends at the server what was abandoned and goes on there, `limit` being the pool's `ping_timeout`.
    #[must_use]
    pub fn with_cancel(self, limit: Duration) -> Self {
        Self { canceller: Some(Canceller::new(self.link.clone(), limit)), ..self }
    }

    /// The manager's way to its pool, to be joined when the pool is built.
    pub fn link(&self) -> WeakPoolHandle<MySql> {
        self.link.clone()
    }

    /// Opens a connection within `limit`.
    async fn open(&self, limit: Duration) -> Result<MySqlConnection, Error> {
        let Some(rotation) = &self.rotation else { return dial(&self.options, limit).await };
        let current = rotation.current().await?;
        let mut options = self.options.clone().password(&current.login.password);
        if let Some(user) = &current.login.user {
            options = options.username(user);
        }
        let conn = dial(&options, limit).await?;
        if rotation.opened(&current) {
            self.link.retire_older();
        }
        Ok(conn)
    }

    /// Asks the first server of the pool what it allows.
    async fn compare(&self, conn: &mut MySqlConnection) -> Result<(), Error> {
        if !self.compared.load(Ordering::Relaxed) {
            self.link.compare(&limits(conn).await?);
            self.compared.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Asks the server whether it takes writes, if there is a suspicion that it does not.
    async fn look_into_suspicion(&self, conn: &mut Tracked<MySql>) -> Result<bool, Error> {
        let due = self.suspicion.is_due();
        if due {
            self.suspicion.check(takes_writes(conn.driver_mut())).await?;
        }
        Ok(due)
    }

    /// Proves a connection and leads it home.
    async fn settle(&self, conn: &mut Tracked<MySql>) -> Result<(), Error> {
        let here = prove(conn.driver_mut()).await?;
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
        let mut conn = self.open(info.limit).await?;
        let here = greet(&mut conn).await?;
        self.compare(&mut conn).await?;
        self.suspicion.connected(here.takes_writes);
        // They all begin in the same one.
        let _ = self.home.set(here.database);
        let mut conn = Tracked::new(conn, &MYSQL);
        conn.share_schema_changes(&self.changes);
        conn.set_session(here.session);
        Ok(conn)
    }

    async fn ping(&self, conn: &mut Tracked<MySql>) -> Result<(), Error> {
        conn.refresh().await?;
        if self.look_into_suspicion(conn).await? { Ok(()) } else { conn.driver_mut().ping().await }
    }

    fn triage(&self, conn: &mut Tracked<MySql>) -> Triage {
        if conn.is_suspect() {
            self.suspicion.raise();
        }
        match (self.reset, conn.standing()) {
            (_, SyncState::Broken) => Triage::Broken,
            // What was cut off cannot be proved: sqlx-mysql may have lost its place in the stream.
            (_, SyncState::Cut) => Triage::Discard,
            (ResetLevel::Session | ResetLevel::Replace, _) => Triage::Discard,
            _ if conn.is_outdated() || conn.is_bulky() => Triage::Reset,
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
        let patience =
            self.canceller.as_ref().filter(|_| conn.standing() == SyncState::Undrained).map(Canceller::patience);
        // Until it has been proved: whatever happens here, nobody goes on with it then.
        conn.degrade(SyncState::Cut);
        match patience {
            Some(limit) => timeout(limit, self.settle(conn)).await.unwrap_or_else(|_| Err(restless())),
            None => self.settle(conn).await,
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
        match (conn.standing(), &self.canceller) {
            // Nobody is left to say goodbye to.
            (SyncState::Broken, _) => Ok(()),
            // What is said would be taken for the rest of something else, or not be heard before the end of it.
            (SyncState::Cut | SyncState::Undrained, Some(canceller)) => {
                canceller.drop_and_stop(conn, self).await;
                Ok(())
            }
            (SyncState::Cut | SyncState::Undrained, None) => Ok(()),
            (SyncState::Clean | SyncState::Raw, _) => conn.into_driver().close().await,
        }
    }

    fn classify(&self, error: &Error) -> ErrorClass {
        fault::classify(error)
    }
}

/// The limit of a connect for a cancel, which has a shorter one around it.
const ERRAND_LIMIT: Duration = Duration::from_secs(10);

/// Connects; where the host has several addresses, to one that answers.
async fn dial(options: &MySqlConnectOptions, limit: Duration) -> Result<MySqlConnection, Error> {
    let host = if options.get_socket().is_some() { "/" } else { options.get_host() };
    let target = Target { host, port: options.get_port(), limit };
    let conn =
        target.connect(Box::pin(options.connect()), |address| Box::pin(to_address(options.clone(), address))).await;
    conn.map_err(fault::explained)
}

/// Connects to one address. Where TLS asks for the host by its name, it goes on doing so.
async fn to_address(options: MySqlConnectOptions, address: SocketAddr) -> Result<MySqlConnection, Error> {
    match options.get_ssl_mode() {
        #[cfg(unix)]
        MySqlSslMode::Required | MySqlSslMode::VerifyCa | MySqlSslMode::VerifyIdentity => {
            bridged(address, "mysql", |dir| connect(options.socket(dir.join("mysql")))).await
        }
        _ => connect(options.host(&address.ip().to_string())).await,
    }
}

async fn connect(options: MySqlConnectOptions) -> Result<MySqlConnection, Error> {
    options.connect().await
}

#[async_trait]
impl CancelTransport<MySql> for MySqlManager {
    async fn connect(&self) -> Result<MySqlConnection, Error> {
        self.open(ERRAND_LIMIT).await
    }

    async fn cancel(&self, conn: &mut MySqlConnection, session: u64) -> Result<(), Error> {
        kill(conn, session).await
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
