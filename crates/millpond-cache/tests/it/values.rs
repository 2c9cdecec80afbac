//! Values are returned as they were stored.

use crate::support::{PATIENCE, builders, caches};
use millpond_cache::{CacheBuilder, CacheError, Codec, RedisCache};
use millpond_redis::Command;
use millpond_testkit::{ChaosProxy, Direction, Flow, variable};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Pond {
    name: String,
    depth: f64,
    fish: Vec<String>,
    owner: Option<u64>,
}

fn pond(n: u64) -> Pond {
    Pond {
        name: format!("pond {n} ü\0"),
        depth: 1.5,
        fish: vec!["carp".into(), String::new()],
        owner: Some(n),
    }
}

#[tokio::test]
async fn values_of_every_type_are_returned_as_they_were_stored() {
    for cache in caches() {
        assert_eq!(cache.get::<Pond>("none").await.unwrap(), None);
        cache.set("pond", &pond(1)).await.unwrap();
        assert_eq!(cache.get::<Pond>("pond").await.unwrap(), Some(pond(1)));
        assert!(cache.exists("pond").await.unwrap() && !cache.exists("none").await.unwrap());
        cache.set("unit", &()).await.unwrap();
        assert_eq!(cache.get::<()>("unit").await.unwrap(), Some(()));
        cache.set("none?", &None::<u64>).await.unwrap();
        assert_eq!(cache.get::<Option<u64>>("none?").await.unwrap(), Some(None));
        cache.set("text", "n").await.unwrap();
        assert_eq!(cache.get::<String>("text").await.unwrap().as_deref(), Some("n"));
        assert_eq!(cache.delete(&["pond", "unit", "never"]).await.unwrap(), 2);
        assert_eq!(cache.get::<Pond>("pond").await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_key_of_another_type_counts_as_missing_and_is_replaced() {
    let shapes: [fn(CacheBuilder) -> CacheBuilder; 2] =
        [|builder| builder, |builder| builder.stale_while_revalidate(Duration::from_secs(60))];
    for builder in shapes.into_iter().flat_map(|shape| builders().into_iter().map(shape)) {
        let namespace = format!("foreign-{:x}", fastrand::u64(..));
        let cache = builder.namespace(&namespace).connect_lazy().unwrap();
        let push = Command::new("RPUSH").key(format!("cache:{namespace}:v1:pond")).arg("x");
        cache.pool().run::<()>(push).await.unwrap();
        assert_eq!(cache.get::<String>("pond").await.unwrap(), None);
        assert_eq!(cache.mget::<String>(&["pond"]).await.unwrap(), [None]);
        assert!(!cache.exists("pond").await.unwrap());
        assert_eq!(cache.ttl("pond").await.unwrap(), None);
        let load = async || Ok::<_, std::io::Error>(Some("mill".to_owned()));
        assert_eq!(cache.get_or_load("pond", load).await.unwrap().as_deref(), Some("mill"));
        assert_eq!(cache.get::<String>("pond").await.unwrap().as_deref(), Some("mill"));
    }
}

#[tokio::test]
async fn a_hundred_keys_on_any_node_are_read_at_once() {
    for cache in caches() {
        let names: Vec<String> = (0..100).map(|n| format!("pond {n} {{{}}}", n % 7)).collect();
        for (n, name) in names.iter().enumerate().filter(|(n, _)| n % 3 > 0) {
            cache.set(name, &pond(n as u64)).await.unwrap();
        }
        let keys: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = cache.mget::<Pond>(&keys).await.unwrap();
        for (n, found) in found.into_iter().enumerate() {
            assert_eq!(found, (n % 3 > 0).then(|| pond(n as u64)), "{n}");
        }
        assert_eq!(cache.delete(&keys).await.unwrap(), 66);
        assert!(cache.mget::<Pond>(&[]).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_value_expires_after_its_ttl_less_the_jitter() {
    for cache in builders()
        .into_iter()
        .map(|builder| builder.ttl(Duration::from_secs(100)).connect_lazy().unwrap())
    {
        for n in 0..20 {
            let key = format!("k{n}");
            let began = Instant::now();
            cache.set(&key, &n).await.unwrap();
            let left = cache.ttl(&key).await.unwrap().unwrap();
            let at_first = left + began.elapsed();
            assert!(
                at_first > Duration::from_secs(89) && left <= Duration::from_secs(100),
                "{left:?}, {at_first:?} at first"
            );
        }
        cache.set_with_ttl("short", &1, Duration::from_millis(1)).await.unwrap();
        while cache.exists("short").await.unwrap() {}
        assert_eq!(cache.ttl("short").await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_counter_counts_expires_and_is_read_as_a_number() {
    for cache in caches() {
        assert_eq!(cache.incr("n", 5).await.unwrap(), 5);
        assert_eq!(cache.incr("n", -2).await.unwrap(), 3);
        assert_eq!(cache.get::<i64>("n").await.unwrap(), Some(3));
        assert!(cache.ttl("n").await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_counter_begins_where_the_absence_of_a_value_is_remembered() {
    let (minute, day) = (Duration::from_secs(60), Duration::from_secs(86_400));
    for builder in builders() {
        let cache = builder.ttl(day).negative_ttl(minute).connect_lazy().unwrap();
        let nothing = async || Ok::<Option<i64>, std::io::Error>(None);
        assert_eq!(cache.get_or_load("n", nothing).await.unwrap(), None);
        assert_eq!(cache.incr("n", 5).await.unwrap(), 5);
        assert_eq!(cache.incr("n", 2).await.unwrap(), 7);
        assert_eq!(cache.get::<i64>("n").await.unwrap(), Some(7));
        let left = cache.ttl("n").await.unwrap().unwrap();
        assert!(left > minute, "{left:?} is the time of a remembered absence");
        cache.set("text", "n").await.unwrap();
        assert!(cache.incr("text", 1).await.is_err());
        assert_eq!(cache.get::<String>("text").await.unwrap().as_deref(), Some("n"));
    }
}

#[tokio::test]
async fn an_unreadable_value_counts_as_missing_and_is_loaded_again() {
    for cache in caches() {
        cache.set("k", "text").await.unwrap();
        assert_eq!(cache.get::<Pond>("k").await.unwrap(), None);
        let loaded = cache
            .get_or_load("k", || async { Ok::<_, std::io::Error>(Some(pond(1))) })
            .await
            .unwrap();
        assert_eq!(loaded, Some(pond(1)));
        assert_eq!(cache.get::<Pond>("k").await.unwrap(), Some(pond(1)));
    }
}

#[tokio::test]
async fn a_value_that_is_too_large_is_returned_but_not_stored() {
    for cache in
        builders().into_iter().map(|builder| builder.max_value_size(10).connect_lazy().unwrap())
    {
        let error = cache.set("k", "a long text").await.unwrap_err();
        assert!(matches!(error, CacheError::TooLarge { size: 13, limit: 10 }), "{error}");
        let long = || async { Ok::<_, std::io::Error>(Some("a long text".to_owned())) };
        assert_eq!(cache.get_or_load("k", long).await.unwrap().as_deref(), Some("a long text"));
        assert!(!cache.exists("k").await.unwrap());
    }
}

/// A codec that is not JSON.
struct Backwards;

impl Codec for Backwards {
    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>, millpond_core::BoxError> {
        Ok(serde_json::to_vec(value)?.into_iter().rev().collect())
    }
    fn decode<T: serde::de::DeserializeOwned>(
        &self,
        bytes: &[u8],
    ) -> Result<T, millpond_core::BoxError> {
        let forwards: Vec<u8> = bytes.iter().rev().copied().collect();
        Ok(serde_json::from_slice(&forwards)?)
    }
}

#[tokio::test]
async fn another_codec_can_be_used() {
    let Some(url) = variable("MILLPOND_TEST_REDIS_URL") else { return };
    let namespace = format!("test-{:x}", fastrand::u64(..));
    let cache = RedisCache::builder()
        .url(&url)
        .namespace(namespace)
        .timeout(PATIENCE)
        .codec(Backwards)
        .connect()
        .await
        .unwrap();
    let map: BTreeMap<String, u32> = [("a".to_owned(), 1)].into();
    cache.set("map", &map).await.unwrap();
    assert_eq!(cache.get::<BTreeMap<String, u32>>("map").await.unwrap(), Some(map));
}

#[tokio::test]
async fn a_delete_has_the_time_limit_for_each_hundred_keys() {
    let Some(straight) = variable("MILLPOND_TEST_REDIS_URL") else { return };
    let place = straight.split_once("://").unwrap().1.split('/').next().unwrap();
    let proxy = ChaosProxy::start(place).await.unwrap();
    proxy.set(Direction::ToClient, Flow::free().delayed(Duration::from_millis(50)));
    let builder = RedisCache::builder().url(&proxy.reroute(&straight));
    let builder = builder.namespace(format!("test-{:x}", fastrand::u64(..)));
    let cache = builder.timeout(Duration::from_secs(1)).connect_lazy().unwrap();
    cache.set("k4999", &1).await.unwrap();
    let keys: Vec<String> = (0..5000).map(|n| format!("k{n}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    assert_eq!(cache.delete(&keys).await.unwrap(), 1);
}
