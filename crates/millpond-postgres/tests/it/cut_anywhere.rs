//! Every future that a pool and its transactions give out, dropped after every number of polls, over a network on which
//! messages come in pieces.

use crate::support::{Server, one, server, until};
use millpond_postgres::{Invalidate, PgPool};
use millpond_testkit::{ChaosProxy, Direction, Flow, poll_n};
use sqlx::Executor;

/// More polls than any of them needs.
const POLLS_MAX: usize = 2_000;

#[derive(Debug, Clone, Copy)]
enum Deed {
    Acquire,
    AcquireAnew,
    Execute,
    FetchPrepared,
    Describe,
    Begin,
    Savepoint,
    Commit,
    Rollback,
}

const DEEDS: [Deed; 9] = [
    Deed::Acquire,
    Deed::AcquireAnew,
    Deed::Execute,
    Deed::FetchPrepared,
    Deed::Describe,
    Deed::Begin,
    Deed::Savepoint,
    Deed::Commit,
    Deed::Rollback,
];

/// Does it, at most for so many polls. Whether it came to its end.
async fn done_within(polls: usize, deed: Deed, pool: &PgPool) -> bool {
    match deed {
        Deed::Acquire => poll_n(pool.acquire(), polls).await.is_some(),
        Deed::AcquireAnew => {
            pool.invalidate_all(Invalidate::Soft);
            poll_n(pool.acquire(), polls).await.is_some()
        }
        Deed::Execute => poll_n(pool.execute("SELECT 1; SELECT 2"), polls).await.is_some(),
        Deed::FetchPrepared => {
            // A text of its own each time: it has to be prepared.
            let sql = sqlx::AssertSqlSafe(format!("SELECT $1::int8 + {polls}"));
            let sum = poll_n(sqlx::query_scalar::<_, i64>(sql).bind(1_i64).fetch_one(pool), polls).await;
            sum.inspect(|sum| assert_eq!(*sum.as_ref().unwrap(), i64::try_from(polls).unwrap() + 1)).is_some()
        }
        Deed::Describe => poll_n(pool.prepare(sqlx::SqlStr::from_static("SELECT 1")), polls).await.is_some(),
        Deed::Begin => poll_n(pool.begin(), polls).await.is_some(),
        Deed::Savepoint => {
            let mut outer = pool.begin().await.unwrap();
            poll_n(outer.begin(), polls).await.is_some()
        }
        Deed::Commit => poll_n(pool.begin().await.unwrap().commit(), polls).await.is_some(),
        Deed::Rollback => poll_n(pool.begin().await.unwrap().rollback(), polls).await.is_some(),
    }
}

async fn in_pieces(server: &Server) -> ChaosProxy {
    let proxy = ChaosProxy::start(server.address()).await.unwrap();
    Direction::BOTH.into_iter().for_each(|direction| proxy.set(direction, Flow::free().in_pieces_of(4)));
    proxy
}

#[tokio::test]
async fn whatever_is_cut_off_wherever_it_is_the_next_borrower_is_served_and_sees_nothing_of_it() {
    let Some(server) = server() else { return };
    let proxy = in_pieces(&server).await;
    let pool = one().connect(&proxy.reroute(&server.url)).await.unwrap();
    let mut cuts = 0;
    for deed in DEEDS {
        let mut polls = 0;
        while !done_within(polls, deed, &pool).await {
            polls += 1;
            assert!(polls < POLLS_MAX, "{deed:?} is polled without end");
            server.next_is_clean(&pool).await;
        }
        cuts += polls;
        server.next_is_clean(&pool).await;
    }
    assert!(cuts > 30, "{cuts} cuts: the messages came in one piece");
}

#[tokio::test]
async fn a_close_that_is_cut_off_goes_on_wherever_it_was() {
    let Some(server) = server() else { return };
    let proxy = in_pieces(&server).await;
    for polls in 0..POLLS_MAX {
        let pool = one().connect(&proxy.reroute(&server.url)).await.unwrap();
        drop(pool.acquire().await.unwrap());
        let ended = poll_n(pool.close(), polls).await.is_some();
        if polls > 0 {
            assert!(pool.is_closed());
            until(|| pool.status().open == 0).await;
        }
        if ended {
            return;
        }
    }
    panic!("it is polled without end");
}
