//! Code that is generic over sqlx's `Acquire` begins on a pool.

use crate::backend::{Db, Options};
use crate::support::url_of_a_database;
use millpond_sqlx::{SqlPool, pool_error};
use millpond_testkit::{poll_n, until};
use sqlx::{Acquire, Connection, Error, Executor};
use std::time::Duration;

/// What generic code looks like, as in a crate that knows only sqlx.
async fn in_a_transaction<'a>(source: impl Acquire<'a, Database = Db>) -> Result<i64, Error> {
    let mut tx = source.begin().await?;
    assert!(tx.is_in_transaction());
    let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&mut *tx).await?;
    tx.commit().await?;
    Ok(one.into())
}

fn options(size: u32) -> Options {
    Options::new()
        .pool_size(size)
        .max_overflow(0)
        .pool_timeout(Duration::from_secs(20))
        .ping_timeout(Duration::from_secs(10))
}

async fn pool() -> Option<SqlPool<Db>> {
    Some(options(1).connect(&url_of_a_database()?).await.unwrap())
}

#[tokio::test]
async fn generic_code_begins_and_commits_on_the_pool_itself() {
    let Some(pool) = pool().await else { return };
    for _ in 0..3 {
        assert_eq!(in_a_transaction(&pool).await.unwrap(), 1);
    }
    // The only connection went back each time, and its database is the same.
    assert_eq!(pool.size(), 1);
    assert!(!pool.acquire().await.unwrap().is_in_transaction());
}

#[tokio::test]
async fn a_transaction_of_generic_code_that_is_dropped_reaches_no_other_borrower() {
    let Some(pool) = pool().await else { return };
    for polls in 0..40 {
        let ended = poll_n(in_a_transaction(&pool), polls).await.is_some();
        let mut lease = pool.acquire().await.unwrap();
        assert!(!lease.is_in_transaction(), "after {polls} polls");
        let echo: i32 = sqlx::query_scalar("SELECT 4711").fetch_one(&mut *lease).await.unwrap();
        assert_eq!(echo, 4711, "after {polls} polls");
        drop(lease);
        if ended {
            break;
        }
    }
    let mut tx = Acquire::begin(&pool).await.unwrap();
    tx.execute("SELECT 1").await.unwrap();
    drop(tx);
    assert!(!pool.acquire().await.unwrap().is_in_transaction());
}

#[tokio::test]
async fn a_transaction_of_generic_code_counts_within_the_limit() {
    let Some(pool) = pool().await else { return };
    let tx = Acquire::begin(&pool).await.unwrap();
    let status = pool.status();
    assert_eq!((status.in_use, status.open), (1, 1));
    assert_eq!(pool.holders().len(), 1);
    assert!(pool.try_acquire().is_none());
    tx.rollback().await.unwrap();
    until("its connection is back", async || pool.status().in_use == 0).await;
}

#[tokio::test]
async fn many_tasks_of_generic_code_share_a_pool_of_two() {
    let Some(url) = url_of_a_database() else { return };
    let pool = options(2).connect(&url).await.unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for _ in 0..10 {
                    in_a_transaction(&pool).await.unwrap();
                    assert!(pool.status().open <= 2, "{:?}", pool.status());
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(pool.status().totals.peak <= 2, "{:?}", pool.status());
}

#[tokio::test]
async fn generic_code_has_the_errors_of_an_acquire() {
    let Some(url) = url_of_a_database() else { return };
    let pool = options(1).pool_timeout(Duration::from_secs(1)).connect(&url).await.unwrap();
    let held = pool.acquire().await.unwrap();
    let error = in_a_transaction(&pool).await.unwrap_err();
    let diagnosis = pool_error(&error).unwrap().to_string();
    assert!(diagnosis.contains(file!()), "the holder is named: {diagnosis}");
    drop(held);
    pool.close().await;
    assert!(matches!(in_a_transaction(&pool).await.unwrap_err(), Error::PoolClosed));
}

#[tokio::test]
async fn close_waits_for_a_transaction_of_generic_code() {
    let Some(pool) = pool().await else { return };
    let mut tx = Acquire::begin(&pool).await.unwrap();
    let closing = tokio::spawn({
        let pool = pool.clone();
        async move { pool.close_within(Duration::from_secs(20)).await }
    });
    until("the pool is closing", async || pool.is_closed()).await;
    tx.execute("SELECT 1").await.unwrap();
    tx.commit().await.unwrap();
    let report = closing.await.unwrap();
    assert_eq!(report.pending, 0, "{report:?}");
    assert_eq!(pool.status().open, 0);
}

/// sqlx's own types, as other crates name them.
#[tokio::test]
async fn the_transaction_is_sqlxs_own() {
    let Some(pool) = pool().await else { return };
    let mut tx: sqlx::Transaction<'_, Db> = Acquire::begin(&pool).await.unwrap();
    let inner = tx.begin().await.unwrap();
    inner.rollback().await.unwrap();
    tx.rollback().await.unwrap();
}
