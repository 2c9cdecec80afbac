//! Futures dropped at every poll: nothing is lost and nothing stays open.

use crate::support::{one, server};
use millpond_postgres::Transaction;
use millpond_testkit::poll_n;
use sqlx::raw_sql;

// B01
#[tokio::test]
async fn a_begin_cancelled_at_any_poll_leaves_no_transaction_open() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    // The server often answers before the first poll is over; then nothing was cut off.
    let (mut cut, mut rounds) = (0, 0);
    while cut == 0 || (cut < 40 && rounds < 400) {
        assert!(rounds < 5_000, "none of {rounds} was cut off");
        let polls = 1 + rounds % 4;
        let lease = pool.acquire().await.unwrap();
        cut += u32::from(poll_n(Transaction::on(lease, None), polls).await.is_none());
        server.same_is_clean(&pool).await;
        cut += u32::from(poll_n(pool.begin(), polls).await.is_none());
        server.same_is_clean(&pool).await;
        rounds += 1;
    }
}

#[tokio::test]
async fn a_commit_cancelled_at_any_poll_is_done_whole_or_not_at_all() {
    let Some(server) = server() else { return };
    let pool = one().connect(&server.schema("millpond_commit").await).await.unwrap();
    // A commit that takes its time, so that there is something to cut off.
    let sql = "CREATE TABLE t (i INT); \
               CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.002); RETURN NULL; END'; \
               CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED \
               FOR EACH ROW EXECUTE FUNCTION slow()";
    raw_sql(sql).execute(&pool).await.unwrap();
    let mut cut = 0;
    for round in 0..30_i32 {
        let mut tx = pool.begin().await.unwrap();
        for _ in 0..2 {
            sqlx::query("INSERT INTO t VALUES ($1)").bind(round).execute(&mut *tx).await.unwrap();
        }
        let committed = poll_n(tx.commit(), 1 + round.unsigned_abs() as usize % 3).await.is_some();
        cut += u32::from(!committed);
        let sql = "SELECT COUNT(*) FROM t WHERE i = $1";
        let rows: i64 = sqlx::query_scalar(sql).bind(round).fetch_one(&pool).await.unwrap();
        assert!(rows == 2 || (rows == 0 && !committed), "{rows} {committed}");
        server.same_is_clean(&pool).await;
    }
    assert!(cut >= 10, "{cut}");
}

#[tokio::test]
async fn a_transaction_is_lost_and_says_so_when_a_savepoint_in_it_is_cut_off_while_it_begins() {
    let Some(server) = server() else { return };
    let pool = one().connect(&server.schema("millpond_lost").await).await.unwrap();
    sqlx::query("CREATE TABLE t (i INT)").execute(&pool).await.unwrap();
    let (mut lost, mut round) = (0, 0);
    // A server on the same machine may answer within the first poll: then nothing was cut off.
    while lost < 3 {
        round += 1;
        assert!(round < 5_000, "no begin was cut off");
        let mut tx = pool.begin().await.unwrap();
        sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *tx).await.unwrap();
        let begun = poll_n(async { tx.begin().await?.rollback().await }, 1).await.is_some();
        let insert = sqlx::query("INSERT INTO t VALUES (2)").execute(&mut *tx).await;
        match insert {
            Err(error) => {
                assert!(!begun && error.to_string().contains("the transaction is lost"), "{error}");
                lost += 1;
                if round % 2 == 0 {
                    tx.commit().await.unwrap_err();
                } else {
                    tx.rollback().await.unwrap();
                }
            }
            Ok(_) => tx.rollback().await.unwrap(),
        }
        let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM t").fetch_one(&pool).await.unwrap();
        assert_eq!(rows, 0, "round {round}");
    }
    server.same_is_clean(&pool).await;
}
