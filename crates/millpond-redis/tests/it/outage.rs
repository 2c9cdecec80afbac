//! Servers that are killed, stopped, started again, and peers that say nothing.

use crate::scripted::{HANG_UP, Scripted, plain};
use crate::support::{by_each_driver, few, get, key, set, single};
use futures_util::FutureExt;
use millpond_redis::{
    Command, RedisError, RedisLease, RedisPool, RedisPoolOptions, SharedRedisPoolOptions, Value,
};
use millpond_testkit::{ChaosProxy, OwnServer, StillClock, until};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_millis(500);
const ACQUIRE: Duration = Duration::from_secs(2);
/// For a machine that does much else.
const SLACK: Duration = Duration::from_secs(10);

#[tokio::test]
async fn after_a_restart_the_pool_is_back_soon() {
    for driver in by_each_driver("") {
        let Some(mut server) = OwnServer::or_skip("redis") else { return };
        let url = &format!("{}{driver}", server.url());
        let pool = RedisPoolOptions::new().command_timeout(TIMEOUT).connect(url).await.unwrap();
        let shared =
            SharedRedisPoolOptions::new().command_timeout(TIMEOUT).connect(url).await.unwrap();
        let key = key("restart");
        pool.run::<()>(set(&key, "x")).await.unwrap();
        server.stop("KILL").await.unwrap();
        assert!(shared.run::<()>(set(&key, "y")).await.is_err(), "the server is dead");
        server.start_again("").unwrap();
        // Ready is when somebody without a pool gets through.
        until("the server is ready", async || few(1).connect(url).await.is_ok()).await;
        let ready = Instant::now();
        until("there is an answer", async || pool.run::<Option<String>>(get(&key)).await.is_ok())
            .await;
        until("there is an answer", async || shared.run::<Option<String>>(get(&key)).await.is_ok())
            .await;
        assert!(ready.elapsed() < SLACK, "{:?} {driver}", ready.elapsed());
    }
}

/// Each pool's two requests hold a dead connection each and wait for another one that never comes.
#[tokio::test]
async fn pools_whose_callers_gave_up_in_an_outage_are_back_when_the_server_is() {
    for driver in by_each_driver("") {
        let Some(mut server) = OwnServer::or_skip("redis") else { return };
        let url = &format!("{}{driver}", server.url());
        let clock = StillClock::stop();
        let pools: Vec<_> = (0..10).map(|_| few(4).connect_lazy(url).unwrap()).collect();
        let mut leases = Vec::new();
        for pool in pools.iter().chain(&pools) {
            leases.push((pool.clone(), pool.acquire().await.unwrap()));
        }
        server.stop("KILL").await.unwrap();
        let give_up = |(pool, mut first): (RedisPool, RedisLease)| async move {
            assert!(pool.acquire().await.is_err() && first.run::<()>(set("k", 1)).await.is_err());
        };
        let requests: Vec<_> = leases.into_iter().map(give_up).map(tokio::spawn).collect();
        pass(&clock, &pools, Duration::from_secs(41)).await;
        for request in requests {
            request.await.unwrap();
        }
        server.start_again("").unwrap();
        let address = server.url().split_once("://").unwrap().1.split('/').next().unwrap();
        until("the server is ready", async || TcpStream::connect(address).await.is_ok()).await;
        pass(&clock, &pools, Duration::from_secs(5)).await;
        for pool in &pools {
            pool.run::<()>(set("k", 1)).await.unwrap();
        }
    }
}

/// Lets time pass in small steps, each attempt to connect within its own.
async fn pass(clock: &StillClock, pools: &[RedisPool], time: Duration) {
    const STEP: Duration = Duration::from_millis(50);
    for _ in 0..time.as_millis() / STEP.as_millis() {
        clock.pass(STEP).await;
        let is_connecting = || pools.iter().any(|pool| pool.status().connecting > 0);
        until("no connect is under way", async || !is_connecting()).await;
    }
}

#[tokio::test]
async fn nothing_hangs_on_a_server_that_is_stopped() {
    for driver in by_each_driver("") {
        let Some(server) = OwnServer::or_skip("redis") else { return };
        stopped(&server, &format!("{}{driver}", server.url())).await;
    }
}

