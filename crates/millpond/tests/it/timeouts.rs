//! An acquire that times out returns the pool's own error, with the state of the pool.

use crate::world::{Directory, everywhere, memory};
use millpond::{DatabaseConnection, Dialect, Phase, PoolError, PoolKind, pool_error};
use std::time::Duration;

fn pool_error_of(error: &sqlx::Error) -> &PoolError {
    pool_error(error).unwrap_or_else(|| panic!("not the pool's: {error}"))
}

#[tokio::test]
async fn a_timeout_names_the_sizes_and_the_holder() {
    let files = Directory::new();
    let db = DatabaseConnection::builder(&files.url("a.db"))
        .pool(PoolKind::Queue)
        .pool_size(1)
        .max_overflow(1)
        .connect()
        .await
        .unwrap();
    let held = (db.acquire().await.unwrap(), db.acquire().await.unwrap());
    let error = db.acquire_within(Duration::from_millis(20)).await.unwrap_err();
    let PoolError::TimedOut(timed_out) = pool_error_of(&error) else { panic!("{error}") };
    assert_eq!(timed_out.phase, Phase::Wait);
    let text = error.to_string();
    assert!(
        text.contains(
            "QueuePool limit of size 1 overflow 1 reached, connection timed out, timeout 0.02"
        ),
        "{text}"
    );
    assert!(text.contains("timeouts.rs"), "{text}");
    drop(held);
}

#[tokio::test]
async fn a_query_ends_by_pool_timeout() {
    let db = DatabaseConnection::builder("sqlite::memory:")
        .pool_timeout(Duration::from_secs(3))
        .connect()
        .await
        .unwrap();
    let held = db.acquire().await.unwrap();
    // From here on nothing waits for SQLite's own thread, which a paused clock cannot wait for.
    tokio::time::pause();
    let started = tokio::time::Instant::now();
    let error = sqlx::query("SELECT 1").execute(&db).await.unwrap_err();
    assert!(pool_error_of(&error).is_timeout());
    assert_eq!(started.elapsed().as_secs(), 3);
    let error = db.begin().await.unwrap_err();
    assert!(pool_error_of(&error).is_timeout());
    drop(held);
}

#[tokio::test]
async fn an_error_of_the_database_is_not_the_pools() {
    let db = memory().await;
    let error = sqlx::query("SELECT nonsense").execute(&db).await.unwrap_err();
    assert!(pool_error(&error).is_none());
}

#[tokio::test]
async fn a_stream_that_gets_no_connection_yields_the_pools_error() {
    use futures_util::TryStreamExt;
    let db = memory().await;
    assert!(db.close().await.is_clean());
    let error = sqlx::query("SELECT 1").fetch(&db).try_next().await.err().unwrap();
    assert!(pool_error_of(&error).is_closed());
}

#[tokio::test]
async fn a_statement_that_takes_too_long_ends_by_the_setting_or_by_the_limit_of_a_handle() {
    for db in everywhere().await {
        let slow = match db.dialect() {
            Dialect::Sqlite => {
                "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 20000000) \
                 SELECT COUNT(*) FROM n"
            }
            Dialect::MySql => "SELECT SLEEP(20)",
            _ => "SELECT pg_sleep(20)",
        };
        let url = db.settings().storage.connection_string.clone().unwrap();
        let set = DatabaseConnection::builder(url.expose()).set("db.statement_timeout", "50ms");
        let limited = db.statement_timeout(Duration::from_millis(50));
        for db in [limited, set.connect().await.unwrap()] {
            let error = sqlx::raw_sql(slow).execute(&db).await.unwrap_err().to_string();
            let is_right = |error: &str| {
                error.contains("did not end within statement_timeout (50ms)")
                    && (error.contains("`SELECT") || error.contains("`WITH"))
            };
            assert!(is_right(&error), "{error}");
            // Without a limit, since a simple query may take long on a busy machine.
            let patient = db.statement_timeout(None);
            let n: i64 =
                sqlx::query_scalar("SELECT $1").bind(4711_i64).fetch_one(&patient).await.unwrap();
            assert_eq!(n, 4711);
            let mut lease = db.try_acquire().unwrap();
            let error = sqlx::raw_sql(slow).execute(&mut lease).await.unwrap_err().to_string();
            assert!(is_right(&error) && error.contains("timeouts.rs"), "{error}");
        }
    }
}
