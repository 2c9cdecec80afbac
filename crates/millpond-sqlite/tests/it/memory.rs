//! An in-memory database survives everything that its users do, and ends with its pool.

use crate::support::abandon_endless;
use millpond_core::{Invalidate, ResetLevel};
use millpond_sqlite::{
    HookFuture, PoolKind, SqlLease, SqliteConnectOptions, SqliteConnection, SqlitePool,
    SqlitePoolOptions,
};
use millpond_testkit::{Trace, poll_n};
use sqlx::{Acquire, ConnectOptions, Connection, Executor, Sqlite, raw_sql};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

async fn pond(options: SqlitePoolOptions) -> SqlitePool {
    let pool = options.connect("sqlite::memory:").await.unwrap();
    raw_sql(
        "CREATE TABLE ponds (name TEXT); CREATE TEMP TABLE notes (n INTEGER); INSERT INTO ponds \
         VALUES ('mill')",
    )
    .execute(&pool)
    .await
    .unwrap();
    pool
}

/// Asserts that all data is there, also that of the connection.
async fn is_whole(pool: &SqlitePool) {
    let mut lease = pool.acquire().await.unwrap();
    let names: Vec<String> =
        sqlx::query_scalar("SELECT name FROM ponds").fetch_all(&mut *lease).await.unwrap();
    assert_eq!(names, ["mill"]);
    sqlx::query("SELECT * FROM notes").execute(&mut *lease).await.unwrap();
    drop(lease);
    pool.begin_with("BEGIN IMMEDIATE").await.unwrap().rollback().await.unwrap();
}

#[tokio::test]
async fn an_in_memory_database_has_one_connection_whatever_is_set() {
    let pool = pond(SqlitePoolOptions::new().pool_size(20).max_overflow(40)).await;
    assert_eq!(pool.status().limit(), 1);
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                sqlx::query("INSERT INTO ponds VALUES ('x')").execute(&pool).await
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let rows: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM ponds").fetch_one(&pool).await.unwrap();
    assert_eq!(rows, 51);
}

#[tokio::test]
async fn two_pools_are_two_databases() {
    let (one, other) = (pond(SqlitePoolOptions::new()).await, pond(SqlitePoolOptions::new()).await);
    one.execute("DELETE FROM ponds").await.unwrap();
    is_whole(&other).await;
}

// B06
#[tokio::test]
async fn a_database_survives_dropped_queries_open_transactions_and_streams() {
    let trace = Trace::new();
    let pool = pond(SqlitePoolOptions::new().observer(trace.clone())).await;
    abandon_endless(&pool).await;
    is_whole(&pool).await;
    raw_sql("BEGIN; DELETE FROM ponds").execute(&pool).await.unwrap();
    is_whole(&pool).await;
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("DELETE FROM ponds").execute(&mut *tx).await.unwrap();
    abandon_endless(&mut *tx).await;
    drop(tx);
    is_whole(&pool).await;
    for polls in 0..12 {
        let _ = poll_n(pool.begin(), polls % 4).await;
    }
    is_whole(&pool).await;
    assert!(trace.closed().is_empty(), "{:?}", trace.closed());
}

// B06
#[tokio::test]
async fn a_database_survives_a_panicking_borrower() {
    let pool = pond(SqlitePoolOptions::new()).await;
    let theirs = pool.clone();
    let task = tokio::spawn(async move {
        let mut tx = theirs.begin().await.unwrap();
        sqlx::query("DELETE FROM ponds").execute(&mut *tx).await.unwrap();
        abandon_endless(&mut *tx).await;
        panic!("in the middle of it");
    });
    assert!(task.await.unwrap_err().is_panic());
    is_whole(&pool).await;
}

// B06
#[tokio::test]
async fn a_database_survives_an_idle_hour_and_a_day_of_use() {
    let pool = pond(SqlitePoolOptions::new().idle_timeout(Duration::from_secs(1))).await;
    for hours in [1, 24] {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(hours * 3600)).await;
        tokio::time::resume();
        is_whole(&pool).await;
    }
}

