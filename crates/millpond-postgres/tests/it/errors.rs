//! What a failing acquire says, and how soon.

use crate::support::{one, server};
use millpond_postgres::{Limits, PgPoolOptions, PoolError, pool_error};
use millpond_testkit::Trace;
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// The refusal of a first connection, which must come after a single attempt.
async fn refused_at_once(url: &str) -> sqlx::Error {
    let trace = Trace::new();
    let error = one().observer(trace.clone()).connect(url).await.unwrap_err();
    let Some(PoolError::Connect { attempts: 1, .. }) = pool_error(&error) else { panic!("{error}") };
    assert_eq!(trace.count("connect failed"), 1, "nothing was tried twice");
    error
}

#[tokio::test]
async fn an_unknown_database_fails_at_once_with_the_servers_own_code() {
    let Some(server) = server() else { return };
    let (head, _) = server.url.rsplit_once('/').unwrap();
    let error = refused_at_once(&format!("{head}/no_such_pond")).await;
    assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("3D000"));
    assert!(error.to_string().contains("no_such_pond"), "{error}");
}

#[tokio::test]
async fn a_wrong_setting_in_the_options_fails_at_once() {
    let Some(server) = server() else { return };
    let error = refused_at_once(&format!("{}?options[statement_timeout]=soon", server.url)).await;
    assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("22023"));
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_tried_until_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let trace = Trace::new();
    let limit = Duration::from_millis(400);
    let options = one().limits(Limits::Off).pool_timeout(limit).fail_fast_after(None).observer(trace.clone());
    let pool = options.connect_lazy(&format!("postgres://u@127.0.0.1:{port}/d")).unwrap();
    let begun = Instant::now();
    let error = pool.acquire().await.unwrap_err();
    assert!(begun.elapsed() >= limit, "{error}");
    assert!(trace.count("connect failed") >= 2, "{} attempts", trace.count("connect failed"));
    assert!(pool_error(&error).is_some(), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn settings_out_of_range_die_when_the_pool_is_built() {
    let error = PgPoolOptions::new().pool_size(0).max_overflow(1000).connect_lazy("postgres://h/d").unwrap_err();
    assert!(matches!(error, sqlx::Error::Configuration(_)));
    let text = error.to_string();
    assert!(text.contains("pool_size = 0") && text.contains("max_overflow = 1000"), "{text}");
}

#[test]
fn an_unknown_parameter_dies_when_the_pool_is_built() {
    let error = PgPoolOptions::new().connect_lazy("postgresql+asyncpg://h/d?ssl=require").unwrap_err();
    assert!(matches!(error, sqlx::Error::Configuration(_)));
    assert!(error.to_string().contains("sslmode=require"), "{error}");
}
