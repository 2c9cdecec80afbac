//! The server that the environment names, and what is often needed of it.

use millpond_postgres::{
    PgConnectOptions, PgConnection, PgPool, PgPoolOptions, Postgres, SqlLease,
};
use millpond_testkit::{poll_n, variable};
use sqlx::{AssertSqlSafe, Connection, Row, raw_sql};
use std::str::FromStr;
use std::time::Duration;

/// Runs for longer than any test.
pub const LONG: &str = "SELECT pg_catalog.pg_sleep(20)";

/// A value of 32 MiB.
pub const LARGE: &str = "SELECT CAST(repeat('x', 33554432) AS BYTEA)";

/// Runs for a little while.
pub const SHORT: &str = "SELECT pg_catalog.pg_sleep(0.1)";

/// A database to play with.
pub struct Server {
    pub url: String,
}

/// The server, or `None` where there is none.
pub fn server() -> Option<Server> {
    Some(Server { url: variable("MILLPOND_TEST_POSTGRES_URL")? })
}

impl Server {
    pub fn options(&self) -> PgConnectOptions {
        PgConnectOptions::from_str(&self.url).unwrap()
    }

    /// A connection past all pools.
    pub async fn connection(&self) -> PgConnection {
        PgConnection::connect_with(&self.options()).await.unwrap()
    }

    /// PostgreSQL allows them anyway.
    pub async fn allow_large_packets(&self) {}

    /// Host and port.
    pub fn address(&self) -> &str {
        let (_, target) = self.url.rsplit_once('@').unwrap();
        target.split_once('/').unwrap().0
    }

    /// A pool of one connection.
    pub async fn one(&self) -> PgPool {
        one().connect(&self.url).await.unwrap()
    }

    /// The URL of an empty schema of that name.
    pub async fn schema(&self, name: &str) -> String {
        let sql = format!("DROP SCHEMA IF EXISTS {name} CASCADE; CREATE SCHEMA {name}");
        raw_sql(AssertSqlSafe(sql)).execute(&mut self.connection().await).await.unwrap();
        format!("{}?options[search_path]={name}", self.url)
    }

    /// The URL of an empty schema, as the tests of all servers call it.
    pub async fn scratch(&self, name: &str) -> String {
        self.schema(name).await
    }

    /// A pool of one connection to an empty schema of that name, with an empty table `t`.
    pub async fn table(&self, name: &str) -> PgPool {
        let pool = one().connect(&self.schema(name).await).await.unwrap();
        raw_sql("CREATE TABLE t (i INT)").execute(&pool).await.unwrap();
        pool
    }

    /// The next borrower gets a connection outside any transaction, and is answered with what it
    /// asked.
    pub async fn next_is_clean(&self, pool: &PgPool) -> i32 {
        let mut lease = pool.acquire().await.unwrap();
        assert!(!lease.is_in_transaction());
        let echo: i64 = sqlx::query_scalar("SELECT $1::int8")
            .bind(4711_i64)
            .fetch_one(&mut *lease)
            .await
            .unwrap();
        assert_eq!(echo, 4711);
        // By the simple protocol: a statement with arguments begins its own transaction a message
        // earlier.
        let sql = "SELECT now() = statement_timestamp(), pg_backend_pid()";
        let row = raw_sql(sql).fetch_one(&mut *lease).await.unwrap();
        assert!(row.get::<bool, _>(0), "a transaction is open");
        let pid: i32 = row.get(1);
        let sql =
            "SELECT state = 'idle' AND xact_start IS NULL FROM pg_stat_activity WHERE pid = $1";
        let idle: bool = sqlx::query_scalar(sql)
            .bind(pid)
            .fetch_one(&mut self.connection().await)
            .await
            .unwrap();
        assert!(idle, "as another connection sees it");
        pid
    }

    /// Whether the server executes [`LONG`] in that session.
    pub async fn works(&self, session: i32) -> bool {
        let sql = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND state = 'active' \
                   AND query LIKE '%pg_sleep(20)%')";
        sqlx::query_scalar(sql).bind(session).fetch_one(&mut self.connection().await).await.unwrap()
    }

    /// The same, on the connection that was there before.
    pub async fn same_is_clean(&self, pool: &PgPool) {
        self.next_is_clean(pool).await;
        let lease = pool.acquire().await.unwrap();
        assert_eq!(SqlLease::info(&lease).id.get(), 1, "the connection was not worth closing");
    }
}

/// Where the tests that all backends share find a database.
pub fn url_of_a_database() -> Option<String> {
    server().map(|server| server.url)
}

/// Options of a pool of one connection, whose pings a healthy server answers in time, however busy
/// the machine is.
pub fn one() -> PgPoolOptions {
    let options = PgPoolOptions::new().pool_size(1).max_overflow(0);
    options.ping_timeout(Duration::from_secs(5))
}

/// Begins a statement and drops it before its end.
pub async fn cut_off(lease: &mut SqlLease<Postgres>, sql: &'static str) {
    // On a stalling machine the answer may be there at the first poll.
    while poll_n(raw_sql(sql).fetch_all(&mut **lease), 1).await.is_some() {}
}

/// The server's number of a connection, as the tests of all servers call it.
pub async fn id(lease: &mut SqlLease<Postgres>) -> i32 {
    pid(lease).await
}

pub async fn pid(lease: &mut SqlLease<Postgres>) -> i32 {
    sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut **lease).await.unwrap()
}

/// What is in the table `t`.
pub async fn rows(pool: &PgPool) -> Vec<i32> {
    sqlx::query_scalar("SELECT i FROM t ORDER BY i").fetch_all(pool).await.unwrap()
}

/// Waits until something is so.
pub async fn until(so: impl Fn() -> bool) {
    millpond_testkit::until("what the test waits for", async || so()).await;
}
