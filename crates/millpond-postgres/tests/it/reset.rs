//! The four levels of reset between two borrowers.

use crate::support::{one, pid, server};
use millpond_postgres::{ResetLevel, Standing};
use sqlx::{Connection, Executor, Row, raw_sql};

/// Ten kinds of session state, asked for in one row of truths.
const NOTHING_LEFT: &str = "SELECT current_user = 'postgres' AS role, session_user = 'postgres' AS authorization, \
     current_setting('search_path') LIKE '%public%' AS search_path, \
     current_setting('statement_timeout') = '0' AS setting, current_setting('TimeZone') = 'UTC' AS zone, \
     NOT EXISTS (SELECT FROM pg_class WHERE relname = 'millpond_secret') AS temp_table, \
     NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) AS lock, \
     NOT EXISTS (SELECT FROM pg_listening_channels()) AS listen, \
     NOT EXISTS (SELECT FROM pg_cursors WHERE name = 'mine') AS cursor, \
     NOT EXISTS (SELECT FROM pg_prepared_statements WHERE from_sql) AS prepared";

#[tokio::test]
async fn a_session_reset_clears_every_kind_of_state_and_keeps_the_statement_cache() {
    let Some(server) = server() else { return };
    let url = format!("{}?user=postgres", server.url);
    let pool = one().reset(ResetLevel::Session).connect(&url).await.unwrap();
    for round in 0..3_i64 {
        let mut lease = pool.acquire().await.unwrap();
        let row = sqlx::query(NOTHING_LEFT).fetch_one(&mut *lease).await.unwrap();
        for (at, column) in row.columns().iter().enumerate() {
            assert!(row.get::<bool, _>(at), "{} in round {round}", sqlx::Column::name(column));
        }
        let mut cached = 1;
        if round > 0 {
            assert!(
                lease.driver().cached_statements_size() >= 2,
                "the statements of the last borrower are still known"
            );
            cached += 1;
        }
        let echo: i64 = sqlx::query_scalar("SELECT $1::int8").bind(round).fetch_one(&mut *lease).await.unwrap();
        assert_eq!(echo, round);
        assert!(lease.driver().cached_statements_size() >= cached);
        lease
            .execute(
                "SET TIME ZONE 'Europe/Paris'; SET search_path = pg_catalog; SET statement_timeout = '7min'; \
                 CREATE TEMP TABLE millpond_secret (i INT); SELECT pg_advisory_lock(4711); LISTEN pond; \
                 PREPARE \"my \"\" own\" AS SELECT 1; DECLARE mine CURSOR WITH HOLD FOR SELECT 1; \
                 SET SESSION AUTHORIZATION pg_monitor",
            )
            .await
            .unwrap();
        lease.execute("SET ROLE pg_read_all_stats").await.unwrap();
    }
}

#[tokio::test]
async fn a_session_reset_finds_what_plain_selects_have_left_behind() {
    let Some(server) = server() else { return };
    let pool = one().reset(ResetLevel::Session).connect(&server.url).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    sqlx::query("SELECT pg_advisory_lock(4712)").execute(&mut *lease).await.unwrap();
    sqlx::query("SELECT set_config('statement_timeout', '7min', false)").execute(&mut *lease).await.unwrap();
    assert_eq!(lease.standing(), Standing::Clean);
    drop(lease);
    let row = sqlx::query(NOTHING_LEFT).fetch_one(&pool).await.unwrap();
    assert!(row.get::<bool, _>("setting") && row.get::<bool, _>("lock"));
}

#[tokio::test]
async fn a_session_reset_keeps_what_the_url_has_set() {
    let Some(server) = server() else { return };
    let url = format!("{}?application_name=mill&options[statement_timeout]=9min", server.url);
    let pool = one().reset(ResetLevel::Session).connect(&url).await.unwrap();
    for _ in 0..2 {
        let mut lease = pool.acquire().await.unwrap();
        let sql = "SELECT current_setting('application_name'), current_setting('statement_timeout')";
        let row = sqlx::query(sql).fetch_one(&mut *lease).await.unwrap();
        assert_eq!((row.get::<&str, _>(0), row.get::<&str, _>(1)), ("mill", "9min"));
        raw_sql("SET application_name = 'other'; SET statement_timeout = 0").execute(&mut *lease).await.unwrap();
    }
}

#[tokio::test]
async fn an_open_transaction_is_cleared_by_every_level_but_none() {
    let Some(server) = server() else { return };
    for level in [ResetLevel::Transaction, ResetLevel::Session, ResetLevel::Replace] {
        let pool = one().reset(level).connect(&server.url).await.unwrap();
        let mut lease = pool.acquire().await.unwrap();
        let before = pid(&mut lease).await;
        lease.execute("BEGIN; CREATE TEMP TABLE gone (i INT)").await.unwrap();
        drop(lease);
        let after = server.next_is_clean(&pool).await;
        assert_eq!(before != after, level == ResetLevel::Replace, "{level:?}");
    }
    let pool = one().reset(ResetLevel::None).connect(&server.url).await.unwrap();
    pool.execute("BEGIN").await.unwrap();
    let row = raw_sql("SELECT now() = statement_timestamp()").fetch_one(&pool).await.unwrap();
    assert!(!row.get::<bool, _>(0), "nothing is done, not even for a connection in doubt");
}
