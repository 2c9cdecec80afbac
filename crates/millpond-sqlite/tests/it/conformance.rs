//! Runs the conformance suite for every manager, for SQL managers, and for files.

use crate::support::Dir;
use futures_util::TryStreamExt;
use millpond_sqlite::{BoxError, PoolKind, Sqlite, SqliteManager, SqlitePoolOptions, Tracked};
use millpond_testkit::{Fixture, Mark, Plan, Served};
use sqlx::{AssertSqlSafe, Connection, Row, raw_sql};

/// A database file.
struct File(Dir);

impl Fixture for File {
    type Manager = SqliteManager;

    async fn manager(&self) -> Result<SqliteManager, String> {
        Ok(SqliteManager::new(self.0.options("conformance.db")))
    }

    async fn ask(&self, conn: &mut Tracked<Sqlite>, number: i64) -> Result<i64, BoxError> {
        Ok(sqlx::query_scalar("SELECT $1").bind(number).fetch_one(conn).await?)
    }

    async fn ask_worded(
        &self,
        conn: &mut Tracked<Sqlite>,
        wording: u64,
        number: i64,
    ) -> Result<i64, BoxError> {
        let sql = AssertSqlSafe(format!("SELECT $1, {wording}"));
        Ok(sqlx::query(sql).bind(number).fetch_one(conn).await?.try_get(0)?)
    }

    /// Counts the descriptors of this process that lead to the file: no server can count
    /// connections.
    async fn open_at_server(&self) -> Result<usize, BoxError> {
        let file = self.0.path().canonicalize()?.join("conformance.db");
        let links = std::fs::read_dir("/proc/self/fd")?
            .flatten()
            .map(|entry| std::fs::read_link(entry.path()));
        Ok(links.filter(|link| link.as_ref().is_ok_and(|link| *link == file)).count())
    }

    async fn refused(&self) -> Result<SqliteManager, BoxError> {
        Ok(SqliteManager::new(self.0.options("no-directory/conformance.db")))
    }

    async fn execute(&self, conn: &mut Tracked<Sqlite>, sql: &'static str) -> Result<(), BoxError> {
        raw_sql(sql).execute(conn).await?;
        Ok(())
    }

    async fn execute_unseen(
        &self,
        conn: &mut Tracked<Sqlite>,
        sql: &'static str,
    ) -> Result<(), BoxError> {
        raw_sql(sql).execute(&mut **conn).await?;
        Ok(())
    }

    async fn finds(&self, conn: &mut Tracked<Sqlite>, sql: &'static str) -> Result<bool, BoxError> {
        Ok(raw_sql(sql).fetch_optional(conn).await?.is_some())
    }

    fn beginnings(&self) -> &'static [&'static str] {
        &[
            "BEGIN",
            "begin immediate",
            "/* read */ BEGIN",
            "-- read\nBegin",
            "SELECT 1; BEGIN",
            "SAVEPOINT a",
            "BEGIN; SAVEPOINT a",
        ]
    }

    async fn begin(&self, conn: &mut Tracked<Sqlite>) -> Result<(), BoxError> {
        std::mem::forget(Connection::begin(&mut **conn).await?);
        Ok(())
    }

    async fn make_dirty(&self, conn: &mut Tracked<Sqlite>) -> Result<(), BoxError> {
        self.begin(conn).await
    }

    async fn is_dirty(&self, conn: &mut Tracked<Sqlite>) -> Result<bool, BoxError> {
        self.is_in_transaction(conn).await
    }

    async fn is_in_transaction(&self, conn: &mut Tracked<Sqlite>) -> Result<bool, BoxError> {
        // While a transaction is open, SQLite refuses another one.
        match raw_sql("BEGIN; ROLLBACK").execute(conn).await {
            Ok(_) => Ok(false),
            Err(error) if error.to_string().contains("within a transaction") => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    async fn fetch(&self, conn: &mut Tracked<Sqlite>, rows: usize) -> Result<(), BoxError> {
        const MANY: &str = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT \
            5000) SELECT x FROM n";
        let mut stream = sqlx::query(MANY).fetch(conn);
        for expected in (1..).take(rows) {
            let row = stream.try_next().await?.ok_or("there are fewer rows")?;
            assert_eq!(row.try_get::<i64, _>(0)?, expected);
        }
        Ok(())
    }

    fn url(&self) -> String {
        self.0.url("conformance.db")
    }

    fn pool(&self, plan: &Plan) -> Result<Served<Self>, BoxError> {
        let options = options(plan).pool(PoolKind::Queue);
        let pool = match plan.statements {
            Some(kept) => options
                .connect_lazy_with(self.0.options("conformance.db").statement_cache_capacity(kept)),
            None => options.connect_lazy(&plan.url),
        };
        Ok(pool?.pool())
    }

    fn marks(&self) -> &'static [Mark] {
        &[
            Mark {
                leave: "CREATE TEMP TABLE notes (i)",
                look: "SELECT 1 FROM sqlite_temp_schema WHERE name = 'notes'",
            },
            Mark {
                leave: "PRAGMA query_only = ON",
                look: "SELECT 1 FROM pragma_query_only WHERE query_only",
            },
            Mark {
                leave: "PRAGMA foreign_keys = OFF",
                look: "SELECT 1 FROM pragma_foreign_keys WHERE NOT foreign_keys",
            },
            Mark {
                leave: "ATTACH ':memory:' AS other",
                look: "SELECT 1 FROM pragma_database_list WHERE name = 'other'",
            },
        ]
    }

    async fn statements(&self, conn: &mut Tracked<Sqlite>) -> Result<u64, BoxError> {
        Ok(conn.driver().cached_statements_size().try_into()?)
    }

    fn in_memory(&self, plan: &Plan) -> Result<Served<Self>, BoxError> {
        Ok(options(plan).connect_lazy("sqlite::memory:")?.pool())
    }

    fn split(&self, plan: &Plan) -> Result<(Served<Self>, Served<Self>), BoxError> {
        let pool = options(plan).pool(PoolKind::ReadWrite).connect_lazy(&plan.url)?;
        Ok((pool.pool(), pool.reader().pool()))
    }
}

fn options(plan: &Plan) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .config(plan.config.clone())
        .reset(plan.reset)
        .observer(plan.trace.clone())
}

mod queue_pool {
    millpond_testkit::conformance! {
        fixture = super::File(super::Dir::new()),
        can = [
            Answers, Dirty, Counted, Refuses, Transactions, Streams, Pools, Session, Statements,
            Memory, Readers,
        ]
    }
}

mod null_pool {
    use millpond_core::NullPool;
    millpond_testkit::conformance! {
        fixture = super::File(super::Dir::new()),
        can = [Answers, Dirty, Counted, Refuses, Transactions, Streams], pool = NullPool
    }
}
