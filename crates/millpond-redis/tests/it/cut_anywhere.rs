//! Every future that a pool and its connections give out, dropped after every number of polls, over
//! a network on which messages come in pieces.

use crate::support::{
    by_each_driver, can_subscribe, echo, few, get, key, next_is_clean, set, shared, single,
};
use millpond_core::Invalidate;
use millpond_redis::{
    Command, Limits, RedisPool, Script, SharedRedisPool, SharedRedisPoolOptions, Value,
};
use millpond_testkit::{ChaosProxy, Direction, Flow, poll_n, until};
use std::time::Duration;

/// More polls than any of them needs.
const POLLS_MAX: usize = 2_000;

const LONG: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy)]
enum Operation {
    Acquire,
    AcquireAnew,
    Prewarm,
    Connect,
    Run,
    RunOnPool,
    Transaction,
    Subscribe,
    SubscribeToPattern,
    Message,
}

const OPERATIONS: [Operation; 7] = [
    Operation::Acquire,
    Operation::AcquireAnew,
    Operation::Prewarm,
    Operation::Connect,
    Operation::Run,
    Operation::RunOnPool,
    Operation::Transaction,
];

/// What only one of the drivers can do.
const LISTENING: [Operation; 3] =
    [Operation::Subscribe, Operation::SubscribeToPattern, Operation::Message];

/// A pool of one connection over a network in pieces, and one that goes straight to the server.
struct World {
    pool: RedisPool,
    straight: RedisPool,
    url: String,
    proxy: ChaosProxy,
}

impl World {
    async fn over(url: &str) -> Self {
        let place = url.split_once("://").unwrap().1.split('/').next().unwrap();
        let proxy = ChaosProxy::start(place).await.unwrap();
        Direction::BOTH
            .into_iter()
            .for_each(|direction| proxy.set(direction, Flow::free().in_pieces_of(4)));
        let (straight, url) = (few(1).connect(url).await.unwrap(), proxy.reroute(url));
        Self { pool: few(1).connect(&url).await.unwrap(), straight, url, proxy }
    }

    /// Does it, at most for so many polls. Whether it came to its end.
    async fn done_within(&self, polls: usize, operation: Operation) -> bool {
        let (pool, key) = (&self.pool, key("anywhere"));
        match operation {
            Operation::Acquire => poll_n(pool.acquire(), polls).await.is_some(),
            Operation::AcquireAnew => {
                pool.invalidate_all(Invalidate::Soft);
                poll_n(pool.acquire(), polls).await.is_some()
            }
            Operation::Prewarm => {
                until("it is idle", async || pool.status().idle == 1).await;
                pool.invalidate_all(Invalidate::Hard);
                poll_n(pool.as_core().prewarm(1), polls)
                    .await
                    .inspect(|warm| assert!(warm.is_ok()))
                    .is_some()
            }
            Operation::Connect => poll_n(few(1).connect(&self.url), polls).await.is_some(),
            Operation::Run => {
                let mut lease = pool.acquire().await.unwrap();
                let answer = poll_n(lease.run::<String>(echo(&key)), polls).await;
                answer.inspect(|answer| assert_eq!(*answer.as_ref().unwrap(), key)).is_some()
            }
            Operation::RunOnPool => poll_n(pool.run::<Value>(get(&key)), polls).await.is_some(),
            Operation::Transaction => {
                let mut lease = pool.acquire().await.unwrap();
                lease.run::<()>(Command::new("WATCH").key(&key)).await.unwrap();
                poll_n(lease.transaction::<Value>([set(&key, 1), get(&key)]), polls).await.is_some()
            }
            Operation::Subscribe => {
                poll_n(pool.acquire().await.unwrap().subscribe([key]), polls).await.is_some()
            }
            Operation::SubscribeToPattern => {
                poll_n(pool.acquire().await.unwrap().psubscribe([key]), polls).await.is_some()
            }
            Operation::Message => {
                let mut lease = pool.acquire().await.unwrap();
                lease.subscribe([&key]).await.unwrap();
                // The driver does not wait for the server's word that it listens.
                let publish = Command::new("PUBLISH").arg(&key).arg(polls);
                let heard = async || self.straight.run::<i64>(publish.clone()).await.unwrap() == 1;
                until("somebody hears it", heard).await;
                if let Some(message) = poll_n(lease.message(LONG), polls).await {
                    assert_eq!(message.unwrap().unwrap().payload, polls.to_string());
                    return true;
                }
                // It was not taken by the one who has gone.
                assert!(lease.message(LONG).await.unwrap().is_some());
                false
            }
        }
    }
}

