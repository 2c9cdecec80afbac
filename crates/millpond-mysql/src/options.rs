//! Builds a MySQL pool from a URL or sqlx's options.

use crate::backend::MYSQL;
use crate::manager::MySqlManager;
use crate::url::parse;
use millpond_core::PoolKind;
use millpond_sqlx::backend_api::{SqlPoolSettings, build_server_pool, check_connects};
use millpond_sqlx::{Credentials, SqlPool, pool_settings, sqlx_names, tcp_settings};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{Error, MySql, MySqlConnection};

/// A pool of MySQL or MariaDB connections: a drop-in for `sqlx::MySqlPool`.
pub type MySqlPool = SqlPool<MySql>;

/// The options of a MySQL pool: kind, settings, hooks.
///
/// ```
/// use millpond_mysql::MySqlPoolOptions;
/// use std::time::Duration;
///
/// let pool = MySqlPoolOptions::new()
///     .name("ponds")
///     .pool_size(10)
///     .pool_timeout(Duration::from_secs(5))
///     .connect_lazy("mysql://miller:secret@db.example/ponds?sslmode=verify-full")?;
/// # Ok::<(), sqlx::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "call connect or connect_lazy"]
pub struct MySqlPoolOptions {
    settings: SqlPoolSettings<MySql>,
    kind: PoolKind,
    credentials: Option<Credentials>,
}

impl MySqlPoolOptions {
    /// Creates options with the default settings and [`PoolKind::Queue`].
    pub fn new() -> Self {
        Self { settings: SqlPoolSettings::new("mysql"), kind: PoolKind::Queue, credentials: None }
    }

    /// Sets how connections are pooled: [`PoolKind::Queue`] or [`PoolKind::Null`].
    pub fn pool(mut self, kind: PoolKind) -> Self {
        self.kind = kind;
        self
    }

    /// Sets where the password comes from, and the user if it changes too: a file, a variable, a
    /// callback. They are read at every connect, so a rotation needs no restart; see
    /// [`Credentials`]. Default: the URL or the options.
    ///
    /// ```
    /// use millpond_mysql::{Credentials, MySqlPoolOptions};
    ///
    /// let pool = MySqlPoolOptions::new()
    ///     .credentials(Credentials::file("/run/secrets/ponds"))
    ///     .connect_lazy("mysql://miller@db.example/ponds?sslmode=verify-identity")?;
    /// # Ok::<(), sqlx::Error>(())
    /// ```
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Sets whether abandoned sessions are ended at the server. Default: true.
    ///
    /// The server continues a query whose future was dropped. So when its connection has been
    /// closed, KILL ends its session, over a new connection in the slot of the closed one, one at a
    /// time. A dropped stream is drained for an eighth of `ping_timeout`, and then treated
    /// likewise. The server must allow the user one more connection; MySQL and MariaDB let every
    /// user end its own sessions.
    pub fn cancel_abandoned(mut self, cancel: bool) -> Self {
        self.settings.cancel_abandoned = cancel;
        self
    }

    /// Builds a pool from a URL, and opens a first connection to check that it works.
    ///
    /// `mysql://user:password@host:port/database?parameter=value`, also with `mariadb` and with the
    /// drivers of SQLAlchemy (`mysql+pymysql`, `+aiomysql`, `+asyncmy`, `+mysqldb`,
    /// `+mysqlconnector`, `+mariadbconnector`). Missing parts default as in sqlx: `root`, no
    /// password, `localhost`, port 3306, no database. In user and password write `/`, `?`, `#`, `:`
    /// and `%` as `%2F`, `%3F`, `%23`, `%3A` and `%25`; every other character may be written as it
    /// is.
    ///
    /// | parameter | |
    /// |---|---|
    /// | `sslmode` | `disabled`, `preferred`, `required`, `verify-ca`, `verify-identity`, or as with PostgreSQL `disable`, `prefer`, `require`, `verify-full` |
    /// | `ssl_ca`, `sslrootcert` | the file of the certificate authority; without `sslmode` it means `verify-identity`, with `required` `verify-ca` |
    /// | `ssl_check_hostname` | `true` or `false`, beside `ssl_ca` and without `sslmode`; `false` means `verify-ca` |
    /// | `ssl_cert`, `ssl_key` | the client certificate and its key, both or neither; without `sslmode` they mean `required` |
    /// | `charset`, `collation` | `utf8mb4` (the default), `utf8mb3` or `utf8`, and a collation of it: the driver writes UTF-8 |
    /// | `time_zone` | `+00:00` (the default) or another time zone; see `MySqlConnectOptions::timezone` |
    /// | `unix_socket` | the path of a socket instead of host and port |
    /// | `statement_cache_capacity` | the number of prepared statements that a connection caches |
    ///
    /// Names may be written with `-` or `_`, and `sslca` and similar ones without either. Every
    /// other parameter is an error, and so are contradictions. Without TLS parameters sqlx's
    /// `preferred` applies, which falls back to an unencrypted connection if the server has no TLS.
    ///
    /// The driver trusts the system's authorities besides the one of `ssl_ca`. With `verify-ca` it
    /// does not compare the host name, so anybody whose certificate one of them has signed can pass
    /// for the server: use `verify-identity`.
    ///
    /// # Errors
    ///
    /// `Error::Configuration` for an invalid URL or setting; the error of the first connection.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the pool is dropped.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), sqlx::Error> {
    /// use millpond_mysql::MySqlPoolOptions;
    ///
    /// let pool = MySqlPoolOptions::new().connect("mysql+pymysql://miller@localhost/ponds").await?;
    /// let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&pool).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(self, url: &str) -> Result<MySqlPool, Error> {
        check_connects(self.connect_lazy(url)?).await
    }

    /// Parses a URL as [`connect`](Self::connect) does, for [`connect_with`](Self::connect_with).
    ///
    /// # Errors
    ///
    /// `Error::Configuration` for an invalid URL.
    pub fn parse_url(url: &str) -> Result<MySqlConnectOptions, Error> {
        Ok(parse(url)?)
    }

    /// Builds a pool from sqlx's options. The first connection is opened by the first acquire.
    ///
    /// # Errors
    ///
    /// `Error::Configuration` for an invalid setting.
    pub fn connect_lazy_with(self, options: MySqlConnectOptions) -> Result<MySqlPool, Error> {
        let Self { settings, kind, credentials } = self;
        settings.check()?;
        let mut manager = MySqlManager::new(options)
            .with_reset(settings.reset)
            .with_tcp_options(settings.tcp_options());
        if settings.cancel_abandoned {
            manager = manager.with_cancel(settings.config.ping_timeout);
        }
        if let Some(credentials) = credentials {
            manager = manager.with_credentials(credentials);
        }
        let pool_handle = manager.pool_handle();
        build_server_pool(&settings, kind, manager, &pool_handle, "MySQL")?.with_sqlx_settings(
            &MYSQL,
            settings.sqlx_connections,
            settings.sqlx_timeouts,
        )
    }
}

pool_settings!(MySqlPoolOptions, MySqlConnection);
sqlx_names!(MySqlPoolOptions, MySqlConnection);
tcp_settings!(MySqlPoolOptions);

impl Default for MySqlPoolOptions {
    fn default() -> Self {
        Self::new()
    }
}
