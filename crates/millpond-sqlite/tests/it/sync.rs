//! A returned connection is fit for the next borrower: no open transaction, no running statement.

use crate::support::{Dir, ENDLESS, abandon_endless, one};
use futures_util::TryStreamExt;
use millpond_sqlite::{SqlLease, SqlitePool, SyncState};
use millpond_testkit::{Trace, poll_n};
use sqlx::{Acquire, Connection, Either, Executor, SqliteConnection, raw_sql};
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::mpsc;

const MANY: &str =
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 5000) SELECT x FROM n";

/// Asserts that the next borrower gets the same connection, outside any transaction, and gets the
/// answer to its own query.
async fn next_is_clean(pool: &SqlitePool, id: u64) {
    let mut lease = pool.acquire().await.unwrap();
    assert_eq!(SqlLease::info(&lease).id.get(), id, "the connection was not worth closing");
    assert!(!lease.is_in_transaction());
    let answer: i64 =
        sqlx::query_scalar("SELECT ?").bind(4711).fetch_one(&mut *lease).await.unwrap();
    assert_eq!(answer, 4711);
    // Works only outside a transaction.
    lease.begin_with("BEGIN IMMEDIATE").await.unwrap().rollback().await.unwrap();
}

#[tokio::test]
async fn unread_rows_leave_the_connection_in_doubt() {
    let dir = Dir::new();
    let pool = dir.one().await;
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
    next_is_clean(&pool, 1).await;
}

#[tokio::test]
async fn a_transaction_that_was_committed_or_rolled_back_is_clean() {
    let dir = Dir::new();
    let pool = dir.one().await;
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("SELECT 1").execute(&mut *tx).await.unwrap();
    assert_eq!(tx.sync_state(), SyncState::InDoubt, "sqlx knows of it");
    tx.commit().await.unwrap();
    assert!(pool.try_acquire().is_some());
    pool.begin().await.unwrap().rollback().await.unwrap();
    assert!(pool.try_acquire().is_some());
}

#[tokio::test]
async fn a_dropped_transaction_or_savepoint_leaves_the_connection_in_doubt() {
    let dir = Dir::new();
    let pool = dir.one().await;
    drop(pool.begin().await.unwrap());
    assert!(pool.try_acquire().is_none(), "the maintenance task looks at it first");
    let mut tx = pool.begin().await.unwrap();
    drop(tx.begin().await.unwrap());
    tx.commit().await.unwrap();
    assert!(pool.try_acquire().is_none());
    next_is_clean(&pool, 1).await;
}

#[tokio::test]
async fn any_other_use_leaves_the_connection_in_doubt() {
    let dir = Dir::new();
    let pool = dir.one().await;
    for sql in [
        "PRAGMA user_version",
        "BEGIN; COMMIT",
        "SELECT 1; SELECT 2",
        "/*! x */ SELECT 1",
        "EXPLAIN SELECT 1",
    ] {
        let mut lease = pool.acquire().await.unwrap();
        assert_eq!(lease.sync_state(), SyncState::Clean);
        raw_sql(sql).execute(&mut *lease).await.unwrap();
        assert_eq!(lease.sync_state(), SyncState::InDoubt, "{sql}");
    }
    next_is_clean(&pool, 1).await;
}

#[tokio::test]
async fn sqlxs_own_transaction_on_a_lease_is_verified_on_return() {
    let dir = Dir::new();
    let pool = dir.one().await;
    let mut lease = pool.acquire().await.unwrap();
    let mut tx = Acquire::begin(&mut lease).await.unwrap();
    tx.execute("CREATE TABLE t (i INTEGER)").await.unwrap();
    drop(tx);
    drop(lease);
    next_is_clean(&pool, 1).await;
    sqlx::query("SELECT * FROM t").execute(&pool).await.unwrap_err();
}

#[tokio::test]
async fn a_forgotten_stream_does_not_hide_that_it_never_ended() {
    let dir = Dir::new();
    let pool = dir.one().await;
    let mut lease = pool.acquire().await.unwrap();
    let mut stream = sqlx::query(MANY).fetch(&mut *lease);
    stream.try_next().await.unwrap();
    std::mem::forget(stream);
    assert_eq!(lease.sync_state(), SyncState::Undrained);
}