#[tokio::test]
async fn the_next_borrower_sees_no_trace_of_a_call_dropped_at_any_poll() {
    let Some(url) = single() else { return };
    for url in by_each_driver(&url) {
        let world = World::over(&url).await;
        let listening: &[Operation] = if can_subscribe(&url) { &LISTENING } else { &[] };
        let mut cuts = 0;
        for operation in OPERATIONS.iter().chain(listening).copied() {
            let mut polls = 0;
            while !world.done_within(polls, operation).await {
                polls += 1;
                assert!(polls < POLLS_MAX, "{operation:?} is polled without end");
                next_is_clean(&world.pool).await;
            }
            cuts += polls;
            next_is_clean(&world.pool).await;
        }
        assert!(cuts >= OPERATIONS.len(), "{cuts} cuts: the messages came in one piece");
        let open = || world.proxy.links().iter().filter(|link| link.is_open()).count();
        until("one connection is left", async || open() == 1).await;
    }
}

#[tokio::test]
async fn a_close_goes_on_when_its_future_is_dropped_at_any_poll() {
    let Some(url) = single() else { return };
    for url in by_each_driver(&url) {
        for polls in 0.. {
            let World { pool, .. } = World::over(&url).await;
            assert!(polls < POLLS_MAX, "it is polled without end");
            let ended = poll_n(pool.close(), polls).await.is_some();
            if polls > 0 {
                until("nothing is open", async || pool.status().open == 0).await;
            }
            if ended {
                break;
            }
        }
    }
}

/// What can be done with connections that many use at once.
#[derive(Debug, Clone, Copy)]
enum SharedOperation {
    Connect,
    Acquire,
    AcquireAnew,
    Run,
    RunOnNode,
    RunOnPool,
    RunScript,
}

const SHARED_OPERATIONS: [SharedOperation; 7] = [
    SharedOperation::Connect,
    SharedOperation::Acquire,
    SharedOperation::AcquireAnew,
    SharedOperation::Run,
    SharedOperation::RunOnNode,
    SharedOperation::RunOnPool,
    SharedOperation::RunScript,
];

/// Does it, at most for so many polls. Whether it came to its end.
async fn shared_within(
    polls: usize,
    operation: SharedOperation,
    pool: &SharedRedisPool,
    url: &str,
) -> bool {
    let nonce = key("anywhere");
    let answer = match operation {
        SharedOperation::Connect => {
            return poll_n(one_shared().connect(url), polls).await.is_some();
        }
        SharedOperation::Acquire => return poll_n(pool.acquire(), polls).await.is_some(),
        SharedOperation::AcquireAnew => {
            pool.invalidate_all(Invalidate::Soft);
            return poll_n(pool.acquire(), polls).await.is_some();
        }
        SharedOperation::Run => {
            poll_n(pool.acquire().await.unwrap().run::<String>(echo(&nonce)), polls).await
        }
        SharedOperation::RunOnNode => {
            let lease = pool.acquire().await.unwrap();
            poll_n(lease.run_on::<String>(&lease.nodes()[0], echo(&nonce)), polls).await
        }
        SharedOperation::RunOnPool => poll_n(pool.run::<String>(echo(&nonce)), polls).await,
        SharedOperation::RunScript => {
            // A text of its own each time: the server does not know it yet.
            let script = Script::new(format!("return ARGV[1] -- {nonce}"));
            poll_n(script.call([key("none")], [&nonce]).run::<String>(pool), polls).await
        }
    };
    answer.inspect(|answer| assert_eq!(*answer.as_ref().unwrap(), nonce, "{operation:?}")).is_some()
}

fn one_shared() -> SharedRedisPoolOptions {
    shared().limits(Limits::Off).max_connections(1)
}

#[tokio::test]
async fn whatever_is_cut_off_on_a_shared_connection_the_next_caller_gets_its_own_answer() {
    let Some(url) = single() else { return };
    for url in by_each_driver(&url) {
        let world = World::over(&url).await;
        let pool = one_shared().connect(&world.url).await.unwrap();
        let next_is_answered = async || {
            let nonce = key("nonce");
            assert_eq!(pool.run::<String>(echo(&nonce)).await.unwrap(), nonce);
            until("one connection is there", async || {
                (pool.status().open, pool.status().waiting) == (1, 0)
            })
            .await;
        };
        let mut cuts = 0;
        for operation in SHARED_OPERATIONS {
            let mut polls = 0;
            while !shared_within(polls, operation, &pool, &world.url).await {
                polls += 1;
                assert!(polls < POLLS_MAX, "{operation:?} is polled without end");
                next_is_answered().await;
            }
            cuts += polls;
            next_is_answered().await;
        }
        assert!(cuts >= SHARED_OPERATIONS.len(), "{cuts} cuts: the messages came in one piece");
    }
}
