//! `DatabaseConnection`: a pool whose URL selects the database at run time.

use crate::backends::{TypedPool, each};
use crate::dialect::Dialect;
use crate::error::ConnectError;
use crate::lease::DatabaseLease;
use crate::migrate::migrate;
use crate::transaction::DatabaseTransaction;
use futures_core::future::BoxFuture;
use futures_util::FutureExt;
use millpond_config::{Explanation, Loader, Settings};
use sqlx::Error;
use sqlx::migrate::{MigrateError, Migrator};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A pool of connections to the database that a URL names.
///
/// `&db` is an `Executor` in sqlx's `Any` types, so sqlx's queries, streams, `FromRow` and
/// `QueryBuilder` work on it, and a program that uses nothing else runs on any backend. Cloning is
/// cheap, and all clones are the same pool.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use millpond::DatabaseConnection;
///
/// let db = DatabaseConnection::connect("sqlite::memory:").await?;
/// let create = sqlx::query("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL)");
/// create.execute(&db).await?;
/// sqlx::query("INSERT INTO users (name) VALUES ($1)").bind("Ada").execute(&db).await?;
/// let (name,): (String,) = sqlx::query_as("SELECT name FROM users").fetch_one(&db).await?;
/// assert_eq!(name, "Ada");
/// # Ok::<(), sqlx::Error>(())
/// # }).unwrap();
/// ```
///
/// # Supported types
///
/// Placeholders are written as `$1` for every database. Values are converted to and from sqlx's
/// `Any` types: `bool`, `i16`, `i32`, `i64`, `f32`, `f64`, `String`, `Vec<u8>`, and `Option`s of
/// them. A value that does not fit the requested type is an error that names the column; it is
/// never silently changed.
///
/// - **SQLite**: a value has the type in which it is stored, whatever its column was declared as; 0
///   and 1 from a BOOLEAN column are `bool`, and dates are the stored text.
///   [`last_insert_id`](sqlx::any::AnyQueryResult::last_insert_id) of the result is the key of an
///   inserted row, unless its table is `WITHOUT ROWID`: SQLite repeats an earlier key there.
/// - **PostgreSQL**: numbers, booleans and `bytea` keep their type. Text, `numeric`, `uuid`,
///   `json`, `jsonb`, dates, times, `interval`, enums, bits and addresses arrive as the text that
///   the server writes (`2024-02-29 12:34:56.5+00`, `10.250`). Arrays, ranges, composite and
///   geometric types and `money` are an error that names the column and suggests `column::text`. An
///   argument has the type it was bound with, so a text that is meant as a date is written
///   `$1::date`. To get the key of an inserted row, use `RETURNING`, which SQLite supports as well.
/// - **MySQL, MariaDB**: numbers keep their type, unsigned ones take a type that holds them; a
///   `BIGINT UNSIGNED` that does not fit into `i64` is an error that names the column. 0 and 1 from
///   a BOOLEAN column are `bool`; `DECIMAL`, `JSON`, `ENUM`, `SET`, dates and times are text, the
///   latter without trailing zeros in the decimals. `last_insert_id` is the key of the first
///   inserted row.
///
/// `rows_affected` counts changed rows, so it is 0 for a statement that only reads. In a text of
/// several statements, each has its own count.
///
/// For features of one database, use its typed pool: `as_mysql`, `as_postgres`, `as_sqlite`.
///
/// # Limitations
///
/// A `DatabaseConnection` does not implement sqlx's `Acquire`, whose connections must be sqlx's
/// own. A function that executes several statements takes `&mut dyn`
/// [`AnyConnection`](crate::AnyConnection), which both a lease and a transaction dereference to.
/// `Migrator::run` does not accept it either: call [`migrate`](Self::migrate).
#[derive(Clone)]
pub struct DatabaseConnection {
    pub(crate) pool: TypedPool,
    pub(crate) settings: Arc<Settings>,
}

/// Connecting.
impl DatabaseConnection {
    /// Connects to the database at `url` with the default settings, and opens the first connection.
    ///
    /// Reads neither a file nor the environment.
    ///
    /// # Errors
    ///
    /// A [`ConnectError`], also for a database whose feature is off.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, no connection stays open.
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        Self::builder(url).connect().await
    }

    /// Connects to the database that the environment names (`PSN_STORAGE_CONNECTION_STRING`,
    /// `PSN_DB_POOL_SIZE`, ..). Settings that it does not set come from `./millpond.toml`, if that
    /// file exists.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), with all problems of the settings.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, no connection stays open.
    pub async fn from_env() -> Result<Self, ConnectError> {
        Self::load(Loader::new()).connect().await
    }

    /// Connects to the database that this file names. The environment overrides the file.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env); the file must exist.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, no connection stays open.
    pub async fn from_file(path: impl Into<PathBuf> + Send) -> Result<Self, ConnectError> {
        Self::load(Loader::new().file(path)).connect().await
    }
}

