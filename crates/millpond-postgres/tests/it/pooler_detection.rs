//! A pooler that the settings do not name, or name wrongly, is found at the first connect.

use crate::pgbouncer::{bouncer, options, unasked};
use millpond_postgres::{PgPoolOptions, PoolError, Pooler, pool_error};
use millpond_testkit::Trace;
use sqlx::{Connection, PgConnection, raw_sql};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
#[tokio::test]
async fn a_pool_over_an_undeclared_pooler_is_refused_with_help() {
    let Some(url) = bouncer() else { return };
    // As if the pooler ignored the parameter, as most are configured to do.
    let mut refused = None;
    // While other clients take the servers, its two connections may not meet on one.
    for _ in 0..50 {
        let trace = Trace::new();
        let options = PgPoolOptions::new().observer(Arc::new(trace.clone()));
        let pool = options.connect_lazy_with(unasked(&url)).unwrap();
        refused = pool.acquire().await.err();
        assert!(format!("{trace:?}").contains("Warned"), "{trace:?}");
        if refused.is_some() {
            break;
        }
    }
    let error = refused.unwrap().to_string();
    assert!(
        error.contains("behind = \"pgbouncer\"") && error.contains("same server process"),
        "{error}"
    );
    // With the pooler as it is.
    let error = PgPoolOptions::new().connect(&url).await.unwrap_err().to_string();
    assert!(
        error.contains("behind = \"pgbouncer\"") && error.contains("extra_float_digits"),
        "{error}"
    );
}

#[tokio::test]
async fn a_suspected_pooler_is_accepted_if_the_settings_say_so() {
    let Some(url) = bouncer() else { return };
    let trace = Trace::new();
    let options = PgPoolOptions::new().behind(Pooler::Unchecked).observer(Arc::new(trace.clone()));
    let pool = options.connect_lazy_with(unasked(&url)).unwrap();
    drop(pool.acquire().await.unwrap());
    assert!(!trace.lines().contains(&"warned behind".to_owned()), "{trace:?}");
}

/// The tests use its few servers one after the other.
static SESSIONS: Mutex<()> = Mutex::const_new(());

#[tokio::test]
async fn a_pooler_with_one_session_left_is_accepted() {
    let Some(url) = bouncer() else { return };
    let _turn = SESSIONS.lock().await;
    let url = url.replace("/millpond", "/millpond_session");
    let mut others = Vec::new();
    for _ in 0..3 {
        let mut other = PgConnection::connect_with(&unasked(&url)).await.unwrap();
        // The first statement makes the pooler lend a server.
        raw_sql("SELECT 1").execute(&mut other).await.unwrap();
        others.push(other);
    }
    let options = PgPoolOptions::new()
        .pool_timeout(Duration::from_secs(20))
        .connect_timeout(Duration::from_secs(8));
    let pool = options.connect_with(unasked(&url)).await.unwrap();
    let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&pool).await.unwrap();
    assert_eq!(one, 1);
    pool.close().await;
    for other in others {
        other.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_pooler_in_session_mode_is_accepted_as_a_server() {
    let Some(url) = bouncer() else { return };
    let _turn = SESSIONS.lock().await;
    let url = url.replace("/millpond", "/millpond_session");
    let pool = PgPoolOptions::new().connect_with(unasked(&url)).await.unwrap();
    for _ in 0..3 {
        let mut lease = pool.acquire().await.unwrap();
        let one: i64 =
            sqlx::query_scalar("SELECT $1::int8").bind(1_i64).fetch_one(&mut *lease).await.unwrap();
        assert_eq!(one, 1);
        assert_eq!(lease.session(), None, "a cancel would hit the next client that gets it");
    }
}

#[tokio::test]
async fn a_setting_that_a_pooler_never_accepts_fails_at_once() {
    let Some(url) = bouncer() else { return };
    for url in [url.replace("/millpond", "/millpond_none"), format!("{url}?options[search_path]=x")]
    {
        let error = options().connect(&url).await.unwrap_err();
        let cause = pool_error(&error).unwrap();
        assert!(!cause.is_timeout(), "{cause}");
    }
}

#[tokio::test]
async fn a_pooler_that_lends_a_server_for_each_statement_is_refused_at_the_first_connect() {
    let Some(url) = bouncer() else { return };
    let url = url.replace("/millpond", "/millpond_statement");
    for pooler in [Pooler::PgBouncer, Pooler::Direct] {
        let options = options().behind(pooler).pool_timeout(Duration::from_secs(20));
        let error = options.connect_with(unasked(&url)).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("pool_mode = statement"), "{pooler:?}: {text}");
        assert!(text.contains("set pool_mode = transaction"), "{pooler:?}: {text}");
        let cause = pool_error(&error);
        assert!(matches!(cause, Some(PoolError::Connect { attempts: 1, .. })), "{text}");
    }
}
