//! The `sqlx::Error` of a failing acquire.

use crate::support::{Dir, one};
use millpond_sqlite::{PoolError, PoolKind, SqlitePoolOptions, pool_error};
use millpond_testkit::Trace;
use sqlx::Executor;
use std::error::Error as StdError;
use std::io;
use std::time::Duration;

#[tokio::test]
async fn a_timeout_is_an_io_error_that_names_the_holder() {
    let dir = Dir::new();
    let pool = dir.one().await;
    let _held = pool.acquire().await.unwrap();
    let error = pool.acquire_within(Duration::from_millis(5)).await.unwrap_err();
    assert!(matches!(&error, sqlx::Error::Io(io) if io.kind() == io::ErrorKind::TimedOut));
    let Some(PoolError::TimedOut(timed_out)) = pool_error(&error) else { panic!("{error}") };
    assert!(timed_out.holders[0].location.file().ends_with("errors.rs"));
    let text = error.to_string();
    assert!(text.contains("QueuePool limit of size 1 overflow 0 reached"), "{text}");
    assert!(text.contains("errors.rs"), "{text}");
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_fails_at_once_with_sqlites_own_code() {
    let trace = Trace::new();
    let pool =
        one().observer(trace.clone()).connect_lazy("sqlite:////no/such/directory/x.db").unwrap();
    let error = pool.acquire().await.unwrap_err();
    let refusal = error.as_database_error().expect("the cause is the database's");
    assert_eq!(refusal.code().as_deref(), Some("14"));
    assert_eq!(refusal.message(), "unable to open database file");
    let Some(PoolError::Connect { attempts: 1, .. }) = pool_error(&error) else {
        panic!("{error}")
    };
    assert_eq!(trace.count("connect failed"), 1, "nothing was tried twice");
    let mut cause: &dyn StdError = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    assert!(cause.to_string().contains("unable to open database file"), "{cause}");
}

async fn connect_error(url: &str) -> sqlx::Error {
    SqlitePoolOptions::new().connect(url).await.map(|_| ()).unwrap_err()
}

#[tokio::test]
async fn an_error_names_the_file_and_what_is_wrong_with_it() {
    let dir = Dir::new();
    let at = dir.path().display();
    std::fs::create_dir(dir.path().join("pond")).unwrap();
    std::fs::write(dir.path().join("plain"), "").unwrap();
    for (url, text) in [
        (dir.url("no/x.db"), format!("{at}/no/x.db: the directory {at}/no does not exist")),
        (dir.url("pond"), format!("{at}/pond: it is a directory")),
        (dir.url("plain/x.db"), format!("{at}/plain/x.db: {at}/plain is not a directory")),
        (
            dir.url("x.db?mode=rw"),
            format!("{at}/x.db: the file does not exist, and mode=rw does not create it"),
        ),
        (
            dir.url("x.db?mode=ro"),
            format!("{at}/x.db: the file does not exist, and mode=ro does not create it"),
        ),
    ] {
        let error = connect_error(&url).await;
        assert_eq!(
            error.to_string(),
            format!(
                "error returned from database: no connection could be opened: cannot open the \
                 SQLite file {text} (code: 14, unable to open database file) (1 failed in a row)"
            )
        );
        assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("14"));
    }
}

#[tokio::test]
async fn an_error_names_the_directory_that_a_relative_path_begins_at() {
    let here = std::env::current_dir().unwrap();
    let here = here.display();
    let text = connect_error("sqlite:///./no-such/x.db").await.to_string();
    let wanted = format!(
        "{here}/no-such/x.db (from ./no-such/x.db, relative to {here}): the directory \
         {here}/no-such does not exist (code: 14"
    );
    assert!(text.contains(&wanted), "{text}");
}

#[tokio::test]
async fn an_absolute_path_with_one_slash_missing_gets_a_hint() {
    let dir = Dir::new();
    let path = dir.path().join("x.db").display().to_string();
    for url in [format!("sqlite://{path}"), format!("sqlite:///.{path}")] {
        let text = connect_error(&url).await.to_string();
        assert!(
            text.contains(&format!("three slashes are relative here; write sqlite:///{path}")),
            "{text}"
        );
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_without_read_permission_is_reported_as_such() {
    use std::os::unix::fs::PermissionsExt;
    let dir = Dir::new();
    let path = dir.path().join("x.db");
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o000)).unwrap();
    if std::fs::File::open(&path).is_ok() {
        println!(
            "SKIP a_file_without_read_permission_is_reported_as_such: root may read everything"
        );
        return;
    }
    let text = connect_error(&dir.url("x.db")).await.to_string();
    assert!(text.contains("x.db: this process has no permission to read it"), "{text}");
}

