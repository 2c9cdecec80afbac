//! The manager keeps what the conformance suite asks of every manager, and of every SQL manager.

use crate::support::Dir;
use futures_util::TryStreamExt;
use millpond_sqlite::{BoxError, Sqlite, SqliteManager, Tracked};
use millpond_testkit::Fixture;
use sqlx::{Connection, raw_sql};

/// A database in a file.
struct File(Dir);

impl Fixture for File {
    type Manager = SqliteManager;

    async fn manager(&self) -> Result<SqliteManager, String> {
        Ok(SqliteManager::new(self.0.options("conformance.db")))
    }

    async fn ask(&self, conn: &mut Tracked<Sqlite>, number: i64) -> Result<i64, BoxError> {
        Ok(sqlx::query_scalar("SELECT $1").bind(number).fetch_one(conn).await?)
    }

    async fn execute(&self, conn: &mut Tracked<Sqlite>, sql: &'static str) -> Result<(), BoxError> {
        raw_sql(sql).execute(conn).await?;
        Ok(())
    }

    async fn begin(&self, conn: &mut Tracked<Sqlite>) -> Result<(), BoxError> {
        std::mem::forget(Connection::begin(&mut **conn).await?);
        Ok(())
    }

    async fn is_in_transaction(&self, conn: &mut Tracked<Sqlite>) -> Result<bool, BoxError> {
        // Where one is open, another one is refused.
        match raw_sql("BEGIN; ROLLBACK").execute(conn).await {
            Ok(_) => Ok(false),
            Err(error) if error.to_string().contains("within a transaction") => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    async fn fetch(&self, conn: &mut Tracked<Sqlite>, rows: usize) -> Result<(), BoxError> {
        const MANY: &str = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 5000) SELECT x FROM n";
        let mut stream = sqlx::query(MANY).fetch(conn);
        for _ in 0..rows {
            stream.try_next().await?;
        }
        Ok(())
    }
}

mod queue_pool {
    millpond_testkit::conformance! {
        fixture = super::File(super::Dir::new()), can = [Answers, Transactions, Streams]
    }
}

mod null_pool {
    use millpond_core::NullPool;
    millpond_testkit::conformance! {
        fixture = super::File(super::Dir::new()), can = [Answers, Transactions, Streams], pool = NullPool
    }
}
