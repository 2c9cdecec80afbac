//! Hooks on the driver's own connection.

use crate::support::{Dir, one};
use millpond_sqlite::{
    BoxError, ConnectionInfo, HookFuture, HookPoint, HookPoints, Hooks, PoolError, PoolKind,
    SqliteConnection, SqlitePoolOptions, async_trait, pool_error,
};
use millpond_testkit::Trace;
use sqlx::{Connection, Executor};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Log = Arc<Mutex<Vec<&'static str>>>;

/// Returns a hook that records its calls.
macro_rules! note {
    ($log:expr, $what:literal) => {{
        let log = Arc::clone($log);
        move |conn, _info| {
            log.lock().unwrap().push($what);
            Box::pin(async move { Ok(conn.ping().await?) })
        }
    }};
}

fn logging(options: SqlitePoolOptions, log: &Log) -> SqlitePoolOptions {
    options
        .on_first_connect(note!(log, "first"))
        .on_connect(note!(log, "connect"))
        .on_checkout(note!(log, "checkout"))
        .on_checkin(note!(log, "checkin"))
        .on_close(note!(log, "close"))
}

#[tokio::test]
async fn all_five_hooks_are_called_in_order() {
    let dir = Dir::new();
    let log = Log::default();
    let pool = logging(one(), &log).connect_lazy(&dir.url("x.db")).unwrap();
    drop(pool.acquire().await.unwrap());
    pool.close().await;
    assert_eq!(*log.lock().unwrap(), ["first", "connect", "checkout", "checkin", "close"]);
}

#[tokio::test]
async fn the_limit_of_one_lease_does_not_end_the_hooks_of_the_next() {
    let dir = Dir::new();
    let log = Log::default();
    let pool = logging(one().max_lease(Duration::from_secs(60)), &log)
        .connect_lazy(&dir.url("x.db"))
        .unwrap();
    drop(pool.acquire().await.unwrap());
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(120)).await;
    tokio::time::resume();
    drop(pool.acquire().await.unwrap());
    assert_eq!(pool.status().totals.created, 1, "a healthy connection was closed");
}

#[tokio::test]
async fn the_guides_hook_turns_foreign_keys_on() {
    let dir = Dir::new();
    let pool = one()
        .on_connect(|conn, _info| {
            Box::pin(async move {
                conn.execute("PRAGMA foreign_keys = ON").await?;
                Ok(())
            })
        })
        .connect_with(dir.options("x.db").foreign_keys(false))
        .await
        .unwrap();
    let on: bool = sqlx::query_scalar("PRAGMA foreign_keys").fetch_one(&pool).await.unwrap();
    assert!(on);
}

#[tokio::test]
async fn a_hook_that_refuses_closes_the_connection_and_is_reported() {
    let dir = Dir::new();
    let pool = one()
        .on_connect(|_, _| {
            Box::pin(async { Err(sqlx::Error::Configuration("not today".into()).into()) })
        })
        .connect_lazy(&dir.url("x.db"))
        .unwrap();
    let error = pool.acquire().await.unwrap_err();
    assert!(error.to_string().contains("not today"), "{error}");
    assert!(matches!(error, sqlx::Error::Configuration(_)));
}

#[tokio::test]
async fn wrong_sql_in_a_hook_fails_at_once() {
    let dir = Dir::new();
    let trace = Trace::new();
    let pool = one()
        .observer(trace.clone())
        .on_connect(|conn, _info| {
            Box::pin(async move {
                conn.execute("PRAGM foreign_keys = ON").await?;
                Ok(())
            })
        })
        .connect_lazy(&dir.url("x.db"))
        .unwrap();
    let error = pool.acquire().await.unwrap_err();
    assert!(matches!(pool_error(&error), Some(PoolError::Connect { attempts: 1, .. })), "{error}");
    assert_eq!(trace.count("connect failed"), 1, "nothing was tried twice");
    assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("1"));
    assert!(error.to_string().contains("(code: 1) near \"PRAGM\": syntax error"), "{error}");
    assert_eq!(error.to_string().matches("error returned from database").count(), 1, "{error}");
}

#[tokio::test]
async fn a_transaction_that_a_hook_leaves_open_is_not_lent() {
    let dir = Dir::new();
    fn begin<'a>(conn: &'a mut SqliteConnection, _: &'a ConnectionInfo) -> HookFuture<'a> {
        Box::pin(async move { conn.execute("BEGIN").await.map(|_| ()).map_err(BoxError::from) })
    }
    let pool = one().on_connect(begin).on_checkin(begin).connect(&dir.url("x.db")).await.unwrap();
    for _ in 0..3 {
        let mut lease = pool.acquire().await.unwrap();
        lease.begin_with("BEGIN IMMEDIATE").await.unwrap().rollback().await.unwrap();
    }
}

