//! A returned connection is fit for the next borrower: no open transaction, no answer to another
//! borrower's query.

use crate::support::{LONG, cut_off, id, kind, one, rows, server};
use millpond_core::CloseReason;
use millpond_mysql::SyncState;
use millpond_testkit::{ChaosProxy, Direction, Flow, Trace, poll_n};
use sqlx::{AssertSqlSafe, Connection, Executor, Row, raw_sql};

#[tokio::test]
async fn a_select_without_autocommit_leaves_no_snapshot_to_the_next_borrower() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_snapshot").await;
    let mut lease = pool.acquire().await.unwrap();
    sqlx::query("SET autocommit = 0").execute(&mut *lease).await.unwrap();
    sqlx::query("SELECT COUNT(*) FROM t").fetch_one(&mut *lease).await.unwrap();
    drop(lease);
    server.execute("INSERT INTO millpond_snapshot.t VALUES (7)").await;
    assert_eq!(rows(&pool).await, [7]);
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn a_procedure_leaves_neither_a_transaction_open_nor_autocommit_off() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_procedure").await;
    for body in ["START TRANSACTION", "SET autocommit = 0", "SET completion_type = CHAIN"] {
        let sql = format!(
            "DROP PROCEDURE IF EXISTS careless; \
             CREATE PROCEDURE careless() BEGIN {body}; INSERT INTO t VALUES (1); END"
        );
        raw_sql(AssertSqlSafe(sql)).execute(&pool).await.unwrap();
        sqlx::query("CALL careless()").execute(&pool).await.unwrap();
        server.same_is_clean(&pool).await;
        raw_sql("DELETE FROM t").execute(&pool).await.unwrap();
    }
}

#[tokio::test]
async fn locked_tables_are_unlocked() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_locked").await;
    for sql in [
        "LOCK TABLES t WRITE",
        "SET autocommit = 0; LOCK TABLES t READ",
        "FLUSH TABLES t WITH READ LOCK",
    ] {
        raw_sql(sql).execute(&pool).await.unwrap();
        server.same_is_clean(&pool).await;
    }
}

#[tokio::test]
async fn a_setting_for_the_next_transaction_does_not_reach_the_next_borrower() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_next").await;
    sqlx::query("SET TRANSACTION READ ONLY").execute(&pool).await.unwrap();
    sqlx::query("INSERT INTO t VALUES (1)").execute(&pool).await.unwrap();
    assert_eq!(rows(&pool).await, [1]);
}

#[tokio::test]
async fn a_distributed_transaction_costs_its_connection_and_is_rolled_back() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_xa").await;
    raw_sql("XA START 'pond'; INSERT INTO t VALUES (1)").execute(&pool).await.unwrap();
    server.next_is_clean(&pool).await;
    assert_eq!(rows(&pool).await, [0; 0]);
}

#[tokio::test]
async fn statements_of_another_database_are_not_executed_for_the_next_borrower() {
    let Some(server) = server() else { return };
    let other = server.table("millpond_other").await;
    sqlx::query("INSERT INTO t VALUES (4711)").execute(&other).await.unwrap();
    let pool = server.table("millpond_home").await;
    let mut lease = pool.acquire().await.unwrap();
    lease.execute("USE millpond_other").await.unwrap();
    // With arguments, so that it is prepared: the server looks tables up at that time.
    let secret = || sqlx::query_scalar::<_, i32>("SELECT i FROM t WHERE i > ?").bind(0);
    assert_eq!(secret().fetch_one(&mut *lease).await.unwrap(), 4711);
    drop(lease);
    assert_eq!(secret().fetch_optional(&pool).await.unwrap(), None);
    server.same_is_clean(&pool).await;
    let name: String = sqlx::query_scalar("SELECT DATABASE()").fetch_one(&pool).await.unwrap();
    assert_eq!(name, "millpond_home");
}