#[cfg(feature = "fred")]
#[tokio::test]
async fn the_driver_s_own_client_waits_no_longer_than_the_limit_either() {
    let Some(server) = OwnServer::or_skip("redis") else { return };
    let pool =
        RedisPoolOptions::new().command_timeout(TIMEOUT).connect(server.url()).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    let client = lease.driver().unwrap();
    server.signal("REDIS", "STOP").unwrap();
    let began = Instant::now();
    use fred::interfaces::ClientLike;
    assert!(client.ping::<()>(None).await.is_err());
    assert!(began.elapsed() < TIMEOUT + SLACK, "{:?}", began.elapsed());
}

async fn stopped(server: &OwnServer, url: &str) {
    let pool = RedisPoolOptions::new()
        .command_timeout(TIMEOUT)
        .pool_timeout(ACQUIRE)
        .connect(url)
        .await
        .unwrap();
    let shared = SharedRedisPoolOptions::new()
        .max_connections(1)
        .command_timeout(TIMEOUT)
        .pool_timeout(ACQUIRE);
    let shared = shared.connect(url).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    server.signal("REDIS", "STOP").unwrap();
    let began = Instant::now();
    assert!(lease.run::<Option<String>>(get("k")).await.unwrap_err().is_ambiguous());
    assert!(began.elapsed() < TIMEOUT + SLACK, "{:?}", began.elapsed());
    drop(lease);
    // Acquire and a command together, of one pool and then of the other: each within the limits of
    // both.
    for _ in 0..2 {
        for attempt in [pool.run::<()>(set("k", 1)).boxed(), shared.run::<()>(set("k", 1)).boxed()]
        {
            let began = Instant::now();
            assert!(attempt.await.is_err());
            assert!(began.elapsed() < TIMEOUT + ACQUIRE + SLACK, "{:?}", began.elapsed());
        }
    }
    server.signal("REDIS", "CONT").unwrap();
    let began = Instant::now();
    until("there is an answer", async || pool.run::<()>(set("k", 1)).await.is_ok()).await;
    until("there is an answer", async || shared.run::<()>(set("k", 1)).await.is_ok()).await;
    assert!(began.elapsed() < SLACK, "{:?}", began.elapsed());
}

#[tokio::test]
async fn on_half_open_connections_an_acquire_and_a_get_end_within_their_limits_and_new_ones_serve()
{
    let Some(url) = single() else { return };
    let address = url.split_once("://").unwrap().1.split('/').next().unwrap().to_owned();
    for url in by_each_driver(&url) {
        let proxy = ChaosProxy::start(&address).await.unwrap();
        let url = proxy.reroute(&url);
        // Enough for a new connection on a busy machine.
        let acquire = ACQUIRE * 5;
        let pool =
            few(2).command_timeout(TIMEOUT).pool_timeout(acquire).connect(&url).await.unwrap();
        let shared = SharedRedisPoolOptions::new()
            .max_connections(1)
            .command_timeout(TIMEOUT)
            .pool_timeout(acquire);
        let shared = shared.connect(&url).await.unwrap();
        drop(futures_util::future::join_all((0..2).map(|_| pool.acquire())).await);
        // What is open falls silent and stays open, as behind a firewall that has forgotten it;
        // what is opened now works.
        let before = proxy.accepted();
        proxy.half_open();
        let question = || Command::new("GET").key("k");
        for _ in 0..3 {
            for attempt in
                [pool.run::<Value>(question()).boxed(), shared.run::<Value>(question()).boxed()]
            {
                let began = Instant::now();
                let outcome = attempt.await;
                assert!(outcome.as_ref().err().is_none_or(RedisError::is_ambiguous), "{outcome:?}");
                assert!(began.elapsed() < TIMEOUT + acquire + SLACK, "{:?}", began.elapsed());
            }
        }
        for _ in 0..4 {
            let answered = async || pool.run::<Option<String>>(get("k")).await.is_ok();
            until("a new connection serves", answered).await;
            let answered = async || shared.run::<Option<String>>(get("k")).await.is_ok();
            until("a new shared connection serves", answered).await;
        }
        assert!(proxy.accepted() >= before + 2, "nothing was half-open");
    }
}

#[tokio::test]
async fn a_peer_that_accepts_and_says_nothing_does_not_hold_anybody_longer_than_the_limit() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    for url in by_each_driver(&format!("redis://{}", silent.local_addr().unwrap())) {
        silence(&url).await;
    }
}

