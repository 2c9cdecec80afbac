//! The four levels of reset between two borrowers.

use crate::support::{cut_after, id, one, server};
use millpond_mysql::ResetLevel;
use sqlx::{Column, Executor, Row, raw_sql};

/// Ten kinds of session state, as statements.
const TRACES: [&str; 10] = [
    "SET @mine = 'secret'",
    "SET NAMES latin1",
    "SET SESSION sql_mode = ''",
    "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SET time_zone = '+05:00'",
    "CREATE TEMPORARY TABLE t (other INT)",
    "DO GET_LOCK('millpond_lock', 0)",
    "PREPARE mine FROM 'SELECT 1'",
    "SET ROLE millpond_role",
    "USE information_schema",
];

/// The same, asked for in one row of truths, but for the table and the prepared statement.
const NOTHING_LEFT: &str = "SELECT @mine IS NULL AS variable, @@character_set_client = 'utf8mb4' AS names, \
     @@sql_mode LIKE '%STRICT%' AS sql_mode, @@tx_isolation = 'REPEATABLE-READ' AS isolation, \
     @@time_zone = '+00:00' AS zone, IFNULL(IS_USED_LOCK('millpond_lock') <> CONNECTION_ID(), TRUE) AS named_lock, \
     CURRENT_ROLE() IS NULL AS role, DATABASE() = 'millpond_session' AS home";

#[tokio::test]
async fn no_kind_of_session_state_passes_a_session_reset() {
    let Some(server) = server() else { return };
    let url = server.database("millpond_session").await;
    let sql =
        "DROP ROLE IF EXISTS millpond_role; CREATE ROLE millpond_role; CREATE TABLE millpond_session.t (mine INT)";
    server.execute(sql).await;
    for level in [ResetLevel::Session, ResetLevel::Replace] {
        let pool = one().reset(level).connect(&url).await.unwrap();
        for _ in 0..3 {
            let mut lease = pool.acquire().await.unwrap();
            let row = raw_sql(NOTHING_LEFT).fetch_one(&mut *lease).await.unwrap();
            for (at, column) in row.columns().iter().enumerate() {
                assert!(row.get::<bool, _>(at), "{} at {level:?}", column.name());
            }
            raw_sql("SELECT mine FROM t").execute(&mut *lease).await.unwrap();
            raw_sql("EXECUTE mine").execute(&mut *lease).await.unwrap_err();
            for trace in TRACES {
                lease.execute(trace).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_session_reset_finds_what_plain_selects_have_left_behind() {
    let Some(server) = server() else { return };
    let pool = one().reset(ResetLevel::Session).connect(&server.url).await.unwrap();
    sqlx::query("SELECT @mine := 1, GET_LOCK('millpond_select', 0)").execute(&pool).await.unwrap();
    let sql = "SELECT @mine IS NULL AND IFNULL(IS_USED_LOCK('millpond_select') <> CONNECTION_ID(), TRUE)";
    let gone: bool = sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap();
    assert!(gone);
}

#[tokio::test]
async fn an_open_transaction_is_cleared_by_every_level_but_none() {
    let Some(server) = server() else { return };
    for level in [ResetLevel::Transaction, ResetLevel::Session, ResetLevel::Replace] {
        let pool = one().reset(level).connect(&server.url).await.unwrap();
        let mut lease = pool.acquire().await.unwrap();
        let before = id(&mut lease).await;
        lease.execute("BEGIN").await.unwrap();
        drop(lease);
        let after = server.next_is_clean(&pool).await;
        assert_eq!(before != after, level != ResetLevel::Transaction, "{level:?}");
    }
    let pool = one().reset(ResetLevel::None).connect(&server.url).await.unwrap();
    pool.execute("BEGIN").await.unwrap();
    let open: i64 = sqlx::query_scalar("SELECT CAST(@@in_transaction AS SIGNED)").fetch_one(&pool).await.unwrap();
    assert_eq!(open, 1, "nothing is done, not even for a connection in doubt");
}

#[tokio::test]
async fn what_was_cut_off_is_closed_at_every_level() {
    let Some(server) = server() else { return };
    for level in [ResetLevel::None, ResetLevel::Transaction, ResetLevel::Session, ResetLevel::Replace] {
        let pool = one().reset(level).connect(&server.url).await.unwrap();
        let mut lease = pool.acquire().await.unwrap();
        let before = id(&mut lease).await;
        assert!(cut_after(1, raw_sql("SELECT SLEEP(0.05)").fetch_all(&mut *lease)).await.is_none());
        drop(lease);
        assert_ne!(server.next_is_clean(&pool).await, before, "{level:?}");
    }
}
