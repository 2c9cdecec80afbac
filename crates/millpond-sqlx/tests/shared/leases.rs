//! The pool knows what was done on a returned lease.

use crate::backend::MANY;
use crate::support::server;
use futures_util::TryStreamExt;
use millpond_sqlx::SyncState;
use sqlx::{Acquire, Executor};

#[tokio::test]
async fn unread_rows_leave_the_connection_in_doubt() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    let mut lease = pool.acquire().await.unwrap();
    sqlx::query(MANY).fetch_all(&mut *lease).await.unwrap();
    sqlx::query(MANY).fetch_one(&mut *lease).await.unwrap();
    drop(sqlx::query(MANY).fetch(&mut *lease));
    assert_eq!(lease.sync_state(), SyncState::Clean);
    let mut stream = sqlx::query(MANY).fetch(&mut *lease);
    stream.try_next().await.unwrap();
    drop(stream);
    assert_eq!(lease.sync_state(), SyncState::Undrained);
    drop(lease);
    let mut stream = sqlx::query(MANY).fetch(&pool);
    stream.try_next().await.unwrap();
    drop(stream);
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn sqlxs_own_transaction_on_a_lease_is_verified_on_return() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    let mut lease = pool.acquire().await.unwrap();
    let mut tx = Acquire::begin(&mut lease).await.unwrap();
    tx.execute("SELECT 1").await.unwrap();
    drop(tx);
    drop(lease);
    server.same_is_clean(&pool).await;
}
