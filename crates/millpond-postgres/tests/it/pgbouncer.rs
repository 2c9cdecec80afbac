//! Behind the real PgBouncer in transaction mode: more clients than servers, and every question gets its own answer.

use crate::support::one;
use futures_util::TryStreamExt;
use millpond_postgres::{PgPool, PgPoolOptions, Pooler, ResetLevel};
use millpond_testkit::{poll_n, variable};
use sqlx::{Executor, Postgres, raw_sql};
use std::env;
use std::sync::Arc;

const CLIENTS: u32 = 16;

/// How many questions are asked in all; `MILLPOND_PGBOUNCER_QUESTIONS=100000` for a soak.
fn questions() -> u32 {
    env::var("MILLPOND_PGBOUNCER_QUESTIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(4_000)
}

fn options() -> PgPoolOptions {
    PgPoolOptions::new().pool_size(CLIENTS).max_overflow(0).behind(Pooler::PgBouncer)
}

fn bouncer() -> Option<String> {
    variable("MILLPOND_TEST_PGBOUNCER_URL")
}

/// Two texts of the same types: what one has prepared can be executed in the place of the other.
async fn ask<'e>(on: impl Executor<'e, Database = Postgres>, n: u32) -> Result<bool, sqlx::Error> {
    let (sql, factor) = if n.is_multiple_of(2) { ("SELECT $1::int8 * 2", 2) } else { ("SELECT $1::int8 * 3", 3) };
    let answer: i64 = sqlx::query_scalar(sql).bind(i64::from(n)).fetch_one(on).await?;
    Ok(answer == i64::from(n) * factor)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_clients_on_four_servers_get_their_own_answers() {
    let Some(url) = bouncer() else { return };
    let pool = options().connect(&url).await.unwrap();
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for n in 0..questions() / CLIENTS {
                    assert!(ask(&pool, client + n).await.unwrap(), "client {client}, question {n}");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

// Without this the test above might pass for another reason.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_drivers_own_pool_is_answered_wrongly_in_the_same_place() {
    let Some(url) = bouncer() else { return };
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(CLIENTS).connect(&url).await.unwrap();
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let mut wrong = 0;
                for n in 0..100 {
                    wrong += u32::from(!ask(&pool, client + n).await.unwrap_or(false));
                }
                wrong
            })
        })
        .collect();
    let mut wrong = 0;
    for task in tasks {
        wrong += task.await.unwrap();
    }
    println!("sqlx's own pool: {wrong} of {} wrong or failed", CLIENTS * 100);
    assert!(wrong > 0);
}

#[tokio::test]
async fn transactions_streams_and_types_of_ones_own_work() {
    let Some(url) = bouncer() else { return };
    let pool = options().connect(&url).await.unwrap();
    raw_sql(
        "DROP TABLE IF EXISTS millpond_bounced; DROP TYPE IF EXISTS millpond_mood; \
         CREATE TYPE millpond_mood AS ENUM ('calm', 'wild'); CREATE TABLE millpond_bounced (i INT, mood millpond_mood)",
    )
    .execute(&pool)
    .await
    .unwrap();
    let sql = "INSERT INTO millpond_bounced SELECT i, 'calm' FROM generate_series(1, $1) i";
    let done = sqlx::query(sql).bind(50_i32).execute(&pool).await.unwrap();
    assert_eq!(done.rows_affected(), 50);
    let mut long = pool.begin().await.unwrap();
    for i in 0..250_u32 {
        assert!(ask(&mut *long, i).await.unwrap());
    }
    let sql = "SELECT count(*) FROM pg_prepared_statements";
    let names: i64 = sqlx::query_scalar(sql).fetch_one(&mut *long).await.unwrap();
    assert!((1..=100).contains(&names), "{names}");
    drop(long);
    for committed in [true, false] {
        let mut tx = pool.begin().await.unwrap();
        sqlx::query("DELETE FROM millpond_bounced WHERE i > $1").bind(40_i32).execute(&mut *tx).await.unwrap();
        if committed {
            tx.commit().await.unwrap()
        } else {
            tx.rollback().await.unwrap()
        }
        // By the simple protocol as well.
        let rows: Vec<_> =
            sqlx::query("SELECT i, mood FROM millpond_bounced").fetch(&pool).try_collect().await.unwrap();
        assert_eq!(rows.len(), 40);
    }
    let error = sqlx::query("INSERT INTO millpond_bounced VALUES ($1, 'odd')").bind(1_i32).execute(&pool).await;
    assert_eq!(error.unwrap_err().as_database_error().unwrap().code().as_deref(), Some("22P02"));
    let mut serializable = pool.begin_with("BEGIN ISOLATION LEVEL SERIALIZABLE").await.unwrap();
    let sql = "SELECT current_setting('transaction_isolation')";
    let level: String = sqlx::query_scalar(sql).fetch_one(&mut *serializable).await.unwrap();
    assert_eq!(level, "serializable");
}

#[tokio::test]
async fn what_was_cut_off_or_left_open_does_not_reach_the_next_borrower() {
    let Some(url) = bouncer() else { return };
    let pool = one().behind(Pooler::PgBouncer).connect(&url).await.unwrap();
    for round in 0..60_u32 {
        let _ = poll_n(ask(&pool, round), (1 + round % 9) as usize).await;
        assert!(ask(&pool, round).await.unwrap(), "round {round}");
        let _ = poll_n(pool.begin(), (1 + round % 9) as usize).await;
        assert!(ask(&pool, round).await.unwrap(), "round {round}");
        raw_sql("SELECT 1; BEGIN; SELECT 1/0").execute(&pool).await.unwrap_err();
    }
    let sql = "SELECT now() = statement_timestamp()";
    let outside: bool = sqlx::Row::get(&raw_sql(sql).fetch_one(&pool).await.unwrap(), 0);
    assert!(outside);
}

#[tokio::test]
async fn what_needs_a_session_is_refused_and_the_refusal_says_what_to_do() {
    let Some(url) = bouncer() else { return };
    let pool: PgPool = options().connect(&url).await.unwrap();
    for error in [
        pool.acquire().await.unwrap_err(),
        sqlx::Acquire::acquire(&pool).await.unwrap_err(),
        pool.execute("SET search_path = x").await.unwrap_err(),
        pool.execute("LISTEN pond").await.unwrap_err(),
        pool.execute(raw_sql("BEGIN")).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("`pool.begin()`"), "{error}");
    }
    assert!(pool.try_acquire().is_none());
    pool.begin().await.unwrap().execute("SET LOCAL search_path = x").await.unwrap();
    let hooked = options().reset(ResetLevel::Session).on_connect(|_, _| Box::pin(async { Ok(()) }));
    let text = hooked.connect(&url).await.unwrap_err().to_string();
    assert!(text.contains("reset = session") && text.contains("hooks"), "{text}");
}

#[tokio::test]
async fn a_pool_can_be_shared_by_many_who_hold_nothing_between_two_queries() {
    let Some(url) = bouncer() else { return };
    let pool = Arc::new(options().connect(&url).await.unwrap());
    // More transactions than servers would wait for each other for ever if one were left open.
    for round in 0..12 {
        let tx = pool.begin().await.unwrap();
        drop(tx);
        assert!(ask(&*pool, round).await.unwrap());
    }
}
