//! SQLite ends transactions by itself. Then the next statement is refused; it is not committed on
//! its own.

use crate::support::{Dir, ENDLESS, one};
use millpond_sqlite::{Sqlite, SqlitePool, Transaction, TransactionOutcome, transaction_lost};
use millpond_testkit::poll_n;
use sqlx::{Acquire, AssertSqlSafe, Error, Executor};

async fn table(dir: &Dir) -> SqlitePool {
    let pool = dir.one().await;
    pool.execute("CREATE TABLE t (i INTEGER UNIQUE)").await.unwrap();
    pool
}

async fn rows(pool: &SqlitePool) -> Vec<i64> {
    sqlx::query_scalar("SELECT i FROM t ORDER BY i").fetch_all(pool).await.unwrap()
}

async fn insert(tx: &mut Transaction<'_, Sqlite>, i: i64) -> Result<(), Error> {
    sqlx::query("INSERT INTO t VALUES (?)").bind(i).execute(&mut **tx).await.map(drop)
}

/// Starts a write that takes long, and drops it.
async fn cut_a_write<'e>(executor: impl Executor<'e, Database = Sqlite>) {
    let sql = AssertSqlSafe(format!("INSERT INTO t {ENDLESS}"));
    let write = sqlx::query(sql).execute(executor);
    assert!(poll_n(write, 1).await.is_none());
    // The write must have begun: before that it cannot be interrupted.
    std::thread::yield_now();
}

#[track_caller]
fn assert_rolled_back(error: &Error) {
    let lost = transaction_lost(error).unwrap_or_else(|| panic!("{error:?}"));
    assert_eq!(lost.outcome(), TransactionOutcome::RolledBack, "{lost}");
}

#[tokio::test]
async fn after_a_dropped_write_a_transaction_is_whole_or_lost() {
    let dir = Dir::new();
    let pool = table(&dir).await;
    let (mut lost, mut round) = (0, 0);
    // On a busy machine a write may be interrupted before it has begun.
    while round < 60 || (lost == 0 && round < 5_000) {
        round += 1;
        let mut tx = pool.begin().await.unwrap();
        insert(&mut tx, round).await.unwrap();
        cut_a_write(&mut *tx).await;
        match insert(&mut tx, -round).await {
            Ok(()) => {
                tx.commit().await.unwrap();
                assert_eq!(rows(&pool).await, [-round, round]);
            }
            Err(error) => {
                assert_rolled_back(&error);
                assert_rolled_back(&tx.begin().await.unwrap_err());
                if round % 2 == 0 {
                    assert_rolled_back(&tx.commit().await.unwrap_err());
                } else {
                    tx.rollback().await.unwrap();
                }
                assert_eq!(rows(&pool).await, [0; 0]);
                lost += 1;
            }
        }
        pool.execute("DELETE FROM t").await.unwrap();
    }
    assert!(lost > 0);
}

#[tokio::test]
async fn a_conflict_that_rolls_back_loses_the_transaction_with_its_savepoints() {
    let dir = Dir::new();
    let pool = table(&dir).await;
    pool.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON t WHEN NEW.i = 99 BEGIN SELECT RAISE(ROLLBACK, \
         'refused'); END",
    )
    .await
    .unwrap();
    for sql in ["INSERT OR ROLLBACK INTO t VALUES (1)", "INSERT INTO t VALUES (99)"] {
        let mut tx = pool.begin().await.unwrap();
        insert(&mut tx, 1).await.unwrap();
        let mut inner = tx.begin().await.unwrap();
        let first = inner.execute(sql).await.unwrap_err();
        let error = insert(&mut inner, 2).await.unwrap_err();
        assert_rolled_back(&error);
        assert!(error.to_string().contains(&first.to_string()), "{error}");
        inner.rollback().await.unwrap();
        insert(&mut tx, 3).await.unwrap_err();
        assert_rolled_back(&tx.commit().await.unwrap_err());
        assert_eq!(rows(&pool).await, [0; 0]);

        let mut tx = pool.begin().await.unwrap();
        let mut inner = tx.begin().await.unwrap();
        insert(&mut inner, 1).await.unwrap();
        inner.execute(sql).await.unwrap_err();
        drop(inner);
        insert(&mut tx, 3).await.unwrap_err();
        tx.rollback().await.unwrap();
        assert_eq!(rows(&pool).await, [0; 0]);
    }
    assert_eq!(pool.begin().await.unwrap().begin().await.unwrap().commit().await.ok(), Some(()));
}

#[tokio::test]
async fn a_transaction_on_a_lease_is_lost_in_the_same_way_and_the_lease_goes_on() {
    let dir = Dir::new();
    let pool = table(&dir).await;
    let mut lease = pool.acquire().await.unwrap();
    for i in 0..3 {
        let mut tx = lease.begin().await.unwrap();
        insert(&mut tx, 99).await.unwrap();
        tx.execute("INSERT OR ROLLBACK INTO t VALUES (99)").await.unwrap_err();
        assert_rolled_back(&insert(&mut tx, 98).await.unwrap_err());
        if i == 1 {
            assert_rolled_back(&tx.commit().await.unwrap_err());
        } else {
            drop(tx);
        }
        lease.execute(AssertSqlSafe(format!("INSERT INTO t VALUES ({i})"))).await.unwrap();
    }
    drop(lease);
    assert_eq!(rows(&pool).await, [0, 1, 2]);
}

