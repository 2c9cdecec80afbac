//! A migration under a running pool: connections clear their cached schema in time.

use crate::support::{one, server};
use millpond_postgres::{PgConnection, PgPool, PgPoolOptions, ResetLevel};
use millpond_testkit::poll_n;
use sqlx::{AssertSqlSafe, Executor, Row, SqlSafeStr, Statement, raw_sql};

const ALL: &str = "SELECT * FROM t";

/// Builds a pool of three connections on an empty schema, each of which has executed `sql`.
async fn warmed(url: &str, sql: &'static str, level: ResetLevel) -> PgPool {
    let pool =
        PgPoolOptions::new().pool_size(3).max_overflow(0).reset(level).connect(url).await.unwrap();
    pool.prewarm(3).await.unwrap();
    let mut leases = Vec::new();
    for _ in 0..3 {
        let mut lease = pool.acquire().await.unwrap();
        sqlx::query(sql).fetch_all(&mut *lease).await.unwrap();
        leases.push(lease);
    }
    pool
}

async fn change(conn: &mut PgConnection, sql: &str) {
    raw_sql(AssertSqlSafe(sql.to_owned())).execute(conn).await.unwrap();
}

#[tokio::test]
async fn a_changed_table_costs_one_error_and_all_connections_clear_their_caches() {
    let Some(server) = server() else { return };
    for (n, level) in
        [ResetLevel::None, ResetLevel::Transaction, ResetLevel::Session].into_iter().enumerate()
    {
        let url = server.schema(&format!("millpond_changed_{n}")).await;
        let mut admin = one().connect(&url).await.unwrap().acquire().await.unwrap();
        change(&mut admin, "CREATE TABLE t (a INT); INSERT INTO t VALUES (1)").await;
        let pool = warmed(&url, ALL, level).await;
        for column in ["b", "c"] {
            change(&mut admin, &format!("ALTER TABLE t ADD COLUMN {column} INT")).await;
            let mut errors = Vec::new();
            for _ in 0..12 {
                errors.extend(sqlx::query(ALL).fetch_all(&pool).await.err());
            }
            assert!(errors.len() <= 1, "{level:?}: {errors:?}");
            assert_eq!(pool.size(), 3, "no connection was worth closing");
        }
    }
}

#[tokio::test]
async fn connections_in_use_clear_their_caches_before_their_next_statement() {
    let Some(server) = server() else { return };
    let url = server.schema("millpond_changed_in_use").await;
    let mut admin = one().connect(&url).await.unwrap().acquire().await.unwrap();
    change(&mut admin, "CREATE TABLE t (a INT)").await;
    let pool = warmed(&url, ALL, ResetLevel::Transaction).await;
    let mut leases = [
        pool.acquire().await.unwrap(),
        pool.acquire().await.unwrap(),
        pool.acquire().await.unwrap(),
    ];
    change(&mut admin, "ALTER TABLE t ADD COLUMN b INT").await;
    let mut errors = 0;
    for _ in 0..3 {
        for lease in &mut leases {
            errors += usize::from(sqlx::query(ALL).fetch_all(&mut **lease).await.is_err());
        }
    }
    assert_eq!(errors, 1);
}

