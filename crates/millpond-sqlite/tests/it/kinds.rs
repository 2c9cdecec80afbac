//! Which connections each kind of pool keeps, and how a pool is controlled.

use crate::support::{Dir, one};
use millpond_core::{CloseReason, Invalidate};
use millpond_sqlite::{Limits, PoolKind, SqlLease, SqlitePool, SqlitePoolOptions, pool_error};
use millpond_testkit::Trace;
use std::time::Duration;

fn options(kind: PoolKind) -> SqlitePoolOptions {
    SqlitePoolOptions::new().pool(kind)
}

async fn id(pool: &SqlitePool) -> u64 {
    SqlLease::info(&pool.acquire().await.unwrap()).id.get()
}

#[tokio::test]
async fn a_file_is_not_pooled_unless_asked_for() {
    let dir = Dir::new();
    let trace = Trace::new();
    let pool =
        SqlitePoolOptions::new().observer(trace.clone()).connect(&dir.url("x.db")).await.unwrap();
    let first = id(&pool).await;
    assert!(id(&pool).await > first, "a new connection each time");
    assert_eq!(pool.status().idle, 0);
    pool.close().await;
    assert!(
        trace.closed().iter().all(|reason| *reason == CloseReason::NotPooled),
        "{:?}",
        trace.closed()
    );
}

#[tokio::test]
async fn a_queue_keeps_its_connection() {
    let dir = Dir::new();
    let pool = options(PoolKind::Queue).connect(&dir.url("x.db")).await.unwrap();
    assert_eq!(id(&pool).await, id(&pool).await);
    assert_eq!(pool.status().idle, 1);
}

#[tokio::test]
async fn hundreds_of_callers_that_open_a_new_file_at_once_get_their_connections() {
    let dir = Dir::new();
    let pragmas =
        millpond_sqlite::PragmaHook::new().journal_mode(millpond_sqlite::SqliteJournalMode::Wal);
    const MINUTES: Duration = Duration::from_secs(300);
    let trace = Trace::new();
    let pool = SqlitePoolOptions::new()
        .pragma(pragmas)
        .max_connecting(30)
        .limits(Limits::Off)
        .pool_timeout(MINUTES)
        .connect_timeout(MINUTES)
        .observer(trace.clone())
        .connect_lazy(&dir.url("new.db"))
        .unwrap();
    let tasks: Vec<_> = (0..300)
        .map(|n| {
            let pool = pool.clone();
            tokio::spawn(async move {
                sqlx::query_scalar::<_, i64>("SELECT ?").bind(n).fetch_one(&pool).await
            })
        })
        .collect();
    for (n, task) in (0..).zip(tasks) {
        assert_eq!(task.await.unwrap().unwrap(), n);
    }
    assert_eq!(trace.count("connect failed"), 0);
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&pool).await.unwrap();
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn holders_are_named_by_source_line_and_pool_queries_by_their_first_words() {
    use futures_util::TryStreamExt;
    let dir = Dir::new();
    let pool = options(PoolKind::Queue).connect(&dir.url("x.db")).await.unwrap();
    let here = line!() + 1;
    let lease = pool.acquire().await.unwrap();
    let tx = pool.begin().await.unwrap();
    let mut stream =
        sqlx::query("SELECT name FROM sqlite_schema UNION SELECT 'secret'").fetch(&pool);
    stream.try_next().await.unwrap();
    let holders = pool.holders();
    assert_eq!(holders.len(), 3);
    let held_at = |line: u32| {
        let at = holders.iter().map(|holder| holder.location);
        at.filter(|at| at.file().ends_with("kinds.rs") && at.line() == line).count()
    };
    assert_eq!(held_at(here), 1, "{holders:?}");
    assert_eq!(held_at(here + 1), 1, "{holders:?}");
    let labels: Vec<_> = holders.iter().filter_map(|holder| holder.label).collect();
    assert_eq!(labels, ["SELECT name FROM sqlite_schema UNION SELECT"]);
    let report = pool.close_within(Duration::ZERO).await.to_string();
    assert!(report.contains("`SELECT name FROM sqlite_schema UNION SELECT` for "), "{report}");
    assert!(!report.contains("secret"), "{report}");
    drop((lease, tx));
}

#[tokio::test]
async fn a_pool_can_be_resized_invalidated_suspended_and_prewarmed() {
    let dir = Dir::new();
    let pool = options(PoolKind::Queue).connect(&dir.url("x.db")).await.unwrap();
    pool.resize(2, 0).unwrap();
    assert_eq!(pool.status().limit(), 2);
    assert!(pool.resize(51, 0).unwrap_err().to_string().contains("pool_size"));
    pool.prewarm(2).await.unwrap();
    assert_eq!(pool.status().idle, 2);
    pool.suspend();
    assert!(pool.try_acquire().is_none());
    let error = pool.acquire_within(Duration::from_millis(1)).await.unwrap_err();
    assert!(error.to_string().contains("suspended"), "{error}");
    pool.resume();
    let before = id(&pool).await;
    pool.invalidate_all(Invalidate::Soft);
    assert!(id(&pool).await > before);
}

#[tokio::test]
async fn the_reader_of_a_pool_without_readers_is_the_pool_itself() {
    let dir = Dir::new();
    let pool = dir.one().await;
    let lease = pool.reader().acquire().await.unwrap();
    assert_eq!(pool.status().in_use, 1);
    drop(lease);
}

#[tokio::test]
async fn close_within_names_the_holders_of_connections() {
    let dir = Dir::new();
    let pool = dir.one().await;
    let lease = pool.acquire().await.unwrap();
    let report = pool.close_within(Duration::from_millis(1)).await;
    assert!(report.holders[0].location.file().ends_with("kinds.rs"));
    let error = pool.acquire().await.unwrap_err();
    assert!(matches!(error, sqlx::Error::PoolClosed));
    assert!(pool_error(&error).unwrap().is_closed());
    drop(lease);
}

#[tokio::test]
async fn a_connection_can_be_detached_or_discarded() {
    let dir = Dir::new();
    let trace = Trace::new();
    let pool = one().observer(trace.clone()).connect(&dir.url("x.db")).await.unwrap();
    let mut conn = SqlLease::detach(pool.acquire().await.unwrap());
    sqlx::query("SELECT 1").execute(&mut conn).await.unwrap();
    SqlLease::discard(pool.acquire().await.unwrap());
    sqlx::query("SELECT 1").execute(&pool).await.unwrap();
    assert_eq!(trace.count("connected"), 3);
    assert_eq!(trace.closed(), [CloseReason::Discarded]);
}

#[test]
fn debug_shows_the_kind_and_nothing_else() {
    let options = SqlitePoolOptions::new();
    let pool = options.connect_lazy("sqlite:///secret/place.db").unwrap();
    let text = format!("{pool:?}");
    assert!(text.contains("null") && !text.contains("secret"), "{text}");
}
