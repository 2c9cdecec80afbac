//! Builds a PostgreSQL pool from a URL or sqlx's options.

use crate::backend::POSTGRES;
use crate::manager::PgManager;
use crate::pooler::BEGIN;
use crate::url::parse;
use millpond_core::{PoolKind, Pooler, ResetLevel};
use millpond_sqlx::backend_api::{SqlPoolSettings, build_server_pool, check_connects};
use millpond_sqlx::{Credentials, SqlPool, pool_settings, sqlx_names, tcp_settings};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Error, PgConnection, Postgres};

/// A pool of PostgreSQL connections: a drop-in for `sqlx::PgPool`.
pub type PgPool = SqlPool<Postgres>;

/// The options of a PostgreSQL pool: kind, settings, hooks.
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
    /// Creates options with the default settings and [`PoolKind::Queue`].
    pub fn new() -> Self {
        Self {
            settings: SqlPoolSettings::new("postgres"),
            kind: PoolKind::Queue,
            credentials: None,
            pooler: Pooler::default(),
        }
    }

    /// Sets how connections are pooled: [`PoolKind::Queue`] or [`PoolKind::Null`].
    pub fn pool(mut self, kind: PoolKind) -> Self {
        self.kind = kind;
        self
    }

    /// Builds a pool from a URL, and opens a first connection to check that it works.
    ///
    /// `postgres://user:password@host:port/database?parameter=value`, also with `postgresql` and
    /// with the drivers of SQLAlchemy (`postgresql+asyncpg`, `+psycopg`, `+psycopg2`, `+pg8000`).
    /// Missing parts come from the `PG..` variables and the password file, as in sqlx. In user and
    /// password write `/`, `?`, `#`, `:` and `%` as `%2F`, `%3F`, `%23`, `%3A` and `%25`; every
    /// other character may be written as it is.
    ///
    /// | parameter | |
    /// |---|---|
    /// | `sslmode` | `disable`, `allow`, `prefer` (sqlx's default), `require`, `verify-ca`, `verify-full`; `allow` never uses TLS |
    /// | `sslrootcert`, `ssl_ca` | the file of the certificate authority; needs `sslmode`; with `require` it means `verify-ca`, as with libpq |
    /// | `sslcert`, `sslkey` | the client certificate and its key, both or neither |
    /// | `host`, `port`, `user`, `password`, `dbname` | instead of those in front of the `?`; a host that begins with `/` is a socket's directory |
    /// | `application_name`, `options`, `options[name]` | settings of the session |
    /// | `statement_cache_capacity` | the number of prepared statements that a connection caches; 0 counts as 1 |
    ///
    /// Names may be written with `-` or `_`. Every other parameter is an error, and so are
    /// contradictions; `channel_binding=prefer`, `target_session_attrs=any`, `pgbouncer=false` and
    /// `gssencmode=disable` are accepted, since the driver does so anyway.
    ///
    /// The driver trusts the system's authorities besides the one of `sslrootcert`. With
    /// `verify-ca` it does not compare the host name, so anybody whose certificate one of them has
    /// signed can pass for the server: use `verify-full`.
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
    /// use millpond_postgres::PgPoolOptions;
    ///
    /// let url = "postgresql+asyncpg://miller@localhost/ponds";
    /// let pool = PgPoolOptions::new().connect(url).await?;
    /// let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&pool).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(self, url: &str) -> Result<PgPool, Error> {
        check_connects(self.connect_lazy(url)?).await
    }

    /// Parses a URL as [`connect`](Self::connect) does, for [`connect_with`](Self::connect_with).
    ///
    /// # Errors
    ///
    /// `Error::Configuration` for an invalid URL.
    pub fn parse_url(url: &str) -> Result<PgConnectOptions, Error> {
        Ok(parse(url)?)
    }

    /// Builds a pool from sqlx's options. The first connection is opened by the first acquire.
    ///
    /// With `statement_cache_capacity(0)` sqlx keeps every statement that it prepares at the
    /// server, for as long as the connection lives: set 1 or more. Behind [`Pooler::PgBouncer`] the
    /// pool takes care of this.
    ///
    /// # Errors
    ///
    /// `Error::Configuration` for an invalid setting.
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
        let pool = build_server_pool(&settings, kind, manager, &pool_handle, "PostgreSQL")?;
        let (connections, timeouts) = (settings.sqlx_connections, settings.sqlx_timeouts);
        let pool = pool.with_sqlx_settings(&POSTGRES, connections, timeouts)?;
        Ok(if pooler != Pooler::PgBouncer { pool } else { pool.transactions_only(BEGIN) })
    }

    /// Sets the pooler between the pool and its server. Default: none.
    ///
    /// If a session may be pooled, the first connect opens a second connection, in a free slot, to
    /// check whether the two share a server process, or that of one changes. If so, connecting
    /// fails unless this is [`Pooler::Unchecked`](crate::Pooler::Unchecked); otherwise a warning is
    /// emitted ([`Event::Warned`](millpond_core::Event::Warned), and the log).
    ///
    /// A pooler that lends a server for each statement (`pool_mode = statement`) refuses
    /// transactions, so it is refused at the first connect.
    ///
    /// Behind PgBouncer in transaction mode, two statements of one connection may be executed by
    /// two servers, and so may the two messages of a statement with arguments, if it is not in a
    /// transaction. So every statement is wrapped in one, with three to four round trips instead of
    /// one, and prepared again each time. `&pool` and `pool.begin()` work as usual; `acquire()`,
    /// hooks, `reset = session`, migrations, statements that need a session (SET, LISTEN, PREPARE,
    /// COMMIT, session locks) and unknown ones are refused; nothing is cancelled at the server. A
    /// stream that is dropped early rolls its statement back. Statements that cannot run in a
    /// transaction (VACUUM) must be executed alone, with `raw_sql`.
    ///
    /// Other changes to the server's session (`set_config`, a temporary table, effects of functions
    /// and triggers) are reset when the transaction ends: settings, role, cursors, LISTEN, advisory
    /// locks, temporary tables, sequence state and prepared statements are cleared in the message
    /// that ends it, since another client gets the server next. That includes what PgBouncer's
    /// `connect_query` has set; use `ALTER ROLE .. SET` or `ALTER DATABASE .. SET` for settings of
    /// all sessions. Statements on a transaction's driver connection are not checked: do not end
    /// the transaction there.
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

    /// Sets where the password comes from, and the user if it changes too: a file, a variable, a
    /// callback. They are read at every connect, so a rotation needs no restart; see
    /// [`Credentials`]. Default: the URL or the options.
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

    /// Sets whether abandoned statements are cancelled at the server. Default: true.
    ///
    /// The server continues a query whose future was dropped. The pool waits for an eighth of
    /// `ping_timeout`; then `pg_cancel_backend` cancels the query, over an idle connection of the
    /// pool or a new one in a free slot, one at a time. If none is free, the connection is closed
    /// and its own slot is used.
    ///
    /// It costs one round trip per connect: a session is identified by its process id and start
    /// time, which must be queried. Without it only the first connection queries whether its server
    /// accepts writes.
    pub fn cancel_abandoned(mut self, cancel: bool) -> Self {
        self.settings.cancel_abandoned = cancel;
        self
    }
}

pool_settings!(PgPoolOptions, PgConnection);
sqlx_names!(PgPoolOptions, PgConnection);
tcp_settings!(PgPoolOptions);

impl Default for PgPoolOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Refuses settings that need a session, behind a transaction pooler.
fn check(settings: &SqlPoolSettings<Postgres>, pooler: Pooler) -> Result<(), Error> {
    let mut problems = Vec::new();
    if settings.reset == ResetLevel::Session {
        problems.push("reset = session: there is no session to reset; use transaction");
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