#[tokio::test]
async fn a_pool_without_a_database_clears_the_statements_of_a_used_database() {
    let Some(server) = server() else { return };
    for (name, i) in [("millpond_tenant_a", 1), ("millpond_tenant_b", 2)] {
        let pool = server.table(name).await;
        sqlx::query("INSERT INTO t VALUES (?)").bind(i).execute(&pool).await.unwrap();
    }
    let pool = one().connect(&format!("mysql://root@{}", server.address())).await.unwrap();
    for (tenant, i) in
        [("USE millpond_tenant_a", 1), ("USE millpond_tenant_b", 2), ("USE millpond_tenant_a", 1)]
    {
        let mut lease = pool.acquire().await.unwrap();
        lease.execute(tenant).await.unwrap();
        let sql = "SELECT i FROM t WHERE i > ?";
        let found: i32 = sqlx::query_scalar(sql).bind(0).fetch_one(&mut *lease).await.unwrap();
        assert_eq!(found, i, "{tenant}");
    }
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn strings_in_another_character_set_do_not_confuse_the_verification() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    for sql in [
        "SET NAMES latin1",
        "SET NAMES utf8mb3",
        "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'",
    ] {
        raw_sql(sql).execute(&pool).await.unwrap();
        server.next_is_clean(&pool).await;
    }
}

#[tokio::test]
async fn a_connection_with_a_dropped_operation_is_closed() {
    let Some(server) = server() else { return };
    for sql in [LONG, "SELECT SLEEP(0.05)", "SELECT SLEEP(0.05); BEGIN; SELECT nonsense"] {
        let trace = Trace::new();
        let pool = one().observer(trace.clone()).connect(&server.url).await.unwrap();
        let mut lease = pool.acquire().await.unwrap();
        let before = id(&mut lease).await;
        cut_off(&mut lease, sql).await;
        assert_eq!(lease.sync_state(), SyncState::Interrupted);
        drop(lease);
        assert_ne!(server.next_is_clean(&pool).await, before);
        assert_eq!(trace.closed(), [CloseReason::Unverified]);
    }
}

#[tokio::test]
async fn after_a_dropped_query_the_same_borrower_gets_an_error() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_same_borrower").await;
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *tx).await.unwrap();
    while poll_n(sqlx::query("SELECT SLEEP(0.05)").fetch_one(&mut *tx), 1).await.is_some() {}
    let error = sqlx::query("SELECT 1").fetch_one(&mut *tx).await.unwrap_err();
    assert!(error.to_string().contains("acquire another one"), "{error}");
    tx.commit().await.unwrap_err();
    server.next_is_clean(&pool).await;
    assert_eq!(rows(&pool).await, [0; 0]);
}

#[tokio::test]
async fn a_statement_that_takes_longer_than_its_server_allows_does_not_cost_its_connection() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    let sql = "/*M! SET STATEMENT max_statement_time = 0.02 FOR */ \
               WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99) \
               SELECT /*+ MAX_EXECUTION_TIME(20) */ SUM(a.i * e.i) \
               FROM n a JOIN n b JOIN n c JOIN n d JOIN n e";
    let error = sqlx::query(sql).fetch_all(&pool).await.unwrap_err();
    let number = if kind() == "mysql" { "3024" } else { "1969" };
    assert!(error.to_string().contains(number), "{error}");
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn after_a_dropped_ping_its_borrower_gets_right_answers_or_errors() {
    let Some(server) = server() else { return };
    let proxy = ChaosProxy::start(server.address()).await.unwrap();
    let pool = one().connect(&proxy.reroute(&server.url)).await.unwrap();
    for is_prepared in [true, false] {
        let mut lease = pool.acquire().await.unwrap();
        proxy.set(Direction::ToClient, Flow::stalled());
        assert!(poll_n(lease.ping(), 1).await.is_none());
        proxy.set(Direction::ToClient, Flow::free());
        for n in 0..6_i64 {
            let answer = if is_prepared {
                sqlx::query_scalar("SELECT ?").bind(n).fetch_optional(&mut *lease).await
            } else {
                let sql = AssertSqlSafe(format!("SELECT {n}"));
                let row = raw_sql(sql).fetch_optional(&mut *lease).await;
                row.map(|row| row.map(|row| row.get::<i64, _>(0)))
            };
            if let Ok(answer) = answer {
                assert_eq!(answer, Some(n));
            }
        }
        drop(lease);
        server.next_is_clean(&pool).await;
    }
}

#[tokio::test]
async fn after_direct_use_of_the_drivers_connection_its_borrower_can_go_on() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_shown").await;
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *tx).await.unwrap();
    tx.ping().await.unwrap();
    sqlx::query("INSERT INTO t VALUES (2)").execute(tx.as_mut()).await.unwrap();
    sqlx::query("SELECT nonsense").execute(tx.as_mut()).await.unwrap_err();
    sqlx::query("INSERT INTO t VALUES (3)").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(rows(&pool).await, [1, 2, 3]);
    server.same_is_clean(&pool).await;
}
