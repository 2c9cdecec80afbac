//! What comes back is fit for the next borrower: no open transaction, no statement that still runs.

use crate::support::{Diary, Dir, ENDLESS, abandon_endless, cut_after, one};
use futures_util::TryStreamExt;
use millpond_sqlite::{SqlLease, SqlitePool, Standing};
use sqlx::{Acquire, Connection, Executor, Row, SqliteConnection, raw_sql};

const MANY: &str = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 5000) SELECT x FROM n";

/// The next borrower gets the same connection, outside any transaction, and is answered with what it asked.
async fn next_is_clean(pool: &SqlitePool, id: u64) {
    let mut lease = pool.acquire().await.unwrap();
    assert_eq!(SqlLease::info(&lease).id.get(), id, "the connection was not worth closing");
    assert!(!lease.is_in_transaction());
    let answer: i64 = sqlx::query_scalar("SELECT ?").bind(4711).fetch_one(&mut *lease).await.unwrap();
    assert_eq!(answer, 4711);
    // Works only outside a transaction.
    lease.begin_with("BEGIN IMMEDIATE").await.unwrap().rollback().await.unwrap();
}

#[tokio::test]
async fn single_statements_that_ran_to_their_end_are_clean_and_come_back_without_io() {
    let dir = Dir::new();
    let pool = dir.one().await;
    let mut lease = pool.acquire().await.unwrap();
    raw_sql("CREATE TABLE t (i INTEGER UNIQUE)").execute(&mut *lease).await.unwrap();
    drop(lease);
    let mut lease = pool.acquire().await.unwrap();
    for sql in
        ["INSERT INTO t VALUES (1)", "UPDATE t SET i = 2", "DELETE FROM t", "VALUES (1)", "select 1;", "-- x\nSELECT 1"]
    {
        sqlx::query(sql).execute(&mut *lease).await.unwrap();
        assert_eq!(lease.standing(), Standing::Clean, "{sql}");
    }
    sqlx::query(MANY).fetch_all(&mut *lease).await.unwrap();
    sqlx::query(MANY).fetch_one(&mut *lease).await.unwrap();
    sqlx::query("INSERT INTO t VALUES (1) RETURNING i").fetch_one(&mut *lease).await.unwrap();
    sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *lease).await.unwrap_err();
    sqlx::query("SELECT nonsense").execute(&mut *lease).await.unwrap_err();
    assert_eq!(lease.standing(), Standing::Clean);
    drop(lease);
    // No keeper has run between: the connection is there at once.
    assert!(pool.try_acquire().is_some());
}

#[tokio::test]
async fn a_transaction_that_was_committed_or_rolled_back_is_clean() {
    let dir = Dir::new();
    let pool = dir.one().await;
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("SELECT 1").execute(&mut *tx).await.unwrap();
    assert_eq!(tx.standing(), Standing::Raw, "sqlx knows of it");
    tx.commit().await.unwrap();
    assert!(pool.try_acquire().is_some());
    pool.begin().await.unwrap().rollback().await.unwrap();
    assert!(pool.try_acquire().is_some());
}

#[tokio::test]
async fn a_transaction_or_savepoint_that_was_dropped_leaves_doubt() {
    let dir = Dir::new();
    let pool = dir.one().await;
    drop(pool.begin().await.unwrap());
    assert!(pool.try_acquire().is_none(), "the keeper looks at it first");
    let mut tx = pool.begin().await.unwrap();
    drop(tx.begin().await.unwrap());
    tx.commit().await.unwrap();
    assert!(pool.try_acquire().is_none());
    next_is_clean(&pool, 1).await;
}

#[tokio::test]
async fn whatever_else_was_done_with_a_connection_is_in_doubt() {
    let dir = Dir::new();
    let pool = dir.one().await;
    for sql in ["PRAGMA user_version", "BEGIN; COMMIT", "SELECT 1; SELECT 2", "/*! x */ SELECT 1", "EXPLAIN SELECT 1"] {
        let mut lease = pool.acquire().await.unwrap();
        assert_eq!(lease.standing(), Standing::Clean);
        raw_sql(sql).execute(&mut *lease).await.unwrap();
        assert_eq!(lease.standing(), Standing::Raw, "{sql}");
    }
    next_is_clean(&pool, 1).await;
}

