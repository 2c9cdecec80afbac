//! Builds a [`DatabaseConnection`] from settings, hooks and observers.

use crate::any_connection::AnyConnection;
use crate::any_conversion::AnyConversion;
use crate::backends::TypedPool;
use crate::connection::DatabaseConnection;
use crate::error::ConnectError;
use crate::hooks::AnyHook;
use crate::target::{Target, target};
use millpond_config::{Loader, Settings, Value};
use millpond_core::{
    ConnectionInfo, Handle, HookFuture, HookPoint, Observer, PoolKind, ResetLevel,
};
use millpond_sqlx::backend_api::SqlPoolSettings;
use sqlx::Executor;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "metrics")]
use millpond_metrics::PoolMetrics;
#[cfg(feature = "mysql")]
use millpond_mysql::MySqlPoolOptions;
#[cfg(feature = "postgres")]
use millpond_postgres::PgPoolOptions;
#[cfg(feature = "sqlite")]
use millpond_sqlite::{PragmaHook, SqlitePoolOptions};

/// Builds a [`DatabaseConnection`].
///
/// Values set here form the settings' layer "code": they override all other layers, are validated
/// together with them, and appear in [`explain`](DatabaseConnection::explain).
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use millpond::{DatabaseConnection, PragmaHook};
///
/// let db = DatabaseConnection::builder("sqlite::memory:")
///     .name("orders")
///     .pool_size(5)
///     .set("db.leak_after", "10s")
///     .pragma(PragmaHook::new().foreign_keys(true))
///     .on_sqlite_connect(|conn, _info| Box::pin(async move {
///         sqlx::query("CREATE TEMP TABLE scratch (n INTEGER)").execute(conn).await?;
///         Ok(())
///     }))
///     .connect()
///     .await?;
/// assert_eq!(db.explain().row("db.pool_size").unwrap().source, "code");
/// # Ok::<(), millpond::ConnectError>(())
/// # }).unwrap();
/// ```
#[must_use = "call connect() or connect_lazy()"]
pub struct DatabaseBuilder {
    loader: Loader,
    common: Common,
    #[cfg(feature = "metrics")]
    metrics: Vec<PoolMetrics>,
    #[cfg(feature = "mysql")]
    mysql: Vec<Step<MySqlPoolOptions>>,
    #[cfg(feature = "postgres")]
    postgres: Vec<Step<PgPoolOptions>>,
    /// True if a hook for PostgreSQL was added. Hooks that a step adds are known only after it ran.
    postgres_hook: bool,
    #[cfg(feature = "sqlite")]
    sqlite: Vec<Step<SqlitePoolOptions>>,
}

/// A change to typed options before the pool is built.
type Step<Options> = Box<dyn FnOnce(Options) -> Options + Send>;

/// Setters for the most common settings; [`set`](DatabaseBuilder::set) sets any other.
///
/// An in-memory database always has one connection, whatever sizes are set;
/// [`explain`](DatabaseConnection::explain) shows the sizes as they were set,
/// [`status`](DatabaseConnection::status) the actual ones.
impl DatabaseConnection {
    /// Starts a builder with a URL and the default settings. Reads neither a file nor the
    /// environment.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use millpond::DatabaseConnection;
    /// use std::time::Duration;
    ///
    /// let db = DatabaseConnection::builder("sqlite::memory:")
    ///     .pool_size(20)
    ///     .max_overflow(40)
    ///     .pool_timeout(Duration::from_secs(60))
    ///     .connect()
    ///     .await?;
    /// # Ok::<(), millpond::ConnectError>(())
    /// # }).unwrap();
    /// ```
    pub fn builder(url: &str) -> DatabaseBuilder {
        Self::load(Loader::new().no_file().no_environment()).set("storage.connection_string", url)
    }

    /// Starts a builder whose settings come from this loader: from a file, the environment and
    /// code.
    pub fn load(loader: Loader) -> DatabaseBuilder {
        DatabaseBuilder::new(loader)
    }
}

impl DatabaseBuilder {
    /// Sets how many connections the pool keeps.
    pub fn pool_size(self, connections: u32) -> Self {
        self.set("db.pool_size", connections)
    }

    /// Sets how many connections beyond `pool_size` may be open at the same time.
    pub fn max_overflow(self, connections: u32) -> Self {
        self.set("db.max_overflow", connections)
    }

    /// Sets how long an acquire may take.
    pub fn pool_timeout(self, limit: Duration) -> Self {
        self.set("db.pool_timeout", limit)
    }

    /// Sets the age at which a connection is replaced; `None` means never.
    pub fn pool_recycle(self, age: impl Into<Option<Duration>>) -> Self {
        self.set("db.pool_recycle", age.into())
    }

