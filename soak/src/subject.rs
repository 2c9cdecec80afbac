//! Who is soaked: our pools, and sqlx's over the same servers.

use crate::plan::Deed;
use futures_util::TryStreamExt;
use millpond_core::Status;
use millpond_mysql::{MySqlPool, MySqlPoolOptions};
use millpond_postgres::{PgPool, PgPoolOptions};
use sqlx::{Acquire, AssertSqlSafe, Error, MySql, Postgres, Row, raw_sql};
use std::future::Future;
use std::time::Duration;

/// Connections that a pool under soak may have.
pub const PLACES: u32 = 8;

/// How many rows are asked for at once.
const ROWS: i64 = 300;

/// A pool under soak. The methods are those of a user; each may be dropped at any poll.
pub trait Subject: Clone + Send + Sync + 'static {
    /// What is lent.
    type Lease: Send + 'static;

    /// As it stands in the report.
    const NAME: &'static str;

    /// Borrows a connection.
    fn lease(&self) -> impl Future<Output = Result<Self::Lease, Error>> + Send;

    /// Asks in one round trip for the nonce, and whether a transaction is open.
    fn look(lease: &mut Self::Lease, nonce: i64) -> impl Future<Output = Result<(i64, bool), Error>> + Send;

    /// Does something; what it was answered must be the nonce.
    fn act(lease: &mut Self::Lease, deed: Deed, nonce: i64) -> impl Future<Output = Result<i64, Error>> + Send;

    /// Begins a transaction on the pool, and leaves it.
    fn begin(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// What the pool says of itself, if it is ours.
    fn status(&self) -> Option<Status>;
}

macro_rules! subject {
    (
        $pool:ty, $db:ident, $name:literal, lease: $lease:ty, look: $look:literal, ask: $ask:literal, rows: $rows:literal,
        status: $status:expr
    ) => {
        impl Subject for $pool {
            type Lease = $lease;

            const NAME: &'static str = $name;

            async fn lease(&self) -> Result<Self::Lease, Error> {
                self.acquire().await
            }

            async fn look(lease: &mut Self::Lease, nonce: i64) -> Result<(i64, bool), Error> {
                let sql = AssertSqlSafe($look.replace("NONCE", &nonce.to_string()));
                let row = raw_sql(sql).fetch_one(&mut **lease).await?;
                Ok((row.try_get(0)?, row.try_get::<i64, _>(1)? != 0))
            }

            async fn act(lease: &mut Self::Lease, deed: Deed, nonce: i64) -> Result<i64, Error> {
                match deed {
                    Deed::Ask(variant) => {
                        let sql = AssertSqlSafe(format!("{} /* {variant} */", $ask));
                        sqlx::query_scalar::<$db, i64>(sql).bind(nonce).fetch_one(&mut **lease).await
                    }
                    Deed::Rows => {
                        let sql = AssertSqlSafe(
                            $rows.replace("NONCE", &nonce.to_string()).replace("ROWS", &ROWS.to_string()),
                        );
                        let mut rows = sqlx::query_scalar::<$db, i64>(sql).fetch(&mut **lease);
                        let mut seen = 0;
                        while let Some(answer) = rows.try_next().await? {
                            seen += 1;
                            if answer != nonce {
                                return Ok(answer);
                            }
                        }
                        if seen == ROWS { Ok(nonce) } else { Err(Error::RowNotFound) }
                    }
                    Deed::Begin => {
                        let mut tx = Acquire::begin(lease).await?;
                        let sql = AssertSqlSafe($ask);
                        sqlx::query_scalar::<$db, i64>(sql).bind(nonce).fetch_one(&mut *tx).await
                    }
                    Deed::Script => {
                        raw_sql("BEGIN").execute(&mut **lease).await?;
                        sqlx::query_scalar::<$db, i64>(AssertSqlSafe($ask)).bind(nonce).fetch_one(&mut **lease).await
                    }
                }
            }

            async fn begin(&self) -> Result<(), Error> {
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
    MySqlPool, MySql, "mariadb", lease: millpond_mysql::SqlLease<MySql>,
    look: "SELECT NONCE, CAST(@@in_transaction AS SIGNED)", ask: "SELECT ?",
    rows: "SELECT NONCE FROM seq_1_to_ROWS", status: |pool| Some(pool.status())
}
subject! {
    sqlx::MySqlPool, MySql, "mariadb by sqlx::Pool", lease: sqlx::pool::PoolConnection<MySql>,
    look: "SELECT NONCE, CAST(@@in_transaction AS SIGNED)", ask: "SELECT ?",
    rows: "SELECT NONCE FROM seq_1_to_ROWS", status: |_| None
}

/// Limits that a half-open connection runs into soon.
const SHORT: Duration = Duration::from_millis(500);
/// Long enough for whatever goes well.
const LONG: Duration = Duration::from_secs(10);

/// Our pool over the PostgreSQL at that URL.
///
/// # Errors
///
/// What is wrong with the URL.
pub fn postgres(url: &str) -> Result<PgPool, Error> {
    let sizes = PgPoolOptions::new().pool_size(PLACES - 2).max_overflow(2);
    sizes
        .limits(millpond_core::Limits::Off)
        .ping_timeout(SHORT)
        .connect_timeout(SHORT * 2)
        .pool_timeout(LONG)
        .connect_lazy(url)
}

/// Our pool over the MariaDB at that URL.
///
/// # Errors
///
/// What is wrong with the URL.
pub fn mariadb(url: &str) -> Result<MySqlPool, Error> {
    let sizes = MySqlPoolOptions::new().pool_size(PLACES - 2).max_overflow(2);
    sizes
        .limits(millpond_core::Limits::Off)
        .ping_timeout(SHORT)
        .connect_timeout(SHORT * 2)
        .pool_timeout(LONG)
        .connect_lazy(url)
}

/// sqlx's pool over the same PostgreSQL.
///
/// # Errors
///
/// What is wrong with the URL.
pub fn postgres_by_sqlx(url: &str) -> Result<sqlx::PgPool, Error> {
    sqlx::postgres::PgPoolOptions::new().max_connections(PLACES).acquire_timeout(SHORT * 4).connect_lazy(url)
}

/// sqlx's pool over the same MariaDB.
///
/// # Errors
///
/// What is wrong with the URL.
pub fn mariadb_by_sqlx(url: &str) -> Result<sqlx::MySqlPool, Error> {
    sqlx::mysql::MySqlPoolOptions::new().max_connections(PLACES).acquire_timeout(SHORT * 4).connect_lazy(url)
}
