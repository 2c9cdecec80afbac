//! Building a PostgreSQL pool: from a URL or sqlx's options.

use crate::manager::PgManager;
use crate::url::parse;
use millpond_core::{NullPool, QueuePool};
use millpond_sqlx::{Credentials, SqlPool, SqlPoolSettings, config_error, pool_settings};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Error, PgConnection, Postgres};

/// A pool of PostgreSQL connections: a drop-in for `sqlx::PgPool`.
pub type PgPool = SqlPool<Postgres>;

/// How connections are pooled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PoolKind {
    /// Keeps `pool_size` connections.
    #[default]
    Queue,
    /// Opens a connection for every borrower and keeps none.
    Null,
}

/// How a PostgreSQL pool is to be: kind, settings, hooks.
///
/// ```
/// use millpond_postgres::PgPoolOptions;
/// use std::time::Duration;
///
/// let pool = PgPoolOptions::new()
///     .name("ponds")
///     .pool_size(10)
///     .pool_timeout(Duration::from_secs(5))
///     .connect_lazy("postgresql://miller:secret@db.example/ponds?sslmode=verify-full")?;
/// # Ok::<(), sqlx::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "call connect or connect_lazy"]
pub struct PgPoolOptions {
    settings: SqlPoolSettings<Postgres>,
    kind: PoolKind,
    credentials: Option<Credentials>,
}

impl PgPoolOptions {
    /// The defaults: those of the guide, [`PoolKind::Queue`].
    pub fn new() -> Self {
        Self { settings: SqlPoolSettings::new("postgres"), kind: PoolKind::default(), credentials: None }
    }

    /// How connections are pooled.
    pub fn pool(mut self, kind: PoolKind) -> Self {
        self.kind = kind;
        self
    }

    /// Makes a pool from a URL, and opens a first connection to see that it works.
    ///
    /// `postgres://user:password@host:port/database?parameter=value`, also with `postgresql` and with the drivers of
    /// SQLAlchemy (`postgresql+asyncpg`, `+psycopg`, `+psycopg2`, `+pg8000`). A part that is left out comes from the `PG..`
    /// variables and the password file, as with sqlx. In user and password write `/`, `?`, `#`, `:` and `%` as `%2F`, `%3F`,
    /// `%23`, `%3A` and `%25`; every other character may stand for itself.
    ///
    /// | parameter | |
    /// |---|---|
    /// | `sslmode` | `disable`, `allow`, `prefer` (sqlx's default), `require`, `verify-ca`, `verify-full`; `allow` never uses TLS |
    /// | `sslrootcert`, `ssl_ca` | the authority; needs `sslmode`; with `require` it means `verify-ca`, as with libpq |
    /// | `sslcert`, `sslkey` | a certificate for the client, both or neither |
    /// | `host`, `port`, `user`, `password`, `dbname` | instead of those in front of the `?`; a host that begins with `/` is a socket's directory |
    /// | `application_name`, `options`, `options[name]` | settings of the session |
    /// | `statement_cache_capacity` | how many prepared statements a connection keeps |
    ///
    /// Every name may be written with `-` or `_` as well. Everything else is an error, and so is what contradicts itself.
    ///
    /// # Errors
    ///
    /// `Error::Configuration` for what is wrong with the URL or the settings; otherwise that of the first connection.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the pool.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), sqlx::Error> {
    /// use millpond_postgres::PgPoolOptions;
    ///
    /// let pool = PgPoolOptions::new().connect("postgresql+asyncpg://miller@localhost/ponds").await?;
    /// let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&pool).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(self, url: &str) -> Result<PgPool, Error> {
        first(self.connect_lazy(url)?).await
    }

    /// Makes a pool from a URL. Nothing is opened until somebody asks for a connection.
    ///
    /// # Errors
    ///
    /// `Error::Configuration` for what is wrong with the URL or the settings.
    pub fn connect_lazy(self, url: &str) -> Result<PgPool, Error> {
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
    pub async fn connect_with(self, options: PgConnectOptions) -> Result<PgPool, Error> {
        first(self.connect_lazy_with(options)?).await
    }

    /// Makes a pool from sqlx's options. Nothing is opened until somebody asks for a connection.
    ///
    /// # Errors
    ///
    /// `Error::Configuration` for what is wrong with the settings.
    pub fn connect_lazy_with(self, options: PgConnectOptions) -> Result<PgPool, Error> {
        let Self { settings, kind, credentials } = self;
        settings.config.check().map_err(config_error)?;
        let mut manager = PgManager::new(options).with_reset(settings.reset);
        if settings.cancel_abandoned {
            manager = manager.with_cancel(settings.config.ping_timeout);
        }
        if let Some(credentials) = credentials {
            manager = manager.with_credentials(credentials);
        }
        let link = manager.link();
        match kind {
            PoolKind::Queue => {
                let pool: QueuePool<_> = settings.build(manager, &settings.name, settings.config.clone())?;
                link.join(&pool);
                Ok(SqlPool::queue(pool))
            }
            PoolKind::Null => {
                let pool: NullPool<_> = settings.build(manager, &settings.name, settings.config.clone())?;
                link.join(&pool);
                Ok(SqlPool::null(pool))
            }
        }
    }

    /// Where the password comes from, and the user if it changes too: a file, a variable, a callback. It is asked at every
    /// connect, so a rotation needs no restart; see [`Credentials`]. Default: the URL or the options.
    ///
    /// ```
    /// use millpond_postgres::{Credentials, PgPoolOptions};
    ///
    /// let pool = PgPoolOptions::new()
    ///     .credentials(Credentials::file("/run/secrets/ponds"))
    ///     .connect_lazy("postgresql://miller@db.example/ponds?sslmode=verify-full")?;
    /// # Ok::<(), sqlx::Error>(())
    /// ```
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Whether what was abandoned and goes on at the server is cancelled there. Default: yes.
    ///
    /// A query whose future was dropped runs on at the server. Its connection is waited for an eighth of `ping_timeout`; then
    /// `pg_cancel_backend` stops it, over an idle connection of the pool or a new one in a place under the cap, one at a
    /// time. Where none is free the connection is closed, and its own place serves.
    pub fn cancel_abandoned(mut self, cancel: bool) -> Self {
        self.settings.cancel_abandoned = cancel;
        self
    }
}

pool_settings!(PgPoolOptions, PgConnection);

impl Default for PgPoolOptions {
    fn default() -> Self {
        Self::new()
    }
}

async fn first(pool: PgPool) -> Result<PgPool, Error> {
    drop(pool.acquire().await?);
    Ok(pool)
}
