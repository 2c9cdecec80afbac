//! A statement that exceeds its limit ends in the client, whatever the server does, and the
//! connection is verified or closed.

use crate::support::{LONG, one, rows, server, until};
use futures_util::TryStreamExt;
use millpond_sqlx::Expired;
use millpond_testkit::{ChaosProxy, Direction, Flow, StillClock};
use sqlx::raw_sql;
use std::io::ErrorKind;
use std::time::Duration;

const MOMENT: Duration = Duration::from_millis(50);

/// Far less than [`LONG`] takes, and enough for a simple query on a busy machine.
const LIMIT: Duration = Duration::from_secs(3);

/// Asserts that an error is that of this limit, and names the statement and this file.
fn is_expired(error: &sqlx::Error, setting: &str, words: &str) {
    assert!(matches!(error, sqlx::Error::Io(io) if io.kind() == ErrorKind::TimedOut), "{error}");
    let text = error.to_string();
    let expired = Expired::of(error).unwrap();
    assert_eq!(expired.setting(), setting);
    assert!(
        text.contains(words) && text.contains(setting) && text.contains("time_limits.rs:"),
        "{text}"
    );
    assert!(!text.contains("20"), "a value of the statement is shown: {text}");
}

#[tokio::test]
async fn a_statement_that_takes_too_long_ends_with_an_error_and_is_stopped_at_the_server() {
    let Some(server) = server() else { return };
    let pool = one().max_overflow(1).statement_timeout(LIMIT).connect(&server.url).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    is_expired(
        &raw_sql(LONG).execute(&mut *lease).await.unwrap_err(),
        "statement_timeout",
        "SELECT",
    );
    drop(lease);
    for sql in [LONG, "SELECT 1"] {
        let error = raw_sql(sql).execute(&pool).await.err();
        assert_eq!(error.is_some(), sql == LONG, "{error:?}");
        server.next_is_clean(&pool).await;
    }
}

#[tokio::test]
async fn on_a_silent_server_statements_end_in_time_and_the_pool_recovers() {
    let Some(server) = server() else { return };
    let proxy = ChaosProxy::start(server.address()).await.unwrap();
    let options = one()
        .pool_size(3)
        .statement_timeout(LIMIT)
        .connect_timeout(Duration::from_secs(10))
        .ping_timeout(Duration::from_secs(1));
    let pool = options
        .limits(millpond_core::Limits::Off)
        .connect(&proxy.reroute(&server.url))
        .await
        .unwrap();
    pool.prewarm(3).await.unwrap();
    proxy.links().iter().for_each(|link| link.set(Direction::ToClient, Flow::stalled()));
    let mut errors = 0;
    loop {
        let mut lease = pool.acquire().await.unwrap();
        let mut rows = sqlx::query("SELECT 1").fetch(&mut *lease);
        let Err(error) = rows.try_next().await else { break };
        assert!(Expired::of(&error).is_some(), "{error}");
        assert!(rows.try_next().await.unwrap().is_none(), "an error ends a stream");
        errors += 1;
        assert!(errors <= 3, "a connection was lent again that had not answered");
    }
    assert!((1..=3).contains(&errors), "{errors} errors on three connections");
}

#[tokio::test]
async fn one_call_or_one_lease_can_have_its_own_limit() {
    let Some(server) = server() else { return };
    let pool = one().connect(&server.url).await.unwrap();
    let brisk = pool.statement_timeout(MOMENT);
    assert!(Expired::of(&raw_sql(LONG).execute(&brisk).await.unwrap_err()).is_some());
    // The statement that begins a transaction has the limit as well.
    let mut tx = pool.statement_timeout(LIMIT).begin().await.unwrap();
    assert!(Expired::of(&raw_sql(LONG).execute(&mut *tx).await.unwrap_err()).is_some());
    drop(tx);
    let mut lease = pool.acquire().await.unwrap();
    lease.set_statement_timeout(MOMENT);
    assert!(Expired::of(&raw_sql(LONG).execute(&mut *lease).await.unwrap_err()).is_some());
    drop(lease);
    let patient = brisk.statement_timeout(None);
    sqlx::query(crate::support::SHORT).execute(&patient).await.unwrap();
    sqlx::query(crate::support::SHORT).execute(&pool).await.unwrap();
}

#[tokio::test]
async fn a_lease_older_than_max_lease_executes_nothing_more() {
    let Some(server) = server() else { return };
    let pool = one().max_overflow(1).max_lease(LIMIT).connect(&server.url).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    is_expired(&raw_sql(LONG).execute(&mut *lease).await.unwrap_err(), "max_lease", "SELECT");
    is_expired(&raw_sql("SELECT 1").execute(&mut *lease).await.unwrap_err(), "max_lease", "lease");
    drop(lease);
    let before = pool.status().totals.closed;
    let mut lease = pool.acquire().await.unwrap();
    raw_sql("SELECT 1").execute(&mut *lease).await.unwrap();
    drop(lease);
    until(|| pool.status().totals.closed >= before.max(1)).await;
}

#[tokio::test]
async fn a_transaction_older_than_max_lease_cannot_be_committed() {
    let Some(server) = server() else { return };
    let url = server.scratch("millpond_outlived").await;
    let pool = one().connect(&url).await.unwrap();
    raw_sql("CREATE TABLE t (i INT)").execute(&pool).await.unwrap();
    let strict = one().max_lease(Duration::from_secs(60)).connect(&url).await.unwrap();
    for end in ["commit", "rollback", "commit of a savepoint"] {
        let mut tx = strict.begin().await.unwrap();
        raw_sql("INSERT INTO t VALUES (1)").execute(&mut *tx).await.unwrap();
        if end.ends_with("savepoint") {
            let inner = tx.begin().await.unwrap();
            StillClock::stop().pass(Duration::from_secs(61)).await;
            is_expired(&inner.commit().await.unwrap_err(), "max_lease", "nothing more is executed");
        } else {
            StillClock::stop().pass(Duration::from_secs(61)).await;
        }
        let ended = if end == "rollback" { tx.rollback().await } else { tx.commit().await };
        is_expired(&ended.unwrap_err(), "max_lease", "nothing more is executed");
        assert_eq!(rows(&pool).await, [0; 0], "{end}");
        server.next_is_clean(&strict).await;
    }
}
