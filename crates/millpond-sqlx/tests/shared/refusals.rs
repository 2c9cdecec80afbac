//! Pools that cannot be built, and servers that cannot be reached.

use crate::backend::{Options, SCHEME};
use crate::support::one;
use millpond_core::{Limits, PoolError};
use millpond_sqlx::pool_error;
use millpond_testkit::Trace;
use std::time::{Duration, Instant};

/// Returns the error of a first connection, which must come after a single attempt.
pub async fn refused_at_once(url: &str) -> sqlx::Error {
    let trace = Trace::new();
    let error = one().observer(trace.clone()).connect(url).await.unwrap_err();
    assert!(matches!(pool_error(&error), Some(PoolError::Connect { attempts: 1, .. })), "{error}");
    assert_eq!(trace.count("connect failed"), 1, "nothing was tried twice");
    error
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_tried_until_the_deadline() {
    let trace = Trace::new();
    let limit = Duration::from_secs(3);
    let options =
        one().limits(Limits::Off).pool_timeout(limit).fail_fast_after(None).observer(trace.clone());
    let pool = options.connect_lazy(&format!("{SCHEME}://u@127.0.0.1:1/d")).unwrap();
    let begun = Instant::now();
    let error = pool.acquire().await.unwrap_err();
    assert!(begun.elapsed() >= limit, "{error}");
    assert!(trace.count("connect failed") >= 2, "{} attempts", trace.count("connect failed"));
    assert!(pool_error(&error).is_some(), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[test]
fn settings_out_of_range_fail_when_the_pool_is_built() {
    let options = Options::new().pool_size(0).max_overflow(1000);
    let error = options.connect_lazy(&format!("{SCHEME}://h/d")).unwrap_err();
    assert!(matches!(error, sqlx::Error::Configuration(_)));
    let text = error.to_string();
    assert!(text.contains("pool_size = 0") && text.contains("max_overflow = 1000"), "{text}");
}

#[test]
fn an_unknown_parameter_fails_when_the_pool_is_built() {
    let error = Options::new().connect_lazy(&format!("{SCHEME}://h/d?ssl=require")).unwrap_err();
    assert!(matches!(error, sqlx::Error::Configuration(_)));
    assert!(error.to_string().contains("sslmode=require"), "{error}");
}
