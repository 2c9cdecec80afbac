//! Abandoned statements are stopped at the server, and no other client's statements are.

use crate::support::{LONG, Server, cut_off, one, pid, server, until};
use futures_util::TryStreamExt;
use millpond_postgres::{Limits, PgPool, PgPoolOptions, PoolKind, ResetLevel};
use millpond_testkit::{ChaosProxy, Direction, Trace};
use sqlx::{Connection, PgConnection, Row, raw_sql};
use std::time::{Duration, Instant};

/// Returns how many bytes are sent to the server until the second connection is open.
async fn bytes_sent_to_open_a_second_connection(server: &Server, cancel: bool) -> u64 {
    let proxy = ChaosProxy::start(server.address()).await.unwrap();
    let options = PgPoolOptions::new().pool_size(2).cancel_abandoned(cancel);
    let pool = options.connect(&proxy.reroute(&server.url)).await.unwrap();
    let _two = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
    proxy.links()[1].arrived(Direction::ToServer)
}

#[tokio::test]
async fn without_cancelling_a_connect_costs_no_more_than_the_drivers_own() {
    let Some(server) = server() else { return };
    let proxy = ChaosProxy::start(server.address()).await.unwrap();
    let _bare = PgConnection::connect(&proxy.reroute(&server.url)).await.unwrap();
    let bare = proxy.links()[0].arrived(Direction::ToServer);
    let (without, with) = (
        bytes_sent_to_open_a_second_connection(&server, false).await,
        bytes_sent_to_open_a_second_connection(&server, true).await,
    );
    assert_eq!(without, bare);
    println!("{bare} bytes to the server, {} more where it is cancelled", with - bare);
}

/// Starts a long statement, drops it, and returns the connection to the pool. Returns the number of
/// its session.
async fn abandon(pool: &PgPool, sql: &'static str) -> i32 {
    let mut lease = pool.acquire().await.unwrap();
    let pid = pid(&mut lease).await;
    cut_off(&mut lease, sql).await;
    pid
}

/// Waits until the server executes nothing in this session.
async fn stopped(server: &Server, pid: i32) {
    let mut conn = server.connection().await;
    let sql = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND state = 'active' AND \
        query LIKE '%pg_sleep%')";
    while sqlx::query_scalar(sql).bind(pid).fetch_one(&mut conn).await.unwrap() {}
}

#[tokio::test]
async fn a_dropped_query_frees_its_slot_soon() {
    let Some(server) = server() else { return };
    let trace = Trace::new();
    let options = one().max_overflow(1).observer(trace.clone());
    let pool = options.connect(&server.url).await.unwrap();
    let begun = Instant::now();
    let before = abandon(&pool, LONG).await;
    until(|| pool.num_idle() == 1).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(server.next_is_clean(&pool).await, before, "the connection was not worth closing");
    assert_eq!(trace.closed(), []);
    assert_eq!(
        (pool.status().totals.peak, pool.status().reserved),
        (2, 0),
        "the cancel had a slot within the limit"
    );
}

#[tokio::test]
async fn a_full_pool_cancels_over_an_idle_connection() {
    let Some(server) = server() else { return };
    let pool =
        PgPoolOptions::new().pool_size(2).max_overflow(0).connect(&server.url).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    drop(pool.acquire().await.unwrap());
    let before = pid(&mut lease).await;
    cut_off(&mut lease, LONG).await;
    drop(lease);
    until(|| pool.num_idle() == 2).await;
    let mut one = pool.acquire().await.unwrap();
    let mut other = pool.acquire().await.unwrap();
    assert!([pid(&mut one).await, pid(&mut other).await].contains(&before));
    assert_eq!(pool.status().totals.created, 2);
}

#[tokio::test]
async fn a_stream_that_was_dropped_early_is_stopped_too() {
    let Some(server) = server() else { return };
    let pool = one().max_overflow(1).connect(&server.url).await.unwrap();
    let sql = "SELECT generate_series(1, 1000000000), repeat('x', 1000)";
    let mut lease = pool.acquire().await.unwrap();
    let before = pid(&mut lease).await;
    let mut rows = sqlx::query(sql).fetch(&mut *lease);
    rows.try_next().await.unwrap().unwrap();
    drop(rows);
    drop(lease);
    until(|| pool.num_idle() == 1).await;
    assert_eq!(server.next_is_clean(&pool).await, before);
}

