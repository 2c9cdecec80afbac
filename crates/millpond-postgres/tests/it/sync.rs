//! A returned connection is fit for the next borrower: no open transaction, no answer to another
//! borrower's query.

use crate::support::{LONG, cut_off, one, rows, server};
use futures_util::TryStreamExt;
use millpond_core::CloseReason;
use millpond_postgres::{Limits, PgPool, SyncState};
use millpond_testkit::{Trace, poll_n};
use sqlx::{AssertSqlSafe, raw_sql};
use std::time::Duration;

/// A query that fails after a while; a division of constants would fail at once.
const LATE_ERROR: &str = "SELECT pg_sleep(0.05), 1 / (pg_backend_pid() - pg_backend_pid())";

#[tokio::test]
async fn a_procedure_leaves_no_transaction_open_whether_it_ends_or_is_dropped() {
    let Some(server) = server() else { return };
    let pool = one().connect(&server.schema("millpond_procedure").await).await.unwrap();
    let sql = "CREATE TABLE t (i INT); CREATE PROCEDURE p() LANGUAGE plpgsql AS \
               'BEGIN INSERT INTO t VALUES (1); COMMIT AND CHAIN; INSERT INTO t VALUES (2); \
               PERFORM pg_sleep(0.02); END'";
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
    let _ = poll_n(raw_sql("CALL p()").execute(&pool), 1).await;
    server.same_is_clean(&pool).await;
    assert!([2, 3, 4].contains(&count().await.unwrap()));
}

#[tokio::test]
async fn a_copy_out_dropped_midway_leaves_nothing_for_the_next_borrower() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    for _ in 0..3 {
        let mut lease = pool.acquire().await.unwrap();
        let mut copy =
            lease.copy_out_raw("COPY (SELECT generate_series(1, 20000)) TO STDOUT").await.unwrap();
        copy.try_next().await.unwrap().unwrap();
        drop(copy);
        drop(lease);
        server.next_is_clean(&pool).await;
    }
}

#[tokio::test]
async fn the_pool_waits_for_a_dropped_query_for_up_to_ping_timeout() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    for sql in ["SELECT pg_sleep(0.05)", LATE_ERROR, "SELECT pg_sleep(0.05); BEGIN; SELECT 1 / 0"] {
        let mut lease = pool.acquire().await.unwrap();
        cut_off(&mut lease, sql).await;
        assert_eq!(lease.sync_state(), SyncState::Interrupted);
        drop(lease);
        server.same_is_clean(&pool).await;
    }
}

#[tokio::test]
async fn a_dropped_query_that_outlasts_ping_timeout_costs_only_its_connection() {
    let Some(server) = server() else { return };
    let trace = Trace::new();
    let options =
        one().limits(Limits::Off).ping_timeout(Duration::from_secs(3)).observer(trace.clone());
    let pool = options.connect(&server.url).await.unwrap();
    let before = server.next_is_clean(&pool).await;
    let mut lease = pool.acquire().await.unwrap();
    cut_off(&mut lease, LONG).await;
    drop(lease);
    let after = server.next_is_clean(&pool).await;
    assert_ne!(before, after);
    assert_eq!(trace.closed().len(), 1);
}

#[tokio::test]
async fn the_same_borrower_can_go_on_after_a_dropped_query() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    let mut lease = pool.acquire().await.unwrap();
    for sql in ["SELECT pg_sleep(0.05)", LATE_ERROR] {
        cut_off(&mut lease, sql).await;
        let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&mut *lease).await.unwrap();
        assert_eq!(one, 1);
        assert_eq!(lease.sync_state(), SyncState::Interrupted, "the doubt remains");
    }
}

