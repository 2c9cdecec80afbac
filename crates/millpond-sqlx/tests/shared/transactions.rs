//! Transactions that own their connection, and their savepoints.

use crate::backend::Db;
use crate::support::{rows, server};
use millpond_sqlx::Transaction;
use sqlx::AssertSqlSafe;

async fn insert(tx: &mut Transaction<'_, Db>, i: i32) {
    sqlx::query(AssertSqlSafe(format!("INSERT INTO t VALUES ({i})")))
        .execute(&mut **tx)
        .await
        .unwrap();
}

#[tokio::test]
async fn commit_keeps_the_changes_and_rollback_and_drop_undo_them() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_tx").await;
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
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn savepoints_undo_only_their_own_changes() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_savepoints").await;
    let mut tx = pool.begin().await.unwrap();
    insert(&mut tx, 1).await;
    let mut kept = tx.begin().await.unwrap();
    insert(&mut kept, 2).await;
    let mut dropped = kept.begin().await.unwrap();
    insert(&mut dropped, 3).await;
    sqlx::query("SELECT nonsense").execute(&mut *dropped).await.unwrap_err();
    drop(dropped);
    kept.commit().await.unwrap();
    let mut undone = tx.begin().await.unwrap();
    insert(&mut undone, 4).await;
    undone.rollback().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(rows(&pool).await, [1, 2]);
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn a_transaction_can_begin_with_a_custom_statement() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_own_begin").await;
    let mut tx = pool.begin_with("START TRANSACTION READ ONLY").await.unwrap();
    let error = sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *tx).await.unwrap_err();
    assert!(error.to_string().to_lowercase().replace('-', " ").contains("read only"), "{error}");
    tx.rollback().await.unwrap();
    let error = pool.begin_with("SELECT 1").await.unwrap_err();
    assert!(matches!(error, sqlx::Error::BeginFailed));
    server.same_is_clean(&pool).await;
}
