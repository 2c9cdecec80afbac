//! The effects of a session reset.

use crate::support::{one, server};
use millpond_postgres::{PgPoolOptions, ResetLevel};
use sqlx::{Connection, Executor, Postgres, Row, raw_sql};

#[tokio::test]
async fn a_session_reset_keeps_the_statement_cache() {
    let Some(server) = server() else { return };
    let pool = one().reset(ResetLevel::Session).connect(&server.url).await.unwrap();
    for round in 0..3_i64 {
        let mut lease = pool.acquire().await.unwrap();
        let known = lease.driver().cached_statements_size();
        assert_eq!(
            known,
            usize::from(round > 0),
            "the statement of the last borrower is still known"
        );
        let echo: i64 =
            sqlx::query_scalar("SELECT $1::int8").bind(round).fetch_one(&mut *lease).await.unwrap();
        assert_eq!((echo, lease.driver().cached_statements_size()), (round, 1));
        lease.execute("PREPARE \"my \"\" own\" AS SELECT 1; SET work_mem = '5MB'").await.unwrap();
    }
}

#[tokio::test]
async fn a_session_reset_restores_what_an_on_connect_hook_has_set() {
    let Some(server) = server() else { return };
    let options = one().reset(ResetLevel::Session).on_connect(|conn, _| {
        Box::pin(async move {
            let sql = "SET default_transaction_read_only = on; SET SESSION ROLE pg_monitor; SET \
                app.tenant = '7'";
            raw_sql(sql).execute(conn).await?;
            Ok(())
        })
    });
    let pool = options.connect(&server.url).await.unwrap();
    for _ in 0..3 {
        let mut lease = pool.acquire().await.unwrap();
        let sql = "SELECT current_setting('default_transaction_read_only'), current_user::text, \
            current_setting('app.tenant')";
        let row = sqlx::query(sql).fetch_one(&mut *lease).await.unwrap();
        assert_eq!((row.get(0), row.get(1), row.get(2)), ("on", "pg_monitor", "7"));
        let sql = "SET default_transaction_read_only = off; RESET ROLE; SET app.tenant = '8'";
        raw_sql(sql).execute(&mut *lease).await.unwrap();
    }
}

#[tokio::test]
async fn a_session_reset_forgets_the_seed_of_random_numbers() {
    let Some(server) = server() else { return };
    let pool = one().reset(ResetLevel::Session).connect(&server.url).await.unwrap();
    let mut drawn = Vec::new();
    for _ in 0..2 {
        let number: f64 = sqlx::query_scalar("SELECT random()").fetch_one(&pool).await.unwrap();
        drawn.push(number);
        sqlx::query("SELECT setseed(0.5)").execute(&pool).await.unwrap();
    }
    let number: f64 = sqlx::query_scalar("SELECT random()").fetch_one(&pool).await.unwrap();
    assert_ne!(drawn[1], number);
}

#[tokio::test]
async fn a_session_reset_keeps_the_settings_of_the_url() {
    let Some(server) = server() else { return };
    let url = format!("{}?application_name=mill&options[statement_timeout]=9min", server.url);
    let pool = one().reset(ResetLevel::Session).connect(&url).await.unwrap();
    for _ in 0..2 {
        let mut lease = pool.acquire().await.unwrap();
        let sql =
            "SELECT current_setting('application_name'), current_setting('statement_timeout')";
        let row = sqlx::query(sql).fetch_one(&mut *lease).await.unwrap();
        assert_eq!((row.get::<&str, _>(0), row.get::<&str, _>(1)), ("mill", "9min"));
        raw_sql("SET application_name = 'other'; SET statement_timeout = 0")
            .execute(&mut *lease)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn no_lock_that_a_statement_takes_survives_a_return() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    for sql in [
        "SELECT pg_advisory_lock(4714)",
        "/* x */ select PG_TRY_ADVISORY_LOCK(4714)",
        "SELECT pg_catalog.pg_advisory_lock_shared(4714)",
    ] {
        pool.execute(sql).await.unwrap();
        // The return of the connection may still be under way.
        drop(pool.acquire().await.unwrap());
        let free: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock(4714)")
            .fetch_one(&mut server.connection().await)
            .await
            .unwrap();
        assert!(free, "{sql}");
    }
    assert_eq!(pool.status().totals.created, 1, "the connection was not worth closing");
}

#[tokio::test]
async fn a_listen_left_on_a_connection_sends_nothing_to_the_next_borrower() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    let mut other = server.connection().await;
    for sql in ["LISTEN millpond_left", "SELECT 1; /* x */ listen millpond_left"] {
        raw_sql(sql).execute(&mut *pool.acquire().await.unwrap()).await.unwrap();
        let mut lease = pool.acquire().await.unwrap();
        for echo in 0..3_i32 {
            raw_sql("NOTIFY millpond_left").execute(&mut other).await.unwrap();
            let got: i32 =
                sqlx::query_scalar("SELECT $1").bind(echo).fetch_one(&mut *lease).await.unwrap();
            assert_eq!(got, echo, "{sql}");
        }
    }
    assert_eq!(pool.status().totals.created, 1);
}

