//! Drops every future of a pool and its transactions after every number of polls, over a network on
//! which messages arrive in pieces.

use crate::backend::{PLUS, Pool};
use crate::support::{Server, one, server};
use millpond_core::Invalidate;
use millpond_sqlx::Transaction;
use millpond_testkit::{ChaosProxy, Direction, Flow, poll_n, until};
use sqlx::{AssertSqlSafe, Executor, SqlStr};
use std::time::Duration;

/// More polls than any of the futures needs.
const POLLS_MAX: usize = 2_000;

#[derive(Debug, Clone, Copy)]
enum Action {
    Acquire,
    AcquireNew,
    AcquireInTime,
    Prewarm,
    Connect,
    Execute,
    FetchPrepared,
    Describe,
    Begin,
    BeginWith,
    BeginOnLease,
    Savepoint,
    Commit,
    Rollback,
}

const ACTIONS: [Action; 14] = [
    Action::Acquire,
    Action::AcquireNew,
    Action::AcquireInTime,
    Action::Prewarm,
    Action::Connect,
    Action::Execute,
    Action::FetchPrepared,
    Action::Describe,
    Action::Begin,
    Action::BeginWith,
    Action::BeginOnLease,
    Action::Savepoint,
    Action::Commit,
    Action::Rollback,
];

/// Performs an action and drops it after `polls` polls. Returns true if it completed.
async fn done_within(polls: usize, action: Action, pool: &Pool, url: &str) -> bool {
    match action {
        Action::Acquire => poll_n(pool.acquire(), polls).await.is_some(),
        Action::AcquireNew => {
            pool.invalidate_all(Invalidate::Soft);
            poll_n(pool.acquire(), polls).await.is_some()
        }
        Action::AcquireInTime => {
            pool.invalidate_all(Invalidate::Hard);
            poll_n(pool.acquire_within(Duration::from_secs(20)), polls).await.is_some()
        }
        Action::Prewarm => {
            until("it is idle", async || pool.num_idle() == 1).await;
            pool.invalidate_all(Invalidate::Soft);
            let warm = poll_n(pool.prewarm(1), polls).await;
            warm.inspect(|warm| assert!(warm.is_ok() && pool.num_idle() == 1, "{warm:?}")).is_some()
        }
        Action::Connect => poll_n(one().connect(url), polls).await.is_some(),
        Action::Execute => poll_n(pool.execute("SELECT 1; SELECT 2"), polls).await.is_some(),
        Action::FetchPrepared => {
            // A new text each time, so that it has to be prepared.
            let sql = AssertSqlSafe(format!("{PLUS} {polls}"));
            let sum =
                poll_n(sqlx::query_scalar::<_, i64>(sql).bind(1_i64).fetch_one(pool), polls).await;
            sum.inspect(|sum| assert_eq!(*sum.as_ref().unwrap(), i64::try_from(polls).unwrap() + 1))
                .is_some()
        }
        Action::Describe => {
            poll_n(pool.prepare(SqlStr::from_static("SELECT 1")), polls).await.is_some()
        }
        Action::Begin => poll_n(pool.begin(), polls).await.is_some(),
        Action::BeginWith => {
            poll_n(pool.begin_with("START TRANSACTION READ ONLY"), polls).await.is_some()
        }
        Action::BeginOnLease => {
            poll_n(Transaction::begin_on(pool.acquire().await.unwrap(), None), polls)
                .await
                .is_some()
        }
        Action::Savepoint => {
            let mut outer = pool.begin().await.unwrap();
            poll_n(outer.begin(), polls).await.is_some()
        }
        Action::Commit => poll_n(pool.begin().await.unwrap().commit(), polls).await.is_some(),
        Action::Rollback => poll_n(pool.begin().await.unwrap().rollback(), polls).await.is_some(),
    }
}

async fn in_pieces(server: &Server) -> ChaosProxy {
    let proxy = ChaosProxy::start(server.address()).await.unwrap();
    Direction::BOTH
        .into_iter()
        .for_each(|direction| proxy.set(direction, Flow::free().in_pieces_of(4)));
    proxy
}

#[tokio::test]
async fn the_next_borrower_sees_no_trace_of_a_call_dropped_at_any_poll() {
    let Some(server) = server() else { return };
    let proxy = in_pieces(&server).await;
    let url = proxy.reroute(&server.url);
    let pool = one().connect(&url).await.unwrap();
    let mut cuts = 0;
    for action in ACTIONS {
        let mut polls = 0;
        while !done_within(polls, action, &pool, &url).await {
            polls += 1;
            assert!(polls < POLLS_MAX, "{action:?} is polled without end");
            server.next_is_clean(&pool).await;
        }
        cuts += polls;
        server.next_is_clean(&pool).await;
    }
    assert!(cuts > 30, "{cuts} cuts: the messages came in one piece");
    let open = || proxy.links().iter().filter(|link| link.is_open()).count();
    until("one connection is left", async || open() == 1).await;
}

#[tokio::test]
async fn a_close_goes_on_when_its_future_is_dropped_at_any_poll() {
    let Some(server) = server() else { return };
    let proxy = in_pieces(&server).await;
    for polls in 0..POLLS_MAX {
        let pool = one().connect(&proxy.reroute(&server.url)).await.unwrap();
        drop(pool.acquire().await.unwrap());
        let ended = poll_n(pool.close(), polls).await.is_some();
        if polls > 0 {
            assert!(pool.is_closed());
            until("nothing is open", async || pool.status().open == 0).await;
        }
        if ended {
            return;
        }
    }
    panic!("it is polled without end");
}
