//! The cache while Redis is down.

use millpond_cache::{CacheError, OnOutage, RedisCache};
use millpond_redis::{Command, RedisPoolOptions};
use millpond_testkit::{ChaosProxy, Direction, Flow, OwnServer, until, variable};
use std::io::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Less than all calls would take if each waited for Redis, and enough for a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

fn cache(url: &str, on_outage: OnOutage) -> RedisCache {
    RedisCache::builder().url(url).on_outage(on_outage).loads_max(5).connect_lazy().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_fail_open_loaders_answer_within_their_limit() {
    let Some(server) = OwnServer::or_skip("redis") else { return };
    let cache = cache(server.url(), OnOutage::Open);
    until("Redis has it", async || {
        cache.set("k", &1).await.unwrap();
        cache.get::<i32>("k").await.unwrap() == Some(1)
    })
    .await;
    server.signal("REDIS", "STOP").unwrap();
    let began = Instant::now();
    let (at_once, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let tasks = (0..200).map(|n| {
        let (cache, at_once, most) = (cache.clone(), at_once.clone(), most.clone());
        tokio::spawn(async move {
            let load = || async move {
                most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                at_once.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, Error>(Some(n))
            };
            assert_eq!(cache.get_or_load(&format!("k{n}"), load).await.unwrap(), Some(n));
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert!(most.load(Ordering::SeqCst) <= 5, "{most:?}");
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
    assert_eq!(cache.get::<i32>("k").await.unwrap(), None);
    cache.set("k", &2).await.unwrap();
    // Operations whose loss would leave a wrong value are errors nevertheless.
    assert!(matches!(cache.delete(&["k"]).await, Err(CacheError::Redis(_))));
    assert!(matches!(cache.incr("n", 1).await, Err(CacheError::Redis(_))));
    assert!(matches!(cache.clear().await, Err(CacheError::Redis(_))));
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
    server.signal("REDIS", "CONT").unwrap();
    until("Redis answers again", async || cache.get::<i32>("k").await.unwrap() == Some(1)).await;
    assert!(cache.totals().bypassed > 0);
}

#[tokio::test]
async fn with_fail_closed_every_operation_fails_in_time() {
    let Some(server) = OwnServer::or_skip("redis") else { return };
    let cache = cache(server.url(), OnOutage::Closed);
    until("Redis has it", async || cache.set("k", &1).await.is_ok()).await;
    server.signal("REDIS", "STOP").unwrap();
    let began = Instant::now();
    assert!(matches!(cache.get::<i32>("k").await, Err(CacheError::Redis(_))));
    assert!(matches!(cache.set("k", &1).await, Err(CacheError::Redis(_))));
    let load = || async { Ok::<_, Error>(Some(1)) };
    assert!(matches!(cache.get_or_load("k", load).await, Err(CacheError::Redis(_))));
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_connections_are_not_an_outage() {
    let Some(server) = OwnServer::or_skip("redis") else { return };
    let admin = RedisPoolOptions::new().connect(server.url()).await.unwrap();
    // Long enough that a busy machine does not count as an outage.
    let builder = RedisCache::builder().url(server.url()).timeout(Duration::from_secs(20));
    let cache = builder.connect().await.unwrap();
    cache.set("k", &1).await.unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let tasks = (0..64).map(|_| {
        let (cache, is_over) = (cache.clone(), Arc::clone(&is_over));
        tokio::spawn(async move {
            while !is_over.load(Ordering::SeqCst) {
                assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1));
            }
        })
    });
    let tasks: Vec<_> = tasks.collect();
    for _ in 0..20 {
        let kill = Command::new("CLIENT").args(["KILL", "TYPE", "normal", "SKIPME", "yes"]);
        let killed = admin.run::<i64>(kill);
        assert!(killed.await.unwrap() >= 0);
        let before = cache.totals().hits;
        until("the cache answers again", async || cache.totals().hits > before + 64).await;
    }
    is_over.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(cache.totals().bypassed, 0);
}

#[tokio::test]
async fn a_connection_may_take_longer_to_open_than_a_command() {
    let Some(straight) = variable("MILLPOND_TEST_REDIS_URL") else { return };
    let place = straight.split_once("://").unwrap().1.split('/').next().unwrap();
    let proxy = ChaosProxy::start(place).await.unwrap();
    proxy.set(Direction::ToClient, Flow::free().delayed(Duration::from_millis(1500)));
    let builder = || RedisCache::builder().url(&proxy.reroute(&straight));
    let timeout = Duration::from_millis(250);
    builder().timeout(timeout).connect().await.unwrap();
    let cache = builder().timeout(timeout).connect_lazy().unwrap();
    assert_eq!(cache.get::<i32>("k").await.unwrap(), None);
    until("a connection is open", async || cache.pool().status().open > 0).await;
}

#[tokio::test]
async fn a_loop_during_an_outage_lets_other_tasks_run() {
    // A port without a server.
    let cache = cache("redis://127.0.0.1:1/0", OnOutage::Open);
    let asked = cache.totals().bypassed;
    until("it is known to be down", async || {
        assert_eq!(cache.get::<i32>("k").await.unwrap(), None);
        cache.totals().bypassed > asked
    })
    .await;
    let other = tokio::spawn(async {});
    let mut calls = 0;
    while !other.is_finished() {
        calls += 1;
        assert!(calls < 1_000, "no other task runs");
        assert_eq!(cache.get::<i32>("k").await.unwrap(), None);
    }
}
