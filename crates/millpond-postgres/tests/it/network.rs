//! A network that goes wrong between the pool and a server that does not.

use crate::support::{one, server};
use millpond_postgres::{Limits, PgPoolOptions};
use millpond_testkit::{ChaosProxy, Direction, Flow};
use std::time::{Duration, Instant};

#[tokio::test]
async fn half_open_connections_are_found_out_within_the_limit_of_one_ping() {
    let Some(server) = server() else { return };
    let proxy = ChaosProxy::start(server.address()).await.unwrap();
    let limit = Duration::from_millis(300);
    let options = PgPoolOptions::new().pool_size(4).max_overflow(0).limits(Limits::Off);
    let options = options.ping_timeout(limit).pre_ping_idle(Duration::ZERO);
    let pool = options.connect_lazy(&proxy.reroute(&server.url)).unwrap();
    pool.prewarm(4).await.unwrap();
    proxy.half_open();
    let begun = Instant::now();
    let ask = |nonce: i64| {
        let pool = pool.clone();
        async move { sqlx::query_scalar::<_, i64>("SELECT $1::int8").bind(nonce).fetch_one(&pool).await.unwrap() }
    };
    let answers = futures_util::future::join_all((0..20).map(ask)).await;
    assert!(answers.into_iter().eq(0..20));
    assert!(begun.elapsed() < limit + Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_query_that_a_half_open_connection_swallows_ends_with_its_borrowers_limit_and_costs_no_place() {
    let Some(server) = server() else { return };
    let proxy = ChaosProxy::start(server.address()).await.unwrap();
    let pool = one().connect(&proxy.reroute(&server.url)).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    proxy.half_open();
    let query = sqlx::query("SELECT 1").execute(&mut *lease);
    tokio::time::timeout(Duration::from_millis(20), query).await.unwrap_err();
    drop(lease);
    server.next_is_clean(&pool).await;
}

#[tokio::test]
async fn answers_in_pieces_of_a_byte_are_the_right_ones_however_often_they_are_cut() {
    let Some(server) = server() else { return };
    let proxy = ChaosProxy::start(server.address()).await.unwrap();
    proxy.set(Direction::ToClient, Flow::free().in_pieces_of(1));
    let pool = PgPoolOptions::new().pool_size(2).max_overflow(0).connect(&proxy.reroute(&server.url)).await.unwrap();
    let mut cut = 0;
    for nonce in 0..150_i64 {
        // Every second text is new, so that preparing is cut as well, and the answer is long enough for many cuts.
        let sql = || sqlx::AssertSqlSafe(format!("SELECT $1::int8, repeat('x', 100), {}::int8", nonce / 2));
        let polls = 1 + u32::try_from(nonce % 60).unwrap();
        let before = sqlx::query(sql()).bind(-1_i64).fetch_one(&pool);
        cut += u32::from(crate::support::cut_after(polls, before).await.is_none());
        let (echo, ..): (i64, String, i64) = sqlx::query_as(sql()).bind(nonce).fetch_one(&pool).await.unwrap();
        assert_eq!(echo, nonce);
    }
    assert!(cut > 50, "{cut} were cut off");
}
