//! The tokio-postgres managers of bb8 and deadpool.

use bb8_postgres::PostgresConnectionManager;
use bb8_postgres::tokio_postgres::{Client, Config, Error, NoTls};
use deadpool_postgres::{ClientWrapper, ManagerConfig, RecyclingMethod};
use millpond_compat::{Bb8, Deadpool};
use millpond_core::{BoxError, ErrorClass};
use millpond_testkit::{Fixture, variable};
use std::str::FromStr;

/// Identifies the sessions of one fixture at the server.
struct Sessions(String);

impl Sessions {
    fn new() -> Self {
        Self(format!("conformance-{:x}", fastrand::u64(..)))
    }

    fn config(&self) -> Result<Config, String> {
        let name = "MILLPOND_TEST_POSTGRES_URL";
        let url = variable(name).ok_or_else(|| format!("no {name}"))?;
        let mut config = Config::from_str(&url).map_err(|error| error.to_string())?;
        config.application_name(&self.0);
        Ok(config)
    }

    fn no_database(&self) -> Result<Config, String> {
        let mut config = self.config()?;
        config.dbname("no_such_database");
        Ok(config)
    }

    /// Runs a count over a session that is not counted.
    async fn count(&self, sql: &str) -> Result<i64, BoxError> {
        let mut config = self.config()?;
        config.application_name("conformance");
        let (client, connection) = config.connect(NoTls).await?;
        let driven = tokio::spawn(connection);
        let count = client.query_one(sql, &[&self.0]).await?.get(0);
        drop(client);
        driven.await??;
        Ok(count)
    }

    async fn open(&self) -> Result<usize, BoxError> {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
        Ok(usize::try_from(self.count(sql).await?)?)
    }
}

/// An address on which nothing listens.
fn nowhere() -> Config {
    let mut config = Config::new();
    config.host("127.0.0.1").port(1).user("nobody");
    config
}

async fn ask(client: &Client, number: i64) -> Result<i64, BoxError> {
    Ok(client.query_one("SELECT $1::bigint", &[&number]).await?.get(0))
}

async fn kill(client: &Client) -> Result<(), BoxError> {
    // No reply arrives, because the session ends before.
    let _ = client.simple_query("SELECT pg_terminate_backend(pg_backend_pid())").await;
    while !client.is_closed() {
        tokio::task::yield_now().await;
    }
    Ok(())
}

struct OfBb8(Sessions);

impl Fixture for OfBb8 {
    type Manager = Bb8<PostgresConnectionManager<NoTls>>;

    async fn manager(&self) -> Result<Self::Manager, String> {
        Ok(Bb8::new(PostgresConnectionManager::new(self.0.config()?, NoTls)))
    }

    async fn ask(&self, conn: &mut Client, number: i64) -> Result<i64, BoxError> {
        ask(conn, number).await
    }

    async fn kill(&self, conn: &mut Client) -> Result<(), BoxError> {
        kill(conn).await
    }

    async fn open_at_server(&self) -> Result<usize, BoxError> {
        self.0.open().await
    }

    async fn away(&self) -> Result<Self::Manager, BoxError> {
        Ok(Bb8::new(PostgresConnectionManager::new(nowhere(), NoTls)))
    }

    async fn refused(&self) -> Result<Self::Manager, BoxError> {
        let manager = PostgresConnectionManager::new(self.0.no_database()?, NoTls);
        // The manager itself knows nothing of errors.
        let classify = |error: &Error| match error.as_db_error() {
            Some(_) => ErrorClass::Permanent,
            None => ErrorClass::Transient,
        };
        Ok(Bb8::new(manager).classify_with(classify))
    }
}

struct OfDeadpool(Sessions);

impl Fixture for OfDeadpool {
    type Manager = Deadpool<deadpool_postgres::Manager>;

    async fn manager(&self) -> Result<Self::Manager, String> {
        let config = ManagerConfig { recycling_method: RecyclingMethod::Clean };
        let manager = deadpool_postgres::Manager::from_config(self.0.config()?, NoTls, config);
        Ok(Deadpool::new(manager))
    }

    async fn ask(&self, conn: &mut ClientWrapper, number: i64) -> Result<i64, BoxError> {
        ask(conn, number).await
    }

    async fn kill(&self, conn: &mut ClientWrapper) -> Result<(), BoxError> {
        kill(conn).await
    }

    async fn make_dirty(&self, conn: &mut ClientWrapper) -> Result<(), BoxError> {
        Ok(conn.batch_execute("LISTEN left_behind; SET work_mem = '7MB'").await?)
    }

    async fn is_dirty(&self, conn: &mut ClientWrapper) -> Result<bool, BoxError> {
        let sql = "SELECT EXISTS (SELECT * FROM pg_listening_channels())
            OR current_setting('work_mem') = '7MB'";
        Ok(conn.query_one(sql, &[]).await?.get(0))
    }

    async fn open_at_server(&self) -> Result<usize, BoxError> {
        self.0.open().await
    }
}

mod bb8 {
    millpond_testkit::conformance! {
        fixture = super::OfBb8(super::Sessions::new()),
        can = [Answers, Dies, Counted, Away, Refuses],
    }
}

mod deadpool {
    millpond_testkit::conformance! {
        fixture = super::OfDeadpool(super::Sessions::new()),
        can = [Answers, Dies, Counted, Dirty],
    }
}
