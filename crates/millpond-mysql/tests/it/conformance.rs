//! The manager keeps what the conformance suite asks of every manager, and of every SQL manager.

use crate::support::Server;
use futures_util::TryStreamExt;
use millpond_core::BoxError;
use millpond_mysql::{MySql, MySqlManager, Tracked};
use millpond_testkit::Fixture;
use sqlx::{Connection, Row, raw_sql};

struct Maria;

impl Fixture for Maria {
    type Manager = MySqlManager;

    async fn manager(&self) -> Result<MySqlManager, String> {
        Ok(MySqlManager::new(this()?.options()))
    }

    async fn ask(&self, conn: &mut Tracked<MySql>, number: i64) -> Result<i64, BoxError> {
        Ok(sqlx::query_scalar("SELECT ?").bind(number).fetch_one(conn).await?)
    }

    async fn kill(&self, conn: &mut Tracked<MySql>) -> Result<(), BoxError> {
        let id: u64 = sqlx::query_scalar("SELECT CONNECTION_ID()").fetch_one(conn).await?;
        this()?.execute(format!("KILL {id}")).await;
        Ok(())
    }

    async fn execute(&self, conn: &mut Tracked<MySql>, sql: &'static str) -> Result<(), BoxError> {
        raw_sql(sql).execute(conn).await?;
        Ok(())
    }

    async fn begin(&self, conn: &mut Tracked<MySql>) -> Result<(), BoxError> {
        std::mem::forget(Connection::begin(&mut **conn).await?);
        Ok(())
    }

    async fn is_in_transaction(&self, conn: &mut Tracked<MySql>) -> Result<bool, BoxError> {
        let row = raw_sql("SELECT CAST(@@in_transaction AS SIGNED)").fetch_one(conn).await?;
        Ok(row.try_get::<i64, _>(0)? != 0)
    }

    async fn fetch(&self, conn: &mut Tracked<MySql>, rows: usize) -> Result<(), BoxError> {
        let mut stream = sqlx::query("SELECT seq FROM seq_1_to_5000").fetch(conn);
        for _ in 0..rows {
            stream.try_next().await?;
        }
        Ok(())
    }
}

fn this() -> Result<Server, String> {
    let url = std::env::var("MILLPOND_TEST_MARIADB_URL").map_err(|_| "no MILLPOND_TEST_MARIADB_URL".to_owned())?;
    Ok(Server { url })
}

millpond_testkit::conformance! { fixture = Maria, can = [Answers, Dies, Transactions, Streams] }
