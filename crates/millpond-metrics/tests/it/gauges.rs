//! Gauges: the current state of pools.

use crate::world::{Ear, Pool, ms, pool};
use millpond_core::QueuePool;
use millpond_metrics::PoolMetrics;
use millpond_shared::SharedPool;
use millpond_testkit::{Act, ByHand, Call, ScriptedManager};

#[tokio::test(start_paused = true)]
async fn the_gauges_are_opentelemetrys_and_the_guides() {
    let (pool, metrics) =
        pool(&ScriptedManager::new(), |builder| builder.pool_size(2).max_overflow(1));
    let leases = (
        pool.acquire().await.unwrap(),
        pool.acquire().await.unwrap(),
        pool.acquire().await.unwrap(),
    );
    let mut waiter = ByHand::new(Box::pin(pool.acquire()));
    assert!(waiter.poll().is_pending());
    let mut ear = Ear::new();
    ear.listen(&metrics);
    assert_eq!(ear.level("db.client.connection.count", "db.client.connection.state=used"), 3.0);
    assert_eq!(ear.level("db.client.connection.count", "db.client.connection.state=idle"), 0.0);
    assert_eq!(ear.level("db.client.connection.idle.max", ""), 2.0);
    assert_eq!(ear.level("db.client.connection.max", ""), 3.0);
    assert_eq!(ear.level("db.client.connection.pending_requests", ""), 1.0);
    assert_eq!(ear.level("db.client.connection.idle.min", ""), 0.0);
    assert_eq!(ear.level("millpond.connections.open", ""), 3.0);
    assert_eq!(ear.level("millpond.connections.peak", ""), 3.0);
    assert_eq!((ear.level("pool_size", ""), ear.level("pool_in_use", "")), (2.0, 3.0));
    assert_eq!(ear.level("pool_available", ""), 0.0);
    drop((waiter, leases));
    pool.resize(5, 0).unwrap();
    ear.listen(&metrics);
    assert_eq!(ear.level("db.client.connection.count", "db.client.connection.state=used"), 0.0);
    assert_eq!((ear.level("pool_size", ""), ear.level("pool_available", "")), (5.0, 5.0));
}

#[tokio::test(start_paused = true)]
async fn the_smallest_number_of_idle_connections_is_min_idle_and_at_most_pool_size() {
    let (pool, metrics) = pool(&ScriptedManager::new(), |builder| builder.pool_size(5).min_idle(3));
    let mut ear = Ear::new();
    ear.listen(&metrics);
    assert_eq!(ear.level("db.client.connection.idle.min", ""), 3.0);
    pool.resize(2, 0).unwrap();
    ear.listen(&metrics);
    assert_eq!(ear.level("db.client.connection.idle.min", ""), 2.0);
}