#[tokio::test]
async fn a_changed_table_is_noticed_by_the_error_of_a_dropped_query() {
    const OTHER: &str = "SELECT *, 1 FROM t";
    let Some(server) = server() else { return };
    for (n, goes_on) in [true, false].into_iter().enumerate() {
        let url = server.schema(&format!("millpond_changed_cut_{n}")).await;
        let mut admin = one().connect(&url).await.unwrap().acquire().await.unwrap();
        change(&mut admin, "CREATE TABLE t (a INT)").await;
        let pool = one().connect(&url).await.unwrap();
        let mut lease = pool.acquire().await.unwrap();
        sqlx::query(ALL).fetch_all(&mut *lease).await.unwrap();
        sqlx::query(OTHER).fetch_all(&mut *lease).await.unwrap();
        // The table is locked, so the server cannot answer before the query is dropped.
        change(&mut admin, "BEGIN; ALTER TABLE t ADD COLUMN b INT").await;
        assert!(poll_n(sqlx::query(ALL).fetch_all(&mut *lease), 1).await.is_none());
        change(&mut admin, "COMMIT").await;
        if goes_on {
            sqlx::query(OTHER).fetch_all(&mut *lease).await.unwrap();
        } else {
            drop(lease);
            sqlx::query(OTHER).fetch_all(&pool).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_changed_table_is_noticed_if_the_driver_itself_reports_the_error_of_a_dropped_query() {
    const OTHER: &str = "SELECT *, 1 FROM t";
    let Some(server) = server() else { return };
    let url = server.schema("millpond_changed_direct").await;
    let mut admin = one().connect(&url).await.unwrap().acquire().await.unwrap();
    change(&mut admin, "CREATE TABLE t (a INT)").await;
    let pool = one().connect(&url).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    for sql in [ALL, OTHER] {
        sqlx::query(sql).fetch_all(&mut *lease).await.unwrap();
    }
    // The table is locked, so the server cannot answer before the query is dropped.
    change(&mut admin, "BEGIN; ALTER TABLE t ADD COLUMN b INT").await;
    assert!(poll_n(sqlx::query(ALL).fetch_all(&mut *lease), 1).await.is_none());
    change(&mut admin, "COMMIT").await;
    let late = (&mut **lease).execute("SELECT 1").await.unwrap_err();
    assert!(late.to_string().contains("cached plan"), "{late}");
    drop(lease);
    assert_eq!(pool.fetch_all(sqlx::query(OTHER)).await.unwrap().len(), 0);
}

#[tokio::test]
async fn after_the_error_in_a_transaction_the_next_one_works_on_the_same_lease() {
    let Some(server) = server() else { return };
    let url = server.schema("millpond_changed_tx").await;
    let mut admin = one().connect(&url).await.unwrap().acquire().await.unwrap();
    change(&mut admin, "CREATE TABLE t (a INT)").await;
    let pool = warmed(&url, ALL, ResetLevel::Transaction).await;
    change(&mut admin, "ALTER TABLE t ADD COLUMN b INT").await;
    let mut tx = pool.begin().await.unwrap();
    sqlx::query(ALL).fetch_all(&mut *tx).await.unwrap_err();
    tx.rollback().await.unwrap();
    for _ in 0..3 {
        let mut tx = pool.begin().await.unwrap();
        sqlx::query(ALL).fetch_all(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn a_statement_prepared_before_a_table_was_rebuilt_has_the_current_columns() {
    const BUILD: [&str; 2] = [
        "CREATE TABLE t (name TEXT, email TEXT); INSERT INTO t VALUES ('mill', 'mill@pond')",
        "CREATE TABLE t (email TEXT, name TEXT); INSERT INTO t VALUES ('mill@pond', 'mill')",
    ];
    let Some(server) = server() else { return };
    let url = server.schema("millpond_statement").await;
    let mut admin = one().connect(&url).await.unwrap().acquire().await.unwrap();
    change(&mut admin, BUILD[0]).await;
    let (old, new) = (server_pool(&url).await, server_pool(&url).await);
    let statement = old.prepare(ALL.into_sql_str()).await.unwrap();
    statement.query().fetch_one(&old).await.unwrap();
    change(&mut admin, &format!("DROP TABLE t; {}", BUILD[1])).await;
    for pool in [&old, &old, &new] {
        // The first query detects the change.
        let Ok(row) = statement.query().fetch_one(pool).await else { continue };
        assert_eq!(row.get::<&str, _>("name"), "mill");
        assert_eq!(row.get::<&str, _>("email"), "mill@pond");
    }
    statement.query().fetch_one(&old).await.unwrap();
}

#[tokio::test]
async fn a_borrower_that_deallocates_everything_harms_neither_itself_nor_the_next() {
    let Some(server) = server() else { return };
    for level in [ResetLevel::None, ResetLevel::Transaction, ResetLevel::Session] {
        let pool = one().reset(level).connect(&server.url).await.unwrap();
        for sql in [
            "DISCARD ALL",
            "deallocate all",
            "DEALLOCATE PREPARE ALL",
            "SELECT 1; DEALLOCATE ALL",
            "/* x */ Discard All",
        ] {
            let mut lease = pool.acquire().await.unwrap();
            sqlx::query("SELECT 1").execute(&mut *lease).await.unwrap();
            raw_sql(AssertSqlSafe(sql)).execute(&mut *lease).await.unwrap();
            sqlx::query("SELECT 1").execute(&mut *lease).await.unwrap();
            raw_sql(AssertSqlSafe(sql)).execute(&mut *lease).await.unwrap();
            drop(lease);
            sqlx::query("SELECT 1").execute(&pool).await.unwrap();
        }
    }
}

#[tokio::test]
async fn statements_deallocated_unnoticed_cost_one_error() {
    let Some(server) = server() else { return };
    let pool = server.one().await;
    sqlx::query("SELECT 1").execute(&pool).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    let unseen: &mut PgConnection = &mut lease;
    unseen.execute("DISCARD ALL").await.unwrap();
    drop(lease);
    let error = sqlx::query("SELECT 1").execute(&pool).await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("26000"));
    for _ in 0..3 {
        sqlx::query("SELECT 1").execute(&pool).await.unwrap();
    }
}

#[tokio::test]
async fn a_pool_without_a_statement_cache_leaves_no_statements_at_the_server() {
    let Some(server) = server() else { return };
    let url = format!("{}?statement_cache_capacity=0", server.url);
    let pool = one().connect(&url).await.unwrap();
    for n in 0..9 {
        let sql = format!("SELECT {n} + $1::int4");
        let sum: i32 =
            sqlx::query_scalar(AssertSqlSafe(sql)).bind(1).fetch_one(&pool).await.unwrap();
        assert_eq!(sum, n + 1);
    }
    let sql = "SELECT count(*) FROM pg_prepared_statements";
    let kept: i64 = raw_sql(sql).fetch_one(&pool).await.map(|row| row.get(0)).unwrap();
    assert!(kept <= 1, "{kept}");
}

#[derive(sqlx::Type)]
#[sqlx(type_name = "mood")]
enum Mood {
    Glad,
}

#[derive(sqlx::Type)]
#[sqlx(type_name = "pair")]
struct Pair {
    a: i32,
    b: i32,
}

#[derive(sqlx::Type)]
#[sqlx(type_name = "depth")]
struct Depth(i32);

const TYPES: &str = "CREATE TYPE mood AS ENUM ('Glad'); CREATE TYPE pair AS (a INT, b INT); CREATE \
    DOMAIN depth AS INT; CREATE TABLE t (m mood, p pair, d depth)";

/// Inserts a row, with a text that may be prepared already.
async fn write(pool: &PgPool, text: &'static str) -> Result<(), sqlx::Error> {
    sqlx::query(text)
        .bind(Mood::Glad)
        .bind(Pair { a: 1, b: 2 })
        .bind(Depth(3))
        .execute(pool)
        .await
        .map(drop)
}

#[tokio::test]
async fn a_type_that_was_created_again_costs_one_error_with_any_text() {
    let Some(server) = server() else { return };
    for (n, text) in ["INSERT INTO t VALUES ($1, $2, $3)", "INSERT INTO t  VALUES ($1, $2, $3)"]
        .into_iter()
        .enumerate()
    {
        let url = server.schema(&format!("millpond_anew_{n}")).await;
        let mut admin = one().connect(&url).await.unwrap().acquire().await.unwrap();
        change(&mut admin, TYPES).await;
        let pool = server_pool(&url).await;
        write(&pool, "INSERT INTO t VALUES ($1, $2, $3)").await.unwrap();
        change(
            &mut admin,
            &format!("DROP TABLE t; DROP TYPE mood; DROP TYPE pair; DROP DOMAIN depth; {TYPES}"),
        )
        .await;
        let _ = write(&pool, text).await;
        for _ in 0..5 {
            write(&pool, text).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_type_that_was_renamed_for_a_new_one_costs_one_error() {
    let Some(server) = server() else { return };
    let url = server.schema("millpond_renamed").await;
    let mut admin = one().connect(&url).await.unwrap().acquire().await.unwrap();
    change(&mut admin, "CREATE TYPE mood AS ENUM ('Glad'); CREATE TABLE t (m mood)").await;
    let pool = server_pool(&url).await;
    let texts =
        ["INSERT INTO t VALUES ($1)", "SELECT FROM t WHERE m = $1", "SELECT FROM t WHERE $1 = m"];
    sqlx::query(texts[0]).bind(Mood::Glad).execute(&pool).await.unwrap();
    for (n, text) in texts.into_iter().enumerate() {
        let sql = format!(
            "ALTER TYPE mood RENAME TO mood_{n}; CREATE TYPE mood AS ENUM ('Glad', 'Sad'); \
             ALTER TABLE t ALTER COLUMN m TYPE mood USING m::TEXT::mood"
        );
        change(&mut admin, &sql).await;
        let _ = sqlx::query(text).bind(Mood::Glad).execute(&pool).await;
        for _ in 0..3 {
            sqlx::query(text).bind(Mood::Glad).execute(&pool).await.unwrap();
        }
    }
}

async fn server_pool(url: &str) -> PgPool {
    one().connect(url).await.unwrap()
}

#[derive(sqlx::Type)]
#[sqlx(type_name = "pair")]
struct Triple {
    a: i32,
    b: i64,
    c: Option<i32>,
}

const READ: &str = "SELECT jsonb_populate_record(NULL::pair, '{\"a\": 1, \"b\": 2}')";
const READ_ARRAY: &str =
    "SELECT ARRAY[jsonb_populate_record(NULL::pair, '{\"a\": 1, \"b\": 2}'), NULL]";

/// Reads a value in one of several ways, as a type that has been altered.
async fn triple(pool: &PgPool, how: usize) -> Result<(i32, i64, Option<i32>), sqlx::Error> {
    let triple: Triple = match how {
        0 => sqlx::query_scalar(READ).fetch_one(pool).await?,
        1 => sqlx::query_scalar(READ).fetch_all(pool).await?.remove(0),
        _ => {
            let all: Vec<Vec<Option<Triple>>> =
                sqlx::query_scalar(READ_ARRAY).fetch_all(pool).await?;
            all.into_iter().flatten().flatten().next().unwrap()
        }
    };
    Ok((triple.a, triple.b, triple.c))
}

#[tokio::test]
async fn an_altered_composite_type_costs_one_error_however_it_is_read() {
    let Some(server) = server() else { return };
    for how in 0..3 {
        let url = server.schema(&format!("millpond_altered_{how}")).await;
        let mut admin = one().connect(&url).await.unwrap().acquire().await.unwrap();
        change(&mut admin, "CREATE TYPE pair AS (a INT, b INT)").await;
        let pool = server_pool(&url).await;
        for alter in ["ALTER ATTRIBUTE b TYPE BIGINT", "ADD ATTRIBUTE c INT"] {
            for sql in [READ, READ_ARRAY] {
                let _error = sqlx::query(sql).fetch_all(&pool).await;
                sqlx::query(sql).fetch_all(&pool).await.unwrap();
            }
            change(&mut admin, &format!("ALTER TYPE pair {alter}")).await;
        }
        let error = triple(&pool, how).await.err();
        assert!(error.is_none_or(|error| error.to_string().contains("altered")), "{how}");
        assert_eq!(triple(&pool, how).await.unwrap(), (1, 2, None), "{how}");
        // The borrower continues on the same lease.
        let mut tx = pool.begin().await.unwrap();
        sqlx::query(READ).fetch_all(&mut *tx).await.unwrap();
        change(&mut admin, "ALTER TYPE pair DROP ATTRIBUTE c").await;
        // A lock makes the server look for changes, which it does not do before every statement.
        sqlx::query("SELECT FROM pg_type LIMIT 1").execute(&mut *tx).await.unwrap();
        let error = sqlx::query(READ).fetch_all(&mut *tx).await.unwrap_err();
        assert!(error.to_string().contains("altered"), "{error}");
        sqlx::query("SELECT 1").fetch_all(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        sqlx::query(READ).fetch_all(&pool).await.unwrap();
    }
}

#[tokio::test]
async fn an_altered_composite_type_costs_one_error_in_the_whole_pool() {
    let Some(server) = server() else { return };
    let url = server.schema("millpond_altered_pool").await;
    let mut admin = one().connect(&url).await.unwrap().acquire().await.unwrap();
    change(&mut admin, "CREATE TYPE pair AS (a INT, b INT)").await;
    let pool = warmed(&url, READ, ResetLevel::Transaction).await;
    change(&mut admin, "ALTER TYPE pair ADD ATTRIBUTE c INT").await;
    let mut errors = 0;
    for _ in 0..12 {
        // All connections are in use at the same time.
        let (one, two, three) = tokio::join!(
            sqlx::query(READ).fetch_all(&pool),
            sqlx::query(READ).fetch_all(&pool),
            sqlx::query(READ).fetch_all(&pool)
        );
        errors += [one, two, three].iter().filter(|rows| rows.is_err()).count();
    }
    assert!(errors <= 3, "{errors}");
    change(&mut admin, "ALTER TYPE pair ADD ATTRIBUTE d INT").await;
    let mut errors = 0;
    for _ in 0..12 {
        errors += usize::from(sqlx::query(READ).fetch_all(&pool).await.is_err());
    }
    assert!(errors <= 1, "{errors}");
}
