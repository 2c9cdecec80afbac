//! The metrics that a recorder gets from a `DatabaseConnection`.

use crate::world::{Directory, memory};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use millpond::{DatabaseConnection, PoolKind, PoolMetrics};
use std::collections::BTreeMap;

/// Returns the gauges and counters, by name, pool and other label.
fn numbers_of(metrics: &PoolMetrics) -> BTreeMap<String, f64> {
    let recorder = DebuggingRecorder::new();
    metrics::with_local_recorder(&recorder, || metrics.report());
    let numbers = recorder.snapshotter().snapshot().into_vec().into_iter().filter_map(
        |(key, _, _, value)| {
            let labels: Vec<_> = key.key().labels().map(|label| label.value().to_owned()).collect();
            let name = format!("{} {}", key.key().name(), labels.join(" "));
            match value {
                DebugValue::Counter(count) => Some((name, count as f64)),
                DebugValue::Gauge(level) => Some((name, level.into_inner())),
                DebugValue::Histogram(_) => None,
            }
        },
    );
    numbers.collect()
}

#[tokio::test]
async fn the_numbers_of_a_connection_are_reported_under_its_name() {
    let metrics = PoolMetrics::manual();
    let files = Directory::new();
    let builder =
        DatabaseConnection::builder(&files.url("a.db")).pool(PoolKind::Queue).pool_size(4);
    let db = builder.name("orders").metrics(&metrics).connect().await.unwrap();
    let lease = db.acquire().await.unwrap();
    let numbers = numbers_of(&metrics);
    assert_eq!((numbers["pool_size orders"], numbers["pool_in_use orders"]), (4.0, 1.0));
    assert_eq!(numbers["pool_available orders"], 3.0);
    assert_eq!(numbers["db.client.connection.count orders used"], 1.0);
    assert_eq!(numbers["millpond.acquires orders ok"], 2.0, "the first was the connect");
    for (name, number) in db.performance_metrics().named() {
        assert_eq!(numbers[&format!("{name} orders")], f64::from(number));
    }
    drop(lease);
    drop(db);
    assert_eq!(
        numbers_of(&metrics)["pool_size orders"],
        0.0,
        "the metrics do not keep the pool alive"
    );
}

#[tokio::test]
async fn the_metrics_of_one_writer_and_many_readers_are_reported() {
    let metrics = PoolMetrics::manual();
    let files = Directory::new();
    let builder =
        DatabaseConnection::builder(&files.url("a.db")).pool(PoolKind::ReadWrite).pool_size(3);
    let db = builder.name("orders").metrics(&metrics).connect().await.unwrap();
    sqlx::query("SELECT 1").execute(&db).await.unwrap();
    let numbers = numbers_of(&metrics);
    assert_eq!(
        (numbers["pool_size orders-writer"], numbers["pool_size orders-reader"]),
        (1.0, 3.0)
    );
    assert_eq!(numbers["millpond.acquires orders-reader ok"], 2.0, "the first was the connect");
}

#[tokio::test]
async fn a_name_set_by_a_step_is_used_in_all_metrics() {
    let files = Directory::new();
    for (kind, names) in
        [(PoolKind::Queue, vec!["new"]), (PoolKind::ReadWrite, vec!["new-writer", "new-reader"])]
    {
        let metrics = PoolMetrics::manual();
        let builder = DatabaseConnection::builder(&files.url("a.db")).pool(kind).name("old");
        let builder = builder.metrics(&metrics).sqlite(|options| options.name("new"));
        let _db = builder.connect().await.unwrap();
        let numbers = numbers_of(&metrics);
        assert!(!numbers.keys().any(|name| name.contains(" old")), "{numbers:?}");
        for name in names {
            assert!(numbers.contains_key(&format!("pool_size {name}")), "{numbers:?}");
            assert_eq!(numbers[&format!("millpond.acquires {name} ok")], 1.0);
        }
    }
}

#[cfg(all(feature = "cache", feature = "ratelimit"))]
#[tokio::test]
async fn the_pools_of_cache_and_rate_limiter_are_reported_like_all_others() {
    let metrics = PoolMetrics::manual();
    let cache = millpond::cache::RedisCache::builder().url("redis://h").connect_lazy().unwrap();
    let storage = millpond::ratelimit::StorageOptions::new().connect_lazy("redis://h").unwrap();
    metrics.follow_shared_pool(cache.pool().as_core());
    metrics.follow_shared_pool(storage.pool().as_core());
    let numbers = numbers_of(&metrics);
    assert_eq!(
        (numbers["pool_size cache"], numbers["pool_size ratelimit"]),
        (5.0, 2.0),
        "a tenth, since many share one"
    );
    drop((cache, storage));
    let numbers = numbers_of(&metrics);
    assert_eq!((numbers["pool_size cache"], numbers["pool_size ratelimit"]), (0.0, 0.0));
}

#[tokio::test]
async fn without_metrics_nothing_is_reported() {
    let metrics = PoolMetrics::manual();
    drop(memory().await);
    assert!(numbers_of(&metrics).is_empty());
}