/// Borrowing connections.
impl DatabaseConnection {
    /// Acquires a connection within `pool_timeout`. The caller's location is shown as the holder,
    /// and a timeout error lists the oldest holders.
    ///
    /// On a pool of one writer and many readers, acquires the writer; for a reader use
    /// [`reader`](Self::reader).
    ///
    /// # Errors
    ///
    /// See [`pool_error`](crate::pool_error), which extracts the pool's own error.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no slot, no connection and no wake-up.
    #[track_caller]
    pub fn acquire(&self) -> BoxFuture<'static, Result<DatabaseLease, Error>> {
        each!(TypedPool, &self.pool, pool => {
            let lease = pool.acquire();
            async move { Ok(DatabaseLease(lease.await?.into())) }.boxed()
        })
    }

    /// Acquires a connection within `limit`.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// # Cancel safety
    ///
    /// As [`acquire`](Self::acquire).
    #[track_caller]
    pub fn acquire_within(
        &self,
        limit: Duration,
    ) -> BoxFuture<'static, Result<DatabaseLease, Error>> {
        each!(TypedPool, &self.pool, pool => {
            let lease = pool.acquire_within(limit);
            async move { Ok(DatabaseLease(lease.await?.into())) }.boxed()
        })
    }

    /// Acquires a connection if one is ready now; never waits.
    #[track_caller]
    pub fn try_acquire(&self) -> Option<DatabaseLease> {
        each!(TypedPool, &self.pool, pool => Some(DatabaseLease(pool.try_acquire()?.into())))
    }

    /// Begins a transaction that owns its connection; on a pool of one writer and many readers, on
    /// the writer.
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Self::acquire), and the driver's.
    ///
    /// # Cancel safety
    /// If the future is dropped, no transaction stays open: the connection is rolled back before it
    /// is lent again.
    #[track_caller]
    pub fn begin(&self) -> BoxFuture<'static, Result<DatabaseTransaction<'static>, Error>> {
        each!(TypedPool, &self.pool, pool => {
            let transaction = pool.begin();
            async move { Ok(DatabaseTransaction(transaction.await?.into())) }.boxed()
        })
    }

    /// Applies the migrations that are still missing, on the writer if there is one. SQL differs
    /// between databases, so a program for several of them needs a directory of migrations for
    /// each.
    ///
    /// # Errors
    ///
    /// The migrator's.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, completed migrations stay applied, and no session lock remains:
    /// the connection is closed, as it is after an error.
    pub async fn migrate(&self, migrator: &Migrator) -> Result<(), MigrateError> {
        each!(TypedPool, &self.pool, pool => migrate(pool, migrator).await)
    }
}

/// Properties of the pool, and other handles to it.
impl DatabaseConnection {
    /// Returns the kind of database.
    pub fn dialect(&self) -> Dialect {
        self.pool.dialect()
    }

    /// Returns the settings of the pool; the defaults if it was created from a typed pool.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns each setting's configured value and its source. An in-memory database has one
    /// connection whatever `db.pool_size` is here; [`status`](Self::status) shows the actual sizes.
    /// The result contains no secrets, and is empty for a connection that was created from a typed
    /// pool.
    pub fn explain(&self) -> &Explanation {
        self.settings.explain()
    }

    /// Returns a handle to the readers of a pool of one writer and many readers; for every other
    /// pool, a handle to the pool itself.
    #[must_use]
    pub fn reader(&self) -> Self {
        let pool = each!(TypedPool, &self.pool, pool => pool.reader().into());
        Self { pool, settings: Arc::clone(&self.settings) }
    }

    /// Returns a handle to the same pool with another time limit for every statement; `None` for no
    /// limit. The default is the setting `db.statement_timeout`.
    ///
    /// A statement that exceeds the limit ends with an error that names it and its location, and is
    /// cancelled at the server.
    #[must_use]
    pub fn statement_timeout(&self, limit: impl Into<Option<Duration>>) -> Self {
        let limit = limit.into();
        let pool = each!(TypedPool, &self.pool, pool => pool.statement_timeout(limit).into());
        Self { pool, settings: Arc::clone(&self.settings) }
    }

    /// Returns the typed pool if the database is MySQL or MariaDB.
    #[cfg(feature = "mysql")]
    pub fn as_mysql(&self) -> Option<&millpond_mysql::MySqlPool> {
        self.pool.as_pool_of()
    }

    /// Returns the typed pool if the database is PostgreSQL.
    #[cfg(feature = "postgres")]
    pub fn as_postgres(&self) -> Option<&millpond_postgres::PgPool> {
        self.pool.as_pool_of()
    }

    /// Returns the typed pool if the database is SQLite.
    #[cfg(feature = "sqlite")]
    pub fn as_sqlite(&self) -> Option<&millpond_sqlite::SqlitePool> {
        self.pool.as_pool_of()
    }
}

impl fmt::Debug for DatabaseConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DatabaseConnection").field(&self.pool).finish()
    }
}

/// Wraps a typed pool, which may be a [custom](millpond_sqlx::SqlPool) one.
#[cfg(feature = "mysql")]
impl From<millpond_mysql::MySqlPool> for DatabaseConnection {
    fn from(pool: millpond_mysql::MySqlPool) -> Self {
        Self { pool: pool.into(), settings: Arc::default() }
    }
}

/// Wraps a typed pool, which may be a [custom](millpond_sqlx::SqlPool) one.
#[cfg(feature = "postgres")]
impl From<millpond_postgres::PgPool> for DatabaseConnection {
    fn from(pool: millpond_postgres::PgPool) -> Self {
        Self { pool: pool.into(), settings: Arc::default() }
    }
}

/// Wraps a typed pool, which may be a [custom](millpond_sqlx::SqlPool) one.
#[cfg(feature = "sqlite")]
impl From<millpond_sqlite::SqlitePool> for DatabaseConnection {
    fn from(pool: millpond_sqlite::SqlitePool) -> Self {
        Self { pool: pool.into(), settings: Arc::default() }
    }
}