// B03
#[tokio::test]
async fn a_written_begin_never_reaches_the_next_borrower() {
    let dir = Dir::new();
    let pool = dir.one().await;
    raw_sql("CREATE TABLE t (i INTEGER)").execute(&pool).await.unwrap();
    for sql in [
        "BEGIN",
        "begin immediate",
        "/* read */ BEGIN",
        "-- read\nBegin",
        "SELECT 1; BEGIN",
        "SAVEPOINT a",
        "BEGIN; SAVEPOINT a",
    ] {
        let mut lease = pool.acquire().await.unwrap();
        raw_sql(sql).execute(&mut *lease).await.unwrap();
        sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *lease).await.unwrap();
        drop(lease);
        next_is_clean(&pool, 1).await;
    }
    let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM t").fetch_one(&pool).await.unwrap();
    assert_eq!(rows, 0);
}

// B02
#[tokio::test]
async fn a_script_that_fails_inside_its_own_transaction_leaves_none_open() {
    let dir = Dir::new();
    let pool = dir.one().await;
    for sql in ["BEGIN; SELECT * FROM nowhere", "BEGIN IMMEDIATE; INSERT INTO nowhere VALUES (1); COMMIT"] {
        raw_sql(sql).execute(&pool).await.unwrap_err();
        next_is_clean(&pool, 1).await;
    }
}

#[tokio::test]
async fn a_begin_behind_the_back_of_the_pool_is_rolled_back() {
    async fn helper(conn: &mut SqliteConnection) {
        conn.execute("BEGIN").await.unwrap();
    }
    let dir = Dir::new();
    let pool = dir.one().await;
    let mut lease = pool.acquire().await.unwrap();
    helper(&mut lease).await;
    assert_eq!(lease.standing(), Standing::Raw);
    drop(lease);
    next_is_clean(&pool, 1).await;
}

#[tokio::test]
async fn a_transaction_that_was_forgotten_is_rolled_back() {
    let dir = Dir::new();
    let pool = dir.one().await;
    let mut lease = pool.acquire().await.unwrap();
    std::mem::forget(Connection::begin(&mut **lease).await.unwrap());
    drop(lease);
    next_is_clean(&pool, 1).await;
    // And one that was ended by hand, of which sqlx does not know.
    let mut lease = pool.acquire().await.unwrap();
    std::mem::forget(Connection::begin(&mut **lease).await.unwrap());
    raw_sql("ROLLBACK").execute(&mut *lease).await.unwrap();
    drop(lease);
    next_is_clean(&pool, 1).await;
}

