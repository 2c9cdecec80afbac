//! The server of the environment, and helpers of the tests.

use millpond_mysql::{MySqlConnectOptions, MySqlConnection, MySqlPool, MySqlPoolOptions, SqlLease};
use millpond_testkit::{poll_n, variable};
use sqlx::{AssertSqlSafe, Connection, MySql, Row, raw_sql};
use std::env;
use std::str::FromStr;
use std::time::Duration;

/// A statement that runs longer than any test.
pub const LONG: &str = "SELECT SLEEP(20)";

/// A query for a value nearly as large as a packet may be.
pub const LARGE: &str = "SELECT CAST(REPEAT('x', 16000000) AS BINARY)";

/// A statement that runs for a short time.
pub const SHORT: &str = "SELECT SLEEP(0.1)";

/// An expression that is 1 while a transaction is open; each server reads its own part of it.
pub const IN_TRANSACTION: &str = "CAST(/*M! @@in_transaction */ /*!80000 (SELECT COUNT(*) \
    FROM performance_schema.events_transactions_current WHERE THREAD_ID = PS_CURRENT_THREAD_ID() \
    AND STATE = 'ACTIVE' AND AUTOCOMMIT = 'NO') */ AS SIGNED)";

/// A server with a database for tests.
pub struct Server {
    pub url: String,
}

/// Returns the server, or `None` if there is none.
pub fn server() -> Option<Server> {
    Some(Server { url: server_variable("URL")? })
}

/// Returns the server if it is MariaDB.
pub fn mariadb() -> Option<Server> {
    server_of("mariadb")
}

/// Returns the server if it is MySQL itself.
pub fn mysql() -> Option<Server> {
    server_of("mysql")
}

fn server_of(wanted: &str) -> Option<Server> {
    if kind() != wanted {
        println!("SKIP what only {wanted} does: the tests run against {}", kind());
        return None;
    }
    server()
}

/// Returns the kind of server that the tests run against: MariaDB if there is one, else MySQL.
pub fn kind() -> &'static str {
    let is_there = |kind| env::var_os(format!("MILLPOND_TEST_{kind}_URL")).is_some();
    if is_there("MYSQL") && !is_there("MARIADB") { "mysql" } else { "mariadb" }
}

/// Returns the kind of the server that only accepts TLS.
pub fn tls_kind() -> String {
    kind().to_owned() + "-tls"
}

/// Returns a variable of this kind of server, such as `URL` or `TLS_CA`.
pub fn server_variable(name: &str) -> Option<String> {
    variable(&format!("MILLPOND_TEST_{}_{name}", kind().to_uppercase()))
}

impl Server {
    pub fn options(&self) -> MySqlConnectOptions {
        MySqlConnectOptions::from_str(&self.url).unwrap()
    }

    /// Opens a connection without a pool.
    pub async fn connection(&self) -> MySqlConnection {
        MySqlConnection::connect_with(&self.options()).await.unwrap()
    }

    /// Executes a statement without a pool.
    pub async fn execute(&self, sql: impl Into<String>) {
        raw_sql(AssertSqlSafe(sql.into())).execute(&mut self.connection().await).await.unwrap();
    }

    /// Allows packets of 64 MiB in sessions that begin from now on.
    pub async fn allow_large_packets(&self) {
        self.execute("SET GLOBAL max_allowed_packet = 67108864").await;
    }

    /// Returns the host and port.
    pub fn address(&self) -> &str {
        let (_, target) = self.url.rsplit_once('@').unwrap();
        target.split_once('/').unwrap().0
    }

    /// Builds a pool of one connection.
    pub async fn one(&self) -> MySqlPool {
        one().connect(&self.url).await.unwrap()
    }

    /// Creates an empty database with this name and returns its URL.
    pub async fn database(&self, name: &str) -> String {
        self.execute(format!("DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name}")).await;
        let (head, _) = self.url.rsplit_once('/').unwrap();
        format!("{head}/{name}")
    }