#[tokio::test]
async fn a_full_disk_loses_the_transaction_or_the_statement_alone() {
    let dir = Dir::new();
    let pool = one().connect(&dir.url("full.db")).await.unwrap();
    pool.execute("CREATE TABLE t (i BLOB)").await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    // Restored when the lease is returned.
    lease.execute("PRAGMA max_page_count = 20").await.unwrap();
    let mut tx = Transaction::begin_on(lease, None).await.unwrap();
    tx.execute("INSERT INTO t VALUES (zeroblob(10))").await.unwrap();
    tx.execute("INSERT INTO t VALUES (zeroblob(1000000))").await.unwrap_err();
    let gone = tx.execute("INSERT INTO t VALUES (zeroblob(11))").await.is_err();
    let committed = tx.commit().await.is_ok();
    assert_eq!(committed, !gone);
    let left: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM t").fetch_one(&pool).await.unwrap();
    assert_eq!(left, if gone { 0 } else { 2 });
}

#[tokio::test]
async fn an_ordinary_error_leaves_the_transaction_as_it_was() {
    let dir = Dir::new();
    let pool = table(&dir).await;
    let mut tx = pool.begin().await.unwrap();
    insert(&mut tx, 1).await.unwrap();
    insert(&mut tx, 1).await.unwrap_err();
    tx.execute("SELECT nonsense").await.unwrap_err();
    insert(&mut tx, 2).await.unwrap();
    insert(&mut tx, 2).await.unwrap_err();
    tx.commit().await.unwrap();
    assert_eq!(rows(&pool).await, [1, 2]);
}

