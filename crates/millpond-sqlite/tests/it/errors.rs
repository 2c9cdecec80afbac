//! What a failing acquire says, as `sqlx::Error`.

use crate::support::{Diary, Dir, one};
use millpond_sqlite::{PoolError, PoolKind, SqlitePoolOptions, pool_error};
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
    let diary = Diary::default();
    let pool = one().observer(diary.clone()).connect_lazy("sqlite:////no/such/directory/x.db").unwrap();
    let error = pool.acquire().await.unwrap_err();
    let refusal = error.as_database_error().expect("the cause is the database's");
    assert_eq!(refusal.code().as_deref(), Some("14"));
    assert_eq!(refusal.message(), "unable to open database file");
    let Some(PoolError::Connect { attempts: 1, .. }) = pool_error(&error) else { panic!("{error}") };
    assert_eq!(diary.failed_connects(), 1, "nothing was tried twice");
    let mut cause: &dyn StdError = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    assert!(cause.to_string().contains("unable to open database file"), "{cause}");
}

#[tokio::test]
async fn what_is_not_a_database_fails_at_once() {
    let dir = Dir::new();
    std::fs::write(dir.path().join("x.db"), "certainly no database, but long enough to be looked at".repeat(50))
        .unwrap();
    let options = SqlitePoolOptions::new().pragma(millpond_sqlite::PragmaHook::new().cache_size(10));
    let error = match options.pool(PoolKind::ReadWrite).connect(&dir.url("x.db")).await {
        Err(error) => error,
        Ok(pool) => sqlx::query("SELECT * FROM t").execute(&pool).await.unwrap_err(),
    };
    assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("26"));
}

#[tokio::test]
async fn settings_out_of_range_die_when_the_pool_is_built() {
    for url in ["sqlite:x.db", "sqlite::memory:"] {
        let error = SqlitePoolOptions::new().pool_size(0).max_overflow(1000).connect_lazy(url).unwrap_err();
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
