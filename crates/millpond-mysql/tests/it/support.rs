//! The server that the environment names, and what is often needed of it.

use millpond_mysql::{MySqlConnectOptions, MySqlConnection, MySqlPool, MySqlPoolOptions, SqlLease};
use millpond_testkit::{poll_n, variable};
use sqlx::{AssertSqlSafe, Connection, MySql, Row, raw_sql};
use std::env;
use std::str::FromStr;
use std::time::Duration;

/// Runs for longer than any test.
pub const LONG: &str = "SELECT SLEEP(20)";

/// A value nearly as large as a packet may be.
pub const LARGE: &str = "SELECT CAST(REPEAT('x', 16000000) AS BINARY)";

/// Runs for a little while.
pub const SHORT: &str = "SELECT SLEEP(0.1)";

/// Whether a transaction is open, as an expression that each server reads in its own way.
pub const IN_TRANSACTION: &str = "CAST(/*M! @@in_transaction */ /*!80000 (SELECT COUNT(*) \
    FROM performance_schema.events_transactions_current WHERE THREAD_ID = PS_CURRENT_THREAD_ID() \
    AND STATE = 'ACTIVE' AND AUTOCOMMIT = 'NO') */ AS SIGNED)";

/// A database to play with.
pub struct Server {
    pub url: String,
}

/// The server, or `None` where there is none.
pub fn server() -> Option<Server> {
    Some(Server { url: server_variable("URL")? })
}

/// The server if it is MariaDB.
pub fn mariadb() -> Option<Server> {
    server_of("mariadb")
}

/// The server if it is MySQL itself.
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

/// The kind of server that the tests run against: MariaDB if there is one, else MySQL.
pub fn kind() -> &'static str {
    let is_there = |kind| env::var_os(format!("MILLPOND_TEST_{kind}_URL")).is_some();
    if is_there("MYSQL") && !is_there("MARIADB") { "mysql" } else { "mariadb" }
}

/// The kind of the one that talks over TLS alone.
pub fn tls_kind() -> String {
    kind().to_owned() + "-tls"
}

/// A variable of that kind: `URL`, `TLS_CA`.
pub fn server_variable(name: &str) -> Option<String> {
    variable(&format!("MILLPOND_TEST_{}_{name}", kind().to_uppercase()))
}

impl Server {
    pub fn options(&self) -> MySqlConnectOptions {
        MySqlConnectOptions::from_str(&self.url).unwrap()
    }

    /// A connection past all pools.
    pub async fn connection(&self) -> MySqlConnection {
        MySqlConnection::connect_with(&self.options()).await.unwrap()
    }

    /// Executes something past all pools.
    pub async fn execute(&self, sql: impl Into<String>) {
        raw_sql(AssertSqlSafe(sql.into())).execute(&mut self.connection().await).await.unwrap();
    }

    /// Allows packets of 64 MiB on sessions that begin from now on.
    pub async fn allow_large_packets(&self) {
        self.execute("SET GLOBAL max_allowed_packet = 67108864").await;
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        let (_, target) = self.url.rsplit_once('@').unwrap();
        target.split_once('/').unwrap().0
    }

    /// A pool of one connection.
    pub async fn one(&self) -> MySqlPool {
        one().connect(&self.url).await.unwrap()
    }

    /// The URL of an empty database of that name.
    pub async fn database(&self, name: &str) -> String {
        self.execute(format!("DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name}")).await;
        let (head, _) = self.url.rsplit_once('/').unwrap();
        format!("{head}/{name}")
    }

    /// Makes a user anew, who may do nothing but come in.
    pub async fn user(&self, name: &str, how: &str) {
        let user = format!("{name}@'127.0.0.1'");
        self.execute(format!("DROP USER IF EXISTS {user}; CREATE USER {user} {how}")).await;
    }

    /// The URL of an empty database, as the tests of all servers call it.
    pub async fn scratch(&self, name: &str) -> String {
        self.database(name).await
    }

    /// A pool of one connection to an empty database of that name, with an empty table `t`.
    pub async fn table(&self, name: &str) -> MySqlPool {
        let pool = one().connect(&self.database(name).await).await.unwrap();
        raw_sql("CREATE TABLE t (i INT UNIQUE)").execute(&pool).await.unwrap();
        pool
    }

    /// The next borrower gets a connection outside any transaction, with autocommit and without
    /// locks, and is answered with what it asked. Returns the server's number of the connection.
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
        // Who has locked tables can read no other ones.
        sqlx::query("SELECT COUNT(*) FROM mysql.user").fetch_one(&mut *lease).await.unwrap();
        // What information_schema tells of transactions may be old, this is not.
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

    /// Whether the server executes [`LONG`] in that session.
    pub async fn works(&self, session: u64) -> bool {
        let sql = "SELECT EXISTS (SELECT * FROM information_schema.processlist \
                   WHERE id = ? AND info LIKE '%SLEEP(20)%')";
        sqlx::query_scalar(sql).bind(session).fetch_one(&mut self.connection().await).await.unwrap()
    }

    /// The same, on the connection that was there before.
    pub async fn same_is_clean(&self, pool: &MySqlPool) {
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
pub fn one() -> MySqlPoolOptions {
    let options = MySqlPoolOptions::new().pool_size(1).max_overflow(0);
    options.ping_timeout(Duration::from_secs(5))
}

/// Begins a statement and drops it before its end.
pub async fn cut_off(lease: &mut SqlLease<MySql>, sql: &'static str) {
    // On a stalling machine the answer may be there at the first poll.
    while poll_n(raw_sql(sql).fetch_all(&mut **lease), 1).await.is_some() {}
}

/// The server's number of a connection.
pub async fn id(lease: &mut SqlLease<MySql>) -> u64 {
    sqlx::query_scalar("SELECT CONNECTION_ID()").fetch_one(&mut **lease).await.unwrap()
}

/// What is in the table `t`.
pub async fn rows(pool: &MySqlPool) -> Vec<i32> {
    sqlx::query_scalar("SELECT i FROM t ORDER BY i").fetch_all(pool).await.unwrap()
}

/// Waits until something is so.
pub async fn until(so: impl Fn() -> bool) {
    millpond_testkit::until("what the test waits for", async || so()).await;
}
