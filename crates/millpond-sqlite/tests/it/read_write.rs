//! One writer and many readers: which statements go where, and no lock waits within the pool.

use crate::support::{Dir, abandon_endless};
use futures_util::TryStreamExt;
use millpond_sqlite::{PoolKind, SqlitePool, SqlitePoolOptions};
use sqlx::{ConnectOptions, Executor, raw_sql};
use std::time::Duration;

/// Returns true if the connection that executes the statement is a reader.
async fn is_reader<'e>(executor: impl Executor<'e, Database = sqlx::Sqlite>) -> bool {
    // A table-valued pragma in a SELECT, whose text only reads.
    sqlx::query_scalar("SELECT query_only FROM pragma_query_only")
        .fetch_one(executor)
        .await
        .unwrap()
}

// B07
#[tokio::test]
async fn reads_go_to_a_reader_and_everything_else_to_the_writer() {
    let dir = Dir::new();
    let pool = dir.read_write().await;
    assert!(is_reader(&pool).await);
    assert!(is_reader(&pool.reader()).await);
    assert!(!is_reader(&mut *pool.acquire().await.unwrap()).await);
    let mut tx = pool.begin().await.unwrap();
    assert!(!is_reader(&mut *tx).await);
    sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();

    let id: i64 =
        sqlx::query_scalar("INSERT INTO t VALUES (2) RETURNING i").fetch_one(&pool).await.unwrap();
    assert_eq!(id, 2);
    let last: i64 =
        sqlx::query_scalar("SELECT last_insert_rowid()").fetch_one(&pool).await.unwrap();
    assert_eq!(last, 2, "asked of the connection that wrote");
    let all: Vec<i64> =
        sqlx::query_scalar("SELECT i FROM t ORDER BY i").fetch_all(&pool).await.unwrap();
    assert_eq!(all, [1, 2], "a reader sees what was committed");
    let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&pool).await.unwrap();
    assert_eq!(version, 0);
}

#[tokio::test]
async fn reads_go_on_during_a_write() {
    let dir = Dir::new();
    let pool = dir.read_write().await;
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *tx).await.unwrap();
    let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM t").fetch_one(&pool).await.unwrap();
    assert_eq!(rows, 0);
    assert!(pool.try_acquire().is_none(), "the only writer is taken");
    tx.commit().await.unwrap();
    let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM t").fetch_one(&pool).await.unwrap();
    assert_eq!(rows, 1);
}

#[tokio::test]
async fn a_reader_refuses_to_write_and_stays_a_reader() {
    let dir = Dir::new();
    let pool = dir.read_write().await;
    pool.reader().resize(1, 0).unwrap();
    for sql in [
        "INSERT INTO t VALUES (1)",
        "CREATE TABLE u (i)",
        "CREATE TEMP TABLE u (i)",
        "BEGIN IMMEDIATE",
    ] {
        let error = raw_sql(sql).execute(&pool.reader()).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("8"), "{sql}");
    }
    // A reader's `query_only` can be turned off, but not for the next borrower.
    raw_sql("PRAGMA query_only = OFF").execute(&pool.reader()).await.unwrap();
    assert!(is_reader(&pool).await);
    raw_sql("INSERT INTO t VALUES (1)").execute(&pool.reader()).await.unwrap_err();
}

#[tokio::test]
async fn the_database_is_in_wal_mode_and_its_pools_have_their_sizes() {
    let dir = Dir::new();
    let pool = dir.read_write().await;
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&pool).await.unwrap();
    assert_eq!(mode, "wal");
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&pool).await.unwrap();
    assert_eq!(synchronous, 1);
    assert_eq!(pool.status().limit(), 1);
    assert_eq!(pool.reader().status().limit(), 3);
    pool.resize(4, 0).unwrap();
    assert_eq!(pool.status().limit(), 1, "there is one writer");
    assert_eq!(pool.reader().status().limit(), 4);
    pool.prewarm(4).await.unwrap();
    assert_eq!((pool.status().idle, pool.reader().status().idle), (1, 4));
    assert_eq!((pool.size(), pool.num_idle()), (5, 5));
    pool.close().await;
    assert!(pool.is_closed() && pool.reader().is_closed());
}

#[tokio::test]
async fn a_transaction_holds_the_write_lock_from_its_first_moment() {
    let dir = Dir::new();
    let pool = dir.read_write().await;
    let _tx = pool.begin().await.unwrap();
    let mut outsider = dir.options("rw.db").busy_timeout(Duration::ZERO).connect().await.unwrap();
    let error = outsider.execute("BEGIN IMMEDIATE").await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("5"));
}