    /// Sets whether a connection that was idle for a while is pinged before it is lent.
    pub fn pool_pre_ping(self, ping: bool) -> Self {
        self.set("db.pool_pre_ping", ping)
    }

    /// Sets which pool lends the connections. Default: the one that suits the database.
    pub fn pool(self, kind: PoolKind) -> Self {
        self.set("db.pool", kind)
    }

    /// Sets how a connection is reset between two borrowers.
    pub fn reset(self, level: ResetLevel) -> Self {
        self.set("db.reset", level)
    }

    /// Sets any setting, by its section and name such as `db.leak_after`.
    pub fn set(mut self, setting: &str, value: impl Into<Value>) -> Self {
        self.loader = self.loader.set(setting, value);
        self
    }
}

/// Name, runtime, observers and hooks.
impl DatabaseBuilder {
    /// Sets the name of the pool in events, logs and metrics. Default `database`.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.common.name = name.into();
        self
    }

    /// Sets the runtime on which the pool connects and runs its maintenance task. Default: the
    /// runtime of the first acquire.
    pub fn runtime(mut self, handle: Handle) -> Self {
        self.common.runtime = Some(handle);
        self
    }

    /// Adds an observer. Several are called in the order in which they were added.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.common.observers.push(Arc::new(observer));
        self
    }

    /// Reports the pool's metrics to the recorder of the `metrics` facade; one [`PoolMetrics`]
    /// serves any number of pools.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use millpond::{DatabaseConnection, PoolMetrics};
    ///
    /// let metrics = PoolMetrics::new();
    /// let builder = DatabaseConnection::builder("sqlite::memory:").name("orders");
    /// let db = builder.metrics(&metrics).connect().await?;
    /// # Ok::<(), millpond::ConnectError>(())
    /// # }).unwrap();
    /// ```
    #[cfg(feature = "metrics")]
    pub fn metrics(mut self, metrics: &PoolMetrics) -> Self {
        self.metrics.push(metrics.clone());
        self.observer(metrics.clone())
    }

    /// Changes the typed options if the database is MySQL or MariaDB, for example to add hooks.
    /// Called when the pool is built, after the settings were applied.
    #[cfg(feature = "mysql")]
    pub fn mysql(
        mut self,
        step: impl FnOnce(MySqlPoolOptions) -> MySqlPoolOptions + Send + 'static,
    ) -> Self {
        self.mysql.push(Box::new(step));
        self
    }

    /// Adds a hook for every new connection, with the driver's own type, if the database is MySQL
    /// or MariaDB. The hook runs before the connection is lent. An error refuses the connection; a
    /// permanent error, such as `sqlx::Error::Configuration`, fails all waiters at once.
    #[cfg(feature = "mysql")]
    pub fn on_mysql_connect<F>(self, hook: F) -> Self
    where
        F: for<'a> Fn(&'a mut sqlx::MySqlConnection, &'a ConnectionInfo) -> HookFuture<'a>
            + Send
            + Sync
            + 'static,
    {
        self.mysql(|options| options.on_connect(hook))
    }

    /// Changes the typed options if the database is PostgreSQL, for example to add hooks. Called
    /// when the pool is built, after the settings were applied.
    #[cfg(feature = "postgres")]
    pub fn postgres(
        mut self,
        step: impl FnOnce(PgPoolOptions) -> PgPoolOptions + Send + 'static,
    ) -> Self {
        self.postgres.push(Box::new(step));
        self
    }

    /// Adds a hook for every new connection, with the driver's own type, if the database is
    /// PostgreSQL. The hook runs before the connection is lent. An error refuses the connection; a
    /// permanent error, such as `sqlx::Error::Configuration`, fails all waiters at once.
    #[cfg(feature = "postgres")]
    pub fn on_postgres_connect<F>(mut self, hook: F) -> Self
    where
        F: for<'a> Fn(&'a mut sqlx::PgConnection, &'a ConnectionInfo) -> HookFuture<'a>
            + Send
            + Sync
            + 'static,
    {
        self.postgres_hook = true;
        self.postgres(|options| options.on_connect(hook))
    }

    /// Changes the typed options if the database is SQLite.
    #[cfg(feature = "sqlite")]
    pub fn sqlite(
        mut self,
        step: impl FnOnce(SqlitePoolOptions) -> SqlitePoolOptions + Send + 'static,
    ) -> Self {
        self.sqlite.push(Box::new(step));
        self
    }

    /// Adds a hook for every new connection, with the driver's own type, if the database is SQLite.
    /// The hook runs before the connection is lent; an error refuses the connection.
    ///
    /// An error that is not sqlx's, and a temporary one such as a held lock, may be transient, so
    /// another connection is opened, until `pool_timeout`. To refuse permanently, return a
    /// permanent sqlx error such as `sqlx::Error::Configuration`: while the pool has no other
    /// connection, it fails all waiters at once. An error in the hook's own SQL is permanent too.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// use millpond::DatabaseConnection;
    ///
    /// let builder = DatabaseConnection::builder("sqlite::memory:");
    /// let db = builder.on_sqlite_connect(|conn, _info| Box::pin(async move {
    ///     let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(conn).await?;
    ///     match version {
    ///         7.. => Ok(()),
    ///         _ => Err(sqlx::Error::Configuration("the database was not migrated".into()).into()),
    ///     }
    /// }));
    /// let error = db.connect().await.unwrap_err();
    /// assert!(error.to_string().contains("the database was not migrated"));
    /// # });
    /// ```
    #[cfg(feature = "sqlite")]
    pub fn on_sqlite_connect<F>(self, hook: F) -> Self
    where
        F: for<'a> Fn(&'a mut sqlx::SqliteConnection, &'a ConnectionInfo) -> HookFuture<'a>
            + Send
            + Sync
            + 'static,
    {
        self.sqlite(|options| options.on_connect(hook))
    }

    /// Sets pragmas on every new connection if the database is SQLite.
    #[cfg(feature = "sqlite")]
    pub fn pragma(self, pragmas: PragmaHook) -> Self {
        self.sqlite(|options| options.pragma(pragmas))
    }
}

