//! Code that was written for sqlx's pool options, with changed imports alone.
#![expect(deprecated, reason = "sqlx's own names are tested")]

use crate::backend::Options as PoolOptions;
use crate::support::url_of_a_database;
use millpond_core::PoolKind;
use sqlx::{Error, Executor};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

#[tokio::test]
async fn sqlxs_own_names_have_sqlxs_meaning() {
    let Some(url) = url_of_a_database() else { return };
    let (connected, released) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let acquired = Arc::new(AtomicU32::new(0));
    let counters = (Arc::clone(&connected), Arc::clone(&acquired), Arc::clone(&released));
    let pool = PoolOptions::new()
        .pool(PoolKind::Queue)
        .max_connections(1)
        .min_connections(1)
        .acquire_timeout(Duration::from_millis(100))
        .idle_timeout(Duration::from_secs(600))
        .max_lifetime(Duration::from_secs(1_800))
        .test_before_acquire(true)
        .after_connect(move |conn, _meta| {
            connected.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                conn.execute("SELECT 1").await?;
                Ok(())
            })
        })
        .before_acquire(move |_conn, meta| {
            acquired.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move { Ok(meta.age < Duration::from_secs(600)) })
        })
        .after_release(move |_conn, _meta| {
            released.fetch_add(1, Ordering::Relaxed);
            Box::pin(async { Ok(true) })
        })
        .connect_lazy(&url)
        .unwrap();
    assert_eq!(pool.status().limit(), 1);
    let (connected, acquired, released) = counters;
    for round in 0..3 {
        // The limit of 100 ms is for the timeout below; a slow machine may need more.
        let conn = pool.acquire_within(Duration::from_secs(20)).await.unwrap();
        assert_eq!(connected.load(Ordering::Relaxed), 1);
        assert_eq!(acquired.load(Ordering::Relaxed), round);
        let error = pool.acquire().await.unwrap_err();
        assert!(matches!(error, Error::PoolTimedOut), "{error}");
        drop(conn);
        let is_released = async || released.load(Ordering::Relaxed) == round + 1;
        millpond_testkit::until("the callback was called", is_released).await;
    }
}