#[tokio::test]
async fn a_lost_transaction_in_sql_refuses_statements_until_it_is_ended_or_begun_again() {
    let dir = Dir::new();
    let pool = table(&dir).await;
    for begin in ["BEGIN", "SAVEPOINT a", "BEGIN; SELECT 1", "/* x */ BEGIN IMMEDIATE"] {
        for end in ["ROLLBACK", "COMMIT", "BEGIN"] {
            let mut lease = pool.acquire().await.unwrap();
            lease.execute(begin).await.unwrap();
            lease.execute("INSERT INTO t VALUES (1)").await.unwrap();
            lease.execute("INSERT OR ROLLBACK INTO t VALUES (1)").await.unwrap_err();
            assert_rolled_back(&lease.execute("INSERT INTO t VALUES (2)").await.unwrap_err());
            let ended = lease.execute(end).await;
            assert_eq!(ended.is_err(), end == "COMMIT", "{begin} {end}");
            lease.execute("INSERT INTO t VALUES (3)").await.unwrap();
            drop(lease);
            let wanted: &[i64] = if end == "BEGIN" { &[] } else { &[3] };
            assert_eq!(rows(&pool).await, wanted, "{begin} {end}");
            pool.execute("DELETE FROM t").await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_savepoint_in_sql_that_is_released_has_committed() {
    let dir = Dir::new();
    let pool = table(&dir).await;
    let mut lease = pool.acquire().await.unwrap();
    lease.execute("SAVEPOINT a").await.unwrap();
    lease.execute("INSERT INTO t VALUES (1)").await.unwrap();
    lease.execute("RELEASE a").await.unwrap();
    lease.execute("INSERT INTO t VALUES (2)").await.unwrap();
    lease.execute("INSERT INTO t VALUES (2)").await.unwrap_err();
    lease.execute("INSERT INTO t VALUES (3)").await.unwrap();
    drop(lease);
    assert_eq!(rows(&pool).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_transaction_ended_on_the_drivers_own_connection_is_noticed() {
    let dir = Dir::new();
    let pool = table(&dir).await;
    let mut tx = pool.begin().await.unwrap();
    insert(&mut tx, 1).await.unwrap();
    (**tx).execute("INSERT OR ROLLBACK INTO t VALUES (1)").await.unwrap_err();
    insert(&mut tx, 2).await.unwrap_err();
    tx.commit().await.unwrap_err();
    let mut tx = pool.begin().await.unwrap();
    insert(&mut tx, 1).await.unwrap();
    let inner = Acquire::begin(&mut tx).await.unwrap();
    inner.commit().await.unwrap();
    insert(&mut tx, 2).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(rows(&pool).await, [1, 2]);
}

#[tokio::test]
async fn after_a_commit_in_sql_the_transaction_executes_nothing_more() {
    let dir = Dir::new();
    let pool = table(&dir).await;
    for sql in ["COMMIT", "END", "SELECT 1; COMMIT"] {
        let mut tx = pool.begin().await.unwrap();
        insert(&mut tx, 1).await.unwrap();
        tx.execute(sql).await.unwrap();
        insert(&mut tx, 2).await.unwrap_err();
        tx.rollback().await.unwrap_err();
        assert_eq!(rows(&pool).await, [1]);
        pool.execute("DELETE FROM t").await.unwrap();
    }
}

#[tokio::test]
async fn a_dropped_query_for_the_transaction_state_changes_nothing() {
    let dir = Dir::new();
    let pool = table(&dir).await;
    for polls in 1..40 {
        let mut tx = pool.begin().await.unwrap();
        insert(&mut tx, 1).await.unwrap();
        insert(&mut tx, 1).await.unwrap_err();
        // Queries first whether a transaction is open.
        let _ = poll_n(insert(&mut tx, 2), polls % 4).await;
        let _ = insert(&mut tx, 3).await;
        let committed = tx.commit().await.is_ok();
        let left = rows(&pool).await;
        assert!(
            if committed { left.first() == Some(&1) } else { left.is_empty() },
            "{committed} {left:?}"
        );
        pool.execute("DELETE FROM t").await.unwrap();
    }
}

#[tokio::test]
async fn several_statements_that_commit_and_begin_again_lose_the_transaction() {
    let dir = Dir::new();
    let pool = table(&dir).await;
    for sql in [
        "COMMIT; BEGIN",
        "commit; begin immediate; INSERT INTO t VALUES (2)",
        "END; BEGIN; INSERT INTO t VALUES (2)",
        "INSERT INTO t VALUES (2); ROLLBACK; BEGIN",
        "/* x */ COMMIT; -- y\nBEGIN",
        "COMMIT; SAVEPOINT a; INSERT INTO t VALUES (2)",
        "COMMIT; BEGIN; SAVEPOINT a",
    ] {
        let mut tx = pool.begin().await.unwrap();
        insert(&mut tx, 1).await.unwrap();
        if tx.execute(sql).await.is_err() {
            // The text was refused, and no part of it was executed.
            assert!(sql.contains("SAVEPOINT"), "{sql}");
            insert(&mut tx, 3).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(rows(&pool).await, [1, 3], "{sql}");
        } else {
            let error = insert(&mut tx, 3).await.unwrap_err();
            assert!(transaction_lost(&error).is_some(), "{sql}: {error}");
            assert!(transaction_lost(&tx.commit().await.unwrap_err()).is_some(), "{sql}");
            let kept: &[i64] = if sql.contains("ROLLBACK") { &[] } else { &[1] };
            assert_eq!(rows(&pool).await, kept, "{sql}");
        }
        pool.execute("DELETE FROM t").await.unwrap();
    }
}

#[tokio::test]
async fn several_statements_that_stay_in_the_transaction_lose_nothing() {
    let dir = Dir::new();
    let pool = table(&dir).await;
    let mut tx = pool.begin().await.unwrap();
    for sql in [
        "INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)",
        "SAVEPOINT a; INSERT INTO t VALUES (3); ROLLBACK TO a; RELEASE a",
        "CREATE TABLE log (i); CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO log VALUES \
         (new.i); END",
        "INSERT INTO t VALUES (4); -- the end; begin with 5\nINSERT INTO t VALUES (5)",
    ] {
        tx.execute(sql).await.unwrap();
    }
    insert(&mut tx, 6).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(rows(&pool).await, [1, 2, 4, 5, 6]);
}

#[tokio::test]
async fn a_begin_in_a_transaction_that_was_begun_in_sql_is_refused_and_costs_it_nothing() {
    let dir = Dir::new();
    let pool = table(&dir).await;
    let mut lease = pool.acquire().await.unwrap();
    for (i, begin) in (0..).zip(["BEGIN", "SAVEPOINT a", "BEGIN IMMEDIATE"]) {
        lease.execute(begin).await.unwrap();
        lease.execute(AssertSqlSafe(format!("INSERT INTO t VALUES ({i})"))).await.unwrap();
        let error = lease.begin().await.unwrap_err().to_string();
        assert!(error.contains("begun in SQL"), "{error}");
        let error = Acquire::begin(&mut *lease).await.err().unwrap().to_string();
        assert!(error.contains("begun in SQL"), "{error}");
        lease.execute("COMMIT").await.unwrap();
        lease.begin().await.unwrap().commit().await.unwrap();
    }
    drop(lease);
    assert_eq!(rows(&pool).await, [0, 1, 2]);
}

#[tokio::test]
async fn a_savepoint_that_is_gone_when_it_ends_is_not_committed() {
    let dir = Dir::new();
    let pool = table(&dir).await;
    for sql in ["RELEASE a", "ROLLBACK TO a"] {
        for end in 0..3 {
            let mut tx = pool.begin().await.unwrap();
            tx.execute("SAVEPOINT a").await.unwrap();
            let mut inner = tx.begin().await.unwrap();
            inner.execute(sql).await.unwrap();
            insert(&mut inner, 1).await.unwrap();
            match end {
                0 => drop(inner),
                1 => drop(inner.rollback().await.unwrap_err()),
                _ => drop(inner.commit().await.unwrap_err()),
            }
            tx.commit().await.unwrap_err();
            assert_eq!(rows(&pool).await, [0; 0], "{sql}");
        }
    }
}
