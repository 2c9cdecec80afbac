//! Rate limits while Redis is down.

use crate::support::{PATIENCE, subject};
use millpond_ratelimit::{
    CentralizedStateStorage, DecisionSource, Limit, OnOutage, RateLimiter, StorageOptions,
};
use millpond_redis::{Command, RedisPool, RedisPoolOptions, Value, slot_of};
use millpond_testkit::{OwnServer, until};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

fn limiter(url: &str, what: OnOutage) -> RateLimiter {
    let storage: CentralizedStateStorage =
        StorageOptions::new().on_outage(what).connect_lazy(url).unwrap();
    RateLimiter::new(&storage, "limit", Limit::per_hour(3).unwrap()).unwrap()
}

#[tokio::test]
async fn each_fallback_is_used_quickly_and_left_when_redis_is_back() {
    let Some(server) = OwnServer::or_skip("redis") else { return };
    let url = server.url();
    let who = subject("outage");
    let [open, closed, local] = [OnOutage::Open, OnOutage::Closed, OnOutage::Local { keys: 100 }]
        .map(|what| limiter(url, what));
    for limiter in [&open, &closed, &local] {
        // A peek, because in the process's own limits a refused first try would count.
        until("Redis decides", async || {
            limiter.peek(&who).await.unwrap().source == DecisionSource::Redis
        })
        .await;
    }
    server.signal("REDIS", "STOP").unwrap();
    let began = Instant::now();
    for _ in 0..1000 {
        let decision = open.check(&who).await.unwrap();
        assert!(decision.allowed && decision.source == DecisionSource::Open);
    }
    for _ in 0..1000 {
        let decision = closed.check(&who).await.unwrap();
        assert!(!decision.allowed && decision.source == DecisionSource::Closed);
        assert!(decision.retry_after().is_some());
    }
    for n in 0..1000 {
        let decision = local.check(&who).await.unwrap();
        assert_eq!(
            (decision.allowed, decision.source),
            (n < 3, DecisionSource::Local),
            "the process keeps the limit by itself"
        );
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    server.signal("REDIS", "CONT").unwrap();
    for limiter in [&open, &closed, &local] {
        until("Redis decides again", async || {
            limiter.peek(&who).await.unwrap().source == DecisionSource::Redis
        })
        .await;
    }
}

#[tokio::test]
async fn a_redis_that_was_never_up_is_an_outage() {
    let limiter = limiter("redis://127.0.0.1:1", OnOutage::default());
    let who = subject("nowhere");
    let began = Instant::now();
    for n in 0..10 {
        assert_eq!(limiter.check(&who).await.unwrap().allowed, n < 3);
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[tokio::test]
async fn with_too_many_keys_one_limit_does_not_use_up_another() {
    let storage = StorageOptions::new().on_outage(OnOutage::Local { keys: 1 });
    let storage = storage.connect_lazy("redis://127.0.0.1:1").unwrap();
    let of = |name, limit| RateLimiter::new(&storage, name, limit).unwrap();
    let logins = of("login", Limit::per_hour(1).unwrap());
    let calls = of("api", Limit::per_second(100).unwrap());
    // The only key that fits.
    assert!(logins.check("first").await.unwrap().allowed);
    assert!(logins.check("second").await.unwrap().allowed);
    let decision = logins.check("third").await.unwrap();
    assert!(!decision.allowed, "further keys share one");
    let decision = calls.check("second").await.unwrap();
    assert_eq!((decision.allowed, decision.remaining()), (true, 99));
}

/// Promotes the three replicas.
async fn fail_over(servers: &OwnServer) {
    let mut changed = 0;
    for n in 1..=6 {
        let url = format!("redis://{}", servers.variable(&format!("CLUSTER_{n}_ADDRESS")));
        let node = RedisPoolOptions::new().connect_lazy(&url).unwrap();
        let was_replica = !role(&node).await.contains("master\"");
        // A replica gives up after 5 s if it has not caught up with its master: then it is tried
        // again.
        let began = Instant::now();
        while was_replica && !promoted(&node).await {
            assert!(began.elapsed() < Duration::from_secs(60), "node {n} stays a replica");
        }
        changed += u32::from(was_replica);
    }
    assert_eq!(changed, 3);
}

async fn role(node: &RedisPool) -> String {
    format!("{:?}", node.run::<Value>(Command::new("ROLE")).await)
}

/// Promotes a replica; true if it has become a master within 6 s.
async fn promoted(node: &RedisPool) -> bool {
    let asked = Instant::now();
    // Refused while it does not know its master yet.
    let _ = node.run::<()>(Command::new("CLUSTER").arg("FAILOVER")).await;
    while asked.elapsed() < Duration::from_secs(6) {
        if role(node).await.contains("master\"") {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

#[tokio::test]
async fn a_promoted_replica_gets_the_script_and_has_the_used_capacity() {
    let Some(servers) = OwnServer::or_skip("cluster") else { return };
    let options = StorageOptions::new().on_outage(OnOutage::Closed).timeout(PATIENCE);
    let storage = options.connect_lazy(servers.url()).unwrap();
    let limiter = RateLimiter::new(&storage, "limit", Limit::per_hour(3).unwrap()).unwrap();
    let subjects: Vec<String> = (0..20).map(|_| subject("failover")).collect();
    for who in &subjects {
        assert_eq!(limiter.check(who).await.unwrap().remaining(), 2);
    }
    fail_over(&servers).await;
    let began = Instant::now();
    for who in &subjects {
        let mut decision = limiter.check(who).await.unwrap();
        while decision.source != DecisionSource::Redis {
            assert!(began.elapsed() < Duration::from_secs(60), "no decision within a minute");
            tokio::task::yield_now().await;
            decision = limiter.check(who).await.unwrap();
        }
        assert!(decision.remaining() <= 1, "it has lost {who}: {decision:?}");
    }
}

#[tokio::test]
async fn a_redis_that_refuses_writes_is_tried_again_by_the_next_caller() {
    let Some(server) = OwnServer::or_skip("redis") else { return };
    let admin = RedisPoolOptions::new().connect(server.url()).await.unwrap();
    let config = async |name: &'static str, value: &'static str| {
        admin.run::<Value>(Command::new("CONFIG").arg("SET").arg(name).arg(value)).await.unwrap();
    };
    let storage = StorageOptions::new().timeout(PATIENCE).connect_lazy(server.url()).unwrap();
    let limiter = RateLimiter::new(&storage, "n", Limit::per_hour(100).unwrap()).unwrap();
    assert_eq!(limiter.check("a").await.unwrap().source, DecisionSource::Redis);
    for (name, refuses, admits) in [("maxmemory", "1", "0"), ("min-replicas-to-write", "1", "0")] {
        config(name, refuses).await;
        assert_eq!(limiter.check("a").await.unwrap().source, DecisionSource::Local, "{name}");
        config(name, admits).await;
        assert_eq!(limiter.check("a").await.unwrap().source, DecisionSource::Redis, "{name}");
    }
}

/// Returns a subject whose keys the first master owns, and one of another master.
fn subjects() -> (String, String) {
    let of = |is_first: bool| {
        let mut subjects = (0..).map(|n| format!("s{n}"));
        let is_meant = |who: &String| (slot_of(format!(":{who}").as_bytes()) <= 5460) == is_first;
        subjects.find(is_meant).unwrap()
    };
    (of(true), of(false))
}

#[tokio::test]
async fn a_lost_master_affects_only_its_own_subjects() {
    let Some(servers) = OwnServer::or_skip("cluster") else { return };
    for node in servers.variable("CLUSTER_NODES").split(',') {
        let pool = RedisPoolOptions::new().connect(&format!("redis://{node}")).await.unwrap();
        let set = Command::new("CONFIG").args(["SET", "cluster-require-full-coverage", "no"]);
        pool.run::<()>(set).await.unwrap();
    }
    // Only a stopped node counts as down, not one on a busy machine.
    let storage = StorageOptions::new().timeout(Duration::from_secs(3));
    let storage = storage.connect_lazy(servers.url()).unwrap();
    let limiter = RateLimiter::new(&storage, "n", Limit::per_hour(1_000_000).unwrap()).unwrap();
    let (lost, healthy) = subjects();
    for who in [&lost, &healthy] {
        assert_eq!(limiter.check(who).await.unwrap().source, DecisionSource::Redis);
    }
    servers.signal("CLUSTER_1", "STOP").unwrap();
    let mut without = 0;
    // Until its replica has been promoted.
    until("the lost subjects are counted in Redis again", async || {
        let decision = limiter.check(&healthy).await.unwrap();
        assert_eq!(decision.source, DecisionSource::Redis, "after {without} of the others");
        let is_back = limiter.check(&lost).await.unwrap().source == DecisionSource::Redis;
        without += u32::from(!is_back);
        is_back
    })
    .await;
    assert!(without > 0, "no node was lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_connections_affect_only_decisions_under_way() {
    const TASKS: u32 = 8;
    const KILLS: u32 = 10;
    let Some(server) = OwnServer::or_skip("redis") else { return };
    let admin = RedisPoolOptions::new().connect(server.url()).await.unwrap();
    let storage = StorageOptions::new().timeout(Duration::from_secs(20));
    let storage = storage.connect_lazy(server.url()).unwrap();
    let limiter = RateLimiter::new(&storage, "n", Limit::per_second(1_000_000).unwrap()).unwrap();
    let (by_redis, without) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let is_over = Arc::new(AtomicBool::new(false));
    let tasks = (0..TASKS).map(|_| {
        let (limiter, is_over) = (limiter.clone(), Arc::clone(&is_over));
        let (by_redis, without) = (Arc::clone(&by_redis), Arc::clone(&without));
        tokio::spawn(async move {
            while !is_over.load(Ordering::SeqCst) {
                let is_by_redis = limiter.check("a").await.unwrap().source == DecisionSource::Redis;
                let count = if is_by_redis { &by_redis } else { &without };
                count.fetch_add(1, Ordering::SeqCst);
            }
        })
    });
    let tasks: Vec<_> = tasks.collect();
    for _ in 0..KILLS {
        let before = by_redis.load(Ordering::SeqCst);
        until("Redis decides", async || by_redis.load(Ordering::SeqCst) > before + TASKS).await;
        let kill = Command::new("CLIENT").args(["KILL", "TYPE", "normal", "SKIPME", "yes"]);
        admin.run::<i64>(kill).await.unwrap();
    }
    is_over.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.unwrap();
    }
    let without = without.load(Ordering::SeqCst);
    assert!(without <= TASKS * KILLS, "{without} decisions without Redis");
}
