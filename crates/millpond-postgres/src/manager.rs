//! Opens, proves, resets and closes PostgreSQL connections.

use crate::backend::POSTGRES;
use crate::between::{CERTAIN, PERHAPS, REFUSES, share_a_server};
use crate::fault;
use crate::first_look::{greet, limits, takes_writes};
use crate::pooler::{POOLED, Pooler};
use crate::prove::{clear_session, release_locks};
use crate::session::{cancel, end};
use millpond_core::{ConnectInfo, ErrorClass, Manager, ResetLevel, Triage, async_trait};
use millpond_sqlx::{
    CancelTransport, Canceller, Credentials, FailoverDetector, Login, Rotation, SchemaChanges, SyncState, Target,
    Tracked, WeakPoolHandle, bridged,
};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Connection, Error, PgConnection, Postgres};
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The manager over `sqlx::PgConnection`. [`PgPoolOptions`](crate::PgPoolOptions) makes one for you; build a core pool over
/// it if you want to wrap one in a pool of your own.
pub struct PgManager {
    options: PgConnectOptions,
    reset: ResetLevel,
    pooler: Pooler,
    rotation: Option<Rotation>,
    link: WeakPoolHandle<Postgres>,
    suspicion: FailoverDetector,
    changes: SchemaChanges<Postgres>,
    /// Whether the server was asked what it allows.
    compared: AtomicBool,
    canceller: Option<Canceller<Postgres>>,
}

