//! What comes back is fit for the next borrower: no open transaction, no answer to somebody else's question.

use crate::support::{Diary, LONG, cut_after, one, server};
use futures_util::TryStreamExt;
use millpond_core::CloseReason;
use millpond_postgres::{Limits, Standing};
use sqlx::{Acquire, Connection, Executor, PgConnection, Row, raw_sql};
use std::time::Duration;

/// Fails after a while: a division of constants would fail at once.
const LATE_ERROR: &str = "SELECT pg_sleep(0.05), 1 / (pg_backend_pid() - pg_backend_pid())";

const MANY: &str = "SELECT x FROM generate_series(1::int8, 5000) AS x";

#[tokio::test]
async fn single_statements_that_ran_to_their_end_are_clean_and_come_back_without_io() {
    let Some(server) = server() else { return };
    let pool = one().connect(&server.schema("millpond_clean").await).await.unwrap();
    raw_sql("CREATE TABLE t (i INT UNIQUE)").execute(&pool).await.unwrap();
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

// B03
#[tokio::test]
async fn a_written_begin_never_reaches_the_next_borrower() {
    let Some(server) = server() else { return };
    let pool = one().connect(&server.schema("millpond_begin").await).await.unwrap();
    raw_sql("CREATE TABLE t (i INT)").execute(&pool).await.unwrap();
    for sql in [
        "BEGIN",
        "begin isolation level serializable",
        "/* read */ BEGIN",
        "/* /* */ SELECT 1 */ BEGIN",
        "-- read\nBegin",
        "SELECT 1; BEGIN",
        "START TRANSACTION",
        "BEGIN; SAVEPOINT a",
        "SET search_path = pg_catalog, millpond_begin; BEGIN",
        "BEGIN; COMMIT AND CHAIN",
        "begin; SAVEPOINT a; ROLLBACK TO a; ROLLBACK AND CHAIN",
    ] {
        let mut lease = pool.acquire().await.unwrap();
        raw_sql(sql).execute(&mut *lease).await.unwrap();
        assert_eq!(lease.standing(), Standing::Raw, "{sql}");
        sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *lease).await.unwrap();
        drop(lease);
        server.same_is_clean(&pool).await;
    }
    let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM t").fetch_one(&pool).await.unwrap();
    assert_eq!(rows, 0);
}

// B02
#[tokio::test]
async fn a_script_that_fails_inside_its_own_transaction_leaves_none_open() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    for sql in ["BEGIN; SELECT 1/0", "BEGIN; SELECT * FROM nowhere; COMMIT", "SELECT 1; BEGIN; SELECT nonsense"] {
        raw_sql(sql).execute(&pool).await.unwrap_err();
        server.same_is_clean(&pool).await;
    }
}

#[tokio::test]
async fn a_procedure_leaves_no_transaction_open_whether_it_ends_or_is_cut_off() {
    let Some(server) = server() else { return };
    let pool = one().connect(&server.schema("millpond_procedure").await).await.unwrap();
    let sql = "CREATE TABLE t (i INT); CREATE PROCEDURE p() LANGUAGE plpgsql AS \
               'BEGIN INSERT INTO t VALUES (1); COMMIT AND CHAIN; INSERT INTO t VALUES (2); PERFORM pg_sleep(0.02); END'";
    raw_sql(sql).execute(&pool).await.unwrap();
    let count = || sqlx::query_scalar::<_, i64>("SELECT count(*) FROM t").fetch_one(&pool);
    sqlx::query("CALL p()").execute(&pool).await.unwrap();
    server.same_is_clean(&pool).await;
    assert_eq!(count().await.unwrap(), 2);
    let mut lease = pool.acquire().await.unwrap();
    raw_sql("BEGIN").execute(&mut *lease).await.unwrap();
    sqlx::query("CALL p()").execute(&mut *lease).await.unwrap_err();
    drop(lease);
    server.same_is_clean(&pool).await;
    let _ = cut_after(1, raw_sql("CALL p()").execute(&pool)).await;
    server.same_is_clean(&pool).await;
    assert!([2, 3, 4].contains(&count().await.unwrap()));
}

#[tokio::test]
async fn a_copy_out_that_was_dropped_half_way_leaves_nothing_for_the_next_borrower() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    for _ in 0..3 {
        let mut lease = pool.acquire().await.unwrap();
        let mut copy = lease.copy_out_raw("COPY (SELECT generate_series(1, 20000)) TO STDOUT").await.unwrap();
        copy.try_next().await.unwrap().unwrap();
        drop(copy);
        drop(lease);
        server.next_is_clean(&pool).await;
    }
}

#[tokio::test]
async fn a_begin_behind_the_back_of_the_pool_is_rolled_back() {
    async fn helper(conn: &mut PgConnection) {
        conn.execute("BEGIN").await.unwrap();
    }
    let Some(server) = server() else { return };
    let pool = server.one().await;
    let mut lease = pool.acquire().await.unwrap();
    helper(&mut lease).await;
    assert_eq!(lease.standing(), Standing::Raw);
    drop(lease);
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn transactions_that_were_forgotten_are_rolled_back() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    for ended_by_hand in [false, true] {
        let mut lease = pool.acquire().await.unwrap();
        for _ in 0..3 {
            std::mem::forget(Connection::begin(&mut **lease).await.unwrap());
        }
        if ended_by_hand {
            // Of which sqlx does not know.
            raw_sql("ROLLBACK").execute(&mut *lease).await.unwrap();
        }
        drop(lease);
        server.same_is_clean(&pool).await;
    }
}