#[tokio::test]
async fn a_reader_that_is_opened_first_finds_a_database() {
    let dir = Dir::new();
    let options = SqlitePoolOptions::new().pool(PoolKind::ReadWrite);
    let pool = options.connect_lazy(&dir.url("new.db")).unwrap();
    let tables: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_schema").fetch_one(&pool).await.unwrap();
    assert_eq!(tables, 0);
}

#[tokio::test]
async fn hooks_that_write_run_on_writer_and_readers_and_on_first_connect_runs_once() {
    let dir = Dir::new();
    for lazily in [false, true] {
        let options = SqlitePoolOptions::new()
            .pool(PoolKind::ReadWrite)
            .on_first_connect(|conn, _| {
                Box::pin(async move {
                    conn.execute("CREATE TABLE jobs (i); INSERT INTO jobs VALUES (1)").await?;
                    Ok(())
                })
            })
            .on_connect(|conn, _| {
                Box::pin(async move {
                    conn.execute("CREATE TEMP TABLE scratch (n)").await?;
                    Ok(())
                })
            });
        let url = dir.url(&format!("{lazily}.db"));
        let pool = if lazily { options.connect_lazy(&url) } else { options.connect(&url).await };
        let pool = pool.unwrap();
        let jobs = "SELECT COUNT(*) FROM jobs";
        let jobs: i64 = sqlx::query_scalar(jobs).fetch_one(&pool.reader()).await.unwrap();
        assert_eq!(jobs, 1);
        pool.reader().execute("SELECT * FROM scratch").await.unwrap();
        sqlx::query("INSERT INTO scratch SELECT i FROM jobs").execute(&pool).await.unwrap();
        assert!(is_reader(&pool).await);
    }
}

#[tokio::test]
async fn connect_returns_the_error_that_keeps_readers_from_being_opened() {
    let dir = Dir::new();
    let options = SqlitePoolOptions::new().pool(PoolKind::ReadWrite).on_connect(|_, info| {
        let is_reader = info.pool.ends_with("-reader");
        Box::pin(async move {
            let no = || Err(sqlx::Error::Configuration("no readers today".into()).into());
            if is_reader { no() } else { Ok(()) }
        })
    });
    let error = options.connect(&dir.url("x.db")).await.unwrap_err();
    assert!(error.to_string().contains("no readers today"), "{error}");
}

// A reader that shares the writer's cache waits forever.
#[tokio::test]
async fn a_shared_cache_in_the_url_delays_no_reader() {
    let dir = Dir::new();
    drop(dir.read_write().await);
    let url = format!("{}?cache=shared", dir.url("rw.db"));
    let pool = SqlitePoolOptions::new().pool(PoolKind::ReadWrite).connect(&url).await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *tx).await.unwrap();
    let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM t").fetch_one(&pool).await.unwrap();
    assert_eq!(rows, 0);
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_dropped_read_frees_its_reader_and_leaves_the_writer_alone() {
    let dir = Dir::new();
    let pool = dir.read_write().await;
    pool.resize(1, 0).unwrap();
    abandon_endless(&pool).await;
    let mut rows = sqlx::query("VALUES (1), (2)").fetch(&pool);
    rows.try_next().await.unwrap();
    drop(rows);
    assert!(is_reader(&pool).await);
    assert_eq!(pool.reader().status().totals.created, 1);
}

async fn transfer(pool: &SqlitePool, n: u32) -> sqlx::Result<()> {
    match n % 5 {
        0 => {
            // Reads first and then writes: this gives error 517 on equal connections to the file.
            let mut tx = pool.begin().await?;
            let i: i64 = sqlx::query_scalar("SELECT MAX(i) FROM t").fetch_one(&mut *tx).await?;
            sqlx::query("INSERT INTO t VALUES (?)").bind(i + 1).execute(&mut *tx).await?;
            tx.commit().await
        }
        1 => sqlx::query("UPDATE t SET i = i WHERE i = ?").bind(n).execute(pool).await.map(|_| ()),
        _ => sqlx::query("SELECT COUNT(*) FROM t WHERE i > ?")
            .bind(n)
            .fetch_one(pool)
            .await
            .map(|_| ()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_tasks_that_read_and_write_never_wait_for_a_lock() {
    let dir = Dir::new();
    let pool = dir.read_write().await;
    sqlx::query("INSERT INTO t VALUES (0)").execute(&pool).await.unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for n in 0..200 {
                    transfer(&pool, task + n).await?;
                }
                Ok::<(), sqlx::Error>(())
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let last: i64 = sqlx::query_scalar("SELECT MAX(i) FROM t").fetch_one(&pool).await.unwrap();
    assert_eq!(last, 8 * 200 / 5, "no transfer was lost");
}