#[tokio::test]
async fn sqlxs_own_transaction_on_a_lease_is_proved_when_it_comes_back() {
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

// B04
#[tokio::test]
async fn a_stream_dropped_between_two_rows_leaves_nothing_for_the_next_borrower() {
    let dir = Dir::new();
    let pool = dir.one().await;
    for rows in [0, 1, 2, 60] {
        let mut lease = pool.acquire().await.unwrap();
        let mut stream = sqlx::query(MANY).fetch(&mut *lease);
        for expected in 1..=rows {
            let row = stream.try_next().await.unwrap().unwrap();
            assert_eq!(row.get::<i64, _>(0), expected);
        }
        drop(stream);
        assert_eq!(lease.standing(), if rows == 0 { Standing::Clean } else { Standing::Undrained });
        drop(lease);
        next_is_clean(&pool, 1).await;
    }
    let mut stream = sqlx::query(MANY).fetch(&pool);
    stream.try_next().await.unwrap();
    drop(stream);
    next_is_clean(&pool, 1).await;
}

#[tokio::test]
async fn a_forgotten_stream_does_not_hide_that_it_never_ended() {
    let dir = Dir::new();
    let pool = dir.one().await;
    let mut lease = pool.acquire().await.unwrap();
    let mut stream = sqlx::query(MANY).fetch(&mut *lease);
    stream.try_next().await.unwrap();
    std::mem::forget(stream);
    assert_eq!(lease.standing(), Standing::Undrained);
}

#[tokio::test]
async fn a_query_that_was_cut_off_is_interrupted_and_its_connection_lent_on() {
    let dir = Dir::new();
    let diary = Diary::default();
    let pool = one().observer(diary.clone()).connect(&dir.url("one.db")).await.unwrap();
    // It never ends by itself, so whatever comes after it shows that it was interrupted.
    let mut lease = pool.acquire().await.unwrap();
    assert!(cut_after(1, sqlx::query(ENDLESS).fetch_one(&mut *lease)).await.is_none());
    assert_eq!(lease.standing(), Standing::Cut, "sent, and perhaps not begun");
    drop(lease);
    next_is_clean(&pool, 1).await;
    let mut lease = pool.acquire().await.unwrap();
    abandon_endless(&mut *lease).await;
    assert_eq!(lease.standing(), Standing::Cut, "while it ran");
    drop(lease);
    next_is_clean(&pool, 1).await;
    abandon_endless(&pool).await;
    next_is_clean(&pool, 1).await;
    assert!(diary.closed().is_empty());
}

#[tokio::test]
async fn the_same_borrower_can_go_on_after_a_query_was_cut_off() {
    let dir = Dir::new();
    let pool = dir.one().await;
    let mut lease = pool.acquire().await.unwrap();
    assert!(cut_after(1, sqlx::query(ENDLESS).fetch_one(&mut *lease)).await.is_none());
    let rows = sqlx::query(MANY).fetch_all(&mut *lease).await.unwrap();
    assert_eq!(rows.len(), 5000, "the brake is off again");
    assert!(cut_after(1, sqlx::query(ENDLESS).fetch_all(&mut *lease)).await.is_none());
    let one: i64 = sqlx::query_scalar("SELECT 1").fetch_one(&mut *lease).await.unwrap();
    assert_eq!(one, 1);
    assert_eq!(lease.standing(), Standing::Cut, "the doubt remains");
}

#[tokio::test]
async fn the_drivers_own_connection_is_not_stopped_for_what_was_dropped_before() {
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
async fn a_query_cut_off_on_the_drivers_own_connection_is_interrupted_when_the_lease_ends() {
    let dir = Dir::new();
    let pool = dir.one().await;
    let mut lease = pool.acquire().await.unwrap();
    let conn: &mut SqliteConnection = &mut lease;
    assert!(cut_after(1, sqlx::query(ENDLESS).fetch_one(conn)).await.is_none());
    drop(lease);
    next_is_clean(&pool, 1).await;
}

#[tokio::test]
async fn a_query_that_is_executed_through_the_pool_gives_its_connection_back_at_its_last_row() {
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
async fn a_panic_in_the_borrower_costs_one_connection_at_most() {
    let dir = Dir::new();
    let pool = dir.one().await;
    let theirs = pool.clone();
    let task = tokio::spawn(async move {
        let mut lease = theirs.acquire().await.unwrap();
        lease.execute("BEGIN").await.unwrap();
        panic!("in the middle of it");
    });
    assert!(task.await.unwrap_err().is_panic());
    let mut lease = pool.acquire().await.unwrap();
    lease.begin_with("BEGIN IMMEDIATE").await.unwrap().rollback().await.unwrap();
}

#[tokio::test]
async fn preparing_and_describing_leave_nothing_behind() {
    use sqlx::{SqlSafeStr, Statement};
    let dir = Dir::new();
    let pool = dir.one().await;
    let mut lease = pool.acquire().await.unwrap();
    let statement = lease.prepare("SELECT ? AS a".into_sql_str()).await.unwrap();
    assert_eq!(statement.columns().len(), 1);
    let answer: i64 = statement.query_scalar().bind(5).fetch_one(&mut *lease).await.unwrap();
    assert_eq!(answer, 5);
    let described = Executor::describe(&mut *lease, "SELECT 1 AS a, 2 AS b".into_sql_str()).await.unwrap();
    assert_eq!(described.columns.len(), 2);
    assert_eq!(lease.standing(), Standing::Clean);
    drop(lease);
    assert_eq!((&pool).prepare("SELECT 1".into_sql_str()).await.unwrap().columns().len(), 1);
    assert_eq!(Executor::describe(&pool, "SELECT 1".into_sql_str()).await.unwrap().columns.len(), 1);
}