#[tokio::test]
async fn a_database_survives_a_discard_and_an_invalidation() {
    let pool = pond(SqlitePoolOptions::new()).await;
    SqlLease::discard(pool.acquire().await.unwrap());
    is_whole(&pool).await;
    for how in [Invalidate::Soft, Invalidate::Hard] {
        pool.invalidate_all(how);
        is_whole(&pool).await;
        let lease = pool.acquire().await.unwrap();
        pool.invalidate_all(how);
        drop(lease);
        is_whole(&pool).await;
    }
}

#[tokio::test]
async fn a_hook_that_cannot_be_repeated_is_called_once_and_its_effects_stay() {
    let options = SqlitePoolOptions::new().on_connect(|conn, _| {
        Box::pin(async move {
            conn.execute("CREATE TEMP TABLE scratch (n)").await?;
            Ok(())
        })
    });
    let pool = pond(options).await;
    for how in [None, Some(Invalidate::Soft), Some(Invalidate::Hard)] {
        match how {
            None => SqlLease::discard(pool.acquire().await.unwrap()),
            Some(how) => pool.invalidate_all(how),
        }
        is_whole(&pool).await;
        pool.execute("SELECT * FROM scratch").await.unwrap();
    }
}

#[tokio::test]
async fn half_done_work_of_a_failed_hook_does_not_disturb_its_next_attempt() {
    fn made_at_the_second_attempt<'a>(
        attempts: &AtomicU32,
        conn: &'a mut SqliteConnection,
    ) -> HookFuture<'a> {
        let attempt = attempts.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            conn.execute("CREATE TABLE made (i); CREATE TEMP TABLE near (i)").await?;
            if attempt == 0 { Err(std::io::Error::other("not yet").into()) } else { Ok(()) }
        })
    }
    for at_first in [true, false] {
        let (attempts, options) = (AtomicU32::new(0), SqlitePoolOptions::new());
        let options = if at_first {
            options.on_first_connect(move |conn, _| made_at_the_second_attempt(&attempts, conn))
        } else {
            options.on_connect(move |conn, _| made_at_the_second_attempt(&attempts, conn))
        };
        let pool = options.connect("sqlite::memory:").await.unwrap();
        pool.execute("SELECT * FROM made, near").await.unwrap();
        SqlLease::discard(pool.acquire().await.unwrap());
        pool.execute("SELECT * FROM made, near").await.unwrap();
    }
}

#[test]
fn a_database_survives_the_runtime_that_it_was_opened_on() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let pool = runtime().block_on(pond(SqlitePoolOptions::new()));
    runtime().block_on(is_whole(&pool));
    let lease = runtime().block_on(pool.acquire()).unwrap();
    drop(lease);
    runtime().block_on(is_whole(&pool));
}

#[tokio::test]
async fn a_database_ends_with_its_pool() {
    let pool = pond(SqlitePoolOptions::new()).await;
    let lease = pool.acquire().await.unwrap();
    let _ = pool.close_within(Duration::ZERO).await;
    drop(lease);
    assert!(pool.close_within(Duration::from_secs(5)).await.is_clean());
    assert!(matches!(pool.acquire().await, Err(sqlx::Error::PoolClosed)));
}

#[tokio::test]
async fn a_database_is_gone_after_its_pool_was_closed() {
    // sqlx's form has a name, by which another connection can open the database while it exists.
    let options = SqliteConnectOptions::from_str("sqlite::memory:").unwrap();
    let pool = SqlitePoolOptions::new().connect_with(options.clone()).await.unwrap();
    pool.execute("CREATE TABLE ponds (name TEXT)").await.unwrap();
    let mut outsider = options.connect().await.unwrap();
    outsider.execute("SELECT * FROM ponds").await.unwrap();
    outsider.close().await.unwrap();
    pool.close().await;
    let mut outsider = options.connect().await.unwrap();
    let error = outsider.execute("SELECT * FROM ponds").await.unwrap_err();
    assert!(error.to_string().contains("no such table"), "{error}");
    assert!(pool.is_closed());
}