/// Hooks for every database. They get the connection as an [`AnyConnection`], whose `dialect()`
/// returns the kind of database and which executes queries in sqlx's `Any` types. They run before
/// the hooks for one database, such as `on_sqlite_connect`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use millpond::{Dialect, DatabaseConnection};
///
/// let db = DatabaseConnection::builder("sqlite::memory:")
///     .on_connect(|conn, _info| Box::pin(async move {
///         if conn.dialect() == Dialect::Sqlite {
///             sqlx::query("PRAGMA foreign_keys = ON").execute(conn).await?;
///         }
///         Ok(())
///     }))
///     .connect()
///     .await?;
/// # Ok::<(), millpond::ConnectError>(())
/// # }).unwrap();
/// ```
impl DatabaseBuilder {
    /// Adds a hook for the pool's very first connection: see
    /// [`Hooks::on_first_connect`](millpond_core::Hooks::on_first_connect).
    pub fn on_first_connect<F>(self, hook: F) -> Self
    where
        F: for<'a> Fn(&'a mut (dyn AnyConnection + 'static), &'a ConnectionInfo) -> HookFuture<'a>
            + Send
            + Sync
            + 'static,
    {
        self.hook(HookPoint::FirstConnect, hook)
    }

    /// Adds a hook for every new connection: see
    /// [`Hooks::on_connect`](millpond_core::Hooks::on_connect).
    pub fn on_connect<F>(self, hook: F) -> Self
    where
        F: for<'a> Fn(&'a mut (dyn AnyConnection + 'static), &'a ConnectionInfo) -> HookFuture<'a>
            + Send
            + Sync
            + 'static,
    {
        self.hook(HookPoint::Connect, hook)
    }

    /// Adds a hook that runs before every checkout: see
    /// [`Hooks::on_checkout`](millpond_core::Hooks::on_checkout). A hook that leaves a transaction
    /// open fails the checkout.
    pub fn on_checkout<F>(self, hook: F) -> Self
    where
        F: for<'a> Fn(&'a mut (dyn AnyConnection + 'static), &'a ConnectionInfo) -> HookFuture<'a>
            + Send
            + Sync
            + 'static,
    {
        self.hook(HookPoint::Checkout, hook)
    }

    /// Adds a hook that runs after every return: see
    /// [`Hooks::on_checkin`](millpond_core::Hooks::on_checkin).
    pub fn on_checkin<F>(self, hook: F) -> Self
    where
        F: for<'a> Fn(&'a mut (dyn AnyConnection + 'static), &'a ConnectionInfo) -> HookFuture<'a>
            + Send
            + Sync
            + 'static,
    {
        self.hook(HookPoint::Checkin, hook)
    }

    /// Adds a hook that runs before every close: see
    /// [`Hooks::on_close`](millpond_core::Hooks::on_close).
    pub fn on_close<F>(self, hook: F) -> Self
    where
        F: for<'a> Fn(&'a mut (dyn AnyConnection + 'static), &'a ConnectionInfo) -> HookFuture<'a>
            + Send
            + Sync
            + 'static,
    {
        self.hook(HookPoint::Close, hook)
    }

