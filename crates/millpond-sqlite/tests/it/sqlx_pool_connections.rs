//! Several connections of a pool of sqlx's type: what one borrower does reaches no other one.

use crate::support::Dir;
use millpond_sqlite::{PoolKind, SqlitePool, SqlitePoolOptions};
use sqlx::Executor;
use std::time::Duration;

async fn two(dir: &Dir, kind: PoolKind) -> SqlitePool {
    let options = SqlitePoolOptions::new().pool(kind).pool_size(3).max_overflow(0);
    let options = options.sqlx_connections(2).ping_timeout(Duration::from_secs(20));
    options.connect(&dir.url("two.db")).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_return_of_one_connection_interrupts_no_statement_on_another() {
    let dir = Dir::new();
    let pool = two(&dir, PoolKind::Queue).await;
    let theirs = pool.sqlx().unwrap();
    let mut other = theirs.acquire().await.unwrap();
    let mut busy = theirs.acquire().await.unwrap();
    other.execute("SELECT 1").await.unwrap();
    let work = tokio::spawn(async move {
        let sql = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 1000000) \
                   SELECT COUNT(*) FROM n";
        sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut *busy).await
    });
    while !work.is_finished() {
        drop(other);
        other = theirs.acquire().await.unwrap();
    }
    assert_eq!(work.await.unwrap().unwrap(), 1_000_000);
    drop(other);
    pool.close().await;
}

#[tokio::test]
async fn a_pragma_of_one_borrower_does_not_reach_the_next_one() {
    for kind in [PoolKind::Queue, PoolKind::Null] {
        let dir = Dir::new();
        let pool = two(&dir, kind).await;
        let theirs = pool.sqlx().unwrap();
        let sql = "PRAGMA foreign_keys";
        let mut conn = theirs.acquire().await.unwrap();
        let before: bool = sqlx::query_scalar(sql).fetch_one(&mut *conn).await.unwrap();
        assert!(before, "{kind}");
        conn.execute("PRAGMA foreign_keys = OFF").await.unwrap();
        drop(conn);
        for _ in 0..3 {
            let after: bool = sqlx::query_scalar(sql).fetch_one(&theirs).await.unwrap();
            assert!(after, "{kind}");
        }
        pool.close().await;
        assert_eq!(pool.status().open, 0, "{kind}");
    }
}
