//! A table that is altered while connections know its columns: right rows or an error, never missing or swapped ones.

use crate::support::{Dir, one};
use millpond_sqlite::SqlLease;
use sqlx::raw_sql;

#[tokio::test]
async fn an_answer_that_stops_when_the_drivers_thread_panics_is_an_error_and_costs_the_connection() {
    let dir = Dir::new();
    let pool = dir.one().await;
    // A column name that is not UTF-8 is one of several things over which the driver's thread panics.
    raw_sql("CREATE TABLE t (a); INSERT INTO t VALUES (1); PRAGMA writable_schema = ON; \
             UPDATE sqlite_schema SET sql = CAST(x'435245415445205441424C45207420282261FF2229' AS TEXT) WHERE name = 't'")
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
    let pool = one().connect(&dir.url("one.db")).await.unwrap();
    for round in 0..3 {
        let mut lease = pool.acquire().await.unwrap();
        let id = SqlLease::info(&lease).id.get();
        let outcome = match round {
            0 => sqlx::query("SELECT * FROM t").fetch_all(&mut *lease).await.map(|rows| rows.len()),
            1 => sqlx::query("SELECT * FROM t").fetch_optional(&mut *lease).await.map(|row| row.iter().count()),
            _ => sqlx::query("SELECT * FROM t").execute(&mut *lease).await.map(|_| 0),
        };
        let error = outcome.unwrap_err();
        assert!(error.to_string().contains("stopped before the end"), "{error}");
        drop(lease);
        let lease = pool.acquire().await.unwrap();
        assert_ne!(SqlLease::info(&lease).id.get(), id, "it is not lent on");
    }
}

#[tokio::test]
async fn a_text_without_a_statement_ends_well() {
    let dir = Dir::new();
    let pool = dir.one().await;
    for sql in ["", " \n", ";", " ; ; ", "-- nothing", "/* nothing */", "/* nothing", "-- one\n/* two */;\n-- three"] {
        assert!(sqlx::query(sql).fetch_all(&pool).await.unwrap().is_empty(), "{sql:?}");
        assert!(raw_sql(sql).fetch_optional(&pool).await.unwrap().is_none(), "{sql:?}");
    }
}
