//! The pools under soak: millpond's SQL pools, and sqlx's pools over the same servers.

use crate::plan::Action;
use futures_util::TryStreamExt;
use millpond_core::Status;
use millpond_mysql::{MySqlPool, MySqlPoolOptions};
use millpond_postgres::{PgPool, PgPoolOptions};
use sqlx::{Acquire, AssertSqlSafe, Error, MySql, Postgres, Row, raw_sql};
use std::future::Future;
use std::time::Duration;

/// The most connections of a pool under soak.
pub const PLACES: u32 = 8;

/// The number of rows that are read at once.
const ROWS: i64 = 300;

/// A pool under soak. The methods are those of a user; each may be dropped at any poll.
pub trait Subject: Clone + Send + Sync + 'static {
    /// The type of a lease.
    type Lease: Send + 'static;

    /// The pool's name in the report.
    const NAME: &'static str;

    /// The state that a borrower may leave behind and the next one must not find.
    const LEFT: &'static str;

    /// Acquires a connection.
    fn lease(&self) -> impl Future<Output = Result<Self::Lease, Failure>> + Send;

    /// Queries the nonce, and whether the last borrower has left any state.
    fn look(
        lease: &mut Self::Lease,
        nonce: i64,
    ) -> impl Future<Output = Result<(i64, bool), Failure>> + Send;

    /// Performs an action; the returned number must be the nonce.
    fn act(
        lease: &mut Self::Lease,
        action: Action,
        nonce: i64,
    ) -> impl Future<Output = Result<i64, Failure>> + Send;

    /// Performs an action on the pool itself: begins a transaction and leaves it.
    fn begin(&self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Returns the pool's status, if it is one of millpond's.
    fn status(&self) -> Option<Status>;
}

/// Why an operation gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The connection has failed, which is allowed.
    Connection,
    /// The answer belongs to another query.
    Wrong,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::RowNotFound
            | Error::Decode(_)
            | Error::ColumnDecode { .. }
            | Error::ColumnIndexOutOfBounds { .. } => Self::Wrong,
            _ => Self::Connection,
        }
    }
}

macro_rules! subject {
    (
        $pool:ty, $db:ident, $name:literal, lease: $lease:ty, look: $look:literal,
        ask: $ask:literal, rows: $rows:literal, status: $status:expr
    ) => {
        impl Subject for $pool {
            type Lease = $lease;

            const NAME: &'static str = $name;
            const LEFT: &'static str = "transactions";

            async fn lease(&self) -> Result<Self::Lease, Failure> {
                Ok(self.acquire().await?)
            }

            async fn look(lease: &mut Self::Lease, nonce: i64) -> Result<(i64, bool), Failure> {
                let sql = AssertSqlSafe($look.replace("NONCE", &nonce.to_string()));
                let row = raw_sql(sql).fetch_one(&mut **lease).await?;
                Ok((row.try_get(0)?, row.try_get::<i64, _>(1)? != 0))
            }

            async fn act(
                lease: &mut Self::Lease,
                action: Action,
                nonce: i64,
            ) -> Result<i64, Failure> {
                match action {
                    Action::Ask(variant) => {
                        let sql = AssertSqlSafe(format!("{} /* {variant} */", $ask));
                        Ok(sqlx::query_scalar::<$db, i64>(sql)
                            .bind(nonce)
                            .fetch_one(&mut **lease)
                            .await?)
                    }
                    Action::Rows => {
                        let sql = AssertSqlSafe(
                            $rows
                                .replace("NONCE", &nonce.to_string())
                                .replace("ROWS", &ROWS.to_string()),
                        );
                        let mut rows = sqlx::query_scalar::<$db, i64>(sql).fetch(&mut **lease);
                        let mut seen = 0;
                        while let Some(answer) = rows.try_next().await? {
                            seen += 1;
                            if answer != nonce {
                                return Ok(answer);
                            }
                        }
                        if seen == ROWS { Ok(nonce) } else { Err(Failure::Wrong) }
                    }
                    Action::Begin => {
                        let mut tx = Acquire::begin(lease).await?;
                        let sql = AssertSqlSafe($ask);
                        Ok(sqlx::query_scalar::<$db, i64>(sql)
                            .bind(nonce)
                            .fetch_one(&mut *tx)
                            .await?)
                    }
                    Action::Script => {
                        raw_sql("BEGIN").execute(&mut **lease).await?;
                        let sql = AssertSqlSafe($ask);
                        Ok(sqlx::query_scalar::<$db, i64>(sql)
                            .bind(nonce)
                            .fetch_one(&mut **lease)
                            .await?)
                    }
                }
            }

            async fn begin(&self) -> Result<(), Failure> {
                drop(<$pool>::begin(self).await?);
                Ok(())
            }

            fn status(&self) -> Option<Status> {
                let status: fn(&$pool) -> Option<Status> = $status;
                status(self)
            }
        }
    };
}

