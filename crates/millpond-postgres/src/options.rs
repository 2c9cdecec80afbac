//! Building a PostgreSQL pool: from a URL or sqlx's options.

use crate::manager::PgManager;
use crate::pooler::BEGIN;
use crate::url::parse;
use millpond_core::{NullPool, PoolExt, PoolKind, Pooler, QueuePool, ResetLevel};
use millpond_sqlx::backend_api::{SqlPoolSettings, lending_error, unsupported_pool};
use millpond_sqlx::{Credentials, SqlPool, pool_settings, tcp_settings};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Error, PgConnection, Postgres};

/// A pool of PostgreSQL connections: a drop-in for `sqlx::PgPool`.
pub type PgPool = SqlPool<Postgres>;

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
    pub(crate) settings: SqlPoolSettings<Postgres>,
    kind: PoolKind,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) pooler: Pooler,
}

impl PgPoolOptions {
    /// The defaults: those of the guide, [`PoolKind::Queue`].
    pub fn new() -> Self {
        Self {
            settings: SqlPoolSettings::new("postgres"),
            kind: PoolKind::Queue,
            credentials: None,
            pooler: Pooler::default(),
        }
    }

    /// How connections are pooled: [`PoolKind::Queue`] or [`PoolKind::Null`].
    pub fn pool(mut self, kind: PoolKind) -> Self {
        self.kind = kind;
        self
    }

