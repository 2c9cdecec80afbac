//! A transaction that is no longer the one that was begun returns an error, and unread rows do not
//! disturb it.

use crate::backend::{Connection, Db, MANY};
use crate::support::{rows, server};
use futures_util::TryStreamExt;
use millpond_sqlx::{Transaction, TransactionOutcome, transaction_lost};
use sqlx::{AssertSqlSafe, Error, Executor};

async fn insert(tx: &mut Transaction<'_, Db>, i: i32) -> Result<(), Error> {
    tx.execute(AssertSqlSafe(format!("INSERT INTO t VALUES ({i})"))).await.map(drop)
}

fn outcome(error: &Error) -> TransactionOutcome {
    transaction_lost(error).unwrap_or_else(|| panic!("{error:?}")).outcome()
}

#[tokio::test]
async fn after_a_commit_in_sql_statements_are_refused_and_a_rollback_is_an_error() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_hand_commit").await;
    for sql in ["COMMIT", "/* x */ commit and chain"] {
        let mut tx = pool.begin().await.unwrap();
        insert(&mut tx, 1).await.unwrap();
        tx.execute(sql).await.unwrap();
        let error = insert(&mut tx, 2).await.unwrap_err();
        assert_eq!(outcome(&error), TransactionOutcome::Committed);
        assert_eq!(outcome(&tx.begin().await.unwrap_err()), TransactionOutcome::Committed);
        assert_eq!(outcome(&tx.rollback().await.unwrap_err()), TransactionOutcome::Committed);
        assert_eq!(rows(&pool).await, [1]);
        server.same_is_clean(&pool).await;
        pool.execute("DELETE FROM t").await.unwrap();
    }
}

#[tokio::test]
async fn after_a_rollback_in_sql_a_commit_reports_that_nothing_was_kept() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_hand_rollback").await;
    for sql in ["ROLLBACK", "SELECT 1; ROLLBACK"] {
        let mut tx = pool.begin().await.unwrap();
        insert(&mut tx, 1).await.unwrap();
        tx.execute(sql).await.unwrap();
        insert(&mut tx, 2).await.unwrap_err();
        tx.commit().await.unwrap_err();
        let mut tx = pool.begin().await.unwrap();
        insert(&mut tx, 3).await.unwrap();
        tx.execute(sql).await.unwrap();
        tx.commit().await.unwrap_err();
        assert_eq!(rows(&pool).await, [0; 0]);
        server.same_is_clean(&pool).await;
    }
}

#[tokio::test]
async fn several_statements_that_commit_and_begin_again_lose_the_transaction() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_commit_begin").await;
    for sql in [
        "COMMIT; BEGIN; INSERT INTO t VALUES (2)",
        "INSERT INTO t VALUES (2); ROLLBACK; BEGIN",
        "COMMIT AND CHAIN; INSERT INTO t VALUES (2)",
        "COMMIT; BEGIN; SAVEPOINT a; INSERT INTO t VALUES (2)",
        "ROLLBACK; BEGIN; SAVEPOINT a; SELECT 1; ROLLBACK TO SAVEPOINT a",
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
            assert_eq!(
                outcome(&insert(&mut tx, 3).await.unwrap_err()),
                TransactionOutcome::Unknown,
                "{sql}"
            );
            assert_eq!(
                outcome(&tx.rollback().await.unwrap_err()),
                TransactionOutcome::Unknown,
                "{sql}"
            );
            let kept: &[i32] = if sql.starts_with("COMMIT") { &[1] } else { &[] };
            assert_eq!(rows(&pool).await, kept, "{sql}");
        }
        server.same_is_clean(&pool).await;
        pool.execute("DELETE FROM t").await.unwrap();
    }
}