#[tokio::test(start_paused = true)]
async fn counters_that_alerts_watch_are_there_before_the_first_event() {
    let (_pool, metrics) = pool(&ScriptedManager::new(), |builder| builder);
    let mut ear = Ear::new();
    ear.listen(&metrics);
    for name in ["millpond.leaks", "millpond.panics", "millpond.fast_failures"] {
        assert!(ear.names().contains(&name), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_oldest_waiter_and_a_suspended_pool_are_gauges() {
    let (pool, metrics) =
        pool(&ScriptedManager::new(), |builder| builder.pool_size(1).max_overflow(0));
    let lease = pool.acquire().await.unwrap();
    let mut waiter = ByHand::new(Box::pin(pool.acquire()));
    assert!(waiter.poll().is_pending());
    tokio::time::sleep(ms(1500)).await;
    pool.suspend();
    let mut ear = Ear::new();
    ear.listen(&metrics);
    let oldest = ear.level("millpond.oldest_waiter", "");
    assert!((1.4..1.6).contains(&oldest), "{oldest}");
    assert_eq!(ear.level("millpond.suspended", ""), 1.0);
    drop((waiter, lease));
    pool.resume();
    ear.listen(&metrics);
    assert_eq!(ear.level("millpond.oldest_waiter", ""), 0.0);
    assert_eq!(ear.level("millpond.suspended", ""), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_is_a_gauge_until_a_connect_succeeds() {
    let manager = ScriptedManager::new();
    let (pool, metrics) = pool(&manager, |builder| builder.pool_size(1).fail_fast_after(ms(500)));
    manager.always(Call::Connect, Act::transient("no"));
    drop(pool.acquire_within(ms(2000)).await.unwrap_err());
    let mut ear = Ear::new();
    ear.listen(&metrics);
    let failing = ear.level("millpond.connect_failing", "");
    assert!(failing > 0.4, "{failing}");
    assert_eq!(ear.count("millpond.fast_failures", ""), 1);
    manager.heal();
    tokio::time::sleep(ms(2000)).await;
    drop(pool.acquire().await.unwrap());
    ear.listen(&metrics);
    assert_eq!(ear.level("millpond.connect_failing", ""), 0.0);
}

#[tokio::test(start_paused = true)]
async fn the_gauges_of_a_dropped_pool_are_zero() {
    let (pool, metrics) = pool(&ScriptedManager::new(), |builder| builder);
    drop(pool.acquire().await.unwrap());
    let mut ear = Ear::new();
    ear.listen(&metrics);
    assert_eq!(ear.level("db.client.connection.count", "db.client.connection.state=idle"), 1.0);
    drop(pool);
    tokio::time::sleep(ms(10)).await;
    ear.listen(&metrics);
    assert_eq!(ear.level("db.client.connection.count", "db.client.connection.state=idle"), 0.0);
    assert_eq!((ear.level("pool_size", ""), ear.level("db.client.connection.max", "")), (0.0, 0.0));
    assert_eq!(ear.count("millpond.connections.closed", "reason=pool_closed"), 1);
}

#[tokio::test(start_paused = true)]
async fn multiplexed_connections_with_a_borrower_count_as_used() {
    let metrics = PoolMetrics::manual();
    let pool = SharedPool::builder(ScriptedManager::new())
        .name("p")
        .pool_size(2)
        .max_overflow(1)
        .build()
        .unwrap();
    metrics.follow_shared_pool(&pool);
    let mut ear = Ear::new();
    ear.listen(&metrics);
    assert_eq!((ear.level("pool_size", ""), ear.level("pool_in_use", "")), (2.0, 0.0));
    let leases = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    ear.listen(&metrics);
    assert_eq!(
        (ear.level("pool_in_use", ""), ear.level("pool_available", "")),
        (1.0, 1.0),
        "both share one"
    );
    drop(leases);
    ear.listen(&metrics);
    assert_eq!(ear.level("db.client.connection.count", "db.client.connection.state=used"), 0.0);
    assert!(ear.level("db.client.connection.count", "db.client.connection.state=idle") >= 1.0);
    drop(pool);
    ear.listen(&metrics);
    assert_eq!((ear.level("pool_size", ""), ear.level("pool_in_use", "")), (0.0, 0.0));
}

#[tokio::test(start_paused = true)]
async fn pools_are_distinguished_by_name_and_pools_of_one_name_summed_up() {
    let metrics = PoolMetrics::manual();
    let named = |name: &str, size: u32| -> Pool {
        let builder = QueuePool::builder(ScriptedManager::new()).name(name).pool_size(size);
        let pool = builder.observer(metrics.clone()).build().unwrap();
        metrics.follow_pool(&pool);
        pool
    };
    let pools = [named("p", 2), named("p", 3), named("q", 4)];
    for pool in &pools {
        drop(pool.acquire().await.unwrap());
    }
    let mut ear = Ear::new();
    ear.listen(&metrics);
    assert_eq!((ear.level("pool_size", ""), ear.level_of("pool_size", "q", "")), (5.0, Some(4.0)));
    assert_eq!(ear.count("millpond.acquires", "outcome=ok"), 2);
    assert_eq!(ear.count_of_all("millpond.acquires"), 3);
}
