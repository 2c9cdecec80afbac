//! Transactions that own their connection, and their savepoints.

use crate::support::Dir;
use millpond_sqlite::{SqlitePool, Transaction};
use sqlx::{Acquire, Error, Executor, Sqlite};

async fn rows(pool: &SqlitePool) -> Vec<i64> {
    sqlx::query_scalar("SELECT i FROM t ORDER BY i").fetch_all(pool).await.unwrap()
}

async fn insert(tx: &mut Transaction<'_, Sqlite>, i: i64) {
    sqlx::query("INSERT INTO t VALUES (?)").bind(i).execute(&mut **tx).await.unwrap();
}

async fn table(dir: &Dir) -> SqlitePool {
    let pool = dir.one().await;
    pool.execute("CREATE TABLE t (i INTEGER)").await.unwrap();
    pool
}

#[tokio::test]
async fn commit_keeps_the_changes_and_rollback_and_drop_undo_them() {
    let dir = Dir::new();
    let pool = table(&dir).await;
    let mut tx = pool.begin().await.unwrap();
    insert(&mut tx, 1).await;
    tx.commit().await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    insert(&mut tx, 2).await;
    tx.rollback().await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    insert(&mut tx, 3).await;
    drop(tx);
    assert_eq!(rows(&pool).await, [1]);
}

#[tokio::test]
async fn a_transaction_can_be_sent_and_outlives_the_handle_it_came_from() {
    let dir = Dir::new();
    let pool = table(&dir).await;
    let tx: Transaction<'static, Sqlite> = pool.clone().begin().await.unwrap();
    let task = tokio::spawn(async move {
        let mut tx = tx;
        insert(&mut tx, 1).await;
        tx.commit().await
    });
    task.await.unwrap().unwrap();
    assert_eq!(rows(&pool).await, [1]);
}

#[tokio::test]
async fn savepoints_nest_and_undo_only_their_own_changes() {
    let dir = Dir::new();
    let pool = table(&dir).await;
    let mut tx = pool.begin().await.unwrap();
    insert(&mut tx, 1).await;
    let mut inner = tx.begin().await.unwrap();
    insert(&mut inner, 2).await;
    let mut innermost = inner.begin().await.unwrap();
    insert(&mut innermost, 3).await;
    innermost.rollback().await.unwrap();
    inner.commit().await.unwrap();
    let mut dropped = tx.begin().await.unwrap();
    insert(&mut dropped, 4).await;
    drop(dropped);
    insert(&mut tx, 5).await;
    tx.commit().await.unwrap();
    assert_eq!(rows(&pool).await, [1, 2, 5]);
}

#[tokio::test]
async fn a_savepoint_can_follow_one_that_was_dropped() {
    let dir = Dir::new();
    let pool = table(&dir).await;
    for _ in 0..100 {
        let mut tx = pool.begin().await.unwrap();
        let mut dropped = tx.begin().await.unwrap();
        insert(&mut dropped, 1).await;
        let inner = dropped.begin().await.unwrap();
        drop(inner);
        drop(dropped);
        let mut kept = tx.begin().await.unwrap();
        insert(&mut kept, 2).await;
        kept.commit().await.unwrap();
        tx.commit().await.unwrap();
    }
    assert_eq!(rows(&pool).await, [2; 100]);
}

#[tokio::test]
async fn generic_code_gets_a_transaction_of_sqlxs_type() {
    async fn two<'a>(conn: impl Acquire<'a, Database = Sqlite>) -> sqlx::Result<()> {
        let mut tx = conn.begin().await?;
        tx.execute("INSERT INTO t VALUES (1)").await?;
        tx.execute("INSERT INTO t VALUES (2)").await?;
        tx.commit().await
    }
    let dir = Dir::new();
    let pool = table(&dir).await;
    let mut tx = pool.begin().await.unwrap();
    two(&mut tx).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(rows(&pool).await, [] as [i64; 0]);
    two(&mut pool.acquire().await.unwrap()).await.unwrap();
    assert_eq!(rows(&pool).await, [1, 2]);
    two(&pool).await.unwrap();
    assert_eq!(rows(&pool).await.len(), 4);
}

#[tokio::test]
async fn begin_with_runs_the_given_statement() {
    let dir = Dir::new();
    let pool = table(&dir).await;
    pool.begin_with("BEGIN EXCLUSIVE").await.unwrap().commit().await.unwrap();
    let error = pool.begin_with("SELECT 1").await.unwrap_err();
    assert!(matches!(error, Error::BeginFailed), "{error}");
    pool.begin_with("BEGIN NONSENSE").await.unwrap_err();
    pool.begin_with("BEGIN; SELECT * FROM nowhere").await.unwrap_err();
    let mut tx = pool.begin().await.unwrap();
    insert(&mut tx, 1).await;
    tx.commit().await.unwrap();
    assert_eq!(rows(&pool).await, [1]);
}

#[tokio::test]
async fn a_function_over_the_drivers_connection_runs_inside_the_transaction() {
    async fn helper(conn: &mut sqlx::SqliteConnection) {
        conn.execute("INSERT INTO t VALUES (7)").await.unwrap();
    }
    let dir = Dir::new();
    let pool = table(&dir).await;
    let mut tx = pool.begin().await.unwrap();
    helper(&mut tx).await;
    tx.rollback().await.unwrap();
    assert_eq!(rows(&pool).await, [] as [i64; 0]);
}