#[tokio::test]
async fn a_commit_on_the_drivers_own_connection_loses_the_transaction() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_raw_commit").await;
    let mut tx = pool.begin().await.unwrap();
    insert(&mut tx, 1).await.unwrap();
    (**tx).execute("COMMIT").await.unwrap();
    insert(&mut tx, 2).await.unwrap_err();
    tx.commit().await.unwrap_err();
    assert_eq!(rows(&pool).await, [1]);
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn several_plain_statements_at_once_and_savepoints_in_sql_lose_nothing() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_several").await;
    let mut tx = pool.begin().await.unwrap();
    tx.execute("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)").await.unwrap();
    tx.execute("SAVEPOINT a; INSERT INTO t VALUES (3)").await.unwrap();
    tx.execute("ROLLBACK TO SAVEPOINT a").await.unwrap();
    tx.execute("SAVEPOINT b").await.unwrap();
    insert(&mut tx, 4).await.unwrap();
    tx.execute("RELEASE SAVEPOINT b").await.unwrap();
    let mut inner = tx.begin().await.unwrap();
    inner.execute("INSERT INTO t VALUES (5); DELETE FROM t WHERE i = 5").await.unwrap();
    inner.commit().await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(rows(&pool).await, [1, 2, 4]);
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn a_transaction_in_sql_on_a_lease_works_as_with_the_driver() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_by_hand").await;
    let mut lease = pool.acquire().await.unwrap();
    for (i, begin, end) in [
        (1, "BEGIN", "COMMIT"),
        (2, "START TRANSACTION", "ROLLBACK"),
        (3, "BEGIN; SELECT 1", "COMMIT"),
    ] {
        lease.execute(begin).await.unwrap();
        lease.execute("INSERT INTO t VALUES (99)").await.unwrap();
        lease.execute("SELECT nonsense").await.unwrap_err();
        lease.execute("ROLLBACK").await.unwrap();
        lease.execute(begin).await.unwrap();
        lease.execute(AssertSqlSafe(format!("INSERT INTO t VALUES ({i})"))).await.unwrap();
        lease.execute(end).await.unwrap();
    }
    drop(lease);
    assert_eq!(rows(&pool).await, [1, 3]);
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn unread_rows_do_not_disturb_the_next_statement() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_left_rows").await;
    for keep in [false, true] {
        let mut tx = pool.begin().await.unwrap();
        insert(&mut tx, 1).await.unwrap();
        sqlx::query(MANY).fetch(&mut *tx).try_next().await.unwrap().unwrap();
        insert(&mut tx, 2).await.unwrap();
        let mut stream = sqlx::query(MANY).fetch(&mut *tx);
        for _ in 0..100 {
            stream.try_next().await.unwrap().unwrap();
        }
        drop(stream);
        let error =
            sqlx::query_as::<_, (String, String)>(MANY).fetch_all(&mut *tx).await.unwrap_err();
        assert!(matches!(error, Error::ColumnDecode { .. }), "{error}");
        let mut inner = tx.begin().await.unwrap();
        insert(&mut inner, 3).await.unwrap();
        sqlx::query(MANY).fetch(&mut *inner).try_next().await.unwrap().unwrap();
        inner.commit().await.unwrap();
        sqlx::query(MANY).fetch(&mut *tx).try_next().await.unwrap().unwrap();
        if keep { tx.commit().await } else { tx.rollback().await }.unwrap();
        assert_eq!(rows(&pool).await.len(), if keep { 3 } else { 0 });
    }
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn a_dropped_stream_after_the_first_result_leaves_nothing_pending() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_first_result").await;
    let mut tx = pool.begin().await.unwrap();
    tx.fetch_many("INSERT INTO t VALUES (1)").try_next().await.unwrap().unwrap();
    insert(&mut tx, 2).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(rows(&pool).await, [1, 2]);
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn a_savepoint_that_is_gone_when_its_guard_is_dropped_loses_the_transaction() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_savepoint_gone").await;
    for sql in ["RELEASE SAVEPOINT a", "ROLLBACK TO SAVEPOINT a"] {
        for is_asked in [false, true] {
            let mut tx = pool.begin().await.unwrap();
            tx.execute("SAVEPOINT a").await.unwrap();
            let mut inner = tx.begin().await.unwrap();
            inner.execute(sql).await.unwrap();
            insert(&mut inner, 1).await.unwrap();
            drop(inner);
            if is_asked {
                // The server is queried before the next statement.
                let _driver: &mut Connection = &mut tx;
            }
            assert!(insert(&mut tx, 2).await.is_err(), "{sql}");
            let error = tx.commit().await.unwrap_err();
            assert_eq!(outcome(&error), TransactionOutcome::RolledBack, "{sql}");
            assert_eq!(rows(&pool).await, [0; 0], "{sql}");
        }
    }
    server.same_is_clean(&pool).await;
}