subject! {
    PgPool, Postgres, "postgres", lease: millpond_postgres::SqlLease<Postgres>,
    look: "SELECT NONCE::int8, (now() <> statement_timestamp())::int::int8", ask: "SELECT $1::int8",
    rows: "SELECT NONCE::int8 FROM generate_series(1, ROWS)", status: |pool| Some(pool.status())
}
subject! {
    sqlx::PgPool, Postgres, "postgres by sqlx::Pool", lease: sqlx::pool::PoolConnection<Postgres>,
    look: "SELECT NONCE::int8, (now() <> statement_timestamp())::int::int8", ask: "SELECT $1::int8",
    rows: "SELECT NONCE::int8 FROM generate_series(1, ROWS)", status: |_| None
}
subject! {
    MySqlPool, MySql, "mysql", lease: millpond_mysql::SqlLease<MySql>,
    look: "SELECT NONCE, CAST(/*M! @@in_transaction */ /*!80000 (SELECT COUNT(*) \
        FROM performance_schema.events_transactions_current \
        WHERE THREAD_ID = PS_CURRENT_THREAD_ID() AND STATE = 'ACTIVE' \
        AND AUTOCOMMIT = 'NO') */ AS SIGNED)", ask: "SELECT ?",
    rows: "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ROWS) \
        SELECT NONCE FROM n", status: |pool| Some(pool.status())
}
subject! {
    sqlx::MySqlPool, MySql, "mysql by sqlx::Pool", lease: sqlx::pool::PoolConnection<MySql>,
    look: "SELECT NONCE, CAST(/*M! @@in_transaction */ /*!80000 (SELECT COUNT(*) \
        FROM performance_schema.events_transactions_current \
        WHERE THREAD_ID = PS_CURRENT_THREAD_ID() AND STATE = 'ACTIVE' \
        AND AUTOCOMMIT = 'NO') */ AS SIGNED)", ask: "SELECT ?",
    rows: "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ROWS) \
        SELECT NONCE FROM n", status: |_| None
}

/// A time limit that a half-open connection exceeds soon.
pub(crate) const SHORT: Duration = Duration::from_millis(500);
/// Long enough for everything that works.
pub(crate) const LONG: Duration = Duration::from_secs(10);

/// Builds millpond's pool over the PostgreSQL server at this URL.
///
/// # Errors
///
/// Returns what is wrong with the URL.
pub fn postgres(url: &str) -> Result<PgPool, Error> {
    let sizes = PgPoolOptions::new().pool_size(PLACES - 2).max_overflow(2);
    sizes
        .limits(millpond_core::Limits::Off)
        .ping_timeout(SHORT)
        .connect_timeout(SHORT * 2)
        .pool_timeout(LONG)
        .connect_lazy(url)
}

/// Limits the wait for a locked row to a second instead of a minute.
const WAIT: &str = "SET innodb_lock_wait_timeout = 1";

/// Builds millpond's pool over the MySQL or MariaDB server at this URL.
///
/// # Errors
///
/// Returns what is wrong with the URL.
pub fn mysql(url: &str) -> Result<MySqlPool, Error> {
    let sizes = MySqlPoolOptions::new().pool_size(PLACES - 2).max_overflow(2);
    sizes
        .on_connect(|conn, _| {
            Box::pin(async move { Ok(raw_sql(WAIT).execute(conn).await.map(drop)?) })
        })
        .limits(millpond_core::Limits::Off)
        .ping_timeout(SHORT)
        .connect_timeout(SHORT * 2)
        .pool_timeout(LONG)
        .connect_lazy(url)
}

/// Builds sqlx's pool over the PostgreSQL server at this URL.
///
/// # Errors
///
/// Returns what is wrong with the URL.
pub fn postgres_by_sqlx(url: &str) -> Result<sqlx::PgPool, Error> {
    sqlx::postgres::PgPoolOptions::new()
        .max_connections(PLACES)
        .acquire_timeout(SHORT * 4)
        .connect_lazy(url)
}

/// Builds sqlx's pool over the MySQL or MariaDB server at this URL.
///
/// # Errors
///
/// Returns what is wrong with the URL.
pub fn mysql_by_sqlx(url: &str) -> Result<sqlx::MySqlPool, Error> {
    sqlx::mysql::MySqlPoolOptions::new()
        .after_connect(|conn, _| {
            Box::pin(async move { raw_sql(WAIT).execute(conn).await.map(drop) })
        })
        .max_connections(PLACES)
        .acquire_timeout(SHORT * 4)
        .connect_lazy(url)
}