#[tokio::test]
async fn the_session_of_a_closed_connection_is_ended_in_its_own_slot() {
    let Some(server) = server() else { return };
    let full = one();
    for options in
        [full.clone(), full.clone().reset(ResetLevel::Replace), full.pool(PoolKind::Null)]
    {
        let pool = options.connect(&server.url).await.unwrap();
        let before = abandon(&pool, LONG).await;
        let begun = Instant::now();
        stopped(&server, before).await;
        assert_ne!(server.next_is_clean(&pool).await, before);
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        assert_eq!(pool.status().totals.peak, 1);
    }
}

#[tokio::test]
async fn without_cancelling_a_dropped_query_goes_on_and_its_connection_is_closed() {
    let Some(server) = server() else { return };
    let options =
        one().max_overflow(1).limits(Limits::Off).ping_timeout(Duration::from_millis(100));
    let pool = options.cancel_abandoned(false).connect(&server.url).await.unwrap();
    let before = abandon(&pool, LONG).await;
    until(|| pool.size() == 0).await;
    let mut conn = server.connection().await;
    let sql = "SELECT state, pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1";
    let row = sqlx::query(sql).bind(before).fetch_one(&mut conn).await.unwrap();
    assert_eq!(row.get::<&str, _>(0), "active");
}

#[tokio::test]
async fn in_a_full_pool_the_next_statement_waits_only_for_the_dropped_one() {
    let Some(server) = server() else { return };
    let pool = one().ping_timeout(Duration::from_secs(12)).connect(&server.url).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    // Takes a little longer than the grace period before its cancel.
    cut_off(&mut lease, "SELECT pg_sleep(1.7)").await;
    let next = sqlx::query_scalar::<_, i32>("SELECT 7").fetch_one(&mut *lease);
    let next =
        tokio::time::timeout(Duration::from_secs(8), next).await.expect("it waits for a cancel");
    assert_eq!(next.unwrap(), 7);
}

/// Ends by itself before it is cancelled.
const BRIEF: &str = "SELECT pg_sleep(0.01)";

#[tokio::test]
async fn the_cancel_of_a_dropped_query_does_not_hit_the_drivers_own_connection() {
    let Some(server) = server() else { return };
    let options = one().max_overflow(1).ping_timeout(Duration::from_millis(800));
    let pool = options.connect(&server.url).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    cut_off(&mut lease, BRIEF).await;
    let conn: &mut PgConnection = lease.as_mut();
    raw_sql("SELECT pg_sleep(0.5)").execute(&mut *conn).await.unwrap();
    cut_off(&mut lease, BRIEF).await;
    let mut tx = lease.as_mut().begin().await.unwrap();
    raw_sql("SELECT pg_sleep(0.5)").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn without_a_reset_the_cancel_of_a_dropped_query_does_not_hit_the_next_borrower() {
    let Some(server) = server() else { return };
    let options =
        one().max_overflow(1).reset(ResetLevel::None).ping_timeout(Duration::from_millis(800));
    let pool = options.connect(&server.url).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    cut_off(&mut lease, BRIEF).await;
    drop(lease);
    let mut lease = pool.acquire().await.unwrap();
    raw_sql("SELECT pg_sleep(0.5)").execute(lease.as_mut()).await.unwrap();
}

#[tokio::test]
async fn digits_of_floats_that_were_chosen_by_hand_switch_no_cancel_off() {
    let Some(server) = server() else { return };
    for digits in [-1, 0, 3] {
        let options = server.options().extra_float_digits(digits);
        let trace = Trace::new();
        let pool = one().observer(trace.clone()).connect_with(options).await.unwrap();
        let lease = pool.acquire().await.unwrap();
        assert!(lease.session().is_some(), "{digits}");
        assert!(!trace.lines().concat().contains("pooler"), "{digits}");
    }
}
