//! Behind a real PgBouncer in transaction mode: more clients than servers, and every query gets its
//! own answer.

use crate::support::one;
use futures_util::TryStreamExt;
use millpond_postgres::{PgConnectOptions, PgPool, PgPoolOptions, Pooler, ResetLevel};
use millpond_testkit::{poll_n, variable};
use sqlx::{Connection, Executor, PgConnection, Postgres, Row, raw_sql};
use std::env;
use std::sync::Arc;
use tokio::sync::Mutex;

const CLIENTS: u32 = 16;

/// Returns how many queries are sent in all; set `MILLPOND_PGBOUNCER_QUESTIONS=100000` for a soak.
fn questions() -> u32 {
    env::var("MILLPOND_PGBOUNCER_QUESTIONS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(4_000)
}

pub fn options() -> PgPoolOptions {
    PgPoolOptions::new().pool_size(CLIENTS).max_overflow(0).behind(Pooler::PgBouncer)
}

pub fn bouncer() -> Option<String> {
    variable("MILLPOND_TEST_PGBOUNCER_URL")
}

/// Returns the driver's options without those that PgBouncer refuses by default.
pub fn unasked(url: &str) -> PgConnectOptions {
    url.parse::<PgConnectOptions>().unwrap().extra_float_digits(None)
}

/// Sends one of two texts with the same types: a statement prepared for one can be executed in
/// place of the other.
async fn ask<'e>(on: impl Executor<'e, Database = Postgres>, n: u32) -> Result<bool, sqlx::Error> {
    let (sql, factor) =
        if n.is_multiple_of(2) { ("SELECT $1::int8 * 2", 2) } else { ("SELECT $1::int8 * 3", 3) };
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

// Without this test the one above might pass for another reason.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_drivers_own_pool_gets_wrong_answers_in_the_same_setup() {
    let Some(url) = bouncer() else { return };
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(CLIENTS)
        .connect_with(unasked(&url))
        .await
        .unwrap();
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
async fn transactions_streams_and_user_defined_types_work() {
    let Some(url) = bouncer() else { return };
    let pool = options().connect(&url).await.unwrap();
    raw_sql(
        "DROP TABLE IF EXISTS millpond_bounced; DROP TYPE IF EXISTS millpond_mood; \
         CREATE TYPE millpond_mood AS ENUM ('calm', 'wild'); CREATE TABLE millpond_bounced (i INT, \
         mood millpond_mood)",
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
        sqlx::query("DELETE FROM millpond_bounced WHERE i > $1")
            .bind(40_i32)
            .execute(&mut *tx)
            .await
            .unwrap();
        if committed {
            tx.commit().await.unwrap()
        } else {
            tx.rollback().await.unwrap()
        }
        // By the simple protocol as well.
        let rows: Vec<_> = sqlx::query("SELECT i, mood FROM millpond_bounced")
            .fetch(&pool)
            .try_collect()
            .await
            .unwrap();
        assert_eq!(rows.len(), 40);
    }
    let error = sqlx::query("INSERT INTO millpond_bounced VALUES ($1, 'odd')")
        .bind(1_i32)
        .execute(&pool)
        .await;
    assert_eq!(error.unwrap_err().as_database_error().unwrap().code().as_deref(), Some("22P02"));
    let mut serializable = pool.begin_with("BEGIN ISOLATION LEVEL SERIALIZABLE").await.unwrap();
    let sql = "SELECT current_setting('transaction_isolation')";
    let level: String = sqlx::query_scalar(sql).fetch_one(&mut *serializable).await.unwrap();
    assert_eq!(level, "serializable");
}

#[tokio::test]
async fn dropped_and_open_transactions_do_not_reach_the_next_borrower() {
    let Some(url) = bouncer() else { return };
    let pool = one().behind(Pooler::PgBouncer).connect(&url).await.unwrap();
    for round in 0..60_u32 {
        let _ = poll_n(ask(&pool, round), (1 + round % 9) as usize).await;
        assert!(ask(&pool, round).await.unwrap(), "round {round}");
        let _ = poll_n(pool.begin(), (1 + round % 9) as usize).await;
        assert!(ask(&pool, round).await.unwrap(), "round {round}");
        raw_sql("SELECT 1; BEGIN; SELECT 1/0").execute(&pool).await.unwrap_err();
    }
    // In a transaction it would be refused.
    raw_sql("VACUUM pg_catalog.pg_aggregate").execute(&pool).await.unwrap();
}

#[tokio::test]
async fn operations_that_need_a_session_are_refused_with_help() {
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
    pool.try_begin().await.unwrap().unwrap().commit().await.unwrap();
    pool.begin().await.unwrap().execute("SET LOCAL search_path = x").await.unwrap();
    let hooked = options().reset(ResetLevel::Session).on_connect(|_, _| Box::pin(async { Ok(()) }));
    let text = hooked.connect(&url).await.unwrap_err().to_string();
    assert!(text.contains("reset = session") && text.contains("hooks"), "{text}");
}

#[tokio::test]
async fn many_clients_that_hold_no_connection_between_queries_share_a_pool() {
    let Some(url) = bouncer() else { return };
    let pool = Arc::new(options().connect(&url).await.unwrap());
    // If a transaction were left open, these would wait forever, since there are more than servers.
    for round in 0..12 {
        let tx = pool.begin().await.unwrap();
        drop(tx);
        assert!(ask(&*pool, round).await.unwrap());
    }
}

/// Returns the state that was left in the sessions of all servers behind the pooler, as other
/// clients see it.
async fn left_behind(url: &str) -> Vec<String> {
    let sql = "SELECT concat_ws(' ', current_setting('search_path') <> '\"$user\", public', \
        current_user <> session_user, current_setting('millpond.mark', true) <> '', (SELECT \
        count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()), (SELECT count(*) FROM \
        pg_cursors WHERE name = 'millpond_mark'), (SELECT count(*) FROM pg_listening_channels()), \
        (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()), \
        (SELECT count(*) FROM pg_prepared_statements WHERE name = 'millpond_mark'))";
    // Two tests at once would wait for each other.
    static TURN: Mutex<()> = Mutex::const_new(());
    let _turn = TURN.lock().await;
    let mut others = Vec::new();
    let mut found = Vec::new();
    for _ in 0..4 {
        let mut other = PgConnection::connect_with(&unasked(url)).await.unwrap();
        // Holds the server, so that the next transaction gets another one.
        raw_sql("BEGIN").execute(&mut other).await.unwrap();
        let marks: String = raw_sql(sql).fetch_one(&mut other).await.unwrap().get(0);
        if !matches!(marks.as_str(), "f f 0 0 0 0 0" | "f f f 0 0 0 0 0") {
            found.push(marks);
        }
        others.push(other);
    }
    for mut other in others {
        raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
        other.close().await.unwrap();
    }
    found
}

const MARKS: [&str; 27] = [
    "/* hi! */ SET search_path = pg_temp",
    "; SET search_path = pg_temp",
    "SELECT 1; SET search_path = pg_temp",
    "SELECT 1; COMMIT; SET search_path = pg_temp; SELECT 1/0",
    "--\rSET search_path = pg_temp/*\nSELECT 1 */",
    "/*/*/ SELECT 1 */ */ SET search_path = pg_temp",
    "SET/**/SESSION search_path = pg_temp",
    "CREATE TEMP TABLE millpond_mark (i INT)",
    "CREATE TABLE pg_temp.millpond_mark (i INT)",
    "SELECT 1 AS i INTO TEMP millpond_mark",
    "DO $$ BEGIN PERFORM set_config('search_path', 'pg_temp', false); END $$",
    "DO $$ BEGIN SET ROLE pg_monitor; END $$",
    "DO $$ BEGIN LISTEN millpond_mark; END $$",
    "DECLARE millpond_mark CURSOR WITH HOLD FOR SELECT 1",
    "/* x */ LISTEN millpond_mark",
    "SELECT set_config('search_path', 'pg_temp', false)",
    "SELECT set_config('millpond.mark', 'x', false)",
    "WITH a AS (SELECT set_config('role', 'pg_monitor', false)) SELECT * FROM a",
    "PREPARE millpond_mark AS SELECT 1",
    "SELECT pg_advisory_lock(4711)",
    "SELECT millpond_lock()",
    "SELECT millpond_mark()",
    "CALL millpond_mark_too()",
    "INSERT INTO millpond_marked VALUES (1)",
    "EXPLAIN ANALYZE SELECT millpond_mark()",
    "TABLE millpond_marks",
    "LOAD 'plpgsql'; SET search_path = pg_temp",
];

/// Functions that change a session without naming the change in the statement.
const HIDDEN: &str = "DROP VIEW IF EXISTS millpond_marks; DROP TABLE IF EXISTS millpond_marked; \
    CREATE OR REPLACE FUNCTION millpond_mark() RETURNS INT LANGUAGE plpgsql AS \
    $$ BEGIN SET search_path = pg_temp; PERFORM pg_advisory_lock(4712); RETURN 1; END $$; \
    CREATE OR REPLACE FUNCTION millpond_lock() RETURNS INT LANGUAGE sql AS \
    $$ SELECT pg_advisory_lock(4713); SELECT 1 $$; \
    CREATE OR REPLACE PROCEDURE millpond_mark_too() LANGUAGE plpgsql AS \
    $$ BEGIN PERFORM public.millpond_mark(); END $$; \
    CREATE OR REPLACE FUNCTION millpond_trigger() RETURNS TRIGGER LANGUAGE plpgsql AS \
    $$ BEGIN PERFORM public.millpond_mark(); RETURN NEW; END $$; \
    CREATE TABLE millpond_marked (i INT); \
    CREATE TRIGGER marks BEFORE INSERT ON millpond_marked FOR EACH ROW EXECUTE FUNCTION \
    millpond_trigger(); CREATE VIEW millpond_marks AS SELECT public.millpond_mark()";

#[tokio::test]
async fn no_statement_leaves_anything_in_a_session_that_others_get() {
    let Some(url) = bouncer() else { return };
    let pool = one().behind(Pooler::PgBouncer).connect(&url).await.unwrap();
    pool.execute(HIDDEN).await.unwrap();
    let mut refused = Vec::new();
    for text in MARKS {
        for how in 0..6 {
            let outcome = match how {
                0 => raw_sql(text).execute(&pool).await.map(drop),
                1 => sqlx::query(text).execute(&pool).await.map(drop),
                2 => sqlx::query(text).fetch_optional(&pool).await.map(drop),
                ending => {
                    let mut tx = pool.begin().await.unwrap();
                    let outcome = raw_sql(text).execute(&mut *tx).await.map(drop);
                    match ending {
                        3 => drop(tx.commit().await),
                        4 => tx.rollback().await.unwrap(),
                        _ => drop(tx),
                    }
                    outcome
                }
            };
            if outcome.is_err() && refused.last() != Some(&text) {
                refused.push(text);
            }
            // Waits for the maintenance task, which ends dropped operations.
            assert!(ask(&pool, 2).await.unwrap());
            let left = left_behind(&url).await;
            assert!(left.is_empty(), "{text} ({how}, {outcome:?}) left {left:?}");
        }
    }
    assert!(
        !refused.contains(&"SELECT millpond_mark()") && !refused.contains(&"TABLE millpond_marks"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn session_changes_of_a_dropped_statement_are_cleared() {
    let Some(url) = bouncer() else { return };
    let pool = one().behind(Pooler::PgBouncer).connect(&url).await.unwrap();
    for polls in 0..12 {
        let text = "SELECT set_config('search_path', 'pg_temp', false), pg_sleep(0.002), i FROM \
            generate_series(1, 9) i";
        let _ = poll_n(sqlx::query(text).fetch_all(&pool), polls).await;
        assert!(ask(&pool, 2).await.unwrap());
        let left = left_behind(&url).await;
        assert!(left.is_empty(), "cut after {polls} polls: {left:?}");
    }
}

#[tokio::test]
async fn a_refused_commit_is_an_error_and_statements_outside_transactions_work() {
    let Some(url) = bouncer() else { return };
    let pool = one().behind(Pooler::PgBouncer).connect(&url).await.unwrap();
    let sql = "DROP TABLE IF EXISTS millpond_deferred; \
               CREATE TABLE millpond_deferred (i INT UNIQUE DEFERRABLE INITIALLY DEFERRED)";
    pool.execute(sql).await.unwrap();
    let twice = "INSERT INTO millpond_deferred VALUES (1), (1)";
    assert!(pool.execute(twice).await.is_err());
    assert!(sqlx::query(twice).execute(&pool).await.is_err());
    let mut tx = pool.begin().await.unwrap();
    tx.execute(twice).await.unwrap();
    assert!(tx.commit().await.is_err());
    let mut tx = pool.begin().await.unwrap();
    tx.execute("INSERT INTO millpond_deferred VALUES (7)").await.unwrap();
    tx.execute("SELECT 1/0").await.unwrap_err();
    assert!(tx.commit().await.is_err());
    pool.execute("INSERT INTO millpond_deferred VALUES (2)").await.unwrap();
    for text in ["VACUUM millpond_deferred", "REINDEX TABLE millpond_deferred"] {
        pool.execute(text).await.unwrap();
    }
    let all: Vec<i32> =
        sqlx::query_scalar("SELECT i FROM millpond_deferred").fetch_all(&pool).await.unwrap();
    assert_eq!(all, [2]);
}