#[tokio::test]
async fn after_detaching_the_connection_the_pool_creates_no_second_database() {
    let pool = pond(SqlitePoolOptions::new()).await;
    let mut conn = SqlLease::detach(pool.acquire().await.unwrap());
    conn.execute("SELECT * FROM ponds").await.unwrap();
    let error = pool.acquire_within(Duration::from_millis(20)).await.unwrap_err();
    assert!(error.to_string().contains("detached"), "{error}");
}

#[test]
fn options_that_would_lose_the_database_are_refused() {
    let build =
        |options: SqlitePoolOptions| options.connect_lazy("sqlite://").unwrap_err().to_string();
    assert!(build(SqlitePoolOptions::new().pool(PoolKind::Null)).contains("pool kind"));
    assert!(build(SqlitePoolOptions::new().pool(PoolKind::ReadWrite)).contains("pool kind"));
    assert!(build(SqlitePoolOptions::new().reset(ResetLevel::Replace)).contains("reset level"));
    assert!(build(SqlitePoolOptions::new().reset(ResetLevel::Session)).contains("reset level"));
}

#[tokio::test]
async fn sqlxs_in_memory_options_are_recognised_and_hidden_ones_are_refused() {
    let options = |url| SqliteConnectOptions::from_str(url).unwrap();
    for url in ["sqlite::memory:", "sqlite://:memory:"] {
        let pool = SqlitePoolOptions::new().connect_with(options(url)).await.unwrap();
        assert_eq!(pool.status().limit(), 1, "{url}");
    }
    let pool = SqlitePoolOptions::new().connect_with(SqliteConnectOptions::new()).await.unwrap();
    assert_eq!(pool.status().limit(), 1);
    let hidden = options("sqlite://x?mode=memory");
    let error = SqlitePoolOptions::new().connect_with(hidden).await.unwrap_err();
    assert!(error.to_string().contains("in-memory"), "{error}");
}

#[tokio::test]
async fn a_database_lost_by_a_panic_is_an_error_and_not_replaced_by_an_empty_one() {
    let pool = pond(SqlitePoolOptions::new()).await;
    // A column whose name is not UTF-8.
    raw_sql(
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = \
         CAST(x'435245415445205441424C4520706F6E6473202822FF2229' AS TEXT) WHERE name = 'ponds'; \
         PRAGMA writable_schema = RESET",
    )
    .execute(&pool)
    .await
    .unwrap();
    let error = sqlx::query("SELECT * FROM ponds").fetch_all(&pool).await.unwrap_err();
    assert!(error.to_string().contains("stopped before the end"), "{error}");
    for _ in 0..3 {
        let error = sqlx::query("SELECT 1").execute(&pool).await.unwrap_err();
        assert!(error.to_string().contains("the in-memory database is lost"), "{error}");
    }
}

#[tokio::test]
async fn it_survives_transactions_of_generic_code_wherever_they_are_dropped() {
    async fn delete<'a>(db: impl Acquire<'a, Database = Sqlite>) -> sqlx::Result<()> {
        let mut tx = db.begin().await?;
        sqlx::query("DELETE FROM ponds").execute(&mut *tx).await?;
        tx.rollback().await
    }
    let pool = pond(SqlitePoolOptions::new()).await;
    for polls in 0..30 {
        let _ = poll_n(delete(&pool), polls).await;
        is_whole(&pool).await;
    }
}

/// Its connection is lost there, and with it the database: an empty one must not take its place.
#[test]
fn a_transaction_of_generic_code_that_outlives_its_runtime_leaves_no_empty_database() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let options = SqlitePoolOptions::new().pool_timeout(Duration::from_secs(1));
    let pool = first.block_on(pond(options));
    let tx = first.block_on(Acquire::begin(&pool)).unwrap();
    // The task that would return the connection is begun, and never polled.
    first.block_on(async { drop(tx) });
    drop(first);
    let names = runtime().block_on(async {
        sqlx::query_scalar::<_, String>("SELECT name FROM ponds").fetch_all(&pool).await
    });
    let error = names.map(|names| assert_eq!(names, ["mill"])).err();
    assert!(error.is_none_or(|error| !error.to_string().contains("no such table")));
}
