//! Servers that are killed, stopped, started again, and peers that say nothing.

use crate::private::Private;
use crate::support::{few, get, key, set, until};
use millpond_redis::{RedisPoolOptions, SharedRedisPoolOptions};
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_millis(500);

#[tokio::test]
async fn after_a_restart_the_pool_is_back_within_a_second() {
    let Some(server) = Private::start("redis") else { return };
    let url = server.variable("REDIS_URL");
    let pool = RedisPoolOptions::new().command_timeout(TIMEOUT).connect(url).await.unwrap();
    let shared = SharedRedisPoolOptions::new().command_timeout(TIMEOUT).connect(url).await.unwrap();
    let key = key("restart");
    pool.run::<()>(set(&key, "x")).await.unwrap();
    server.signal("REDIS", "-9");
    assert!(shared.run::<()>(set(&key, "y")).await.is_err(), "the server is dead");
    let _again = server.restart("REDIS");
    // Ready is when somebody without a pool gets through.
    until("the server is ready", async || few(1).connect(url).await.is_ok()).await;
    let ready = Instant::now();
    until("there is an answer", async || pool.run::<Option<String>>(get(&key)).await.is_ok()).await;
    until("there is an answer", async || shared.run::<Option<String>>(get(&key)).await.is_ok()).await;
    assert!(ready.elapsed() < Duration::from_secs(1), "{:?}", ready.elapsed());
}

#[tokio::test]
async fn nothing_hangs_on_a_server_that_is_stopped() {
    let Some(server) = Private::start("redis") else { return };
    let url = server.variable("REDIS_URL");
    let options = || RedisPoolOptions::new().command_timeout(TIMEOUT).pool_timeout(Duration::from_secs(2));
    let pool = options().connect(url).await.unwrap();
    let shared = SharedRedisPoolOptions::new()
        .max_connections(1)
        .command_timeout(TIMEOUT)
        .pool_timeout(Duration::from_secs(2))
        .connect(url)
        .await
        .unwrap();
    let mut lease = pool.acquire().await.unwrap();
    server.signal("REDIS", "-STOP");
    let began = Instant::now();
    assert!(lease.run::<Option<String>>(get("k")).await.unwrap_err().is_ambiguous());
    assert!(began.elapsed() < TIMEOUT * 2, "{:?}", began.elapsed());
    drop(lease);
    // Acquire and GET together: within the limit of one and the other.
    for _ in 0..2 {
        let began = Instant::now();
        assert!(pool.run::<()>(set("k", 1)).await.is_err());
        assert!(shared.run::<()>(set("k", 1)).await.is_err());
        assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    }
    server.signal("REDIS", "-CONT");
    let began = Instant::now();
    until("there is an answer", async || pool.run::<()>(set("k", 1)).await.is_ok()).await;
    until("there is an answer", async || shared.run::<()>(set("k", 1)).await.is_ok()).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_peer_that_accepts_and_says_nothing_does_not_hold_anybody_longer_than_the_limit() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let pool = few(1).command_timeout(TIMEOUT).pool_timeout(Duration::from_secs(1)).connect_lazy(&url).unwrap();
    let began = Instant::now();
    assert!(pool.acquire().await.is_err());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let began = Instant::now();
    assert!(pool.close().await.is_clean());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_write_refused_by_a_replica_outdates_every_connection_at_once() {
    let Some(server) = Private::start("redis") else { return };
    let url = server.variable("REDIS_URL");
    let pool = few(3).connect(url).await.unwrap();
    drop(futures_util::future::join_all((0..3).map(|_| pool.acquire())).await);
    let follow = |to: [&str; 2]| millpond_redis::Command::new("REPLICAOF").args(to);
    let admin = few(1).connect(url).await.unwrap();
    admin.run::<()>(follow(["127.0.0.1", "1"])).await.unwrap();
    let error = pool.run::<()>(set("k", 1)).await.unwrap_err();
    assert_eq!(error.code(), Some("READONLY"));
    admin.run::<()>(follow(["NO", "ONE"])).await.unwrap();
    let before = pool.status().totals.created;
    pool.run::<()>(set("k", 1)).await.unwrap();
    assert_eq!(pool.status().totals.created, before + 1, "an old connection was lent");
}