#[tokio::test]
async fn a_file_that_is_not_a_database_fails_at_once() {
    let dir = Dir::new();
    let path = dir.path().join("x.db");
    for text in
        ["certainly no database, but long enough to be looked at".repeat(50), "short".to_owned()]
    {
        std::fs::write(&path, text).unwrap();
        for kind in [PoolKind::Null, PoolKind::Queue, PoolKind::ReadWrite] {
            let error =
                SqlitePoolOptions::new().pool(kind).connect(&dir.url("x.db")).await.unwrap_err();
            assert_eq!(
                error.as_database_error().unwrap().code().as_deref(),
                Some("26"),
                "{kind:?}"
            );
            let wanted = format!(
                "cannot open the SQLite file {}: (code: 26) file is not a database (1",
                path.display()
            );
            assert!(error.to_string().contains(&wanted), "{error}");
        }
    }
}

#[tokio::test]
async fn settings_out_of_range_fail_when_the_pool_is_built() {
    for url in ["sqlite:x.db", "sqlite::memory:"] {
        let error =
            SqlitePoolOptions::new().pool_size(0).max_overflow(1000).connect_lazy(url).unwrap_err();
        assert!(matches!(error, sqlx::Error::Configuration(_)));
        let text = error.to_string();
        assert!(text.contains("pool_size = 0") && text.contains("max_overflow = 1000"), "{text}");
    }
}

#[test]
fn an_acquire_without_a_runtime_is_an_error_and_no_panic() {
    use futures_util::FutureExt;
    let pool = SqlitePoolOptions::new().connect_lazy("sqlite::memory:").unwrap();
    let error = pool.acquire().now_or_never().unwrap().unwrap_err();
    assert!(matches!(pool_error(&error), Some(PoolError::NoRuntime)), "{error}");
}

#[tokio::test]
async fn a_device_is_refused_as_a_database_file() {
    let error = connect_error("sqlite:////dev/null").await;
    assert!(error.to_string().contains("/dev/null is not a regular file"), "{error}");
}

#[tokio::test]
async fn a_path_that_begins_at_the_home_directory_is_explained() {
    let error = connect_error("sqlite:///~/ponds.db").await;
    assert!(error.to_string().contains("~ is not the home directory here"), "{error}");
}

#[tokio::test]
async fn options_on_which_the_driver_panics_fail_at_once() {
    let dir = Dir::new();
    let options = dir.options("x.db").busy_timeout(Duration::from_secs(3_000_000));
    let error = SqlitePoolOptions::new().connect_with(options).await.unwrap_err();
    assert!(error.to_string().contains("longer than 24 days"), "{error}");
}

#[tokio::test]
async fn one_writer_and_many_readers_need_a_read_only_file_in_wal_mode() {
    let dir = Dir::new();
    dir.one().await.execute("CREATE TABLE t (i)").await.unwrap();
    let options = SqlitePoolOptions::new().pool(PoolKind::ReadWrite);
    let error = options.connect(&dir.url("one.db?mode=ro")).await.unwrap_err();
    assert!(error.to_string().contains("need WAL mode, but this database stays in"), "{error}");
}

#[tokio::test]
async fn attaching_a_file_that_is_no_database_fails_and_the_lease_stays_usable() {
    let dir = Dir::new();
    let pool = dir.one().await;
    std::fs::write(dir.path().join("garbage.db"), [b'x'; 5000]).unwrap();
    let mut tx = pool.begin().await.unwrap();
    tx.execute("CREATE TABLE t (i)").await.unwrap();
    tx.commit().await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    let attach = format!("ATTACH '{}' AS g", dir.path().join("garbage.db").display());
    lease.execute(sqlx::AssertSqlSafe(attach)).await.unwrap_err();
    lease.execute("INSERT INTO t VALUES (1)").await.unwrap();
}
