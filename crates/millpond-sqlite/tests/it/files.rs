//! The file of a pool: what is in it after close.

use crate::support::Dir;
use millpond_sqlite::{PoolKind, SqlitePoolOptions};
use sqlx::{ConnectOptions, raw_sql};

#[tokio::test]
async fn after_close_everything_is_in_the_file_and_nothing_in_the_log() {
    for kind in [PoolKind::Queue, PoolKind::ReadWrite] {
        for _ in 0..20 {
            let dir = Dir::new();
            let options = SqlitePoolOptions::new().pool(kind).pool_size(4);
            let pool = options.connect(&dir.url("x.db")).await.unwrap();
            raw_sql("PRAGMA journal_mode = WAL").execute(&pool).await.unwrap();
            raw_sql("CREATE TABLE t (i); INSERT INTO t VALUES (1)").execute(&pool).await.unwrap();
            let leases = [pool.reader().acquire().await.unwrap(), pool.reader().acquire().await.unwrap()];
            let other = pool.reader().acquire().await.unwrap();
            drop((leases, other));
            pool.close().await;
            assert!(!dir.path().join("x.db-wal").exists(), "{kind:?}");
            std::fs::rename(dir.path().join("x.db"), dir.path().join("y.db")).unwrap();
            let mut conn = dir.options("y.db").connect().await.unwrap();
            let found: i64 = sqlx::query_scalar("SELECT i FROM t").fetch_one(&mut conn).await.unwrap();
            assert_eq!(found, 1);
        }
    }
}
