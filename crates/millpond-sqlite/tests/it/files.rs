//! The file of a pool: its content after a close, and its replacement while connections are open.

use crate::support::Dir;
use millpond_sqlite::{PoolKind, SqlitePoolOptions};
use sqlx::{ConnectOptions, Executor, raw_sql};
use std::time::Duration;

#[tokio::test]
async fn after_close_all_data_is_in_the_file_and_none_in_the_log() {
    for kind in [PoolKind::Null, PoolKind::Queue, PoolKind::ReadWrite] {
        for _ in 0..20 {
            let dir = Dir::new();
            let options = SqlitePoolOptions::new().pool(kind).pool_size(4);
            let pool = options.connect(&dir.url("x.db")).await.unwrap();
            raw_sql("PRAGMA journal_mode = WAL").execute(&pool).await.unwrap();
            raw_sql("CREATE TABLE t (i); INSERT INTO t VALUES (1)").execute(&pool).await.unwrap();
            let leases =
                [pool.reader().acquire().await.unwrap(), pool.reader().acquire().await.unwrap()];
            let other = pool.reader().acquire().await.unwrap();
            drop((leases, other));
            pool.close().await;
            assert!(!dir.path().join("x.db-wal").exists(), "{kind:?}");
            std::fs::rename(dir.path().join("x.db"), dir.path().join("y.db")).unwrap();
            let mut conn = dir.options("y.db").connect().await.unwrap();
            let found: i64 =
                sqlx::query_scalar("SELECT i FROM t").fetch_one(&mut conn).await.unwrap();
            assert_eq!(found, 1);
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_is_replaced_or_removed_is_detected_before_the_next_statement() {
    for kind in [PoolKind::Queue, PoolKind::ReadWrite] {
        let dir = Dir::new();
        for name in ["x.db", "y.db"] {
            let mut conn = dir.options(name).connect().await.unwrap();
            conn.execute(raw_sql("CREATE TABLE t (i)")).await.unwrap();
        }
        let pool =
            SqlitePoolOptions::new().pool(kind).connect(&dir.url("x.db?mode=rw")).await.unwrap();
        pool.execute("INSERT INTO t VALUES (1)").await.unwrap();
        sqlx::query("SELECT i FROM t").execute(&pool).await.unwrap();
        let (held, idle) =
            (pool.reader().acquire().await.unwrap(), pool.reader().acquire().await.unwrap());
        drop(idle);
        std::fs::rename(dir.path().join("y.db"), dir.path().join("x.db")).unwrap();
        let error = pool.execute("INSERT INTO t VALUES (2)").await.unwrap_err();
        assert!(error.to_string().contains("was replaced"), "{error}");
        let still_open = |error: sqlx::Error| error.to_string().contains("still open");
        while !still_open(pool.acquire_within(Duration::from_millis(20)).await.unwrap_err()) {}
        drop(held);
        if kind == PoolKind::ReadWrite {
            // SQLite leaves the log behind when the file was replaced.
            let error = pool.execute("INSERT INTO t VALUES (3)").await.unwrap_err();
            assert!(error.to_string().contains("the write-ahead log"), "{error}");
            for name in ["x.db-wal", "x.db-shm"] {
                std::fs::remove_file(dir.path().join(name)).unwrap();
            }
        }
        pool.execute("INSERT INTO t VALUES (3)").await.unwrap();
        let found: Vec<i64> =
            sqlx::query_scalar("SELECT i FROM t").fetch_all(&pool.reader()).await.unwrap();
        assert_eq!(found, [3], "{kind:?}");
        std::fs::remove_file(dir.path().join("x.db")).unwrap();
        assert!(pool.reader().try_acquire().is_none(), "it is noticed here as well");
        let error = pool.reader().acquire_within(Duration::from_secs(5)).await.unwrap_err();
        let wanted =
            if kind == PoolKind::ReadWrite { "the write-ahead log" } else { "does not exist" };
        assert!(error.to_string().contains(wanted), "{error}");
    }
}
