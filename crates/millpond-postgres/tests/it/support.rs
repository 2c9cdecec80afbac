//! The server of the environment, and helpers of the tests.

use millpond_postgres::{
    PgConnectOptions, PgConnection, PgPool, PgPoolOptions, Postgres, SqlLease,
};
use millpond_testkit::{poll_n, variable};
use sqlx::{AssertSqlSafe, Connection, Row, raw_sql};
use std::str::FromStr;
use std::time::Duration;

/// A statement that runs longer than any test.
pub const LONG: &str = "SELECT pg_catalog.pg_sleep(20)";

/// A value of 32 MiB.
pub const LARGE: &str = "SELECT CAST(repeat('x', 33554432) AS BYTEA)";

/// A statement that runs for a short time.
pub const SHORT: &str = "SELECT pg_catalog.pg_sleep(0.1)";

/// A server with a database for tests.
pub struct Server {
    pub url: String,
}

/// Returns the server, or `None` if there is none.
pub fn server() -> Option<Server> {
    Some(Server { url: variable("MILLPOND_TEST_POSTGRES_URL")? })
}

impl Server {
    pub fn options(&self) -> PgConnectOptions {
        PgConnectOptions::from_str(&self.url).unwrap()
    }

    /// Opens a connection without a pool.
    pub async fn connection(&self) -> PgConnection {
        PgConnection::connect_with(&self.options()).await.unwrap()
    }

    /// Does nothing: PostgreSQL always allows them.
    pub async fn allow_large_packets(&self) {}

    /// Returns the host and port.
    pub fn address(&self) -> &str {
        let (_, target) = self.url.rsplit_once('@').unwrap();
        target.split_once('/').unwrap().0
    }

    /// Builds a pool of one connection.
    pub async fn one(&self) -> PgPool {
        one().connect(&self.url).await.unwrap()
    }

    /// Creates an empty schema with this name and returns its URL.
    pub async fn schema(&self, name: &str) -> String {
        let sql = format!("DROP SCHEMA IF EXISTS {name} CASCADE; CREATE SCHEMA {name}");
        raw_sql(AssertSqlSafe(sql)).execute(&mut self.connection().await).await.unwrap();
        format!("{}?options[search_path]={name}", self.url)
    }

    /// Creates an empty schema; named as in the tests of the other servers.
    pub async fn scratch(&self, name: &str) -> String {
        self.schema(name).await
    }

    /// Builds a pool of one connection to an empty schema with this name, with an empty table `t`.
    pub async fn table(&self, name: &str) -> PgPool {
        let pool = one().connect(&self.schema(name).await).await.unwrap();
        raw_sql("CREATE TABLE t (i INT)").execute(&pool).await.unwrap();
        pool
    }

    /// Asserts that the next borrower gets a connection outside any transaction and the answer to
    /// its own query. Returns the number of the session.
    pub async fn next_is_clean(&self, pool: &PgPool) -> i32 {
        let mut lease = pool.acquire().await.unwrap();
        assert!(!lease.is_in_transaction());
        let echo: i64 = sqlx::query_scalar("SELECT $1::int8")
            .bind(4711_i64)
            .fetch_one(&mut *lease)
            .await
            .unwrap();
        assert_eq!(echo, 4711);
        // By the simple protocol: a statement with arguments begins its own transaction one message
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

    /// Returns true if the server executes [`LONG`] in this session.
    pub async fn works(&self, session: i32) -> bool {
        let sql = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND state = 'active' \
                   AND query LIKE '%pg_sleep(20)%')";
        sqlx::query_scalar(sql).bind(session).fetch_one(&mut self.connection().await).await.unwrap()
    }

    /// Asserts that the next borrower gets a clean connection, and the first one.
    pub async fn same_is_clean(&self, pool: &PgPool) {
        self.next_is_clean(pool).await;
        let lease = pool.acquire().await.unwrap();
        assert_eq!(SqlLease::info(&lease).id.get(), 1, "the connection was not worth closing");
    }
}

/// Returns the URL of the database for the tests that all backends share.
pub fn url_of_a_database() -> Option<String> {
    server().map(|server| server.url)
}

/// Returns options of a pool of one connection, with enough time for a ping on a busy machine.
pub fn one() -> PgPoolOptions {
    let options = PgPoolOptions::new().pool_size(1).max_overflow(0);
    options.ping_timeout(Duration::from_secs(5))
}

/// Starts a statement and drops it before it completes.
pub async fn cut_off(lease: &mut SqlLease<Postgres>, sql: &'static str) {
    // On a busy machine the answer may arrive at the first poll.
    while poll_n(raw_sql(sql).fetch_all(&mut **lease), 1).await.is_some() {}
}

/// Returns the number of a session; named as in the tests of the other servers.
pub async fn id(lease: &mut SqlLease<Postgres>) -> i32 {
    pid(lease).await
}

pub async fn pid(lease: &mut SqlLease<Postgres>) -> i32 {
    sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut **lease).await.unwrap()
}

/// Returns the content of the table `t`.
pub async fn rows(pool: &PgPool) -> Vec<i32> {
    sqlx::query_scalar("SELECT i FROM t ORDER BY i").fetch_all(pool).await.unwrap()
}

/// Waits until the condition is true.
pub async fn until(so: impl Fn() -> bool) {
    millpond_testkit::until("what the test waits for", async || so()).await;
}
