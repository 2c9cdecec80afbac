//! What a pool lends through a pool of sqlx's own type.

use crate::backend::{Db, Options};
use crate::support::url_of_a_database;
use millpond_sqlx::{SqlPool, pool_error};
use millpond_testkit::{poll_n, until};
use sqlx::{Connection, Error, Executor, Pool};
use std::time::Duration;

/// What a crate looks like that knows only sqlx, such as a job queue.
async fn work(pool: &Pool<Db>) -> Result<i32, Error> {
    let mut tx = pool.begin().await?;
    let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&mut *tx).await?;
    tx.commit().await?;
    let two: i32 = sqlx::query_scalar("SELECT 2").fetch_one(pool).await?;
    Ok(one + two)
}

fn options(size: u32, connections: u32) -> Options {
    Options::new()
        .pool(millpond_core::PoolKind::Queue)
        .pool_size(size)
        .max_overflow(0)
        .pool_timeout(Duration::from_secs(20))
        .ping_timeout(Duration::from_secs(10))
        .sqlx_connections(connections)
}

/// A pool of sqlx's with one connection, and one with two; in memory there is only the first.
async fn pools() -> Vec<SqlPool<Db>> {
    let mut pools = Vec::new();
    if let Some(url) = url_of_a_database() {
        pools.push(options(1, 1).connect(&url).await.unwrap());
        if !url.contains(":memory:") {
            pools.push(options(3, 2).connect(&url).await.unwrap());
        }
    }
    pools
}

#[tokio::test]
async fn a_function_that_takes_sqlxs_pool_takes_that_of_a_pool() {
    for pool in pools().await {
        let theirs = pool.sqlx().unwrap();
        for _ in 0..4 {
            assert_eq!(work(&theirs).await.unwrap(), 3);
        }
        let ours: i32 = sqlx::query_scalar("SELECT 3").fetch_one(&pool).await.unwrap();
        assert_eq!(ours, 3);
        pool.close().await;
    }
}

