//! Opens driver connections: address and login.

use crate::error_class;
use crate::kill::kill;
use crate::server_info::own_port;
use millpond_core::async_trait;
use millpond_sqlx::Credentials;
use millpond_sqlx::backend_api::{
    CancelTransport, Rotation, Target, TcpOptions, WeakPoolHandle, connect_through_socket,
};
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::{ConnectOptions, Error, MySql, MySqlConnection};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The limit of a connect for a cancel; the canceller enforces a shorter one.
const CANCEL_LIMIT: Duration = Duration::from_secs(10);

/// Opens the connections of a pool and of its cancels.
#[derive(Clone)]
pub(crate) struct Dialer {
    options: MySqlConnectOptions,
    rotation: Option<Arc<Rotation>>,
    tcp: TcpOptions,
    pool_handle: WeakPoolHandle<MySql>,
}

impl Dialer {
    pub(crate) fn new(options: MySqlConnectOptions, pool_handle: WeakPoolHandle<MySql>) -> Self {
        Self { options, rotation: None, tcp: TcpOptions::default(), pool_handle }
    }

    pub(crate) fn with_credentials(self, credentials: Credentials) -> Self {
        Self { rotation: Some(Arc::new(Rotation::new(credentials))), ..self }
    }

    pub(crate) fn with_tcp_options(self, tcp: TcpOptions) -> Self {
        Self { tcp, ..self }
    }

    /// Opens a connection within `limit`.
    pub(crate) async fn open(&self, limit: Duration) -> Result<MySqlConnection, Error> {
        let Some(rotation) = &self.rotation else { return self.dial(&self.options, limit).await };
        let current = rotation.current().await?;
        let mut options = self.options.clone();
        if !current.login.password.is_empty() {
            options = options.password(&current.login.password);
        }
        if let Some(user) = &current.login.user {
            options = options.username(user);
        }
        let conn = self.dial(&options, limit).await?;
        if rotation.opened(&current) {
            self.pool_handle.retire_older();
        }
        Ok(conn)
    }

    /// Connects and sets the TCP socket options.
    async fn dial(
        &self,
        options: &MySqlConnectOptions,
        limit: Duration,
    ) -> Result<MySqlConnection, Error> {
        let dialled = dial(options, limit);
        if options.get_socket().is_some() {
            return dialled.await;
        }
        let warn = |text| self.pool_handle.warn("tcp_keepalive", text);
        self.tcp.connect(options.get_port(), dialled, |conn| Box::pin(own_port(conn)), warn).await
    }
}

/// Connects; if the host has several addresses, to one that responds.
async fn dial(options: &MySqlConnectOptions, limit: Duration) -> Result<MySqlConnection, Error> {
    let host = if options.get_socket().is_some() { "/" } else { options.get_host() };
    let target = Target { host, port: options.get_port(), limit };
    let conn = target
        .connect(Box::pin(options.connect()), |address| {
            Box::pin(to_address(options.clone(), address))
        })
        .await;
    conn.map_err(|error| error_class::with_hint(error, options.get_socket().is_some()))
}

/// Connects to one address. TLS still verifies the host name.
async fn to_address(
    options: MySqlConnectOptions,
    address: SocketAddr,
) -> Result<MySqlConnection, Error> {
    match options.get_ssl_mode() {
        #[cfg(unix)]
        MySqlSslMode::Required | MySqlSslMode::VerifyCa | MySqlSslMode::VerifyIdentity => {
            connect_through_socket(address, "mysql", |dir| {
                connect(options.socket(dir.join("mysql")))
            })
            .await
        }
        _ => connect(options.host(&address.ip().to_string())).await,
    }
}

async fn connect(options: MySqlConnectOptions) -> Result<MySqlConnection, Error> {
    options.connect().await
}

#[async_trait]
impl CancelTransport<MySql> for Dialer {
    async fn connect(&self) -> Result<MySqlConnection, Error> {
        self.open(CANCEL_LIMIT).await
    }

    async fn cancel(
        &self,
        conn: &mut MySqlConnection,
        session: u64,
        is_older: bool,
    ) -> Result<(), Error> {
        kill(conn, session, is_older).await
    }
}
