//! The reset levels.

use crate::support::{Dir, one};
use millpond_core::{CloseReason, ResetLevel};
use millpond_sqlite::SqlitePool;
use millpond_testkit::Trace;
use sqlx::{Executor, raw_sql};

async fn pool(dir: &Dir, level: ResetLevel) -> (SqlitePool, Trace) {
    let trace = Trace::new();
    let pool = one().reset(level).observer(trace.clone()).connect(&dir.url("x.db")).await.unwrap();
    (pool, trace)
}

async fn has_temp_table(pool: &SqlitePool) -> bool {
    pool.execute("SELECT * FROM notes").await.is_ok()
}

#[tokio::test]
async fn transaction_keeps_session_state() {
    let dir = Dir::new();
    let (pool, trace) = pool(&dir, ResetLevel::Transaction).await;
    raw_sql("CREATE TEMP TABLE notes (i)").execute(&pool).await.unwrap();
    assert!(has_temp_table(&pool).await);
    assert!(trace.closed().is_empty());
}

#[tokio::test]
async fn session_replaces_a_connection_whose_session_may_have_changed_and_keeps_the_others() {
    let dir = Dir::new();
    let (pool, trace) = pool(&dir, ResetLevel::Session).await;
    for _ in 0..3 {
        pool.execute("SELECT 1").await.unwrap();
    }
    assert_eq!(trace.count("connected"), 1);
    raw_sql("CREATE TEMP TABLE notes (i)").execute(&pool).await.unwrap();
    assert!(!has_temp_table(&pool).await);
    assert_eq!(trace.closed(), [CloseReason::Unverified]);
}

#[tokio::test]
async fn replace_keeps_nothing() {
    let dir = Dir::new();
    let (pool, trace) = pool(&dir, ResetLevel::Replace).await;
    for _ in 0..3 {
        pool.execute("SELECT 1").await.unwrap();
    }
    assert_eq!(trace.count("connected"), 4, "one to see that the database can be opened");
}

#[tokio::test]
async fn reset_none_lends_connections_unchanged_but_no_broken_ones() {
    let dir = Dir::new();
    let (pool, trace) = pool(&dir, ResetLevel::None).await;
    pool.execute("BEGIN").await.unwrap();
    let error = pool.execute("BEGIN").await.unwrap_err();
    assert!(error.to_string().contains("within a transaction"), "{error}");
    assert!(trace.closed().is_empty());
}
