//! The manager keeps what the conformance suite asks of every manager, and of every SQL manager.

use crate::support::Server;
use futures_util::TryStreamExt;
use millpond_core::BoxError;
use millpond_postgres::{PgManager, Postgres, Tracked};
use millpond_testkit::Fixture;
use sqlx::{Connection, Row, raw_sql};

struct Pg;

impl Fixture for Pg {
    type Manager = PgManager;

    async fn manager(&self) -> Result<PgManager, String> {
        Ok(PgManager::new(this()?.options()))
    }

    async fn ask(&self, conn: &mut Tracked<Postgres>, number: i64) -> Result<i64, BoxError> {
        Ok(sqlx::query_scalar("SELECT $1::int8").bind(number).fetch_one(conn).await?)
    }

    async fn kill(&self, conn: &mut Tracked<Postgres>) -> Result<(), BoxError> {
        let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(conn).await?;
        let kill = sqlx::query("SELECT pg_terminate_backend($1, 10000)").bind(pid);
        kill.execute(&mut this()?.connection().await).await?;
        Ok(())
    }

    async fn execute(&self, conn: &mut Tracked<Postgres>, sql: &'static str) -> Result<(), BoxError> {
        raw_sql(sql).execute(conn).await?;
        Ok(())
    }

    async fn begin(&self, conn: &mut Tracked<Postgres>) -> Result<(), BoxError> {
        std::mem::forget(Connection::begin(&mut **conn).await?);
        Ok(())
    }

    async fn is_in_transaction(&self, conn: &mut Tracked<Postgres>) -> Result<bool, BoxError> {
        // By the simple protocol: a statement with arguments begins its own transaction a message earlier.
        let row = raw_sql("SELECT now() <> statement_timestamp()").fetch_one(conn).await?;
        Ok(row.try_get(0)?)
    }

    async fn fetch(&self, conn: &mut Tracked<Postgres>, rows: usize) -> Result<(), BoxError> {
        let mut stream = sqlx::query("SELECT x FROM generate_series(1::int8, 5000) AS x").fetch(conn);
        for _ in 0..rows {
            stream.try_next().await?;
        }
        Ok(())
    }
}

fn this() -> Result<Server, String> {
    let url = std::env::var("MILLPOND_TEST_POSTGRES_URL").map_err(|_| "no MILLPOND_TEST_POSTGRES_URL".to_owned())?;
    Ok(Server { url })
}

millpond_testkit::conformance! { fixture = Pg, can = [Answers, Dies, Transactions, Streams] }