/// Returns midnight in the session's time zone, in seconds since 1970.
async fn midnight<'e>(executor: impl Executor<'e, Database = Postgres>) -> i64 {
    let sql = "SELECT extract(epoch FROM '2020-01-01'::timestamptz)::int8 + $1";
    sqlx::query_scalar(sql).bind(0_i64).fetch_one(executor).await.unwrap()
}

const MIDNIGHT: i64 = 1_577_836_800;

#[tokio::test]
async fn a_constant_is_parsed_with_the_settings_of_its_own_borrower() {
    let Some(server) = server() else { return };
    for level in [ResetLevel::Transaction, ResetLevel::Session] {
        let options = one().reset(level);
        let pool = options.connect(&format!("{}?options[TimeZone]=UTC", server.url)).await.unwrap();
        for how in 0..4 {
            let mut lease = pool.acquire().await.unwrap();
            raw_sql("SET TimeZone = 'UTC'").execute(&mut *lease).await.unwrap();
            assert_eq!(midnight(&mut *lease).await, MIDNIGHT);
            match how {
                0 => raw_sql("SET TIME ZONE 'Asia/Tokyo'").execute(&mut *lease).await.map(drop),
                1 => raw_sql("SET timezone = 'Asia/Tokyo'").execute(&mut *lease).await.map(drop),
                _ => {
                    let sql = "SELECT set_config('TimeZone', 'Asia/Tokyo', $1)";
                    sqlx::query(sql).bind(false).execute(&mut *lease).await.map(drop)
                }
            }
            .unwrap();
            assert_eq!(midnight(&mut *lease).await, MIDNIGHT - 9 * 3600, "{level:?} {how}");
            drop(lease);
            let expected =
                if level == ResetLevel::Session { MIDNIGHT } else { MIDNIGHT - 9 * 3600 };
            assert_eq!(midnight(&pool).await, expected, "{level:?} {how}");
            let mut tx = pool.begin().await.unwrap();
            raw_sql("SET LOCAL TimeZone = 'America/Bogota'").execute(&mut *tx).await.unwrap();
            assert_eq!(midnight(&mut *tx).await, MIDNIGHT + 5 * 3600, "{level:?} {how}");
            tx.rollback().await.unwrap();
            assert_eq!(midnight(&pool).await, expected, "{level:?} {how}");
        }
    }
}

#[tokio::test]
async fn at_reset_session_no_setting_reaches_the_next_borrower_of_sqlxs_pool() {
    let Some(server) = server() else { return };
    for connections in [1, 2] {
        let options = PgPoolOptions::new().pool_size(3).max_overflow(0);
        let options = options.reset(ResetLevel::Session).sqlx_connections(connections);
        let pool = options.connect(&server.url).await.unwrap();
        let theirs = pool.sqlx().unwrap();
        for _ in 0..4 {
            let mut conn = theirs.acquire().await.unwrap();
            let seen: String =
                sqlx::query_scalar("SHOW work_mem").fetch_one(&mut *conn).await.unwrap();
            assert_ne!(seen, "1MB");
            conn.execute("SET work_mem = '1MB'").await.unwrap();
        }
        pool.close().await;
    }
}