#[tokio::test]
async fn nothing_is_lent_within_a_transaction_that_a_checkout_hook_leaves_open() {
    let dir = Dir::new();
    dir.one().await.execute("CREATE TABLE t (i)").await.unwrap();
    let begins = one().on_checkout(|conn, _| {
        Box::pin(async move { conn.execute("BEGIN").await.map(|_| ()).map_err(BoxError::from) })
    });
    let pool = begins.connect_lazy(&dir.url("one.db")).unwrap();
    let error = pool.execute("INSERT INTO t VALUES (1)").await.unwrap_err();
    assert!(error.to_string().contains("left a transaction open"), "{error}");
}

struct Greeter(Log);

#[async_trait]
impl Hooks<SqliteConnection> for Greeter {
    fn points(&self) -> HookPoints {
        HookPoint::Connect.into()
    }

    async fn on_connect(
        &self,
        conn: &mut SqliteConnection,
        info: &ConnectionInfo,
    ) -> Result<(), BoxError> {
        conn.ping().await?;
        self.0.lock().unwrap().push(if info.pool.ends_with("writer") {
            "writer"
        } else {
            "reader"
        });
        Ok(())
    }
}

#[tokio::test]
async fn a_hooks_object_acts_on_writers_and_readers() {
    let dir = Dir::new();
    let log = Log::default();
    let options =
        SqlitePoolOptions::new().pool(PoolKind::ReadWrite).hooks(Greeter(Arc::clone(&log)));
    let pool = options.connect(&dir.url("x.db")).await.unwrap();
    sqlx::query("SELECT 1").execute(&pool).await.unwrap();
    assert_eq!(*log.lock().unwrap(), ["writer", "reader"]);
}

#[tokio::test]
async fn nothing_is_read_or_written_before_on_connect_has_run() {
    for kind in [PoolKind::Null, PoolKind::Queue, PoolKind::ReadWrite] {
        let dir = Dir::new();
        let path = dir.path().join("x.db");
        let options = |path: std::path::PathBuf| {
            let first = AtomicBool::new(true);
            SqlitePoolOptions::new().pool(kind).on_connect(move |conn, _info| {
                let length = std::fs::metadata(&path).unwrap().len();
                let first = first.swap(false, Ordering::Relaxed);
                Box::pin(async move {
                    assert!(!first || length == 0, "{length} bytes were written");
                    // A property that a database has from its first byte on, like the key of an
                    // encrypted one.
                    conn.execute("PRAGMA page_size = 8192").await?;
                    Ok(())
                })
            })
        };
        let pool = options(path.clone()).connect(&dir.url("x.db")).await.unwrap();
        for pool in [pool.reader(), pool] {
            sqlx::query("CREATE TABLE IF NOT EXISTS t (i)").execute(&pool).await.ok();
            let size: i64 = sqlx::query_scalar("PRAGMA page_size").fetch_one(&pool).await.unwrap();
            assert_eq!(size, 8192, "{kind:?}");
        }

        // A file that looks like an encrypted database.
        let path = dir.path().join("y.db");
        std::fs::write(&path, "certainly no database, but long enough to be looked at".repeat(50))
            .unwrap();
        let log = Log::default();
        let options = SqlitePoolOptions::new().pool(kind).on_connect(note!(&log, "connect"));
        let error = options.connect(&dir.url("y.db")).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("26"), "{error}");
        assert_eq!(*log.lock().unwrap(), ["connect"], "{kind:?}");
    }
}

#[tokio::test]
async fn a_reader_that_is_opened_first_creates_the_writers_database() {
    let dir = Dir::new();
    let pool =
        SqlitePoolOptions::new().pool(PoolKind::ReadWrite).connect_lazy(&dir.url("x.db")).unwrap();
    let mode: String =
        sqlx::query_scalar("SELECT * FROM pragma_journal_mode").fetch_one(&pool).await.unwrap();
    assert_eq!(mode, "wal");
    let error = sqlx::query("CREATE TABLE t (i)").execute(&pool.reader()).await.unwrap_err();
    assert!(error.to_string().contains("readonly"), "{error}");
    sqlx::query("CREATE TABLE t (i)").execute(&pool).await.unwrap();
}