    /// Makes a pool from a URL, and opens a first connection to see that it works.
    ///
    /// `postgres://user:password@host:port/database?parameter=value`, also with `postgresql` and
    /// with the drivers of SQLAlchemy (`postgresql+asyncpg`, `+psycopg`, `+psycopg2`, `+pg8000`). A
    /// part that is left out comes from the `PG..` variables and the password file, as with sqlx.
    /// In user and password write `/`, `?`, `#`, `:` and `%` as `%2F`, `%3F`, `%23`, `%3A` and
    /// `%25`; every other character may stand for itself.
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
    /// Every name may be written with `-` or `_` as well. Everything else is an error, and so is
    /// what contradicts itself.
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
    /// use millpond_postgres::PgPoolOptions;
    ///
    /// let url = "postgresql+asyncpg://miller@localhost/ponds";
    /// let pool = PgPoolOptions::new().connect(url).await?;
    /// let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&pool).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(self, url: &str) -> Result<PgPool, Error> {
        first(self.connect_lazy(url)?).await
    }

    /// Reads a URL as [`connect`](Self::connect) does, for [`connect_with`](Self::connect_with).
    ///
    /// # Errors
    ///
    /// `Error::Configuration` for what is wrong with the URL.
    pub fn parse_url(url: &str) -> Result<PgConnectOptions, Error> {
        Ok(parse(url)?)
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
        let Self { settings, kind, credentials, pooler } = self;
        settings.check()?;
        check(&settings, pooler)?;
        let mut manager = PgManager::new(options)
            .with_reset(settings.reset)
            .behind(pooler)
            .with_tcp_options(settings.tcp_options());
        if settings.cancel_abandoned && pooler != Pooler::PgBouncer {
            manager = manager.with_cancel(settings.config.ping_timeout);
        }
        if let Some(credentials) = credentials {
            manager = manager.with_credentials(credentials);
        }
        let pool_handle = manager.pool_handle();
        let pool = match kind {
            PoolKind::Queue => {
                let pool: QueuePool<_> =
                    settings.build(manager, &settings.name, settings.config.clone())?;
                pool_handle.attach(&pool);
                SqlPool::from_queue(pool)
            }
            PoolKind::Null => {
                let pool: NullPool<_> =
                    settings.build(manager, &settings.name, settings.config.clone())?;
                pool_handle.attach(&pool);
                SqlPool::from_null(pool)
            }
            other => return Err(unsupported_pool(other, "PostgreSQL")),
        };
        Ok(if pooler != Pooler::PgBouncer { pool } else { pool.transactions_only(BEGIN) })
    }

    /// What stands between the pool and its server. Default: nothing.
    ///
    /// If a session seems to be lent by a pooler, the first connect looks with a second connection
    /// (under the cap, if there is room) whether the two share a server. If they do, the pool is
    /// refused unless this is
    /// [`Pooler::Unchecked`](crate::Pooler::Unchecked); otherwise it is warned
    /// ([`Event::Warned`](millpond_core::Event::Warned), and the log).
    ///
    /// Behind PgBouncer in transaction mode two statements of one connection may be executed by two
    /// servers, and so may the two halves of a statement with arguments, if that is not in a
    /// transaction. So every statement is put into one, three to four round trips instead of one,
    /// and prepared anew each time. `&pool` and `pool.begin()` work as ever; `acquire()`, hooks,
    /// `reset = session`, migrations, statements that need a session (SET, LISTEN, PREPARE, COMMIT,
    /// locks for a session) and all that are not known are refused; nothing is cancelled at the
    /// server. A stream that is dropped early rolls its statement back. What cannot run in a
    /// transaction (VACUUM) goes through `raw_sql`, alone.
    ///
    /// Whatever else a statement changes in the session of its server (`set_config`, a temporary
    /// table, what a function or a trigger does) is gone when its transaction ends: settings, role,
    /// cursors, LISTEN, advisory locks, temporary tables, sequence state and prepared statements
    /// are cleared in the message that ends it, since others get the server next. That includes
    /// what PgBouncer's `connect_query` has set; settings for all sessions belong into `ALTER ROLE
    /// .. SET` or `ALTER DATABASE .. SET`. What is done with the driver's own connection of a
    /// transaction is not read: do not end the transaction there.
    ///
    /// ```
    /// use millpond_postgres::{PgPoolOptions, Pooler};
    ///
    /// let options = PgPoolOptions::new().behind(Pooler::PgBouncer);
    /// let pool = options.connect_lazy("postgresql://miller@bouncer:6432/ponds")?;
    /// # Ok::<(), sqlx::Error>(())
    /// ```
    pub fn behind(mut self, pooler: Pooler) -> Self {
        self.pooler = pooler;
        self
    }

    /// Where the password comes from, and the user if it changes too: a file, a variable, a
    /// callback. It is asked at every connect, so a rotation needs no restart; see [`Credentials`].
    /// Default: the URL or the options.
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
    /// A query whose future was dropped runs on at the server. Its connection is waited for an
    /// eighth of `ping_timeout`; then `pg_cancel_backend` stops it, over an idle connection of the
    /// pool or a new one in a place under the cap, one at a time. Where none is free the connection
    /// is closed, and its own place serves.
    ///
    /// It costs every connect a round trip: a session can be found again by its process id and the
    /// moment at which it began, which has to be asked for. Without it the first connection alone
    /// asks, whether its server takes writes.
    pub fn cancel_abandoned(mut self, cancel: bool) -> Self {
        self.settings.cancel_abandoned = cancel;
        self
    }
}

pool_settings!(PgPoolOptions, PgConnection);
tcp_settings!(PgPoolOptions);

impl Default for PgPoolOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Refuses what would need a session where there is none.
fn check(settings: &SqlPoolSettings<Postgres>, pooler: Pooler) -> Result<(), Error> {
    let mut problems = Vec::new();
    if settings.reset == ResetLevel::Session {
        problems.push("reset = session: there is no session to be reset; leave it at transaction");
    }
    if settings.has_hooks() {
        problems.push(
            "hooks: what they do to a session would stay with a server that others \
             use; remove them",
        );
    }
    if pooler != Pooler::PgBouncer || problems.is_empty() {
        return Ok(());
    }
    Err(Error::Configuration(
        format!("behind a transaction pooler: {}", problems.join("; ")).into(),
    ))
}

async fn first(pool: PgPool) -> Result<PgPool, Error> {
    drop(pool.pool().acquire().await.map_err(lending_error)?);
    Ok(pool)
}
