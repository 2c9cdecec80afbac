//! An abandoned statement is stopped at the server even if the borrower keeps the connection.

use crate::backend::{Db, ENDLESS, Pool, SURVIVES_A_CUT, Session};
use crate::support::{LONG, SHORT, Server, id, one, server};
use futures_util::TryStreamExt;
use millpond_core::Limits;
use millpond_sqlx::{Expired, SqlLease};
use millpond_testkit::{ChaosProxy, Direction, Flow, NetworkFault, until};
use sqlx::{AssertSqlSafe, raw_sql};
use std::time::Duration;

/// Far less than [`LONG`] takes, and enough for a busy machine.
const SOON: Duration = Duration::from_secs(12);

/// A limit that ends [`LONG`] early, and leaves time for a simple query on a busy machine.
const LIMIT: Duration = Duration::from_secs(3);

/// Starts [`LONG`] and drops it as soon as the server executes it.
async fn cut(server: &Server, lease: &mut SqlLease<Db>) {
    let session = id(lease).await;
    tokio::select! {
        outcome = raw_sql(LONG).execute(&mut **lease) => panic!("{outcome:?}"),
        () = until("the server is at work", async || server.works(session).await) => {}
    }
}

/// Asserts that the server stops the statement, and that the lease then works or returns an error.
async fn is_stopped(server: &Server, session: Session, lease: &mut SqlLease<Db>) {
    let stopped = until("the server has stopped", async || !server.works(session).await);
    tokio::time::timeout(SOON, stopped).await.expect("the server goes on");
    let next = sqlx::query_scalar::<_, String>("SELECT 'next'").fetch_one(&mut **lease).await;
    assert_eq!(next.ok().as_deref(), SURVIVES_A_CUT.then_some("next"));
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_stopped_although_its_lease_is_kept() {
    let Some(server) = server() else { return };
    let options = one().max_overflow(1).statement_timeout(LIMIT);
    let pool = options.connect(&server.url).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    let session = id(&mut lease).await;
    let error = raw_sql(LONG).execute(&mut *lease).await.unwrap_err();
    assert!(Expired::of(&error).is_some(), "{error}");
    is_stopped(&server, session, &mut lease).await;
    drop(lease);
    server.next_is_clean(&pool).await;
}

#[tokio::test]
async fn a_ping_timeout_of_duration_max_is_accepted() {
    let Some(server) = server() else { return };
    let options = one().max_overflow(1).limits(Limits::Off).ping_timeout(Duration::MAX);
    let pool = options.statement_timeout(LIMIT).connect(&server.url).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    {
        let mut rows = sqlx::query("SELECT 1 UNION ALL SELECT 2").fetch(&mut *lease);
        rows.try_next().await.unwrap().unwrap();
    }
    let session = id(&mut lease).await;
    raw_sql(LONG).execute(&mut *lease).await.unwrap_err();
    is_stopped(&server, session, &mut lease).await;
    drop(lease);
    server.next_is_clean(&pool).await;
}

#[tokio::test]
async fn a_full_pool_stops_an_expired_statement_at_once_over_an_extra_connection() {
    let Some(server) = server() else { return };
    let options = one().pool_size(2).statement_timeout(LIMIT);
    // So long that the test would fail if it waited for it.
    let pool = options.ping_timeout(Duration::from_secs(60)).connect(&server.url).await.unwrap();
    let (mut first, mut second) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    for lease in [&mut first, &mut second] {
        let session = id(lease).await;
        raw_sql(LONG).execute(&mut **lease).await.unwrap_err();
        is_stopped(&server, session, lease).await;
    }
    drop((first, second));
    server.next_is_clean(&pool).await;
    pool.close().await;
}

/// Runs statements whose limit ends at about the time at which they complete, each followed by a
/// query.
async fn race(pool: Pool, user: u64) {
    for round in 0..10 {
        let mut lease = pool.acquire().await.unwrap();
        lease.set_statement_timeout(Duration::from_millis(97 + round));
        let expired = sqlx::query(SHORT).execute(&mut *lease).await.is_err();
        lease.set_statement_timeout(None);
        let question = format!("{user}, {round}");
        let sql = AssertSqlSafe(format!("SELECT '{question}'"));
        let answer = sqlx::query_scalar::<_, String>(sql).fetch_one(&mut *lease).await;
        match answer {
            Ok(answer) => assert_eq!(answer, question),
            Err(error) => assert!(expired && !SURVIVES_A_CUT, "{question}: {error}"),
        }
    }
}

#[tokio::test]
async fn in_a_full_pool_the_cancel_of_an_expired_statement_hits_no_other_one() {
    let Some(server) = server() else { return };
    let pool = one().pool_size(4).connect(&server.url).await.unwrap();
    let users: Vec<_> = (0..6).map(|user| tokio::spawn(race(pool.clone(), user))).collect();
    for user in users {
        user.await.unwrap();
    }
    server.next_is_clean(&pool).await;
}

#[tokio::test]
async fn a_statement_that_is_dropped_is_stopped_although_its_lease_is_kept() {
    let Some(server) = server() else { return };
    let pool = one().max_overflow(1).connect(&server.url).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    let session = id(&mut lease).await;
    cut(&server, &mut lease).await;
    is_stopped(&server, session, &mut lease).await;
    drop(lease);
    server.next_is_clean(&pool).await;
}

#[tokio::test]
async fn the_next_statement_does_not_wait_for_the_end_of_one_that_was_dropped() {
    let Some(server) = server() else { return };
    // If the pool has no slot for a cancel, the statement fails.
    for overflow in [1, 0] {
        let pool = one().max_overflow(overflow).connect(&server.url).await.unwrap();
        let mut lease = pool.acquire().await.unwrap();
        cut(&server, &mut lease).await;
        let next = sqlx::query_scalar::<_, String>("SELECT 'next'").fetch_one(&mut *lease);
        let next = tokio::time::timeout(SOON, next).await.expect("it waits for the end");
        let lives = SURVIVES_A_CUT && overflow == 1;
        assert_eq!(next.ok().as_deref(), lives.then_some("next"), "overflow {overflow}");
        drop(lease);
        server.next_is_clean(&pool).await;
    }
}

#[tokio::test]
async fn on_a_silent_server_the_next_statement_of_a_lease_ends_with_an_error() {
    let Some(server) = server() else { return };
    let proxy = ChaosProxy::start(server.address()).await.unwrap();
    let options = one().max_overflow(1).limits(Limits::Off);
    let options = options.ping_timeout(Duration::from_millis(400));
    let pool = options.connect(&proxy.reroute(&server.url)).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    cut(&server, &mut lease).await;
    proxy.set(Direction::ToClient, Flow::stalled());
    let next = raw_sql("SELECT 1").execute(&mut *lease);
    tokio::time::timeout(SOON, next).await.expect("it has no limit").unwrap_err();
}

/// The length of a ping in bytes, as both drivers send it.
const PING: u64 = 5;

#[tokio::test]
async fn a_late_cancel_hits_neither_the_next_statement_nor_the_next_borrower() {
    let Some(server) = server() else { return };
    let proxy = ChaosProxy::start(server.address()).await.unwrap();
    let pool = one().pool_size(2).connect(&proxy.reroute(&server.url)).await.unwrap();
    let (mut lease, other) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    let before = id(&mut lease).await;
    drop(other);
    until("the other one is idle", async || pool.num_idle() == 1).await;
    // The cancel is sent over the other connection, and delayed on its way.
    let link = proxy.links().pop().unwrap();
    link.set(Direction::ToServer, Flow::free().then(PING, NetworkFault::Stall));
    lease.set_statement_timeout(Duration::from_millis(20));
    // On a busy machine the answer may arrive before the limit is checked.
    while raw_sql(SHORT).execute(&mut *lease).await.is_ok() {}
    lease.set_statement_timeout(None);
    // A dropped statement must not make the pool forget the pending cancel.
    let _cut =
        tokio::time::timeout(Duration::from_millis(400), raw_sql("SELECT 1").execute(&mut *lease))
            .await;
    raw_sql("SELECT 1").execute(&mut *lease).await.unwrap_err();
    raw_sql("SELECT 1").execute(&mut *lease).await.unwrap_err();
    drop(lease);
    let mut lease = pool.acquire().await.unwrap();
    link.set(Direction::ToServer, Flow::free());
    assert_ne!(id(&mut lease).await, before, "it was lent again");
    raw_sql(SHORT).execute(&mut *lease).await.unwrap();
}

#[tokio::test]
async fn a_full_pool_stops_a_statement_over_an_older_or_newer_idle_connection() {
    let Some(server) = server() else { return };
    for is_older in [true, false] {
        let options = one().pool_size(2).statement_timeout(LIMIT);
        let pool = options.connect(&server.url).await.unwrap();
        let (first, second) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
        let (idle, mut lease) = if is_older { (first, second) } else { (second, first) };
        let session = id(&mut lease).await;
        drop(idle);
        raw_sql(LONG).execute(&mut *lease).await.unwrap_err();
        is_stopped(&server, session, &mut lease).await;
    }
}

#[tokio::test]
async fn a_statement_is_stopped_although_the_first_idle_connection_is_dead() {
    let Some(server) = server() else { return };
    let proxy = ChaosProxy::start(server.address()).await.unwrap();
    let options = one().pool_size(3).statement_timeout(LIMIT);
    let pool = options.connect(&proxy.reroute(&server.url)).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    let session = id(&mut lease).await;
    let (second, third) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    drop(second);
    drop(third);
    until("the others are idle", async || pool.num_idle() == 2).await;
    proxy.links().pop().unwrap().half_open();
    raw_sql(LONG).execute(&mut *lease).await.unwrap_err();
    is_stopped(&server, session, &mut lease).await;
}

#[tokio::test]
async fn two_expired_statements_are_stopped_although_the_first_cancel_connect_hangs() {
    let Some(server) = server() else { return };
    let proxy = ChaosProxy::start(server.address()).await.unwrap();
    proxy.plan(|number, _| if number == 3 { Flow::stalled() } else { Flow::free() });
    let options = one().pool_size(2).max_overflow(1).limits(Limits::Off);
    let options = options.ping_timeout(Duration::from_millis(500)).statement_timeout(LIMIT);
    let pool = options.connect(&proxy.reroute(&server.url)).await.unwrap();
    let (mut first, mut second) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    let sessions = [id(&mut first).await, id(&mut second).await];
    let both =
        tokio::join!(raw_sql(LONG).execute(&mut *first), raw_sql(LONG).execute(&mut *second));
    assert!(both.0.is_err() && both.1.is_err());
    for session in sessions {
        let stopped = until("the server has stopped", async || !server.works(session).await);
        tokio::time::timeout(SOON, stopped).await.expect("the server goes on");
    }
}

#[tokio::test]
async fn endless_unread_rows_delay_neither_the_next_statement_nor_the_end() {
    let Some(server) = server() else { return };
    let options = one().max_overflow(1).ping_timeout(Duration::from_millis(400));
    let pool = options.connect(&server.url).await.unwrap();
    for end in ["a statement", "commit", "rollback", "a savepoint"] {
        let mut tx = pool.begin().await.unwrap();
        sqlx::query(ENDLESS).fetch(&mut *tx).try_next().await.unwrap().unwrap();
        let ended = async {
            // The result depends on how the server is stopped.
            let _outcome = match end {
                "commit" => tx.commit().await,
                "rollback" => tx.rollback().await,
                "a savepoint" => tx.begin().await.map(drop),
                _ => raw_sql("SELECT 1").execute(&mut *tx).await.map(drop),
            };
        };
        tokio::time::timeout(SOON, ended).await.unwrap_or_else(|_| panic!("{end} waits"));
        server.next_is_clean(&pool).await;
    }
}