impl PgManager {
    /// A manager of connections that are opened with these options.
    pub fn new(options: PgConnectOptions) -> Self {
        let link = WeakPoolHandle::new();
        Self {
            options,
            reset: ResetLevel::default(),
            pooler: Pooler::default(),
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
    /// `Session` costs two round trips on every return, of clean connections too: a plain SELECT can call `set_config`
    /// or take an advisory lock. It clears role, settings, search path, cursors, LISTEN, advisory locks, temporary
    /// tables, sequence state and statements prepared by SQL, and keeps those that sqlx has prepared. Settings go back to
    /// those of the URL or the options, and then `on_connect` hooks are called again. What PostgreSQL cannot undo stays: a
    /// custom setting that was never set (`app.tenant`) is empty instead of unset, and a library that was loaded stays so.
    #[must_use]
    pub fn with_reset(self, level: ResetLevel) -> Self {
        Self { reset: level, ..self }
    }

    /// Opens connections for what stands between the pool and its server. Wrap the pool in
    /// [`SqlPool::transactions_only`](millpond_sqlx::SqlPool::transactions_only) as well.
    #[must_use]
    pub fn behind(self, pooler: Pooler) -> Self {
        let options = match pooler {
            Pooler::None => self.options,
            // What is remembered as prepared would be looked for on another server.
            // A stock PgBouncer refuses `extra_float_digits`, without which servers tell floats exactly since version 12.
            Pooler::PgBouncer => self.options.statement_cache_capacity(0).extra_float_digits(None),
        };
        Self { options, pooler, ..self }
    }

    /// Asks for the password, and the user, at every connect. A [link](Self::link) to the pool retires what was opened
    /// with older ones.
    #[must_use]
    pub fn with_credentials(self, credentials: Credentials) -> Self {
        Self { rotation: Some(Rotation::new(credentials)), ..self }
    }

    /// Cancels at the server what was abandoned and goes on there, `limit` being the pool's `ping_timeout`. Needs a
    /// [link](Self::link) to the pool.
    #[must_use]
    pub fn with_cancel(self, limit: Duration) -> Self {
        Self { canceller: Some(Canceller::new(self.link.clone(), limit)), ..self }
    }

    /// The manager's way to its pool, to be joined when the pool is built.
    pub fn link(&self) -> WeakPoolHandle<Postgres> {
        self.link.clone()
    }

    /// Opens a connection within `limit`.
    async fn open(&self, limit: Duration) -> Result<PgConnection, Error> {
        let Some(rotation) = &self.rotation else { return dial(&self.options, limit).await };
        let current = rotation.current().await?;
        let conn = dial(&with_login(self.options.clone(), &current.login), limit).await?;
        if rotation.opened(&current) {
            self.link.retire_older();
        }
        Ok(conn)
    }

    /// Asks the first server of the pool what it allows.
    async fn compare(&self, conn: &mut PgConnection, seems_lent: bool, limit: Duration) -> Result<(), Error> {
        if !self.compared.load(Ordering::Relaxed) {
            if seems_lent {
                self.look_between(conn, limit).await?;
            }
            self.link.compare(&limits(conn).await?);
            self.compared.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Finds out whether a pooler lends a server for each transaction, by another connection under the pool's cap.
    async fn look_between(&self, conn: &mut PgConnection, limit: Duration) -> Result<(), Error> {
        let place = self.link.try_reserve();
        let certain = match &place {
            Some(_) => {
                let mut other = self.open(limit).await?;
                let shared = share_a_server(conn, &mut other).await;
                // Its server is its own again whatever it says.
                let _ = other.close().await;
                shared?
            }
            None => false,
        };
        self.link.warn("behind", if certain { CERTAIN } else { PERHAPS }.to_owned());
        if certain { Err(Error::Configuration(CERTAIN.into())) } else { Ok(()) }
    }

    /// Asks the server whether it takes writes, if there is a suspicion that it does not.
    async fn look_into_suspicion(&self, conn: &mut Tracked<Postgres>) -> Result<bool, Error> {
        let due = self.suspicion.is_due();
        if due {
            self.suspicion.check(takes_writes(conn.driver_mut())).await?;
        }
        Ok(due)
    }
}

impl Manager for PgManager {
    type Connection = Tracked<Postgres>;
    type Error = Error;

    async fn connect(&self, info: &ConnectInfo) -> Result<Tracked<Postgres>, Error> {
        let began = Instant::now();
        let mut conn = self.open(info.limit).await?;
        if self.pooler == Pooler::PgBouncer {
            // What its servers say of themselves does not hold for the connection.
            let mut conn = Tracked::new(conn, &POOLED);
            conn.share_schema_changes(&self.changes);
            return Ok(conn);
        }
        // A round trip, so only for who has a use for the answer: a canceller, or who does not know what to suspect.
        let asked = self.canceller.is_some() || !self.suspicion.has_written();
        let greeting = if asked { greet(&mut conn).await? } else { None };
        let seems_lent = greeting.as_ref().is_some_and(|greeting| greeting.seems_lent(began.elapsed()));
        self.compare(&mut conn, seems_lent, info.limit).await?;
        let mut conn = Tracked::new(conn, &POSTGRES);
        conn.share_schema_changes(&self.changes);
        if let Some(greeting) = greeting {
            self.suspicion.connected(greeting.takes_writes);
            if let (Some(session), Some(_)) = (greeting.session, &self.canceller) {
                conn.set_session(session);
            }
        }
        Ok(conn)
    }

    async fn ping(&self, conn: &mut Tracked<Postgres>) -> Result<(), Error> {
        conn.refresh().await?;
        if self.look_into_suspicion(conn).await? { Ok(()) } else { conn.driver_mut().ping().await }
    }

    fn triage(&self, conn: &mut Tracked<Postgres>) -> Triage {
        if conn.is_suspect() {
            self.suspicion.raise();
        }
        match (self.reset, conn.standing()) {
            (_, SyncState::Broken) => Triage::Broken,
            (ResetLevel::Replace, _) => Triage::Discard,
            (ResetLevel::Session, _) => Triage::Reset,
            _ if conn.is_outdated() || conn.is_bulky() => Triage::Reset,
            (ResetLevel::None, _) if conn.has_lost_transaction() => Triage::Discard,
            (ResetLevel::None, _) => Triage::Keep,
            (_, SyncState::Clean) if !conn.is_suspect() => Triage::Keep,
            _ => Triage::Reset,
        }
    }

    async fn reset(&self, conn: &mut Tracked<Postgres>) -> Result<(), Error> {
        conn.shrink();
        let escaped = conn.take_escaped();
        match &self.canceller {
            // Outdated, or large: nothing else is done at this level.
            _ if self.reset == ResetLevel::None => return conn.refresh().await,
            Some(canceller) => canceller.settle(conn, self).await?,
            None => conn.settle().await?,
        }
        conn.refresh().await?;
        if escaped && self.reset == ResetLevel::Transaction {
            release_locks(conn.driver_mut()).await?;
        }
        if self.reset == ResetLevel::Session {
            clear_session(conn.driver_mut()).await?;
        }
        self.look_into_suspicion(conn).await.map(drop)
    }

    fn undoes_on_connect(&self, _conn: &mut Tracked<Postgres>) -> bool {
        self.reset == ResetLevel::Session
    }

    async fn close(&self, conn: Tracked<Postgres>) -> Result<(), Error> {
        match (conn.standing(), &self.canceller) {
            // Nobody is left to say goodbye to.
            (SyncState::Broken, _) => Ok(()),
            // The server would go on with it for nobody.
            (SyncState::Cut | SyncState::Undrained, Some(canceller)) => {
                canceller.drop_and_stop(conn, self).await;
                Ok(())
            }
            _ => conn.into_driver().close().await,
        }
    }

    fn classify(&self, error: &Error) -> ErrorClass {
        fault::classify(error)
    }
}

/// The limit of a connect for a cancel, which has a shorter one around it.
const ERRAND_LIMIT: Duration = Duration::from_secs(10);

/// Connects; where the host has several addresses, to one that answers.
async fn dial(options: &PgConnectOptions, limit: Duration) -> Result<PgConnection, Error> {
    let host = if options.get_socket().is_some() { "/" } else { options.get_host() };
    let target = Target { host, port: options.get_port(), limit };
    let conn = target
        .connect(Box::pin(connect(options.clone())), |address| Box::pin(to_address(options.clone(), address)))
        .await;
    conn.map_err(explained)
}

/// Connects to one address. Where TLS asks for the host by its name, it goes on doing so.
async fn to_address(options: PgConnectOptions, address: SocketAddr) -> Result<PgConnection, Error> {
    match options.get_ssl_mode() {
        #[cfg(unix)]
        PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull => {
            let name = format!(".s.PGSQL.{}", options.get_port());
            bridged(address, &name, |dir| connect(options.socket(dir))).await
        }
        _ => connect(options.host(&address.ip().to_string())).await,
    }
}

async fn connect(options: PgConnectOptions) -> Result<PgConnection, Error> {
    options.connect().await.map_err(fault::without_password)
}

/// An error of a connect, with the way out where it needs one.
fn explained(error: Error) -> Error {
    if fault::refuses_startup(&error) {
        Error::Configuration(format!("{REFUSES} ({error})").into())
    } else {
        fault::explained(error)
    }
}

/// The same options for whoever a provider says we are.
pub(crate) fn with_login(options: PgConnectOptions, login: &Login) -> PgConnectOptions {
    let options = options.password(&login.password);
    match &login.user {
        Some(user) => options.username(user),
        None => options,
    }
}

#[async_trait]
impl CancelTransport<Postgres> for PgManager {
    async fn connect(&self) -> Result<PgConnection, Error> {
        self.open(ERRAND_LIMIT).await
    }

    async fn cancel(&self, conn: &mut PgConnection, session: u64) -> Result<(), Error> {
        cancel(conn, session).await
    }

    async fn end(&self, conn: &mut PgConnection, session: u64) -> Result<(), Error> {
        end(conn, session).await
    }
}

impl fmt::Debug for PgManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the options: they hold the password.
        f.debug_struct("PgManager").field("reset", &self.reset).finish_non_exhaustive()
    }
}