    fn hook<F>(mut self, point: HookPoint, hook: F) -> Self
    where
        F: for<'a> Fn(&'a mut (dyn AnyConnection + 'static), &'a ConnectionInfo) -> HookFuture<'a>
            + Send
            + Sync
            + 'static,
    {
        self.common.hooks.push(AnyHook { point, hook: Arc::new(hook) });
        self
    }
}

impl DatabaseBuilder {
    pub(crate) fn new(loader: Loader) -> Self {
        Self {
            loader,
            common: Common {
                name: Arc::from("database"),
                runtime: None,
                observers: Vec::new(),
                hooks: Vec::new(),
            },
            #[cfg(feature = "metrics")]
            metrics: Vec::new(),
            #[cfg(feature = "mysql")]
            mysql: Vec::new(),
            #[cfg(feature = "postgres")]
            postgres: Vec::new(),
            postgres_hook: false,
            #[cfg(feature = "sqlite")]
            sqlite: Vec::new(),
        }
    }

    /// Builds the pool and opens its first connection, so that a wrong URL fails here.
    ///
    /// # Errors
    ///
    /// A [`ConnectError`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, no connection stays open.
    pub async fn connect(self) -> Result<DatabaseConnection, ConnectError> {
        let database = self.connect_lazy()?;
        database.pool.open_first().await?;
        Ok(database)
    }

    /// Builds the pool without opening a connection.
    ///
    /// # Errors
    ///
    /// A [`ConnectError`] with all problems of the settings and the URL.
    pub fn connect_lazy(self) -> Result<DatabaseConnection, ConnectError> {
        let has_postgres_hooks = self.postgres_hook || !self.common.hooks.is_empty();
        let (settings, target) =
            self.loader.load_with(|settings| target(settings, has_postgres_hooks))?;
        let Some(target) = target else { return Err(ConnectError::NoUrl) };
        let kind = settings.db.kind;
        let pool: TypedPool = match target {
            #[cfg(feature = "mysql")]
            Target::MySql(url) => {
                let options = MySqlPoolOptions::new();
                let mut options = kind.into_iter().fold(options, MySqlPoolOptions::pool);
                self.common.fill::<sqlx::MySql>(options.settings_mut(), &settings);
                with(self.mysql, options).connect_lazy_with(url)?.into()
            }
            #[cfg(feature = "postgres")]
            Target::Postgres(url) => {
                let options = PgPoolOptions::new().behind(settings.db.behind);
                let mut options = kind.into_iter().fold(options, PgPoolOptions::pool);
                self.common.fill::<sqlx::Postgres>(options.settings_mut(), &settings);
                with(self.postgres, options).connect_lazy_with(url)?.into()
            }
            #[cfg(feature = "sqlite")]
            Target::Sqlite(url) => {
                let options = SqlitePoolOptions::new();
                let mut options = kind.into_iter().fold(options, SqlitePoolOptions::pool);
                self.common.fill::<sqlx::Sqlite>(options.settings_mut(), &settings);
                with(self.sqlite, options).connect_lazy_with(url)?.into()
            }
        };
        #[cfg(feature = "metrics")]
        self.metrics.iter().for_each(|metrics| pool.register_gauges(metrics));
        Ok(DatabaseConnection { pool, settings: Arc::new(settings) })
    }
}

/// Applies the steps to the options.
fn with<Options>(steps: Vec<Step<Options>>, options: Options) -> Options {
    steps.into_iter().fold(options, |options, step| step(options))
}

/// Options that all backends have in common.
struct Common {
    name: Arc<str>,
    runtime: Option<Handle>,
    observers: Vec<Arc<dyn Observer>>,
    hooks: Vec<AnyHook>,
}

impl Common {
    fn fill<DB: AnyConversion>(self, to: &mut SqlPoolSettings<DB>, settings: &Settings)
    where
        for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    {
        to.name = self.name;
        to.config = settings.db.pool.clone();
        to.reset = settings.db.reset;
        to.cancel_abandoned = settings.db.cancel_abandoned;
        to.tcp_keepalive = settings.db.tcp_keepalive;
        to.tcp_user_timeout = settings.db.tcp_user_timeout;
        to.runtime = self.runtime;
        self.observers.into_iter().for_each(|observer| to.add_observer(observer));
        self.hooks.into_iter().for_each(|hook| hook.add_to::<DB>(to));
    }
}

/// Omits the settings, which may contain a password.
impl fmt::Debug for DatabaseBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseBuilder").field("name", &self.common.name).finish_non_exhaustive()
    }
}