#[tokio::test]
async fn a_hanging_driver_thread_costs_its_connection_and_delays_no_other_caller() {
    let dir = Dir::new();
    let limit = Duration::from_millis(200);
    let pool = one().ping_timeout(limit).connect(&dir.url("one.db")).await.unwrap();
    let (began, mut begins) = mpsc::unbounded_channel();
    let (end, ends) = std::sync::mpsc::channel::<()>();
    let ends = Mutex::new(ends);
    let mut lease = pool.acquire().await.unwrap();
    let mut handle = lease.lock_handle().await.unwrap();
    handle
        .create_collation("hangs", move |a, b| {
            began.send(()).unwrap();
            ends.lock().unwrap().recv().unwrap_err();
            a.cmp(b)
        })
        .unwrap();
    drop(handle);
    tokio::select! {
        answer = sqlx::query("SELECT 'a' < 'b' COLLATE hangs").fetch_one(&mut *lease) => {
            panic!("{answer:?}")
        }
        _ = begins.recv() => {}
    }
    drop(lease);
    for n in 0..3_i64 {
        let mut lease = pool.acquire().await.unwrap();
        assert_eq!(SqlLease::info(&lease).id.get(), 2);
        let answer: i64 =
            sqlx::query_scalar("SELECT ?").bind(n).fetch_one(&mut *lease).await.unwrap();
        assert_eq!(answer, n);
    }
    drop(end);
    pool.close().await;
}

#[tokio::test]
async fn a_dropped_query_is_interrupted_and_its_connection_lent_again() {
    let dir = Dir::new();
    let trace = Trace::new();
    let pool = one().observer(trace.clone()).connect(&dir.url("one.db")).await.unwrap();
    // The query never ends by itself, so any later answer shows that it was interrupted.
    let mut lease = pool.acquire().await.unwrap();
    assert!(poll_n(sqlx::query(ENDLESS).fetch_one(&mut *lease), 1).await.is_none());
    assert_eq!(lease.sync_state(), SyncState::Interrupted, "sent, and perhaps not begun");
    drop(lease);
    next_is_clean(&pool, 1).await;
    let mut lease = pool.acquire().await.unwrap();
    abandon_endless(&mut *lease).await;
    assert_eq!(lease.sync_state(), SyncState::Interrupted, "while it ran");
    drop(lease);
    next_is_clean(&pool, 1).await;
    abandon_endless(&pool).await;
    next_is_clean(&pool, 1).await;
    assert!(trace.closed().is_empty());
}

#[tokio::test]
async fn the_same_borrower_can_go_on_after_a_dropped_query() {
    let dir = Dir::new();
    let pool = dir.one().await;
    let mut lease = pool.acquire().await.unwrap();
    assert!(poll_n(sqlx::query(ENDLESS).fetch_one(&mut *lease), 1).await.is_none());
    let rows = sqlx::query(MANY).fetch_all(&mut *lease).await.unwrap();
    assert_eq!(rows.len(), 5000, "the interrupt flag is off again");
    assert!(poll_n(sqlx::query(ENDLESS).fetch_all(&mut *lease), 1).await.is_none());
    let one: i64 = sqlx::query_scalar("SELECT 1").fetch_one(&mut *lease).await.unwrap();
    assert_eq!(one, 1);
    assert_eq!(lease.sync_state(), SyncState::Interrupted, "the doubt remains");
}

#[tokio::test]
async fn an_earlier_dropped_query_does_not_interrupt_the_drivers_own_connection() {
    async fn helper(conn: &mut SqliteConnection) -> usize {
        sqlx::query(MANY).fetch_all(conn).await.unwrap().len()
    }
    let dir = Dir::new();
    let pool = dir.one().await;
    let mut lease = pool.acquire().await.unwrap();
    let mut rows = sqlx::query("VALUES (1), (2)").fetch(&mut *lease);
    rows.try_next().await.unwrap();
    drop(rows);
    assert_eq!(helper(&mut lease).await, 5000);
}

#[tokio::test]
async fn a_query_dropped_on_the_drivers_own_connection_is_interrupted_when_the_lease_ends() {
    let dir = Dir::new();
    let pool = dir.one().await;
    let mut lease = pool.acquire().await.unwrap();
    let conn: &mut SqliteConnection = &mut lease;
    assert!(poll_n(sqlx::query(ENDLESS).fetch_one(conn), 1).await.is_none());
    drop(lease);
    next_is_clean(&pool, 1).await;
}

