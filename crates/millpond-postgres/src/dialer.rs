//! Opens driver connections: address, login, and pooler settings.

use crate::error_class;
use crate::pooler_detection::{STARTUP_REFUSED, refuses_startup};
use crate::server_info::own_port;
use crate::session::{cancel, end};
use millpond_core::async_trait;
use millpond_sqlx::backend_api::{
    CancelTransport, Rotation, Target, TcpOptions, WeakPoolHandle, connect_through_socket,
};
use millpond_sqlx::{Credentials, Login};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, Error, PgConnection, Postgres};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The limit of a connect for a cancel; the canceller enforces a shorter one.
const CANCEL_LIMIT: Duration = Duration::from_secs(10);

/// Opens the connections of a pool and of its cancels.
#[derive(Clone)]
pub(crate) struct Dialer {
    options: PgConnectOptions,
    rotation: Option<Arc<Rotation>>,
    tcp: TcpOptions,
    pool_handle: WeakPoolHandle<Postgres>,
}

impl Dialer {
    pub(crate) fn new(options: PgConnectOptions, pool_handle: WeakPoolHandle<Postgres>) -> Self {
        Self { options, rotation: None, tcp: TcpOptions::default(), pool_handle }
    }

    pub(crate) fn with_credentials(self, credentials: Credentials) -> Self {
        Self { rotation: Some(Arc::new(Rotation::new(credentials))), ..self }
    }

    /// Adapts the options to PgBouncer in transaction mode.
    pub(crate) fn behind_pgbouncer(self) -> Self {
        // Cached statements would be missing on another server. A stock PgBouncer refuses
        // `extra_float_digits`, without which servers since version 12 still send exact floats.
        let options = self.options.statement_cache_capacity(0).extra_float_digits(None);
        Self { options, ..self }
    }

    pub(crate) fn with_tcp_options(self, tcp: TcpOptions) -> Self {
        Self { tcp, ..self }
    }

    /// Returns the `extra_float_digits` that the driver requests for each session: the value that
    /// changes nothing in its options, which do not show it otherwise. `None` for 1, the
    /// server's own default, which a session has without the driver's request as well.
    pub(crate) fn float_digits(&self) -> Option<i8> {
        let current = format!("{:?}", self.options);
        (-15..=3).filter(|digits| *digits != 1).find(|digits| {
            format!("{:?}", self.options.clone().extra_float_digits(*digits)) == current
        })
    }

    /// Opens a connection within `limit`.
    pub(crate) async fn open(&self, limit: Duration) -> Result<PgConnection, Error> {
        let Some(rotation) = &self.rotation else { return self.dial(&self.options, limit).await };
        let current = rotation.current().await?;
        let conn = self.dial(&with_login(self.options.clone(), &current.login), limit).await?;
        if rotation.opened(&current) {
            self.pool_handle.retire_older();
        }
        Ok(conn)
    }

    /// Connects and sets the TCP socket options.
    async fn dial(
        &self,
        options: &PgConnectOptions,
        limit: Duration,
    ) -> Result<PgConnection, Error> {
        let dialled = dial(options, limit);
        if options.get_socket().is_some() {
            return dialled.await;
        }
        let warn = |text| self.pool_handle.warn("tcp_keepalive", text);
        self.tcp.connect(options.get_port(), dialled, |conn| Box::pin(own_port(conn)), warn).await
    }
}

/// Connects; if the host has several addresses, to one that responds.
async fn dial(options: &PgConnectOptions, limit: Duration) -> Result<PgConnection, Error> {
    let host = if options.get_socket().is_some() { "/" } else { options.get_host() };
    let target = Target { host, port: options.get_port(), limit };
    let conn = target
        .connect(Box::pin(connect(options.clone())), |address| {
            Box::pin(to_address(options.clone(), address))
        })
        .await;
    conn.map_err(with_hint)
}

/// Connects to one address. TLS still verifies the host name.
async fn to_address(options: PgConnectOptions, address: SocketAddr) -> Result<PgConnection, Error> {
    match options.get_ssl_mode() {
        #[cfg(unix)]
        PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull => {
            let name = format!(".s.PGSQL.{}", options.get_port());
            connect_through_socket(address, &name, |dir| connect(options.socket(dir))).await
        }
        _ => connect(options.host(&address.ip().to_string())).await,
    }
}

async fn connect(options: PgConnectOptions) -> Result<PgConnection, Error> {
    options.connect().await.map_err(without_password)
}

/// Adds a hint to an error of a connect where it needs one.
fn with_hint(error: Error) -> Error {
    if refuses_startup(&error) {
        Error::Configuration(format!("{STARTUP_REFUSED} ({error})").into())
    } else {
        error_class::with_hint(error)
    }
}

/// Replaces the driver's error that shows a character of the password.
pub(crate) fn without_password(error: Error) -> Error {
    match &error {
        Error::Configuration(why) if why.to_string().contains("saslprep password") => {
            Error::Configuration(
                "the password contains a character that SCRAM does not allow (RFC 4013: a control \
             character, or one that is newer than Unicode 3.2, such as most emoji): set another \
             password"
                    .into(),
            )
        }
        _ => error,
    }
}

/// Returns the options with this login.
pub(crate) fn with_login(options: PgConnectOptions, login: &Login) -> PgConnectOptions {
    let options = options.password(&login.password);
    match &login.user {
        Some(user) => options.username(user),
        None => options,
    }
}

#[async_trait]
impl CancelTransport<Postgres> for Dialer {
    async fn connect(&self) -> Result<PgConnection, Error> {
        self.open(CANCEL_LIMIT).await
    }

    async fn cancel(
        &self,
        conn: &mut PgConnection,
        session: u64,
        _is_older: bool,
    ) -> Result<(), Error> {
        cancel(conn, session).await
    }

    async fn end(&self, conn: &mut PgConnection, session: u64) -> Result<(), Error> {
        end(conn, session).await
    }
}
