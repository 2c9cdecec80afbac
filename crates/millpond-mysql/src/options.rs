//! Building a MySQL pool: from a URL or sqlx's options.

use crate::manager::MySqlManager;
use crate::url::parse;
use millpond_core::{NullPool, PoolKind, QueuePool};
use millpond_sqlx::backend_api::{SqlPoolSettings, unsupported_pool};
use millpond_sqlx::{Credentials, SqlPool, pool_settings, tcp_settings};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{Error, MySql, MySqlConnection};

/// A pool of MySQL or MariaDB connections: a drop-in for `sqlx::MySqlPool`.
pub type MySqlPool = SqlPool<MySql>;

/// How a MySQL pool is to be: kind, settings, hooks.
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
    /// The defaults: those of the guide, [`PoolKind::Queue`].
    pub fn new() -> Self {
        Self { settings: SqlPoolSettings::new("mysql"), kind: PoolKind::Queue, credentials: None }
    }

    /// How connections are pooled: [`PoolKind::Queue`] or [`PoolKind::Null`].
    pub fn pool(mut self, kind: PoolKind) -> Self {
        self.kind = kind;
        self
    }

    /// Where the password comes from, and the user if it changes too: a file, a variable, a
    /// callback. It is asked at every connect, so a rotation needs no restart; see [`Credentials`].
    /// Default: the URL or the options.
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

    /// Whether what was abandoned and goes on at the server is ended there. Default: yes.
    ///
    /// The server executes a query whose future was dropped to its end. So when its connection has
    /// been closed, KILL ends its session, over a connection that is opened for it in the place of
    /// the closed one, one at a time. A stream that was dropped half-way is read on for an eighth
    /// of `ping_timeout`; after that it is treated likewise. The server must let the user connect
    /// once more, and MySQL and MariaDB let every user end its own sessions.
    pub fn cancel_abandoned(mut self, cancel: bool) -> Self {
        self.settings.cancel_abandoned = cancel;
        self
    }

    /// Makes a pool from a URL, and opens a first connection to see that it works.
    ///
    /// `mysql://user:password@host:port/database?parameter=value`, also with `mariadb` and with the
    /// drivers of SQLAlchemy (`mysql+pymysql`, `+aiomysql`, `+asyncmy`, `+mysqldb`,
    /// `+mysqlconnector`, `+mariadbconnector`). What is left out is as with sqlx: `root`, no
    /// password, `localhost`, port 3306, no database. In user and password write `/`, `?`, `#`, `:`
    /// and `%` as `%2F`, `%3F`, `%23`, `%3A` and `%25`; every other character may stand for itself.
    ///
    /// | parameter | |
    /// |---|---|
    /// | `sslmode` | `disabled`, `preferred`, `required`, `verify-ca`, `verify-identity`, or as with PostgreSQL `disable`, `prefer`, `require`, `verify-full` |
    /// | `ssl_ca`, `sslrootcert` | the authority, a file; without `sslmode` it means `verify-identity`, with `required` `verify-ca` |
    /// | `ssl_check_hostname` | `true` or `false`, beside `ssl_ca` and without `sslmode`; `false` means `verify-ca` |
    /// | `ssl_cert`, `ssl_key` | a certificate for the client, both or neither; without `sslmode` they mean `required` |
    /// | `charset`, `collation` | `utf8mb4` (the default), `utf8mb3` or `utf8`, and a collation of it: the driver writes UTF-8 |
    /// | `time_zone` | `+00:00` (the default) or another one; see `MySqlConnectOptions::timezone` |
    /// | `unix_socket` | the path of a socket instead of host and port |
    /// | `statement_cache_capacity` | how many prepared statements a connection keeps |
    ///
    /// Every name may be written with `-` or `_`, and `sslca` and the like without either.
    /// Everything else is an error, and so is what contradicts itself. Without any of the TLS
    /// parameters sqlx's `preferred` holds, which goes on in the clear with a server that has no
    /// TLS.
    ///
    /// # Errors
    ///
    /// `Error::Configuration` for what is wrong with the URL or the settings; otherwise that of the
    /// first connection.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the pool.
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
        first(self.connect_lazy(url)?).await
    }

    /// Reads a URL as [`connect`](Self::connect) does, for [`connect_with`](Self::connect_with).
    ///
    /// # Errors
    ///
    /// `Error::Configuration` for what is wrong with the URL.
    pub fn parse_url(url: &str) -> Result<MySqlConnectOptions, Error> {
        Ok(parse(url)?)
    }

    /// Makes a pool from a URL. Nothing is opened until somebody asks for a connection.
    ///
    /// # Errors
    ///
    /// `Error::Configuration` for what is wrong with the URL or the settings.
    pub fn connect_lazy(self, url: &str) -> Result<MySqlPool, Error> {
        self.connect_lazy_with(parse(url)?)
    }

    /// Makes a pool from sqlx's options, and opens a first connection to see that it works.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the pool.
    pub async fn connect_with(self, options: MySqlConnectOptions) -> Result<MySqlPool, Error> {
        first(self.connect_lazy_with(options)?).await
    }

    /// Makes a pool from sqlx's options. Nothing is opened until somebody asks for a connection.
    ///
    /// # Errors
    ///
    /// `Error::Configuration` for what is wrong with the settings.
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
        match kind {
            PoolKind::Queue => {
                let pool: QueuePool<_> =
                    settings.build(manager, &settings.name, settings.config.clone())?;
                pool_handle.attach(&pool);
                Ok(SqlPool::from_queue(pool))
            }
            PoolKind::Null => {
                let pool: NullPool<_> =
                    settings.build(manager, &settings.name, settings.config.clone())?;
                pool_handle.attach(&pool);
                Ok(SqlPool::from_null(pool))
            }
            other => Err(unsupported_pool(other, "MySQL")),
        }
    }
}

pool_settings!(MySqlPoolOptions, MySqlConnection);
tcp_settings!(MySqlPoolOptions);

impl Default for MySqlPoolOptions {
    fn default() -> Self {
        Self::new()
    }
}

async fn first(pool: MySqlPool) -> Result<MySqlPool, Error> {
    drop(pool.acquire().await?);
    Ok(pool)
}