#[tokio::test]
async fn sqlxs_own_transaction_on_a_lease_is_proved_when_it_comes_back() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    let mut lease = pool.acquire().await.unwrap();
    let mut tx = Acquire::begin(&mut lease).await.unwrap();
    tx.execute("SELECT 1").await.unwrap();
    drop(tx);
    drop(lease);
    server.same_is_clean(&pool).await;
}

// B04
#[tokio::test]
async fn a_stream_dropped_between_two_rows_leaves_nothing_for_the_next_borrower() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    for rows in [0, 1, 2, 60, 4999] {
        let mut lease = pool.acquire().await.unwrap();
        let mut stream = sqlx::query(MANY).fetch(&mut *lease);
        for expected in 1..=rows {
            let row = stream.try_next().await.unwrap().unwrap();
            assert_eq!(row.get::<i64, _>(0), expected);
        }
        drop(stream);
        assert_eq!(lease.standing(), if rows == 0 { Standing::Clean } else { Standing::Undrained });
        drop(lease);
        server.same_is_clean(&pool).await;
    }
    let mut stream = sqlx::query(MANY).fetch(&pool);
    stream.try_next().await.unwrap();
    drop(stream);
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn a_query_that_was_cut_off_is_waited_for_while_the_limit_of_a_ping_lasts() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    for sql in ["SELECT pg_sleep(0.05)", LATE_ERROR, "SELECT pg_sleep(0.05); BEGIN; SELECT 1 / 0"] {
        let mut lease = pool.acquire().await.unwrap();
        assert!(cut_after(1, raw_sql(sql).fetch_all(&mut *lease)).await.is_none());
        assert_eq!(lease.standing(), Standing::Cut);
        drop(lease);
        server.same_is_clean(&pool).await;
    }
}

#[tokio::test]
async fn a_query_that_outlasts_the_limit_costs_its_connection_and_nothing_more() {
    let Some(server) = server() else { return };
    let diary = Diary::default();
    let options = one().limits(Limits::Off).ping_timeout(Duration::from_millis(100)).observer(diary.clone());
    let pool = options.connect(&server.url).await.unwrap();
    let before = server.next_is_clean(&pool).await;
    let mut lease = pool.acquire().await.unwrap();
    assert!(cut_after(1, raw_sql(LONG).execute(&mut *lease)).await.is_none());
    drop(lease);
    let after = server.next_is_clean(&pool).await;
    assert_ne!(before, after);
    assert_eq!(diary.closed().len(), 1);
}

#[tokio::test]
async fn the_same_borrower_can_go_on_after_a_query_was_cut_off() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    let mut lease = pool.acquire().await.unwrap();
    for sql in ["SELECT pg_sleep(0.05)", LATE_ERROR] {
        assert!(cut_after(1, raw_sql(sql).fetch_all(&mut *lease)).await.is_none());
        let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&mut *lease).await.unwrap();
        assert_eq!(one, 1);
        assert_eq!(lease.standing(), Standing::Cut, "the doubt remains");
    }
}

#[tokio::test]
async fn a_connection_that_is_out_of_step_after_a_dropped_copy_is_found_out_and_closed() {
    let Some(server) = server() else { return };
    let diary = Diary::default();
    let pool = one().observer(diary.clone()).connect(&server.schema("millpond_copy").await).await.unwrap();
    raw_sql("CREATE TABLE t (i INT)").execute(&pool).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    let mut copy = lease.copy_in_raw("COPY t FROM STDIN").await.unwrap();
    copy.send(&b"1\n"[..]).await.unwrap();
    drop(copy);
    drop(lease);
    // sqlx does not wait for the end of what it has aborted, and is one answer behind from then on: the nonce tells.
    server.next_is_clean(&pool).await;
    assert_eq!(diary.closed(), [CloseReason::ResetFailed]);
    let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM t").fetch_one(&pool).await.unwrap();
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn a_panic_in_the_borrower_leaves_nothing_behind() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    let theirs = pool.clone();
    let task = tokio::spawn(async move {
        let mut lease = theirs.acquire().await.unwrap();
        lease.execute("BEGIN").await.unwrap();
        panic!("in the middle of it");
    });
    assert!(task.await.unwrap_err().is_panic());
    server.next_is_clean(&pool).await;
}

#[tokio::test]
async fn a_connection_that_the_server_has_ended_is_not_lent_again() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    let pid = server.next_is_clean(&pool).await;
    let mut lease = pool.acquire().await.unwrap();
    let kill = sqlx::query("SELECT pg_terminate_backend($1)").bind(pid);
    kill.execute(&mut server.connection().await).await.unwrap();
    // Told by the server, or by the transport: whichever comes first.
    sqlx::query("SELECT 1").execute(&mut *lease).await.unwrap_err();
    assert_eq!(lease.standing(), Standing::Broken);
    drop(lease);
    assert_ne!(server.next_is_clean(&pool).await, pid);
}