async fn silence(url: &str) {
    let pool = few(1)
        .command_timeout(TIMEOUT)
        .pool_timeout(Duration::from_secs(1))
        .connect_lazy(url)
        .unwrap();
    let began = Instant::now();
    assert!(pool.acquire().await.is_err());
    assert!(began.elapsed() < TIMEOUT + SLACK, "{:?}", began.elapsed());
    let began = Instant::now();
    assert!(pool.close().await.is_clean());
    assert!(began.elapsed() < TIMEOUT + SLACK, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_write_refused_by_a_replica_outdates_every_connection_at_once() {
    let Some(server) = OwnServer::or_skip("redis") else { return };
    for url in by_each_driver(server.url()) {
        let pool = few(3).connect(&url).await.unwrap();
        drop(futures_util::future::join_all((0..3).map(|_| pool.acquire())).await);
        let follow = |to: [&str; 2]| Command::new("REPLICAOF").args(to);
        let admin = few(1).connect(&url).await.unwrap();
        admin.run::<()>(follow(["127.0.0.1", "1"])).await.unwrap();
        let error = pool.run::<()>(set("k", 1)).await.unwrap_err();
        assert_eq!(error.code(), Some("READONLY"));
        admin.run::<()>(follow(["NO", "ONE"])).await.unwrap();
        let before = pool.status().totals.created;
        pool.run::<()>(set("k", 1)).await.unwrap();
        assert_eq!(pool.status().totals.created, before + 1, "an old connection was lent: {url}");
    }
}

#[tokio::test]
async fn an_error_of_a_script_in_the_words_of_a_replica_costs_no_connection() {
    let Some(server) = OwnServer::or_skip("redis") else { return };
    let says =
        "return redis.error_reply(\"READONLY You can't write against a read only replica.\")";
    let script = || Command::new("EVAL").arg(says).arg(0);
    for url in by_each_driver(server.url()) {
        let own = few(2).connect(&url).await.unwrap();
        let many = SharedRedisPoolOptions::new().max_connections(1).connect(&url).await.unwrap();
        drop(tokio::join!(own.acquire(), own.acquire()));
        let created = || (own.status().totals.created, many.status().totals.created);
        let before = created();
        for _ in 0..3 {
            assert_eq!(own.run::<Value>(script()).await.unwrap_err().code(), Some("READONLY"));
            assert_eq!(many.run::<Value>(script()).await.unwrap_err().code(), Some("READONLY"));
            own.run::<()>(set("k", 1)).await.unwrap();
            many.run::<()>(set("k", 1)).await.unwrap();
        }
        assert_eq!(created(), before, "{url}");
        // A replica says the same of a script that writes.
        let follow = |to: [&str; 2]| Command::new("REPLICAOF").args(to);
        let admin = few(1).connect(&url).await.unwrap();
        admin.run::<()>(follow(["127.0.0.1", "1"])).await.unwrap();
        let writes = || Command::new("EVAL").arg("redis.call('SET', KEYS[1], 1)").arg(1).key("k");
        assert_eq!(own.run::<Value>(writes()).await.unwrap_err().code(), Some("READONLY"));
        assert_eq!(many.run::<Value>(writes()).await.unwrap_err().code(), Some("READONLY"));
        admin.run::<()>(follow(["NO", "ONE"])).await.unwrap();
        own.run::<()>(set("k", 1)).await.unwrap();
        many.run::<()>(set("k", 1)).await.unwrap();
        assert_eq!(created(), (before.0 + 1, before.1 + 1), "an old connection was lent: {url}");
    }
}

#[tokio::test]
async fn an_acquire_ends_in_time_although_connections_open_late_and_are_closed_at_once() {
    const LIMIT: Duration = Duration::from_secs(10);
    const STEP: Duration = Duration::from_millis(50);
    for query in by_each_driver("") {
        // The first connection gets no answer, the others are closed after the handshake.
        let server = Scripted::start(|number, words| match &words[0][..] {
            _ if number == 0 => Vec::new(),
            b"PING" => [b"+PONG\r\n", HANG_UP].concat(),
            _ => plain(words),
        })
        .await;
        let url = format!("redis://{}{query}", server.address);
        let clock = StillClock::stop();
        let shared = SharedRedisPoolOptions::new().max_connections(1).pool_timeout(LIMIT);
        let shared = shared.configure(|config| config.connect_timeout = LIMIT * 9 / 10);
        let shared = shared.connect_lazy(&url).unwrap();
        let since = tokio::time::Instant::now();
        let acquiring = tokio::spawn(shared.acquire());
        until("it connects", async || server.open() > 0).await;
        while !acquiring.is_finished() && since.elapsed() < LIMIT * 3 {
            clock.pass(STEP).await;
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        }
        assert!(acquiring.await.unwrap().is_err());
        assert!(since.elapsed() <= LIMIT + 10 * STEP, "{:?}", since.elapsed());
    }
}
