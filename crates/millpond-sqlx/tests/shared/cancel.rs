//! Drops futures at every poll: no slot is lost and no transaction stays open.

use crate::backend::{Pool, SURVIVES_A_CUT};
use crate::support::{Server, server};
use millpond_sqlx::Transaction;
use millpond_testkit::poll_n;
use sqlx::AssertSqlSafe;

/// Asserts that the next borrower sees no trace of a dropped operation, on the same connection if
/// that survives.
async fn after_a_cut(server: &Server, pool: &Pool) {
    if SURVIVES_A_CUT {
        server.same_is_clean(pool).await;
    } else {
        server.next_is_clean(pool).await;
    }
}

// B01
#[tokio::test]
async fn a_begin_cancelled_at_any_poll_leaves_no_transaction_open() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    // The server often answers within the first poll; then nothing was dropped half-way.
    let (mut cut, mut rounds) = (0, 0);
    while cut == 0 || (cut < 40 && rounds < 400) {
        assert!(rounds < 5_000, "none of {rounds} was cut off");
        let polls = 1 + rounds % 4;
        let lease = pool.acquire().await.unwrap();
        cut += u32::from(poll_n(Transaction::begin_on(lease, None), polls).await.is_none());
        after_a_cut(&server, &pool).await;
        cut += u32::from(poll_n(pool.begin(), polls).await.is_none());
        after_a_cut(&server, &pool).await;
        rounds += 1;
    }
}

#[tokio::test]
async fn a_commit_cancelled_at_any_poll_is_complete_or_has_no_effect() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_commit").await;
    let (mut cut, mut round) = (0, 0_i32);
    while cut < 10 {
        round += 1;
        assert!(round < 5_000, "no more than {cut} were cut off");
        let mut tx = pool.begin().await.unwrap();
        for i in [round, -round] {
            let sql = format!("INSERT INTO t VALUES ({i})");
            sqlx::query(AssertSqlSafe(sql)).execute(&mut *tx).await.unwrap();
        }
        let committed = poll_n(tx.commit(), 1 + round.unsigned_abs() as usize % 3).await.is_some();
        cut += u32::from(!committed);
        let sql = format!("SELECT COUNT(*) FROM t WHERE i IN ({round}, -{round})");
        let rows: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&pool).await.unwrap();
        assert!(rows == 2 || (rows == 0 && !committed), "{rows} {committed}");
        after_a_cut(&server, &pool).await;
    }
}

#[tokio::test]
async fn a_transaction_is_lost_with_an_error_when_the_begin_of_a_savepoint_is_dropped() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_lost").await;
    let (mut lost, mut round) = (0, 0);
    // A server on the same machine may answer within the first poll; then nothing was dropped.
    while lost < 3 {
        round += 1;
        assert!(round < 5_000, "no begin was cut off");
        let mut tx = pool.begin().await.unwrap();
        sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *tx).await.unwrap();
        let begun = poll_n(async { tx.begin().await?.rollback().await }, 1).await.is_some();
        match sqlx::query("INSERT INTO t VALUES (2)").execute(&mut *tx).await {
            Err(error) => {
                // The savepoint may have begun and its rollback may have been dropped: the error
                // then says that the connection did not survive.
                let says_so =
                    error.to_string().contains("the transaction is lost") || !SURVIVES_A_CUT;
                assert!(!begun && says_so, "{error}");
                lost += 1;
                if lost == 2 {
                    tx.commit().await.unwrap_err();
                } else {
                    assert_eq!(tx.rollback().await.is_ok(), SURVIVES_A_CUT);
                }
            }
            Ok(_) => tx.rollback().await.unwrap(),
        }
        let rows: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM t").fetch_one(&pool).await.unwrap();
        assert_eq!(rows, 0, "round {round}");
    }
    after_a_cut(&server, &pool).await;
}

#[tokio::test]
async fn dropping_the_commit_of_a_savepoint_loses_no_other_change_silently() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_cut_release").await;
    let (mut cut, mut round) = (0, 0);
    while cut < 3 {
        round += 1;
        assert!(round < 5_000, "no commit was cut off");
        let mut tx = pool.begin().await.unwrap();
        // A savepoint that was rolled back still exists under its name.
        tx.begin().await.unwrap().rollback().await.unwrap();
        sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *tx).await.unwrap();
        let inner = tx.begin().await.unwrap();
        cut += u32::from(poll_n(inner.commit(), 1).await.is_none());
        let went_on = sqlx::query("INSERT INTO t VALUES (2)").execute(&mut *tx).await.is_ok();
        let committed = tx.commit().await.is_ok();
        let sql = "SELECT COUNT(*) FROM t";
        let rows: i64 = sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap();
        assert_eq!((rows, went_on), if committed { (2, true) } else { (0, false) });
        sqlx::query("DELETE FROM t").execute(&pool).await.unwrap();
    }
    after_a_cut(&server, &pool).await;
}