#[tokio::test]
async fn both_pools_together_never_exceed_the_limit() {
    for pool in pools().await {
        let (theirs, limit) = (pool.sqlx().unwrap(), pool.status().limit());
        let tasks: Vec<_> = (0..12)
            .map(|number| {
                let (pool, theirs) = (pool.clone(), theirs.clone());
                tokio::spawn(async move {
                    for _ in 0..8 {
                        if number % 2 == 0 {
                            work(&theirs).await.unwrap();
                        } else {
                            sqlx::query("SELECT 1").execute(&pool).await.unwrap();
                        }
                        assert!(pool.status().open <= limit, "{:?}", pool.status());
                        assert!(theirs.size() <= limit, "{theirs:?}");
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(pool.status().totals.peak <= limit, "{:?}", pool.status());
        pool.close().await;
        assert_eq!(pool.status().open, 0);
    }
}

#[tokio::test]
async fn what_a_borrower_of_sqlxs_pool_leaves_open_reaches_nobody() {
    for pool in pools().await {
        let theirs = pool.sqlx().unwrap();
        for polls in 0..40 {
            if poll_n(work(&theirs), polls).await.is_some() {
                break;
            }
            let mut conn = theirs.acquire().await.unwrap();
            assert!(!conn.is_in_transaction(), "after {polls} polls");
            let echo: i32 = sqlx::query_scalar("SELECT 4711").fetch_one(&mut *conn).await.unwrap();
            assert_eq!(echo, 4711, "after {polls} polls");
            conn.execute("BEGIN").await.unwrap();
            drop(conn);
            let mut tx = theirs.begin().await.unwrap();
            assert!(tx.is_in_transaction());
            tx.execute("SELECT 1").await.unwrap();
            drop(tx);
            assert!(!pool.acquire().await.unwrap().is_in_transaction(), "after {polls} polls");
        }
        pool.close().await;
    }
}

#[tokio::test]
async fn sqlxs_pool_closes_with_the_pool() {
    for pool in pools().await {
        let theirs = pool.sqlx().unwrap();
        let conn = theirs.acquire().await.unwrap();
        let closing = tokio::spawn({
            let pool = pool.clone();
            async move { pool.close_within(Duration::from_secs(20)).await }
        });
        until("it is closed", async || theirs.is_closed()).await;
        assert!(matches!(theirs.acquire().await, Err(Error::PoolClosed)));
        drop(conn);
        let report = closing.await.unwrap();
        assert_eq!((report.pending, pool.status().open), (0, 0), "{report:?}");
        assert!(matches!(pool.sqlx(), Err(Error::PoolClosed)));
    }
}

#[tokio::test]
async fn a_task_that_waits_for_sqlxs_pool_does_not_hold_up_a_close() {
    let Some(url) = url_of_a_database() else { return };
    let options = options(1, 1).pool_timeout(Duration::from_secs(300));
    let pool = options.connect(&url).await.unwrap();
    let (theirs, lease) = (pool.sqlx().unwrap(), pool.acquire().await.unwrap());
    let waiting = tokio::spawn(async move { theirs.acquire().await.map(drop) });
    until("it waits", async || pool.status().waiting == 1).await;
    let closing = tokio::spawn({
        let pool = pool.clone();
        async move { pool.close_within(Duration::from_secs(3_600)).await }
    });
    until("the pool is closing", async || pool.is_closed()).await;
    drop(lease);
    let report = closing.await.unwrap();
    assert_eq!((report.pending, pool.status().open), (0, 0), "{report:?}");
    // sqlx would try until its own limit.
    waiting.abort();
}

#[tokio::test]
async fn a_pool_without_a_limit_of_time_has_one_of_sqlxs_type() {
    let Some(url) = url_of_a_database() else { return };
    let options = options(1, 1).limits(millpond_core::Limits::Off).pool_timeout(Duration::MAX);
    let pool = options.connect_lazy(&url).unwrap();
    assert_eq!(work(&pool.sqlx().unwrap()).await.unwrap(), 3);
}

#[tokio::test]
async fn sqlxs_pool_closes_when_the_last_handle_of_the_pool_is_dropped() {
    for pool in pools().await {
        let theirs = pool.sqlx().unwrap();
        work(&theirs).await.unwrap();
        drop(pool);
        assert!(matches!(theirs.acquire().await, Err(Error::PoolClosed)));
    }
}

#[tokio::test]
async fn a_connection_that_is_taken_out_of_sqlxs_pool_costs_no_slot_for_long() {
    let Some(url) = url_of_a_database().filter(|url| !url.contains(":memory:")) else { return };
    for connections in [1, 2] {
        let pool = options(3, connections).connect(&url).await.unwrap();
        let theirs = pool.sqlx().unwrap();
        for _ in 0..5 {
            let conn = theirs.acquire().await.unwrap().detach();
            conn.close().await.unwrap();
            work(&theirs).await.unwrap();
            assert!(pool.status().open <= 3);
        }
        // The next one is acquired from the pool itself, which has no other slot.
        let (conn, mut held) = (theirs.acquire().await.unwrap(), Vec::new());
        while let Ok(lease) = pool.acquire_within(Duration::from_millis(1)).await {
            held.push(lease);
        }
        conn.detach().close().await.unwrap();
        held.push(pool.acquire().await.unwrap());
        drop(held);
        pool.close().await;
        assert_eq!(pool.status().open, 0);
    }
}

#[test]
fn more_of_sqlxs_connections_than_the_pool_has_are_refused() {
    let Some(url) = url_of_a_database() else { return };
    for connections in [0, 3, 4] {
        let error = options(3, connections).connect_lazy(&url).unwrap_err().to_string();
        let says = format!("sqlx_connections = {connections} is out of range");
        assert!(error.contains(&says), "{error}");
    }
}

#[tokio::test]
async fn a_timeout_is_sqlxs_own_error_if_the_pool_is_asked_for_it() {
    let Some(url) = url_of_a_database() else { return };
    let options = options(1, 1).pool_timeout(Duration::from_secs(1));
    for sqlx_timeouts in [false, true] {
        let pool = options.clone().sqlx_timeouts(sqlx_timeouts).connect(&url).await.unwrap();
        let lease = pool.acquire().await.unwrap();
        for error in [
            pool.acquire().await.unwrap_err(),
            sqlx::query("SELECT 1").execute(&pool).await.unwrap_err(),
            sqlx::Acquire::begin(&pool).await.unwrap_err(),
            pool.downgrade().upgrade().unwrap().begin().await.unwrap_err(),
        ] {
            assert_eq!(matches!(error, Error::PoolTimedOut), sqlx_timeouts, "{error}");
            assert_eq!(pool_error(&error).is_none(), sqlx_timeouts, "{error}");
        }
        drop(lease);
    }
}

#[tokio::test]
async fn leases_and_pools_have_the_methods_of_sqlxs() {
    let Some(url) = url_of_a_database() else { return };
    let pool = options(1, 1).connect(&url).await.unwrap();
    let mut tx = pool.try_begin().await.unwrap().unwrap();
    assert!(pool.try_begin().await.unwrap().is_none(), "the only connection is lent");
    tx.execute("SELECT 1").await.unwrap();
    tx.rollback().await.unwrap();
    pool.acquire().await.unwrap().close().await.unwrap();
    let conn = pool.acquire().await.unwrap().detach();
    conn.close().await.unwrap();
}
