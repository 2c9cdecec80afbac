//! What a session reset keeps.

use crate::support::{one, server};
use millpond_postgres::ResetLevel;
use sqlx::{Connection, Executor, Row, raw_sql};

#[tokio::test]
async fn a_session_reset_keeps_the_statement_cache() {
    let Some(server) = server() else { return };
    let pool = one().reset(ResetLevel::Session).connect(&server.url).await.unwrap();
    for round in 0..3_i64 {
        let mut lease = pool.acquire().await.unwrap();
        let known = lease.driver().cached_statements_size();
        assert_eq!(known, usize::from(round > 0), "the statement of the last borrower is still known");
        let echo: i64 = sqlx::query_scalar("SELECT $1::int8").bind(round).fetch_one(&mut *lease).await.unwrap();
        assert_eq!((echo, lease.driver().cached_statements_size()), (round, 1));
        lease.execute("PREPARE \"my \"\" own\" AS SELECT 1; SET TIME ZONE 'Europe/Paris'").await.unwrap();
    }
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
