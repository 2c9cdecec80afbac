//! `DatabaseConnection`: a pool whose database its URL chooses, at run time.

use crate::backend::Backend;
use crate::backends::{TypedPool, each};
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

/// A pool of connections to the database that its URL names.
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
/// # What crosses
///
/// `$1` is how a placeholder is written for every database. Values cross as sqlx's `Any` types:
/// `bool`, `i16`, `i32`, `i64`, `f32`, `f64`, `String`, `Vec<u8>`, and `Option`s of them. What does
/// not fit the type that is asked for is an error that names the column, never another value.
///
/// - **SQLite**: a value arrives as it is stored, whatever its column was declared to hold, and 0
///   and 1 from a BOOLEAN column as `bool`; dates are the text that was stored. The key of a row
///   that was added is [`last_insert_id`](sqlx::any::AnyQueryResult::last_insert_id) of the result.
/// - **PostgreSQL**: numbers, booleans and `bytea` arrive as what they are. Text, `numeric`,
///   `uuid`, `json`, `jsonb`, dates, times, `interval`, enums, bits and addresses arrive as the
///   text that the server writes (`2024-02-29 12:34:56.5+00`, `10.250`). Arrays, ranges, composite
///   and geometric types and `money` are an error that names the column and says to write
///   `column::text`. An argument has the type it was bound with, so a text that shall become a date
///   is written `$1::date`. The key of an added row is asked for with `RETURNING`, which SQLite
///   understands as well.
/// - **MySQL, MariaDB**: numbers arrive as what they are, unsigned ones in a type that holds them;
///   a `BIGINT UNSIGNED` that does not fit into `i64` is an error that names the column. 0 and 1
///   from a BOOLEAN column arrive as `bool`; `DECIMAL`, `JSON`, `ENUM`, `SET`, dates and times as
///   text, the latter without decimals that are zero. The key of the first row that was added is
///   `last_insert_id`.
///
/// `rows_affected` counts rows changed, so it is 0 for a statement that only reads.
///
/// For what a database has of its own there are the typed pools: `as_mysql`, `as_postgres`,
/// `as_sqlite`.
///
/// # What it is not
///
/// It is not sqlx's `Acquire`, whose connections have to be sqlx's own. A function that executes
/// several statements takes `&mut dyn` [`AnyConnection`](crate::AnyConnection), which a lease and a
/// transaction both give. Nor is it what `Migrator::run` takes: call [`migrate`](Self::migrate).
#[derive(Clone)]
pub struct DatabaseConnection {
    pub(crate) pool: TypedPool,
    pub(crate) settings: Arc<Settings>,
}

/// Opening one.
impl DatabaseConnection {
    /// Connects to the database at `url` with the default settings, and opens the first connection.
    ///
    /// Neither a file nor the environment is read.
    ///
    /// # Errors
    ///
    /// A [`ConnectError`]; for a database that this build cannot speak to it says so.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped nothing stays open.
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        Self::builder(url).connect().await
    }

    /// Connects to the database that the environment names (`PSN_STORAGE_CONNECTION_STRING`,
    /// `PSN_DB_POOL_SIZE`, ..). What it does not name comes from `./millpond.toml`, if that is
    /// there.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect); all that is wrong with the settings at once.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped nothing stays open.
    pub async fn from_env() -> Result<Self, ConnectError> {
        Self::load(Loader::new()).connect().await
    }

    /// Connects to the database that this file names. The environment overrides what stands in the
    /// file.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env); the file must exist.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped nothing stays open.
    pub async fn from_file(path: impl Into<PathBuf> + Send) -> Result<Self, ConnectError> {
        Self::load(Loader::new().file(path)).connect().await
    }
}