#[tokio::test]
async fn a_connection_out_of_sync_after_a_dropped_copy_is_detected_and_closed() {
    let Some(server) = server() else { return };
    let trace = Trace::new();
    let pool =
        one().observer(trace.clone()).connect(&server.schema("millpond_copy").await).await.unwrap();
    raw_sql("CREATE TABLE t (i INT)").execute(&pool).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    let mut copy = lease.copy_in_raw("COPY t FROM STDIN").await.unwrap();
    copy.send(&b"1\n"[..]).await.unwrap();
    drop(copy);
    drop(lease);
    // sqlx does not wait for the end of an aborted copy, and is one answer behind from then on,
    // which the nonce reveals.
    server.next_is_clean(&pool).await;
    assert_eq!(trace.closed(), [CloseReason::ResetFailed]);
    let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM t").fetch_one(&pool).await.unwrap();
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn a_committed_transaction_leaves_no_doubt() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    for committed in [true, false] {
        let tx = pool.begin().await.unwrap();
        if committed {
            tx.commit().await.unwrap()
        } else {
            tx.rollback().await.unwrap()
        }
        assert!(pool.try_acquire().is_some());
    }
}

#[tokio::test]
async fn after_a_copy_dropped_midway_its_borrower_gets_right_answers_or_errors() {
    let Some(server) = server() else { return };
    let pool = one().connect(&server.schema("millpond_half_copied").await).await.unwrap();
    raw_sql("CREATE TABLE t (i INT)").execute(&pool).await.unwrap();
    for round in 0..9 {
        let mut lease = pool.acquire().await.unwrap();
        match round % 3 {
            0 => {
                let mut copy = lease.copy_in_raw("COPY t FROM STDIN").await.unwrap();
                copy.send(&b"1\n"[..]).await.unwrap();
            }
            1 => {
                let sql = "COPY (SELECT generate_series(1, 20000)) TO STDOUT";
                let mut copy = lease.copy_out_raw(sql).await.unwrap();
                copy.try_next().await.unwrap().unwrap();
            }
            _ => {
                let sql = "COPY (SELECT 1) TO STDOUT";
                drop(lease.copy_out_raw(sql).await.unwrap());
            }
        }
        let mut errors = 0;
        for n in 0..6_i64 {
            let answer: Result<Option<i64>, _> = match round / 3 {
                0 => {
                    sqlx::query_scalar("SELECT $1::int8").bind(n).fetch_optional(&mut *lease).await
                }
                1 => {
                    sqlx::query_scalar("SELECT $1::int8").bind(n).fetch_all(&mut *lease).await.map(
                        |all: Vec<i64>| {
                            assert!(all.len() < 2);
                            all.first().copied()
                        },
                    )
                }
                _ => raw_sql(AssertSqlSafe(format!("SELECT {n}::int8")))
                    .fetch_optional(&mut *lease)
                    .await
                    .map(|row| row.map(|row| sqlx::Row::get(&row, 0))),
            };
            match answer {
                Ok(answer) => assert_eq!(answer, Some(n), "round {round}"),
                Err(_) => errors += 1,
            }
        }
        assert!(errors > 0, "round {round}");
        drop(lease);
        server.next_is_clean(&pool).await;
    }
}

/// Runs statements whose error has a code of the class of lost connections, or is the driver's own.
async fn harmless_errors(pool: &PgPool) {
    let mut tx = pool.begin().await.unwrap();
    for how in 0..4 {
        let mut inner = tx.begin().await.unwrap();
        let error = match how {
            0 => sqlx::query("SELECT $1::int4, $2::int4").bind(1).execute(&mut *inner).await,
            1 | 2 => {
                let code = if how == 1 { "08006" } else { "57P01" };
                let sql = format!("DO $$ BEGIN RAISE 'x' USING ERRCODE = '{code}'; END $$");
                raw_sql(AssertSqlSafe(sql)).execute(&mut *inner).await
            }
            _ => {
                let mut query = sqlx::query("SELECT 1");
                for n in 0..70_000 {
                    query = query.bind(n);
                }
                query.execute(&mut *inner).await
            }
        };
        error.unwrap_err();
        inner.rollback().await.unwrap();
        sqlx::query("INSERT INTO t VALUES ($1)").bind(how).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn an_error_that_looks_like_a_lost_connection_costs_neither_it_nor_its_transaction() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_class_08").await;
    harmless_errors(&pool).await;
    assert_eq!(rows(&pool).await, [0, 1, 2, 3]);
    server.same_is_clean(&pool).await;
}