    /// Creates a user, replacing an existing one, who may only connect.
    pub async fn user(&self, name: &str, how: &str) {
        let user = format!("{name}@'127.0.0.1'");
        self.execute(format!("DROP USER IF EXISTS {user}; CREATE USER {user} {how}")).await;
    }

    /// Creates an empty database; named as in the tests of the other servers.
    pub async fn scratch(&self, name: &str) -> String {
        self.database(name).await
    }

    /// Builds a pool of one connection to an empty database with this name, with an empty table
    /// `t`.
    pub async fn table(&self, name: &str) -> MySqlPool {
        let pool = one().connect(&self.database(name).await).await.unwrap();
        raw_sql("CREATE TABLE t (i INT UNIQUE)").execute(&pool).await.unwrap();
        pool
    }

    /// Asserts that the next borrower gets a connection outside any transaction, with autocommit
    /// and without locks, and the answer to its own query. Returns the number of the session.
    pub async fn next_is_clean(&self, pool: &MySqlPool) -> u64 {
        let mut lease = pool.acquire().await.unwrap();
        assert!(!lease.is_in_transaction());
        let echo: i64 =
            sqlx::query_scalar("SELECT ?").bind(4711_i64).fetch_one(&mut *lease).await.unwrap();
        assert_eq!(echo, 4711);
        let sql = format!(
            "SELECT {IN_TRANSACTION}, CAST(@@autocommit AS SIGNED), @@completion_type, \
             CONNECTION_ID()"
        );
        let row = raw_sql(AssertSqlSafe(sql)).fetch_one(&mut *lease).await.unwrap();
        assert_eq!(row.get::<i64, _>(0), 0, "a transaction is open");
        assert_eq!(row.get::<i64, _>(1), 1, "autocommit is off");
        assert_eq!(row.get::<String, _>(2), "NO_CHAIN");
        let id: u64 = row.get(3);
        // A session that has locked tables cannot read other tables.
        sqlx::query("SELECT COUNT(*) FROM mysql.user").fetch_one(&mut *lease).await.unwrap();
        // information_schema may show outdated transactions; this status does not.
        let row = sqlx::query("SHOW ENGINE INNODB STATUS")
            .fetch_one(&mut self.connection().await)
            .await
            .unwrap();
        let status: String = row.get(2);
        let this = format!(" thread id {id},");
        let open =
            |transaction: &str| transaction.contains(&this) && transaction.contains(", ACTIVE");
        assert!(
            !status.split("---TRANSACTION").any(open),
            "as another connection sees it: {status}"
        );
        id
    }

    /// Returns true if the server executes [`LONG`] in this session.
    pub async fn works(&self, session: u64) -> bool {
        let sql = "SELECT EXISTS (SELECT * FROM information_schema.processlist \
                   WHERE id = ? AND info LIKE '%SLEEP(20)%')";
        sqlx::query_scalar(sql).bind(session).fetch_one(&mut self.connection().await).await.unwrap()
    }

    /// Asserts that the next borrower gets a clean connection, and the first one.
    pub async fn same_is_clean(&self, pool: &MySqlPool) {
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
pub fn one() -> MySqlPoolOptions {
    let options = MySqlPoolOptions::new().pool_size(1).max_overflow(0);
    options.ping_timeout(Duration::from_secs(5))
}

/// Starts a statement and drops it before it completes.
pub async fn cut_off(lease: &mut SqlLease<MySql>, sql: &'static str) {
    // On a busy machine the answer may arrive at the first poll.
    while poll_n(raw_sql(sql).fetch_all(&mut **lease), 1).await.is_some() {}
}

/// Returns the number of a session.
pub async fn id(lease: &mut SqlLease<MySql>) -> u64 {
    sqlx::query_scalar("SELECT CONNECTION_ID()").fetch_one(&mut **lease).await.unwrap()
}

/// Returns the content of the table `t`.
pub async fn rows(pool: &MySqlPool) -> Vec<i32> {
    sqlx::query_scalar("SELECT i FROM t ORDER BY i").fetch_all(pool).await.unwrap()
}

/// Waits until the condition is true.
pub async fn until(so: impl Fn() -> bool) {
    millpond_testkit::until("what the test waits for", async || so()).await;
}