/// Borrowing from it.
impl DatabaseConnection {
    /// Lends a connection within `pool_timeout`. The calling line is remembered as the holder, and
    /// every timeout names the oldest ones.
    ///
    /// On a pool of one writer and many readers this is the writer; for a reader ask
    /// [`reader`](Self::reader).
    ///
    /// # Errors
    ///
    /// [`pool_error`](crate::pool_error) reads the pool's own error out of it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no place, no connection and no wake-up.
    #[track_caller]
    pub fn acquire(&self) -> BoxFuture<'static, Result<DatabaseLease, Error>> {
        each!(TypedPool, &self.pool, pool => {
            let lease = pool.acquire();
            async move { Ok(DatabaseLease(lease.await?.into())) }.boxed()
        })
    }

    /// Lends a connection within a limit of its own.
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

    /// Lends a connection if one is ready at this moment; never waits.
    #[track_caller]
    pub fn try_acquire(&self) -> Option<DatabaseLease> {
        each!(TypedPool, &self.pool, pool => Some(DatabaseLease(pool.try_acquire()?.into())))
    }

    /// Begins a transaction that owns its connection. On a pool of one writer and many readers it
    /// has the writer.
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Self::acquire), and the driver's.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing stays open: the connection is rolled back before it is
    /// lent again.
    #[track_caller]
    pub fn begin(&self) -> BoxFuture<'static, Result<DatabaseTransaction<'static>, Error>> {
        each!(TypedPool, &self.pool, pool => {
            let transaction = pool.begin();
            async move { Ok(DatabaseTransaction(transaction.await?.into())) }.boxed()
        })
    }

    /// Applies the migrations that are still missing, on the writer if there is one. SQL differs
    /// from database to database, so a program for several of them needs a directory of migrations
    /// for each.
    ///
    /// # Errors
    ///
    /// The migrator's.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the migrations that were complete stay applied, and nobody else's
    /// are locked out: the connection is closed, as it is after an error.
    pub async fn migrate(&self, migrator: &Migrator) -> Result<(), MigrateError> {
        each!(TypedPool, &self.pool, pool => migrate(pool, migrator).await)
    }
}

/// What it is.
impl DatabaseConnection {
    /// Which database it is.
    pub fn backend(&self) -> Backend {
        self.pool.backend()
    }

    /// The settings that it was made with; the defaults if it was made of a typed pool.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Each setting's value and where it came from, as they were asked for: a database in memory
    /// has one connection whatever `db.pool_size` says here, and [`status`](Self::status) tells it.
    /// It holds no secret. Of one that was made of a typed pool there is nothing to explain.
    pub fn explain(&self) -> &Explanation {
        self.settings.explain()
    }

    /// The readers of a pool of one writer and many readers; of every other pool, the pool itself.
    #[must_use]
    pub fn reader(&self) -> Self {
        let pool = each!(TypedPool, &self.pool, pool => pool.reader().into());
        Self { pool, settings: Arc::clone(&self.settings) }
    }

    /// The same pool with a limit of its own for every statement: for one call, or for a part of a
    /// program. `None` is no limit; the pool's own is the setting `db.statement_timeout`.
    ///
    /// A statement that takes longer ends with an error that names it and the line, and its server
    /// gets a request to stop it.
    #[must_use]
    pub fn statement_timeout(&self, limit: impl Into<Option<Duration>>) -> Self {
        let limit = limit.into();
        let pool = each!(TypedPool, &self.pool, pool => pool.statement_timeout(limit).into());
        Self { pool, settings: Arc::clone(&self.settings) }
    }

    /// The typed pool, if the database is MySQL or MariaDB.
    #[cfg(feature = "mysql")]
    pub fn as_mysql(&self) -> Option<&millpond_mysql::MySqlPool> {
        self.pool.as_pool_of()
    }

    /// The typed pool, if the database is PostgreSQL.
    #[cfg(feature = "postgres")]
    pub fn as_postgres(&self) -> Option<&millpond_postgres::PgPool> {
        self.pool.as_pool_of()
    }

    /// The typed pool, if the database is SQLite.
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

/// Makes one of a typed pool, a [custom](millpond_sqlx::SqlPool) one among others.
#[cfg(feature = "mysql")]
impl From<millpond_mysql::MySqlPool> for DatabaseConnection {
    fn from(pool: millpond_mysql::MySqlPool) -> Self {
        Self { pool: pool.into(), settings: Arc::default() }
    }
}

/// Makes one of a typed pool, a [custom](millpond_sqlx::SqlPool) one among others.
#[cfg(feature = "postgres")]
impl From<millpond_postgres::PgPool> for DatabaseConnection {
    fn from(pool: millpond_postgres::PgPool) -> Self {
        Self { pool: pool.into(), settings: Arc::default() }
    }
}

/// Makes one of a typed pool, a [custom](millpond_sqlx::SqlPool) one among others.
#[cfg(feature = "sqlite")]
impl From<millpond_sqlite::SqlitePool> for DatabaseConnection {
    fn from(pool: millpond_sqlite::SqlitePool) -> Self {
        Self { pool: pool.into(), settings: Arc::default() }
    }
}