#[tokio::test]
async fn a_query_on_the_pool_returns_its_connection_at_its_last_row() {
    let dir = Dir::new();
    let pool = dir.one().await;
    let mut stream = sqlx::query("VALUES (1), (2)").fetch(&pool);
    assert!(stream.try_next().await.unwrap().is_some());
    assert_eq!(pool.status().in_use, 1);
    assert!(stream.try_next().await.unwrap().is_some());
    assert!(stream.try_next().await.unwrap().is_none());
    assert_eq!(pool.status().in_use, 0, "although the stream is still there");
}

#[tokio::test]
async fn a_column_without_a_type_can_be_described() {
    let pool = one().connect("sqlite::memory:").await.unwrap();
    pool.execute("CREATE TABLE t (i)").await.unwrap();
    let found = pool.describe(sqlx::SqlStr::from_static("SELECT i, ? FROM t")).await.unwrap();
    assert_eq!((found.columns().len(), found.parameters()), (2, Some(Either::Right(1))));
}

#[tokio::test]
async fn preparing_and_describing_leave_the_connection_in_sync() {
    use sqlx::{SqlSafeStr, Statement};
    let dir = Dir::new();
    let pool = dir.one().await;
    let mut lease = pool.acquire().await.unwrap();
    let statement = lease.prepare("SELECT ? AS a".into_sql_str()).await.unwrap();
    assert_eq!(statement.columns().len(), 1);
    let answer: i64 = statement.query_scalar().bind(5).fetch_one(&mut *lease).await.unwrap();
    assert_eq!(answer, 5);
    let described =
        Executor::describe(&mut *lease, "SELECT 1 AS a, 2 AS b".into_sql_str()).await.unwrap();
    assert_eq!(described.columns.len(), 2);
    assert_eq!(lease.sync_state(), SyncState::Clean);
    drop(lease);
    assert_eq!((&pool).prepare("SELECT 1".into_sql_str()).await.unwrap().columns().len(), 1);
    assert_eq!(
        Executor::describe(&pool, "SELECT 1".into_sql_str()).await.unwrap().columns.len(),
        1
    );
}

#[tokio::test]
async fn a_hanging_driver_thread_is_detected_within_one_ping_timeout() {
    let dir = Dir::new();
    // Any wait but the ping would take an hour.
    let options =
        one().ping_timeout(Duration::from_millis(50)).close_timeout(Duration::from_secs(300));
    let pool = options.connect(&dir.url("one.db")).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    let id = SqlLease::info(&lease).id;
    // The connection waits forever for this handle.
    std::mem::forget(lease.lock_handle().await.unwrap());
    drop(lease);
    let lease = pool.acquire_within(Duration::from_secs(60)).await.unwrap();
    assert_ne!(SqlLease::info(&lease).id, id);
}

#[tokio::test]
async fn written_rows_stay_when_the_stream_that_returns_them_is_dropped() {
    const WRITE: &str = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 997) \
                         INSERT INTO t SELECT x FROM n RETURNING i";
    let dir = Dir::new();
    let pool = dir.one().await;
    pool.execute("CREATE TABLE t (i)").await.unwrap();
    for round in 1..=200 {
        let mut rows = sqlx::query(WRITE).fetch(&pool);
        for _ in 0..round {
            rows.try_next().await.unwrap().unwrap();
        }
        drop(rows);
        let mut tx = pool.begin().await.unwrap();
        let mut rows = sqlx::query(WRITE).fetch(&mut *tx);
        rows.try_next().await.unwrap().unwrap();
        drop(rows);
        tx.commit().await.unwrap();
        let count: i64 =
            sqlx::query_scalar("SELECT count(*) FROM t").fetch_one(&pool).await.unwrap();
        assert_eq!(count, 2 * 997 * round);
    }
}

#[tokio::test]
async fn a_progress_handler_that_a_borrower_sets_ends_with_the_lease() {
    let dir = Dir::new();
    for pool in [dir.one().await, one().connect("sqlite::memory:").await.unwrap()] {
        let mut lease = pool.acquire().await.unwrap();
        lease.lock_handle().await.unwrap().set_progress_handler(1, || false);
        drop(lease);
        assert_eq!(sqlx::query(MANY).fetch_all(&pool).await.unwrap().len(), 5000);
        let mut lease = pool.acquire().await.unwrap();
        lease.lock_handle().await.unwrap().remove_progress_handler();
        drop(lease);
        abandon_endless(&pool).await;
        pool.execute("SELECT 1").await.unwrap();
    }
}
