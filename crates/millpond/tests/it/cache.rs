//! A cache as the guide configures it.

use millpond::cache::{self, CacheBuilder, OnOutage, RedisCache};
use millpond::{DatabaseConnection, Settings};
use millpond_testkit::variable;
use std::time::Duration;

fn settings(pairs: &[(&str, &str)]) -> Settings {
    Settings::loader().no_file().environment(pairs.iter().copied()).load().unwrap()
}

/// Connects, and stores and reads a value in a new namespace.
async fn works(builder: CacheBuilder) -> RedisCache {
    // Long enough that Redis is not considered down on a busy machine.
    let cache = builder
        .timeout(Duration::from_secs(20))
        .namespace(format!("test-{:x}", fastrand::u64(..)))
        .on_outage(OnOutage::Closed)
        .connect()
        .await
        .unwrap();
    cache.set("mill", &(2, "deep")).await.unwrap();
    assert_eq!(cache.get::<(u32, String)>("mill").await.unwrap(), Some((2, "deep".to_owned())));
    assert_eq!(cache.clear().await.unwrap(), 1);
    cache
}

#[tokio::test]
async fn the_guide_s_examples_work_on_one_server_and_on_a_cluster() {
    if let Some(url) = variable("MILLPOND_TEST_REDIS_URL") {
        works(RedisCache::builder().url(&url).max_connections(100)).await;
    }
    if let Some(nodes) = variable("MILLPOND_TEST_CLUSTER_NODES") {
        let nodes = nodes.split(',').map(|node| {
            let (host, port) = node.rsplit_once(':').unwrap();
            (host.to_owned(), port.parse().unwrap())
        });
        works(RedisCache::builder().startup_nodes(nodes).max_connections(150)).await;
    }
}

#[tokio::test]
async fn the_section_of_the_settings_makes_a_cache() {
    let Some(url) = variable("MILLPOND_TEST_REDIS_URL") else { return };
    for (preset, connections) in [("small", 5), ("medium", 10), ("large", 20)] {
        let settings = settings(&[("PSN_PRESET", preset), ("PSN_CACHE_URL", &url)]);
        let cache = works(cache::from_settings(&settings).unwrap()).await;
        assert_eq!(
            cache.pool().status().pool_size,
            connections,
            "a tenth of those of {preset}, since many share one"
        );
    }
}

#[test]
fn a_cache_without_a_url_is_an_error_that_names_the_variable_to_set() {
    let text = cache::from_settings(&settings(&[])).unwrap_err().to_string();
    assert_eq!(
        text,
        "cache.url is not set: set PSN_CACHE_URL, or url in the section [cache] of the \
         settings file"
    );
}

#[test]
fn a_misspelt_url_is_reported_with_its_source_and_without_its_password() {
    let text = cache::from_settings(&settings(&[("PSN_CACHE_URL", "redsi://:hunter2@h")]))
        .unwrap_err()
        .to_string();
    assert!(
        text.starts_with("cache.url (environment variable `PSN_CACHE_URL`) is not understood"),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn problems_of_redis_and_of_the_database_are_in_one_report() {
    let pairs = [
        ("PSN_STORAGE_CONNECTION_STRING", "sqlte:///x.db"),
        ("PSN_REDIS_URL", "redis://:hunter2@h/1?tmeout=3"),
        ("PSN_CACHE_URL", "http://h"),
        ("PSN_CACHE_MAX_CONNECTIONS", "300"),
    ];
    let loader = Settings::loader().no_file().environment(pairs);
    let text = DatabaseConnection::load(loader).connect_lazy().unwrap_err().to_string();
    for wanted in [
        "storage.connection_string",
        "redis.url",
        "cache.url",
        "cache.max_connections = 300",
        "10-200",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in {text}");
    }
    assert!(!text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn lifted_ranges_are_lifted_for_the_cache_too() {
    let pairs = [
        ("PSN_CACHE_URL", "redis://h"),
        ("PSN_CACHE_MAX_CONNECTIONS", "300"),
        ("PSN_DB_LIMITS", "off"),
    ];
    let cache = cache::from_settings(&settings(&pairs)).unwrap().connect_lazy().unwrap();
    assert_eq!(cache.pool().status().pool_size, 30);
}

#[cfg(feature = "metrics")]
#[tokio::test]
async fn cache_events_are_reported_to_the_recorder() {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};
    let Some(url) = variable("MILLPOND_TEST_REDIS_URL") else { return };
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let cache = works(RedisCache::builder().url(&url).observer(cache::metrics())).await;
    let load = || async { Ok::<_, std::io::Error>(Some(7)) };
    assert_eq!(cache.get_or_load("n", load).await.unwrap(), Some(7));
    assert_eq!(cache.get_or_load("n", load).await.unwrap(), Some(7));
    let fail = || async { Err::<Option<u32>, _>(std::io::Error::other("no pond")) };
    assert!(cache.get_or_load("m", fail).await.is_err());
    cache.clear().await.unwrap();
    let counters =
        snapshotter.snapshot().into_vec().into_iter().filter_map(|(key, _, _, value)| {
            let label = key.key().labels().last()?.value().to_owned();
            let DebugValue::Counter(count) = value else { return None };
            Some((format!("{} {label}", key.key().name()), count))
        });
    let counters: std::collections::BTreeMap<String, u64> = counters.collect();
    assert_eq!(counters["millpond.cache.requests hit"], 2, "{counters:?}");
    assert_eq!(counters["millpond.cache.requests miss"], 2, "{counters:?}");
    assert_eq!(counters["millpond.cache.loads found"], 1, "{counters:?}");
    assert_eq!(counters["millpond.cache.loads failed"], 1, "{counters:?}");
}
